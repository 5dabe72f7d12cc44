# SPDX-License-Identifier: GPL-3.0-or-later
"""One of the processes of `python -m backend.speed`: it measures one case and tells what it found, line by line.

Each line on standard output is a map in JSON: `row`, `equality`, `log`, or `turn`, which asks for the device ("take",
answered by a line on standard input) or gives it back ("give"). Compiling goes on beside other processes; whatever is
timed has the device alone.
"""

from __future__ import annotations

import argparse
import gc
import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

from .equality import compare
from .measure import Case, as_row, measure_ours, measure_released, measure_small, measure_start

PARTS = {
    "ours": measure_ours,
    "small": measure_small,
    "released": measure_released,
    "start": measure_start,
}


def tell(**line: Any) -> None:
    """Write a line to the process that started this one."""
    print(json.dumps(line), flush=True)


@contextmanager
def turn() -> Iterator[None]:
    """Wait for the device, and give it back."""
    tell(turn="take")
    sys.stdin.readline()
    yield
    if torch.cuda.is_available():
        torch.cuda.synchronize()
        # The others are many, the device's memory is one.
        gc.collect()
        torch.cuda.empty_cache()
    tell(turn="give")


def main() -> None:
    """Measure what the arguments say."""
    parser = argparse.ArgumentParser(description="Started by `python -m backend.speed`, never by hand.")
    for name, kind in (
        ("model", str),
        ("device", str),
        ("width", int),
        ("height", int),
        ("batch", int),
        ("repeats", int),
    ):
        parser.add_argument(f"--{name}", type=kind, required=True)
    parser.add_argument("--part", choices=(*PARTS, "equality"), required=True)
    parser.add_argument("--picture", type=Path, action="append", default=[])
    options = vars(parser.parse_args())
    part, pictures = (options.pop(name) for name in ("part", "picture"))
    case = Case(**options)
    if case.is_cuda:
        torch.cuda.set_device(case.device)
    if part == "equality":
        for figure in compare(case, pictures, turn):
            tell(equality={"model": case.model, "width": case.width, "height": case.height, **figure})
    else:
        for row in PARTS[part](case, lambda text: tell(log=text), turn):
            tell(row=as_row(row))


if __name__ == "__main__":
    main()
