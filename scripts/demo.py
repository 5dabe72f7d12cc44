# SPDX-License-Identifier: GPL-3.0-or-later
"""The main job, from nothing to a picture, as an artist does it: install, render, click, look.

    .build/bpy-5.0/bin/python scripts/demo.py dist/make_real-0.1.0.zip out/demo

Installs the extension's zip into a fresh Blender, builds the garment scene, renders it with Cycles, invokes the
operator, and lets the extension start the backend that the environment variable MAKE_REAL_PROGRAM names. Writes
before.png, after.png, side_by_side.png, mask.png, result.exr, demo.blend and report.json.
"""

from __future__ import annotations

import argparse
import importlib
import json
import os
import shutil
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

PACKAGE = "bl_ext.user_default.make_real"
GARMENT = ("Dress", "Waistband", "Button")
"""Beginnings of the names of the objects that make up the garment."""
TRANSLATION_TIMEOUT_S = 1200.0
REPORTED = ("ssim_garment", "delta_e_garment", "colour_garment", "alignment_px")


class Stopwatch:
    """Seconds of each named part of the demo."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self._since = time.monotonic()

    def lap(self, name: str) -> None:
        """Book the time since the last lap under a name, and say so."""
        now = time.monotonic()
        self.seconds[name] = round(now - self._since, 2)
        self._since = now
        print(f"demo: {name}: {self.seconds[name]:.1f} s", flush=True)


def fail(sentence: str) -> None:
    """End with a sentence and no traceback."""
    print(f"demo: error: {sentence}", file=sys.stderr)
    raise SystemExit(1)


def translate(scene: Any) -> None:
    """Click Make Real and wait for the picture, as `blender -b` does."""
    import bpy

    garment = scene.make_real.masks.parts.add()
    garment.name = "Garment"
    for part in scene.objects:
        if part.name.startswith(GARMENT):
            pick = garment.picks.add()
            pick.kind, pick.object = "OBJECT", part
    try:
        bpy.ops.make_real.translate()
    except RuntimeError as error:  # an operator's error report
        fail(str(error))
    session = importlib.import_module(f"{PACKAGE}.session.pump").run_until_idle(TRANSLATION_TIMEOUT_S)
    if session.problem is not None:
        fail(session.problem.message)


def read_pixels(path: Path) -> Any:
    """(height, width, 4) pixels of a picture file as they are shown, top row first."""
    import bpy
    import numpy as np

    image = bpy.data.images.load(str(path))
    image.colorspace_settings.name = "Non-Color"
    width, height = image.size
    pixels = np.empty(width * height * 4, np.float32)
    image.pixels.foreach_get(pixels)
    bpy.data.images.remove(image)
    return pixels.reshape(height, width, 4)[::-1]


def write_side_by_side(before: Path, after: Path, path: Path) -> None:
    """Both pictures in one file, the render on the left."""
    import bpy
    import numpy as np

    both = np.concatenate([read_pixels(before), read_pixels(after)], axis=1)
    height, width, _ = both.shape
    image = bpy.data.images.new("side_by_side", width, height)
    image.colorspace_settings.name = "Non-Color"
    image.pixels.foreach_set(np.ascontiguousarray(both[::-1]).ravel())
    image.filepath_raw, image.file_format = str(path), "PNG"
    image.save()
    bpy.data.images.remove(image)


def collect(results: Path, out: Path) -> dict[str, Any]:
    """Copy the newest result's files under the demo's names and return its recipe."""
    recipe = max(results.glob("*_recipe.json"), default=None)
    if recipe is None:
        fail(f"{results} has no result")
    number = recipe.name.partition("_")[0]
    for source, name in (
        ("display.png", "after.png"),
        ("mask.png", "mask.png"),
        ("linear.exr", "result.exr"),
    ):
        shutil.copyfile(results / f"{number}_{source}", out / name)
    content: dict[str, Any] = json.loads(recipe.read_text())
    return content


def run(extension: Path, out: Path) -> None:
    """The demo; see the module's docstring."""
    import bpy
    from scenes import garment_demo

    watch = Stopwatch()
    scene = garment_demo.build_scene()
    watch.lap("build scene")
    # After the scene, which starts from factory settings, and those know no extension.
    bpy.ops.extensions.package_install_files(
        filepath=str(extension.resolve()), repo="user_default", enable_on_install=True
    )
    watch.lap("install")
    blend = out / "demo.blend"
    bpy.ops.wm.save_as_mainfile(filepath=str(blend), compress=True)
    bpy.ops.render.render()
    watch.lap("render")
    bpy.data.images["Render Result"].save_render(str(out / "before.png"), scene=scene)
    translate(scene)
    watch.lap("make real")
    told = collect(out / "make_real" / bpy.path.clean_name(scene.name), out)
    write_side_by_side(out / "before.png", out / "after.png", out / "side_by_side.png")
    bpy.ops.wm.save_as_mainfile(filepath=str(blend), compress=True)
    report = {
        "versions": {
            "make_real": importlib.import_module(PACKAGE).__name__,
            "blender": bpy.app.version_string,
        },
        "width": scene.render.resolution_x,
        "height": scene.render.resolution_y,
        "seconds": {**watch.seconds, **{f"make real: {stage}": s for stage, s in told["seconds"].items()}},
        **{name: told["report"][name] for name in REPORTED},
        "peak_memory_mib": round(told["report"]["peak_memory_bytes"] / 2**20),
        "fidelity": told["report"],
        "recipe": told["recipe"],
    }
    report["versions"].update(told["recipe"].get("versions", {}))
    report["model"], report["device"] = told["recipe"]["model"], told["recipe"]["device"]
    (out / "report.json").write_text(json.dumps(report, indent=2) + "\n")
    print(f"demo: pictures and report.json are in {out}")


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("extension", type=Path, help="the built zip")
    parser.add_argument("out", type=Path)
    arguments = parser.parse_args()
    out = arguments.out.resolve()
    shutil.rmtree(out, ignore_errors=True)
    out.mkdir(parents=True)
    with tempfile.TemporaryDirectory(prefix="make-real-demo-") as user:
        # Before bpy is imported: a demo must not touch the artist's own Blender or a running backend.
        os.environ["BLENDER_USER_RESOURCES"] = str(Path(user) / "blender")
        os.environ["MAKE_REAL_DATA_DIR"] = str(Path(user) / "data")
        os.environ["MAKE_REAL_RUNTIME_DIR"] = str(Path(user) / "run")
        run(arguments.extension, out)


if __name__ == "__main__":
    main()
