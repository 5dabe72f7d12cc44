# SPDX-License-Identifier: GPL-3.0-or-later
"""`python -m backend.speed`: one run, one table. Without CUDA it measures the starter on the CPU.

Each part of each case is measured by a process of its own; they compile side by side and take turns on the devices to
be timed.
"""

from __future__ import annotations

import argparse
import platform
import shlex
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch

from .ceilings import measure_ceilings
from .measure import Case, as_row, say
from .processes import CaseProcess, Turns
from .table import write_table
from .together import measure_together

MAIN = ("sd15", 768, 1024)
"""What is measured in batches, and beside the released procedure."""
CASES = (
    ("ours", *MAIN, 1),
    ("ours", *MAIN, 8),
    ("ours", "starter", 384, 512, 1),
    ("ours", "sd15", 2048, 2048, 1),
    ("ours", *MAIN, 4),
    ("ours", "sdxl", 1024, 1024, 1),
    ("ours", "sd15", 1024, 1024, 1),
    ("ours", "sd15", 512, 512, 1),
    ("released", *MAIN, 1),
    ("released", "starter", 384, 512, 1),
    ("released", "sd15", 512, 512, 1),
    ("ours", "sd15", 3840, 2160, 1),
    ("small", *MAIN, 1),
    ("equality", "starter", 384, 512, 1),
    ("equality", *MAIN, 1),
    ("start", *MAIN, 1),
    ("released", "sd15", 1024, 1024, 1),
    ("released", "sdxl", 1024, 1024, 1),
)
"""Part, model, width, height and batch: those first that take long to compile, and among them the most important."""
AFTER_OURS = ("small", "equality", "start")
"""Parts that find their kernels in the compiler's cache, if the part `ours` of the same case has ended."""
JOB_BYTES = 8 << 30
"""Memory of a device for each process beside the others; most hold half of it when it is not their turn."""
CPU_CASES = (("ours", "starter", 384, 512, 1), ("equality", "starter", 384, 512, 1))


def main() -> None:
    """Measure what the arguments say, and write `performance.json` and `performance.md`."""
    options = _options()
    options.output.mkdir(parents=True, exist_ok=True)
    deadline = time.monotonic() + options.limit_s
    record: dict[str, Any] = {
        "command": shlex.join(["python", "-m", "backend.speed", *sys.argv[1:]]),
        "date": datetime.now(UTC).date().isoformat(),
        "device": _device_name(options.device[0]),
        "versions": {name: version(name) for name in ("torch", "diffusers")},
        "ceilings": measure_ceilings(options.device[0]),
        "log": [],
        "equality": [],
        "rows": [],
    }
    writing = threading.Lock()

    def take(told: dict[str, Any], title: str = "") -> None:
        with writing:
            for kind, value in told.items():
                value = f"{title}: {value}" if kind == "log" and title else value
                say(str(value) if kind == "log" else f"{title}: {value}")
                record["rows" if kind == "row" else kind].append(value)
            write_table(options.output, record)

    turns = Turns()
    running: list[CaseProcess] = []
    ours: dict[Case, CaseProcess] = {}
    together: threading.Thread | None = None
    for number, (part, case) in enumerate(_cases(options)):
        while sum(process.is_running for process in running) >= options.jobs and time.monotonic() < deadline:
            time.sleep(0.2)
        if part in AFTER_OURS and case in ours:
            ours[case].wait(max(0.0, deadline - time.monotonic()))
        title = f"{part}, {case.model} {case.width}x{case.height}, batch {case.batch}"
        if time.monotonic() >= deadline:
            take({"log": "left out, out of time"}, title)
            continue
        placed = replace(case, device=options.device[number % len(options.device)])
        listen = partial(take, title=title)
        running.append(CaseProcess(_arguments(part, placed, options), turns, listen, rank=number))
        if part == "ours":
            ours[case] = running[-1]
        if number == 0 and len(options.device) > 1:
            work = (case, running[0], options.device, turns, take, deadline)
            together = threading.Thread(target=_together, args=work, daemon=True)
            together.start()
    for process in running:
        process.wait(max(0.0, deadline - time.monotonic()))
    if together is not None:
        together.join(max(0.0, deadline - time.monotonic()))
    for process in running:
        process.stop()
    write_table(options.output, record)


def _arguments(part: str, case: Case, options: argparse.Namespace) -> list[str]:
    numbers = {name: str(getattr(case, name)) for name in ("model", "width", "height", "batch", "repeats")}
    arguments = [
        "--part",
        part,
        "--device",
        case.device,
        *(text for name, value in numbers.items() for text in (f"--{name}", value)),
    ]
    if part == "equality" and case.model == "starter":
        arguments += [text for file in options.picture for text in ("--picture", str(file))]
    return arguments


def _together(
    case: Case,
    alone: CaseProcess,
    devices: Sequence[str],
    turns: Turns,
    take: Callable[..., None],
    deadline: float,
) -> None:
    """When the first case has filled the compiler's cache: all devices at once, on frames of their own."""
    alone.wait(max(0.0, deadline - time.monotonic()))
    try:
        figures = measure_together(case, devices, turns, deadline)
    except subprocess.SubprocessError as error:
        take({"log": f"{len(devices)} devices together: {error}"})
        return
    for figure in figures:
        take({"row": as_row(figure)})


def _options() -> argparse.Namespace:
    count = torch.cuda.device_count()
    parser = argparse.ArgumentParser(prog="python -m backend.speed", description=__doc__)
    parser.add_argument("--device", action="append", help="default: every CUDA device, or the CPU")
    parser.add_argument("--case", action="append", metavar="PART:MODEL:WIDTHxHEIGHT[:BATCH]")
    parser.add_argument(
        "--picture", type=Path, action="append", default=[], help="for the starter's equality"
    )
    parser.add_argument("--repeats", type=int, default=3)
    room = torch.cuda.get_device_properties(0).total_memory // JOB_BYTES if count else 1
    parser.add_argument("--jobs", type=int, default=max(1, room), help="processes side by side")
    parser.add_argument("--limit-s", type=float, default=3600.0, help="ends then with what it has")
    parser.add_argument("--output", type=Path, default=Path("out/speed"))
    options = parser.parse_args()
    options.device = options.device or [f"cuda:{number}" for number in range(count)] or ["cpu"]
    return options


def _cases(options: argparse.Namespace) -> Iterator[tuple[str, Case]]:
    cases: Sequence[tuple[str, str, int, int, int]] = (
        CASES if options.device[0].startswith("cuda") else CPU_CASES
    )
    if options.case:
        cases = [_read_case(text) for text in options.case]
    for part, model, width, height, batch in cases:
        yield part, Case(model, options.device[0], width, height, batch, options.repeats)


def _read_case(text: str) -> tuple[str, str, int, int, int]:
    part, model, size, *batch = text.split(":")
    width, height = size.split("x")
    return part, model, int(width), int(height), int(batch[0]) if batch else 1


def _device_name(device: str) -> str:
    if device.startswith("cuda"):
        return torch.cuda.get_device_name(device)
    return f"{platform.processor() or platform.machine()}, {torch.get_num_threads()} threads"


if __name__ == "__main__":
    main()
