# SPDX-License-Identifier: GPL-3.0-or-later
"""A run that is killed at any moment and started again ends with the bytes of one that was left alone."""

from __future__ import annotations

import multiprocessing
import random
import signal
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest
from adapt_request import run_alone

STEPS = 8
KILLS = 3


def cpu_seconds_until(process: multiprocessing.process.BaseProcess, limit: float) -> float:
    """Wait until a process ends or has worked so long, whatever else the machine does; returns its work so far."""
    worked = 0.0
    while process.is_alive() and worked < limit:
        try:
            times = psutil.Process(process.pid).cpu_times()
        except psutil.NoSuchProcess:
            break
        worked = max(worked, times.user + times.system)
        time.sleep(0.005)
    if limit == float("inf"):
        process.join()
    return worked


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="no processes that can be forked")
def test_three_kills_at_random_moments_change_no_byte(
    tmp_path: Path, pictures: Path, write_tiny: Callable[[str, Path], Path]
) -> None:
    model = write_tiny("sd15", tmp_path / "base")
    # A server that has loaded the libraries already, so that a kill meets work and not imports.
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["backend.adaptation.run", "adapt_request"])

    def start(out: Path) -> multiprocessing.process.BaseProcess:
        process = context.Process(target=run_alone, args=(model, pictures, out, STEPS))
        process.start()
        return process

    unbroken = start(tmp_path / "unbroken" / "domain")
    work = cpu_seconds_until(unbroken, float("inf"))
    assert unbroken.exitcode == 0
    broken, moments, files_at_kill = tmp_path / "broken" / "domain", [], []
    while len(moments) < KILLS:
        process = start(broken)
        moments.append(random.uniform(0.02, 0.27) * work)
        cpu_seconds_until(process, moments[-1])
        assert process.is_alive(), f"complete before the kill: {moments} of {work:.1f} s"
        process.kill()
        process.join()
        assert process.exitcode == -signal.SIGKILL
        files_at_kill.append(len(list(broken.rglob("*"))))
    last = start(broken)
    last.join()
    assert last.exitcode == 0
    story = f"killed after {moments} of {work:.1f} s of work, with {files_at_kill} files"
    expected, got = (
        {path.relative_to(root).as_posix(): path for path in root.rglob("*") if path.is_file()}
        for root in (tmp_path / "unbroken", broken.parent)
    )
    assert "domain/unet_lora.safetensors" in expected
    assert "domain/training/losses.csv" in expected
    assert got.keys() == expected.keys(), story
    different = [name for name, path in expected.items() if path.read_bytes() != got[name].read_bytes()]
    assert not different, story
