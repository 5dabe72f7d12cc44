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


def measure_together(
    case: Case, devices: Sequence[str], turns: Turns, deadline: float
) -> tuple[Figure, Figure]:
    """Seconds a frame of the first device alone, and when every device works on frames of its own.

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
            return _work(workers[:1]), _work(workers)
    finally:
        guard.cancel()
        for worker in workers:
            worker.kill()
            worker.communicate()


def _work(workers: Sequence[subprocess.Popen[str]]) -> Figure:
    """What these workers do at the same time."""
    start = time.perf_counter()
    for worker in workers:
        stdin = cast("IO[str]", worker.stdin)
        stdin.write("go\n")
        stdin.flush()
    figures = [Figure(**json.loads(_hear(worker))) for worker in workers]
    seconds = (time.perf_counter() - start) / (FRAMES * len(workers))
    first = figures[0]
    return replace(
        first,
        gpus=len(workers),
        seconds_per_image=round(seconds, 4),
        tflops=round(first.tflops * first.seconds_per_image / seconds, 3),
        note=f"{FRAMES} frames each, a process each",
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
    """One of the processes: prepares, says so, and at each word translates its frames and says how long it took."""
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
    translate_timed(translator, case, REQUEST, seed=0)
    print("ready", flush=True)
    flops = Flops(model, case)
    for turn, _word in enumerate(sys.stdin):
        start = time.perf_counter()
        for frame in range(FRAMES):
            translate_timed(translator, case, REQUEST, seed=1 + turn * FRAMES + frame)
        seconds = (time.perf_counter() - start) / FRAMES
        print(json.dumps(vars(flops.figure("compiled", 1, seconds, None, "", OURS))), flush=True)


if __name__ == "__main__":
    main()
