# SPDX-License-Identifier: GPL-3.0-or-later
"""Render garments the way a fashion artist's Cycles renders look: the render domain for training.

Run with the Python of a `bpy` 5.0 environment, from `scripts/`:

    python -m scenes.training_renders --garments DIR --avatars DIR --out DIR --count N --seed S [--split heldout]

Without garments and avatars it renders what the scripts can cut and drape themselves.

Writes `000123.png` (display-referred, 384x512 or 512x384), `000123.mask.png` (garment coverage, 8 bit) and one
line in `renders.csv` for each picture. Picture i depends on (seed, i, split) only; finished pictures are skipped.
"""

from __future__ import annotations

import argparse
import csv
import time
from pathlib import Path

import bpy
import numpy as np

from .assets import AssetLibrary
from .compat import set_image_format
from .garment_mask import add_mask_pass, mark_garment, read_mask, write_gray
from .random_looks import set_random_view
from .staging import Stage, stage_picture

COLUMNS = ("index", "garment", "category", "material", "view_transform", "width", "height")
LONG, SHORT = 512, 384
LANDSCAPE = 0.12


def main() -> None:
    arguments = _parse()
    arguments.out.mkdir(parents=True, exist_ok=True)
    bpy.ops.wm.read_factory_settings(use_empty=True)
    bpy.ops.preferences.addon_enable(module="io_scene_gltf2")
    scene = bpy.context.scene
    _set_up_render(scene, arguments.samples)
    garments = AssetLibrary(arguments.garments, "garments.json")
    avatars = AssetLibrary(arguments.avatars, "avatars.json")
    stage = Stage(garments, avatars, arguments.split)
    for index in range(arguments.start, arguments.count):
        if not (arguments.out / f"{index:06d}.mask.png").exists():
            _render_picture(stage, scene, arguments, index)


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--garments", type=Path, help="folder with garments.json; without it none are shown")
    parser.add_argument("--avatars", type=Path, help="folder with avatars.json; without it none are shown")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--count", type=int, required=True)
    parser.add_argument("--start", type=int, default=0, help="first index")
    parser.add_argument("--seed", type=int, required=True)
    parser.add_argument("--split", choices=("train", "heldout"), default="train")
    parser.add_argument("--samples", type=int, default=6)
    return parser.parse_args()


def _set_up_render(scene: bpy.types.Scene, samples: int) -> None:
    scene.render.engine = "CYCLES"
    # Nothing persists between two pictures, and 5.0 crashed when persistent data met a change of passes.
    scene.render.use_persistent_data = False
    scene.render.use_compositing = scene.render.use_sequencer = False
    cycles = scene.cycles
    cycles.device, cycles.samples, cycles.use_adaptive_sampling = "CPU", samples, False
    cycles.use_light_tree = False
    cycles.max_bounces, cycles.diffuse_bounces, cycles.glossy_bounces = 2, 1, 1
    cycles.transparent_max_bounces, cycles.transmission_bounces = 4, 0
    cycles.use_denoising, cycles.denoiser = True, "OPENIMAGEDENOISE"
    cycles.denoising_prefilter, cycles.denoising_quality = "FAST", "FAST"
    add_mask_pass(scene.view_layers[0])


def _render_picture(stage: Stage, scene: bpy.types.Scene, arguments: argparse.Namespace, index: int) -> None:
    started = time.perf_counter()
    rng = np.random.default_rng([arguments.seed, index, int(arguments.split == "heldout")])
    width, height = (LONG, SHORT) if rng.random() < LANDSCAPE else (SHORT, LONG)
    subject = stage_picture(stage, rng, width, height)
    for material in subject.cloth:
        mark_garment(material)
    transform = set_random_view(scene, rng)
    scene.cycles.seed = index
    bpy.ops.render.render()
    covered = _save(scene, arguments.out, index)
    row = (index, subject.name, subject.category, subject.material, transform, width, height)
    _append_row(arguments.out / "renders.csv", row)
    _clear_stage(stage)
    print(f"{index} {time.perf_counter() - started:.2f} s, garment {covered:.0%}: {row[1:]}", flush=True)


def _save(scene: bpy.types.Scene, out: Path, index: int) -> float:
    """Write picture and mask; returns the garment's share of the picture."""
    result = bpy.data.images["Render Result"]
    settings = scene.render.image_settings
    set_image_format(settings, "PNG")
    settings.color_mode, settings.color_depth, settings.compression = "RGB", "8", 40
    result.save_render(str(out / f"{index:06d}.png"), scene=scene)
    mask = read_mask(scene)
    write_gray(out / f"{index:06d}.mask.png", mask)
    return float(mask.mean())


def _append_row(path: Path, row: tuple[object, ...]) -> None:
    new = not path.exists()
    with path.open("a", newline="", encoding="utf-8") as table:
        writer = csv.writer(table)
        if new:
            writer.writerow(COLUMNS)
        writer.writerow(row)


def _clear_stage(stage: Stage) -> None:
    stage.garments.put_away()
    stage.avatars.put_away()
    for thing in list(bpy.context.scene.collection.objects):
        bpy.data.objects.remove(thing, do_unlink=True)
    bpy.data.orphans_purge(do_local_ids=True, do_recursive=True)


if __name__ == "__main__":
    main()
