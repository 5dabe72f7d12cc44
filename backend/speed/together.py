# SPDX-License-Identifier: GPL-3.0-or-later
"""Several GPUs: one process each, as the service has it, all at work at the same time."""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from dataclasses import replace
from typing import IO, cast

import torch

from backend.translation import Translator

from .measure import OURS, REQUEST, Case, Figure, Flops, translate_timed
from .models import make_model
from .processes import Turns

FRAMES = 8
"""Frames that each GPU translates."""


def measure_together(case: Case, devices: Sequence[str], turns: Turns, deadline: float) -> Figure:
    """Seconds a frame when every device works on frames of its own.

    Raises:
        subprocess.SubprocessError: A worker ended, or there was no time left.
    """
    size = ["--width", str(case.width), "--height", str(case.height)]
    command = [sys.executable, "-m", "backend.speed.together", "--model", case.model, *size]
    workers = [
        subprocess.Popen(
            [*command, "--device", name], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        for name in devices
    ]
    guard = threading.Timer(max(0.0, deadline - time.monotonic()), _kill, [workers])
    guard.daemon = True
    guard.start()
    try:
        for worker in workers:
            _hear(worker)
        with turns.alone():
            start = time.perf_counter()
            for worker in workers:
                stdin = cast("IO[str]", worker.stdin)
                stdin.write("go\n")
                stdin.flush()
            figures = [json.loads(_hear(worker)) for worker in workers]
            seconds = (time.perf_counter() - start) / (FRAMES * len(workers))
    finally:
        guard.cancel()
        for worker in workers:
            worker.kill()
            worker.communicate()
    return replace(
        Figure(**figures[0]),
        seconds_per_image=round(seconds, 4),
        tflops=round(figures[0]["tflops"] * figures[0]["seconds_per_image"] / seconds, 3),
    )


def _kill(workers: Sequence[subprocess.Popen[str]]) -> None:
    for worker in workers:
        worker.kill()


def _hear(worker: subprocess.Popen[str]) -> str:
    line = cast("IO[str]", worker.stdout).readline()
    if not line:
        raise subprocess.SubprocessError(f"a worker ended with status {worker.wait()}")
    return line


def main() -> None:
    """One of the processes: prepares, says so, waits for the word, translates, and says how long it took."""
    parser = argparse.ArgumentParser(description="Started by `python -m backend.speed`, never by hand.")
    for name, kind in (("model", str), ("device", str), ("width", int), ("height", int)):
        parser.add_argument(f"--{name}", type=kind, required=True)
    case = Case(**vars(parser.parse_args()))
    torch.cuda.set_device(case.device)
    model = make_model(case.model, case.device, torch.float16)
    translator = Translator(model)
    translate_timed(translator, case, REQUEST, seed=0)
    while translator.prepare():
        pass
    print("ready", flush=True)
    sys.stdin.readline()
    start = time.perf_counter()
    for frame in range(FRAMES):
        translate_timed(translator, case, REQUEST, seed=1 + frame)
    seconds = (time.perf_counter() - start) / FRAMES
    figure = Flops(model, case).figure("compiled", 1, seconds, None, "", OURS)
    print(json.dumps(vars(figure)), flush=True)


if __name__ == "__main__":
    main()
