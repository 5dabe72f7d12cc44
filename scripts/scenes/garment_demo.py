# SPDX-License-Identifier: GPL-3.0-or-later
"""The demo scene: a plaid sundress, draped by simulation on a dress form, lit like a product shot.

Run with the Python of a `bpy` environment (4.2, 5.0 or 5.2), from `scripts/`:

    python -m scenes.garment_demo --output garment.png [--width 576 --height 768 --samples 64 --frames 40]

or import `build_scene` and render yourself. The same arguments give the same scene.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import bpy
from mathutils import Vector

from .compat import set_image_format
from .dress import build_dress
from .dress_form import build_dress_form
from .fabrics import Fabric, build_fabric
from .lights import add_softbox, aim, set_world
from .nodes import Graph
from .surroundings import add_sweep

PLAID = Fabric(
    weave="twill",
    pattern="plaid",
    colours=((0.62, 0.53, 0.40), (0.035, 0.075, 0.11), (0.42, 0.055, 0.03)),
    period=0.062,
    sheen=0.35,
)
SUBJECT = Vector((0.0, 0.0, 1.1))


def build_scene(
    width: int = 576, height: int = 768, samples: int = 64, simulate_frames: int = 40
) -> bpy.types.Scene:
    """Replace the open file by the demo scene, ready to render; the garment is the object 'Dress'."""
    bpy.ops.wm.read_factory_settings(use_empty=True)
    scene = bpy.context.scene
    build_dress_form()
    build_dress(build_fabric("Plaid", PLAID), simulate_frames)
    _light_studio(scene)
    _place_camera(scene)
    _set_up_render(scene, width, height, samples)
    return scene


def _light_studio(scene: bpy.types.Scene) -> None:
    paper = bpy.data.materials.new("Backdrop paper")
    Graph(paper).surface(Base_Color=(0.46, 0.43, 0.40), Roughness=0.95, Specular_IOR_Level=0.15)
    add_sweep("Backdrop", paper, back=2.2)
    add_softbox("Key", Vector((-2.3, -1.7, 2.3)), SUBJECT, 0.95, 0.8, (1.0, 0.96, 0.9), shape=1.4)
    add_softbox("Fill", Vector((2.6, -2.4, 1.3)), SUBJECT, 0.11, 1.8, (0.9, 0.95, 1.0))
    add_softbox("Rim", Vector((1.7, 1.5, 2.3)), SUBJECT, 0.55, 0.6, shape=2.0)
    add_softbox("Background", Vector((-1.2, 0.9, 2.9)), Vector((0.3, 2.2, 1.2)), 0.3, 0.8)
    set_world(scene, 0.035, (0.9, 0.95, 1.0))


def _place_camera(scene: bpy.types.Scene) -> None:
    data = bpy.data.cameras.new("Camera")
    data.lens = 91.0
    camera = bpy.data.objects.new("Camera", data)
    scene.collection.objects.link(camera)
    camera.location = (0.95, -3.35, 1.32)
    camera.rotation_euler = aim(Vector((0.0, 0.0, 1.135)), camera.location)
    scene.camera = camera


def _set_up_render(scene: bpy.types.Scene, width: int, height: int, samples: int) -> None:
    render = scene.render
    render.engine = "CYCLES"
    render.resolution_x, render.resolution_y, render.resolution_percentage = width, height, 100
    set_image_format(render.image_settings, "PNG")
    cycles = scene.cycles
    cycles.device, cycles.samples, cycles.seed = "CPU", samples, 0
    cycles.use_adaptive_sampling, cycles.adaptive_threshold, cycles.adaptive_min_samples = True, 0.03, 16
    cycles.max_bounces, cycles.diffuse_bounces = 4, 2
    cycles.use_denoising, cycles.denoiser = True, "OPENIMAGEDENOISE"
    cycles.denoising_input_passes = "RGB_ALBEDO_NORMAL"
    scene.view_settings.view_transform = "AgX"
    scene.view_settings.exposure = 0.7
    layer = scene.view_layers[0]
    layer.use_pass_combined = True
    layer.use_pass_cryptomatte_object = layer.use_pass_cryptomatte_material = True
    layer.pass_cryptomatte_depth = 6


def main() -> None:
    parser = argparse.ArgumentParser(description="Render the demo garment.")
    parser.add_argument("--output", type=Path, required=True, help="PNG to write")
    parser.add_argument("--width", type=int, default=576)
    parser.add_argument("--height", type=int, default=768)
    parser.add_argument("--samples", type=int, default=64)
    parser.add_argument("--frames", type=int, default=40, help="frames of cloth simulation")
    arguments = parser.parse_args()
    scene = build_scene(arguments.width, arguments.height, arguments.samples, arguments.frames)
    scene.render.filepath = str(arguments.output.resolve())
    bpy.ops.render.render(write_still=True)


if __name__ == "__main__":
    main()
