# SPDX-License-Identifier: GPL-3.0-or-later
"""How long Blender stands still for Make Real: the click, the ticks, the result; and whether anything grows.

    .build/bpy-5.0/bin/python scripts/measure_main_thread.py dist/make_real-0.1.0.zip docs/performance.md

Renders two glowing cubes with Cryptomatte and a 32-bit light at each size, translates them with the scripted backend
of the tests (real protocol, real sockets, no model), and drives the extension as its timers do. Processor time of
the main thread is given beside the wall's: a tick that the system interrupts for another program is not one that
holds Blender up. What the machine itself adds shows in a control: after each tick a loop of its length that only
counts. Takes some ten minutes, one part after the other. Rewrites what stands between the document's markers
`main-thread`.
"""

from __future__ import annotations

import argparse
import gc
import importlib
import inspect
import os
import platform
import re
import stat
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = "bl_ext.user_default.make_real"
SIZES = ((1920, 1080), (3840, 2160))
CONVERSIONS, WARM_UP = 200, 20
TIMEOUT_S = 1800.0
TICK_PAUSE_S = 0.002
LONG_MS = 4.0
WORST = 5
"""Ticks of each size that are told one by one."""
CONTROL_STEPS = 34_000
"""What the control counts to: about two milliseconds, like a tick."""
BEGIN, END = "<!-- main-thread -->", "<!-- /main-thread -->"


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


class Parts:
    """What the parts of a tick take: the slices of work by the place in the program where they end, the messages, and
    Python's collections of garbage."""

    def __init__(self) -> None:
        self.found: list[tuple[float, str]] = []
        """Milliseconds of processor time, without the parts within, and the name of each."""
        self._within = 0.0

    @contextmanager
    def part(self, name: Callable[[], str]) -> Iterator[None]:
        """Book what the block takes."""
        before, self._within = self._within, 0.0
        start = time.thread_time()
        try:
            yield
        finally:
            spent = 1000.0 * (time.thread_time() - start)
            self.found.append((spent - self._within, name()))
            self._within = before + spent

    @contextmanager
    def watched(self) -> Iterator[None]:
        """Watch the parts of all ticks within the block."""
        pace, conductor = module("pace"), module("session.pump").conductor()
        step, hear, dispatch = pace.step, conductor._hear, conductor.dispatch
        start = 0.0

        def watch_step(work: Any) -> None:
            with self.part(lambda: place(work)):
                step(work)

        def watch_hear(*arguments: Any) -> None:
            with self.part(lambda: "messages"):
                hear(*arguments)

        def watch_dispatch(event: Any) -> None:
            with self.part(lambda: f"event {type(event).__name__}"):
                dispatch(event)

        def watch_garbage(phase: str, _about: object) -> None:
            nonlocal start
            if phase == "start":
                start = time.thread_time()
            else:
                spent = 1000.0 * (time.thread_time() - start)
                self.found.append((spent, "garbage collection"))
                self._within += spent

        pace.step, conductor._hear, conductor.dispatch = watch_step, watch_hear, watch_dispatch
        gc.callbacks.append(watch_garbage)
        try:
            yield
        finally:
            gc.callbacks.remove(watch_garbage)
            pace.step = step
            del conductor._hear, conductor.dispatch


def place(work: Any) -> str:
    """Where a work stands: the innermost function, and the file that it writes."""
    while inspect.isgenerator(inner := getattr(work, "gi_yieldfrom", None)):
        if inner.gi_code.co_name == "next_tick":
            break
        work = inner
    frame = getattr(work, "gi_frame", None)
    if frame is None:
        return "the end of a work"
    # Not by a Path of its file: each one enters Python's table of names, and to make that anew takes 3 ms of a tick.
    module = frame.f_globals["__name__"].rpartition(".")[2]
    name = f"{module}.{frame.f_code.co_name}"
    path = frame.f_locals.get("path")
    return f"{name}, {path.name.lstrip('0123456789_')}" if isinstance(path, Path) else name


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


@dataclass
class Conversion:
    """Laps of one picture, from the click to the rest after it.

    Args:
        ticks: All but the one that showed the result.
        longest: Of each of them, the longest part.
        showing: The one that did.
        control: A loop that counts, after each of all of them; empty where none was wanted.
    """

    click: Laps = field(default_factory=Laps)
    ticks: Laps = field(default_factory=Laps)
    longest: list[tuple[float, str]] = field(default_factory=list)
    showing: Laps = field(default_factory=Laps)
    control: Laps = field(default_factory=Laps)


def convert(with_control: bool = False) -> Conversion:
    """Make a picture of the scene's render, and count after each tick where a control is wanted."""
    parts = Parts()
    with parts.watched():
        return _convert(parts, with_control)


def _convert(parts: Parts, with_control: bool) -> Conversion:
    import bpy

    results, pump = module("picture.results"), module("session.pump")
    conductor, show, shown = pump.conductor(), results.show, []
    laps = Conversion()
    results.show = lambda *arguments: (shown.append(True), show(*arguments))[1]
    try:
        laps.click.time(bpy.ops.make_real.translate)
        deadline = time.monotonic() + TIMEOUT_S
        while not conductor.is_idle:
            if time.monotonic() > deadline:
                raise TimeoutError(str(pump.session()))
            before = len(shown)
            parts.found.clear()
            laps.ticks.time(conductor.tick, pump.TICK_BUDGET_S)
            if len(shown) == before:
                laps.longest.append(max(parts.found, default=(0.0, "looking around")))
            else:
                laps.showing.processor.append(laps.ticks.processor.pop())
                laps.showing.wall.append(laps.ticks.wall.pop())
            time.sleep(TICK_PAUSE_S)
            if with_control:
                laps.control.time(count, CONTROL_STEPS)
                time.sleep(TICK_PAUSE_S)
    finally:
        results.show = show
    if pump.session().problem is not None:
        raise SystemExit(f"measure: error: {pump.session().problem.message}")
    return laps


def compare_with_history() -> Laps:
    """Render again, and let the history look at it."""
    import bpy

    freshness, laps = module("history.freshness"), Laps()
    bpy.ops.render.render()
    while laps.time(freshness._on_timer) is not None:
        time.sleep(TICK_PAUSE_S)
    return laps


def measure_size(width: int, height: int) -> tuple[list[str], list[str]]:
    """Rows of the table for one size, and of the one of its longest ticks."""
    import numpy as np

    build_scene(width, height)
    # Blender has been running for a while when an artist clicks: Python has been through its own start.
    gc.collect()
    first, second = (convert(with_control=True) for _ in range(2))
    looks = compare_with_history()
    click, showing = first.click, first.showing
    ticks, control = joined(first.ticks, second.ticks), joined(first.control, second.control)
    longest = first.longest + second.longest
    worst = sorted(zip(ticks.processor, longest, strict=True), reverse=True)[:WORST]
    # The longest is Blender's own saving of the render.
    saved = looks.wall.index(max(looks.wall))
    saving = Laps([looks.processor.pop(saved)], [looks.wall.pop(saved)])

    def row(what: str, laps: Laps, pick: Any = max, form: str = ".1f") -> str:
        return f"| {width}x{height} | {what} | {pick(laps.processor):{form}} | {pick(laps.wall):{form}} |"

    def long_ones(values: list[float]) -> int:
        return sum(milliseconds > LONG_MS for milliseconds in values)

    def distribution(what: str, laps: Laps) -> list[str]:
        return [
            row(f"{what}, median of {len(laps.wall)} in two conversions", laps, np.median),
            row(f"{what}, 99th percentile", laps, lambda values: np.quantile(values, 0.99)),
            row(f"{what}, worst", laps),
            row(f"{what}, how many over {LONG_MS:.0f} ms", laps, long_ones, "d"),
        ]

    rows = [
        row("click: Blender saves the render", click),
        *distribution("tick", ticks),
        *distribution("control, a loop that counts", control),
        row("the tick that shows the result", showing),
        row("after a later render: Blender saves it for the history", saving),
        row("after a later render: worst of the ticks that compare it", looks),
    ]
    return rows, [f"| {width}x{height} | {tick:.1f} | {part:.1f} | {name} |" for tick, (part, name) in worst]


def joined(first: Laps, second: Laps) -> Laps:
    """The laps of two conversions."""
    return Laps(first.processor + second.processor, first.wall + second.wall)


def count(to: int) -> int:
    """Keep the processor busy, with nothing but itself."""
    total = 0
    for number in range(to):
        total += number
    return total


def measure_growth() -> list[str]:
    """Rows about what many conversions leave behind."""
    import bpy

    build_scene(64, 48)
    rows, worst = [], []
    for number in range(WARM_UP + CONVERSIONS + 1):
        if number in (WARM_UP, WARM_UP + CONVERSIONS):
            gc.collect()
            blocks = sum(
                len(getattr(bpy.data, prop.identifier))
                for prop in bpy.data.bl_rna.properties
                if prop.type == "COLLECTION" and prop.identifier != "all_ids"
            )
            rows.append((resident_mib(), blocks, len(list(Path("/proc/self/fd").iterdir()))))
        laps = convert()
        worst.append(max(laps.ticks.processor + laps.showing.processor))
    (memory, blocks, files), (memory_after, blocks_after, files_after) = rows
    return [
        f"| memory, MiB | {memory:.0f} | {memory_after:.0f} |",
        f"| data-blocks | {blocks} | {blocks_after} |",
        f"| open files | {files} | {files_after} |",
        f"| longest tick of the 10 before, ms of processor time; each result joins the history's list "
        f"| {max(worst[WARM_UP - 10 : WARM_UP]):.1f} | {max(worst[-11:-1]):.1f} |",
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

    load = ", ".join(f"{value:.1f}" for value in os.getloadavg())
    sizes = [measure_size(*size) for size in SIZES]
    lines = [
        f"Blender {bpy.app.version_string}, {processor_name()}; load of the machine before it began: {load} "
        "(1, 5, 15 minutes). Milliseconds, processor time of the main thread and the wall's.",
        "",
        "| size | what | processor | wall |",
        "|---|---|---|---|",
        *(row for rows, _longest in sizes for row in rows),
        "",
        f"| size | the {WORST} longest ticks | of it | its longest part: a step that ends in |",
        "|---|---|---|---|",
        *(row for _rows, longest in sizes for row in longest),
    ]
    if growth:
        head = f"| {CONVERSIONS} conversions of 64x48 | after {WARM_UP} | after {WARM_UP + CONVERSIONS} |"
        lines += ["", head, "|---|---|---|", *measure_growth()]
    return "\n".join(lines) + "\n"


def rewrite(document: Path, text: str) -> None:
    """Put the section between its markers."""
    before, begin, rest = document.read_text(encoding="utf-8").partition(BEGIN)
    _old, end, after = rest.partition(END)
    if not begin or not end:
        raise SystemExit(f"measure: error: {document} has no place between {BEGIN} and {END}")
    document.write_text(f"{before}{begin}\n{text}{end}{after}", encoding="utf-8")


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("extension", type=Path, help="the built zip")
    parser.add_argument("document", type=Path, help="Markdown file with the markers")
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
