# SPDX-License-Identifier: GPL-3.0-or-later
"""Measuring in processes that take turns."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from backend.speed import processes
from backend.speed.processes import CaseProcess, Turns

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="Windows cannot pause a process")
OURS = ["--part", "ours", "--device", "cpu", "--model", "starter", "--width", "64", "--height", "64"]


@pytest.fixture
def sleeper() -> Any:
    process = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE, process_group=0)
    yield process
    os.killpg(process.pid, signal.SIGCONT)
    process.communicate(b"\n")


def state_of(process: subprocess.Popen[bytes]) -> str:
    return Path(f"/proc/{process.pid}/stat").read_text(encoding="ascii").split()[2]


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_the_others_are_paused_while_one_is_timed(sleeper: subprocess.Popen[bytes]) -> None:
    turns = Turns()
    turns.join(sleeper.pid)
    with turns.alone(sleeper.pid):
        assert state_of(sleeper) != "T"
    with turns.alone():
        assert state_of(sleeper) == "T"
    assert state_of(sleeper) != "T"
    turns.leave(sleeper.pid)
    with turns.alone():
        assert state_of(sleeper) != "T"


def test_what_is_told_in_a_turn_is_heard(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program = tmp_path / "program"
    said = (
        '{"log": "before"}',
        '{"turn": "take"}',
        "noise",
        '{"log": "within"}',
        '{"turn": "give"}',
        '{"row": 1}',
    )
    before, within = "\n".join(said[:2]), "\n".join(said[2:])
    program.write_text(f"#!/bin/sh\necho '{before}'\nread word\necho '{within}'\n", encoding="ascii")
    program.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(program))
    told: list[dict[str, Any]] = []
    CaseProcess([], Turns(), told.append).wait()
    assert told == [{"log": "before"}, {"log": "within"}, {"row": 1}]


def test_of_those_that_wait_the_lowest_rank_is_next() -> None:
    turns, order = Turns(), []

    def wait(rank: int) -> None:
        with turns.alone(rank=rank):
            order.append(rank)

    threads = [threading.Thread(target=wait, args=(rank,)) for rank in (3, 1, 2)]
    with turns.alone():
        for thread in threads:
            thread.start()
        while len(turns._waiting) < len(threads):
            time.sleep(0.01)
    for thread in threads:
        thread.join()
    assert order == [1, 2, 3]


def test_a_part_that_fails_is_a_line_and_leaves_the_turns_to_others() -> None:
    turns, told = Turns(), []
    process = CaseProcess(["--part", "nothing"], turns, told.append)
    process.wait()
    assert told == [{"log": "ended with status 2: --part nothing"}]
    with turns.alone():
        pass


def test_one_that_runs_out_of_time_is_stopped(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(processes, "GRACE_S", 10.0)
    turns, told = Turns(), []
    process = CaseProcess([*OURS, "--batch", "1", "--repeats", "1"], turns, told.append)
    process.wait(0.5)
    assert process.is_running
    process.stop()
    assert not process.is_running
    assert [line["log"].split(":")[0] for line in told] == ["stopped, out of time"]
    with turns.alone():
        pass
