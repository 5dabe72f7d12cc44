# SPDX-License-Identifier: GPL-3.0-or-later
"""Measuring in processes that take turns on a device."""

from __future__ import annotations

import threading
from typing import Any

import pytest

from backend.speed import processes
from backend.speed.processes import CaseProcess, Devices

ARGUMENTS = ["--part", "nothing"]


def test_a_part_that_fails_is_a_line_and_gives_its_turn_back() -> None:
    devices, told = Devices(["cpu"]), []
    process = CaseProcess(ARGUMENTS, "cpu", devices, told.append)
    process.wait()
    assert told == [{"log": "ended with status 2: --part nothing"}]
    with devices.all():
        pass


def test_one_that_waits_for_its_turn_is_stopped(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(processes, "GRACE_S", 0.1)
    devices, told, asked = Devices(["cpu"]), [], threading.Event()

    def take(line: dict[str, Any]) -> None:
        told.append(line)
        asked.set()

    size = [text for name in ("width", "height") for text in (f"--{name}", "64")]
    arguments = ["--part", "ours", "--model", "starter", *size, "--batch", "1", "--repeats", "1"]
    with devices.all():
        process = CaseProcess(arguments, "cpu", devices, take)
        process.wait(0.5)
        assert process.is_running
        process.stop()
    assert [line["log"].split(":")[0] for line in told[:1]] == ["stopped, out of time"]
    process.wait(10)
    assert not process.is_running
    with devices.all():
        pass
