# SPDX-License-Identifier: GPL-3.0-or-later
"""How long Blender stands still for Make Real: the click, the ticks, the result; and whether anything grows.

    .build/bpy-5.0/bin/python scripts/measure_main_thread.py dist/make_real-0.1.0.zip docs/main_thread.md

Renders two glowing cubes with Cryptomatte and a 32-bit light at each size, translates them with the scripted backend
of the tests (real protocol, real sockets, no model), and drives the extension as its timer does. Processor time of
the main thread is given beside the wall's: a tick that the system interrupts for another program is not one that
holds Blender up. Rewrites the section "Blender's main thread" of the document.
"""

from __future__ import annotations

import argparse
import importlib
import os
import platform
import re
import stat
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = "bl_ext.user_default.make_real"
SIZES = ((1920, 1080), (3840, 2160))
CONVERSIONS, WARM_UP = 200, 20
TIMEOUT_S = 600.0
TICK_PAUSE_S = 0.005
HEADING = "## Blender's main thread"


@dataclass
class Laps:
    """Milliseconds of each call: processor time of this thread, and the wall's."""

    processor: list[float] = field(default_factory=list)
    wall: list[float] = field(default_factory=list)

    def time(self, function: Any, *arguments: Any) -> Any:
        """Call a function and book its time."""
        wall, processor = time.perf_counter(), time.thread_time()
        try:
            return function(*arguments)
        finally:
            self.processor.append(1000.0 * (time.thread_time() - processor))
            self.wall.append(1000.0 * (time.perf_counter() - wall))


def module(name: str) -> Any:
    """A module of the installed extension."""
    return importlib.import_module(f"{PACKAGE}.{name}")


def build_scene(width: int, height: int) -> Any:
    """Two glowing cubes before a camera, rendered; the left one is the garment."""
    import bpy

    sys.path.insert(0, str(ROOT / "tests" / "blender"))
    from conftest import add_cube

    bpy.ops.wm.read_factory_settings(use_empty=True)
    bpy.ops.preferences.addon_enable(module=PACKAGE)
    scene = bpy.context.scene
    scene.render.engine = "CYCLES"
    scene.render.resolution_x, scene.render.resolution_y = width, height
    scene.cycles.device, scene.cycles.samples, scene.cycles.use_denoising = "CPU", 1, False
    scene.cycles.max_bounces = 0
    garment = add_cube(scene, "Dress", -0.6, (0.8, 0.1, 0.05))
    add_cube(scene, "Form", 0.7, (0.1, 0.3, 0.7))
    camera = bpy.data.objects.new("Camera", bpy.data.cameras.new("Camera"))
    camera.location = (0.0, 0.0, 4.0)
    scene.collection.objects.link(camera)
    scene.camera = camera
    scene.view_layers[0].use_pass_cryptomatte_object = True
    scene.view_layers[0].use_pass_cryptomatte_material = True
    part = scene.make_real.masks.parts.add()
    pick = part.picks.add()
    pick.kind, pick.object = "OBJECT", garment
    bpy.ops.render.render()
    return scene


def convert(click: Laps, ticks: Laps, result: Laps) -> None:
    """One picture, from the click to the rest after it."""
    import bpy

    results, conductor, pump = (
        module("picture.results"),
        module("session.pump").conductor(),
        module("session.pump"),
    )
    show = results.show
    results.show = lambda *arguments: result.time(show, *arguments)
    try:
        click.time(bpy.ops.make_real.translate)
        deadline = time.monotonic() + TIMEOUT_S
        while not conductor.is_idle:
            if time.monotonic() > deadline:
                raise TimeoutError(str(pump.session()))
            ticks.time(conductor.tick, pump.TICK_BUDGET_S)
            time.sleep(TICK_PAUSE_S)
    finally:
        results.show = show
    if pump.session().problem is not None:
        raise SystemExit(f"measure: error: {pump.session().problem.message}")


def measure_size(width: int, height: int) -> list[str]:
    """Rows of the table for one size."""
    import numpy as np

    scene = build_scene(width, height)
    click, ticks, result, decode = Laps(), Laps(), Laps(), Laps()
    convert(click, ticks, result)
    image = scene.make_real.result
    # Blender decodes the file when it is first drawn.
    decode.time(lambda: image.pixels[0])
    worst = sorted(range(len(ticks.processor)), key=ticks.processor.__getitem__)
    over = sum(milliseconds > 4.0 for milliseconds in ticks.processor)

    def both(laps: Laps, pick: Any) -> str:
        return f"{pick(laps.processor):.1f} | {pick(laps.wall):.1f}"

    size = f"{width}x{height}"
    return [
        f"| {size} | click (Blender saves the render) | {both(click, max)} |",
        f"| {size} | tick, median of {len(worst)} | {both(ticks, np.median)} |",
        f"| {size} | tick, 99th percentile | {both(ticks, lambda values: np.quantile(values, 0.99))} |",
        f"| {size} | tick, worst ({over} over 4 ms) | {both(ticks, max)} |",
        f"| {size} | showing the result, within its tick | {both(result, max)} |",
        f"| {size} | Blender decodes the result when it first draws it | {both(decode, max)} |",
    ]


def measure_growth() -> list[str]:
    """Rows about what many conversions leave behind."""
    import bpy

    build_scene(64, 48)
    rows = []
    for number in range(WARM_UP + CONVERSIONS + 1):
        if number in (WARM_UP, WARM_UP + CONVERSIONS):
            blocks = sum(
                len(getattr(bpy.data, prop.identifier))
                for prop in bpy.data.bl_rna.properties
                if prop.type == "COLLECTION" and prop.identifier != "all_ids"
            )
            rows.append((resident_mib(), blocks, len(list(Path("/proc/self/fd").iterdir()))))
        convert(Laps(), Laps(), Laps())
    (memory, blocks, files), (memory_after, blocks_after, files_after) = rows
    return [
        f"| memory, MiB | {memory:.0f} | {memory_after:.0f} |",
        f"| data-blocks | {blocks} | {blocks_after} |",
        f"| open files | {files} | {files_after} |",
    ]


def resident_mib() -> float:
    """Memory that this process has."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20


def processor_name() -> str:
    """What the machine says it is."""
    found = re.search(r"model name\s*: (.*)", Path("/proc/cpuinfo").read_text())
    return f"{os.cpu_count()} x {found[1] if found else platform.processor()}"


def section(growth: bool) -> str:
    """The document's section, measured now."""
    import bpy

    lines = [
        HEADING,
        "",
        f"Blender {bpy.app.version_string}, {processor_name()}; `make measure-main-thread`, which describes how. "
        "Milliseconds, processor time of the main thread | wall.",
        "",
        "| size | what | processor | wall |",
        "|---|---|---|---|",
        *(row for size in SIZES for row in measure_size(*size)),
    ]
    if growth:
        head = f"| {CONVERSIONS} conversions of 64x48 | after {WARM_UP} | after {WARM_UP + CONVERSIONS} |"
        lines += ["", head, "|---|---|---|", *measure_growth()]
    return "\n".join(lines) + "\n"


def rewrite(document: Path, text: str) -> None:
    """Put the section in the place of the old one, or at the end."""
    old = document.read_text() if document.exists() else "# Performance\n"
    pattern = re.compile(rf"{re.escape(HEADING)}\n.*?(?=\n## |\Z)", re.DOTALL)
    new = pattern.sub(lambda _: text, old) if pattern.search(old) else f"{old.rstrip()}\n\n{text}"
    document.write_text(new)


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("extension", type=Path, help="the built zip")
    parser.add_argument("document", type=Path, help="Markdown file with the section")
    parser.add_argument("--no-growth", action="store_true", help="leave the 200 conversions out")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="make-real-measure-") as user:
        program = Path(user) / "make-real"
        script = ROOT / "tests" / "blender" / "scripted_backend.py"
        program.write_text(f'#!/bin/sh\nexec "{sys.executable}" "{script}" "$@"\n')
        program.chmod(program.stat().st_mode | stat.S_IXUSR)
        os.environ |= {
            "BLENDER_USER_RESOURCES": f"{user}/blender",
            "MAKE_REAL_RUNTIME_DIR": f"{user}/run",
            "MAKE_REAL_SCRIPT_DIR": user,
            "MAKE_REAL_SCRIPT": "invert",
            "MAKE_REAL_PROGRAM": str(program),
        }
        import bpy

        bpy.ops.extensions.package_install_files(
            filepath=str(arguments.extension.resolve()), repo="user_default", enable_on_install=True
        )
        text = section(not arguments.no_growth)
        bpy.ops.preferences.addon_disable(module=PACKAGE)
        rewrite(arguments.document, text)
        print(text)


if __name__ == "__main__":
    main()
