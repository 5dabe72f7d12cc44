# SPDX-License-Identifier: GPL-3.0-or-later
"""`python -m backend.speed`: one run, one table. Without CUDA it measures the starter on the CPU."""

from __future__ import annotations

import argparse
import json
import platform
import shlex
import subprocess
import sys
from dataclasses import replace
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch

from .ceilings import measure_ceilings
from .measure import Case, Figure, as_row, measure, say
from .together import measure_together

SIZES = ((512, 512), (768, 1024), (1024, 1024), (2048, 2048), (3840, 2160))
BATCHES = {(768, 1024): (4, 8)}
COLUMNS = ("model", "size", "batch", "GPUs", "method", "s a picture", "GiB", "passes", "TFLOP/s", "where")


def main() -> None:
    """Measure what the arguments say, and write `performance.json` and `performance.md`."""
    options = _options()
    options.output.mkdir(parents=True, exist_ok=True)
    record: dict[str, Any] = {
        "command": shlex.join(["python", "-m", "backend.speed", *sys.argv[1:]]),
        "date": datetime.now(UTC).date().isoformat(),
        "device": _device_name(options.device),
        "versions": {name: version(name) for name in ("torch", "diffusers")},
        "ceilings": measure_ceilings(options.device),
        "log": [],
        "rows": [],
    }

    def log(text: str) -> None:
        say(text)
        record["log"].append(text)

    def take(figure: Figure) -> None:
        say(str(as_row(figure)))
        record["rows"].append(as_row(figure))
        _write(options.output, record)

    for case in _cases(options):
        title = f"{case.model} {case.width}x{case.height}"
        log(title)
        try:
            for figure in measure(case, options.released, log):
                take(figure)
            if case.is_cuda and options.gpus > 1:
                take(replace(measure_together(case, options.gpus), gpus=options.gpus))
        except (torch.OutOfMemoryError, RuntimeError, subprocess.SubprocessError) as error:
            # One that fails is a line of the table too, and the others are still measured.
            log(f"{title}: {type(error).__name__}: {error}")
    _write(options.output, record)


def _options() -> argparse.Namespace:
    has_cuda = torch.cuda.is_available()
    parser = argparse.ArgumentParser(prog="python -m backend.speed", description=__doc__)
    parser.add_argument("--device", default="cuda:0" if has_cuda else "cpu")
    parser.add_argument("--model", action="append", choices=("starter", "sd15", "sdxl"))
    parser.add_argument("--size", action="append", metavar="WIDTHxHEIGHT")
    parser.add_argument("--batch", action="append", type=int)
    parser.add_argument("--gpus", type=int, default=torch.cuda.device_count())
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--released", action=argparse.BooleanOptionalAction, default=True)
    parser.add_argument("--output", type=Path, default=Path("out/speed"))
    return parser.parse_args()


def _cases(options: argparse.Namespace) -> list[Case]:
    is_cuda = options.device.startswith("cuda")
    models = options.model or (["sd15", "sdxl", "starter"] if is_cuda else ["starter"])
    sizes = [tuple(map(int, size.split("x"))) for size in options.size or ()]
    sizes = sizes or (list(SIZES) if is_cuda else [(384, 512)])
    return [
        Case(
            model,
            options.device,
            width,
            height,
            tuple(options.batch or (BATCHES.get((width, height), ()) if is_cuda else ())),
            options.repeats,
        )
        for model in models
        for width, height in sizes
    ]


def _write(folder: Path, record: dict[str, Any]) -> None:
    (folder / "performance.json").write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
    lines = [
        f"`{record['command']}`, {record['date']}, {record['device']}",
        "",
        f"| {' | '.join(COLUMNS)} |",
        f"|{'---|' * len(COLUMNS)}",
    ]
    for row in record["rows"]:
        size = f"{row['width']}x{row['height']}"
        names = ("batch", "gpus", "method", "seconds_per_image", "peak_gib", "unet_passes", "tflops")
        cells = [row["model"], size, *(row[name] for name in names), row.get("note", "")]
        lines.append(f"| {' | '.join(map(str, cells))} |")
    (folder / "performance.md").write_text("\n".join(lines) + "\n", encoding="utf-8")


def _device_name(device: str) -> str:
    if device.startswith("cuda"):
        return torch.cuda.get_device_name(device)
    return f"{platform.processor() or platform.machine()}, {torch.get_num_threads()} threads"


if __name__ == "__main__":
    main()
