# SPDX-License-Identifier: GPL-3.0-or-later
"""The worker is started again when it dies, and given up when that leads nowhere."""

from __future__ import annotations

import sys
from collections.abc import Iterator

import pytest
import zmq
from live_service import wait_for

from backend.service import worker_keeper
from backend.service.worker_keeper import Ended, WorkerKeeper
from protocol import ErrorCode, WorkerState

DIES = [sys.executable, "-c", "raise SystemExit(3)"]
TALKS_NONSENSE = [
    sys.executable,
    "-c",
    r"import os; os.write(1, b'\0\0\0\2hi'); import time; time.sleep(600)",
]


@pytest.fixture
def context() -> Iterator[zmq.Context]:
    made = zmq.Context()
    yield made
    made.term()


def deaths_until_given_up(keeper: WorkerKeeper) -> list[Ended]:
    deaths: list[Ended] = []

    def is_given_up() -> bool:
        keeper.tick()
        keeper.inbox.poll(20)
        deaths.extend(report for report in keeper.reports() if isinstance(report, Ended))
        return keeper.state is WorkerState.STOPPED

    wait_for(is_given_up, "giving up")
    return deaths


def test_a_worker_that_dies_again_and_again_is_given_up_until_it_is_wanted(
    context: zmq.Context, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(worker_keeper, "RESTART_PAUSES_S", (0.0, 0.01))
    keeper = WorkerKeeper(context, DIES)
    assert keeper.state is WorkerState.STARTING
    assert deaths_until_given_up(keeper) == [Ended("", "exit status 3")] * 3
    assert keeper.stopped_for is not None
    assert keeper.stopped_for.code is ErrorCode.WORKER_CRASHED
    assert keeper.stopped_for.detail == "exit status 3, 3 times in a row"
    keeper.revive()
    assert keeper.state is WorkerState.STARTING
    assert len(deaths_until_given_up(keeper)) == 3
    keeper.close()


def test_a_worker_that_talks_nonsense_is_killed(
    context: zmq.Context, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(worker_keeper, "RESTART_PAUSES_S", ())
    keeper = WorkerKeeper(context, TALKS_NONSENSE)
    assert deaths_until_given_up(keeper) == [Ended("", "signal 9")]
    keeper.close()


def test_a_program_that_is_not_there_is_told(context: zmq.Context) -> None:
    keeper = WorkerKeeper(context, ["/no/such/python"])
    keeper.tick()
    assert keeper.stopped_for is not None
    assert keeper.stopped_for.code is ErrorCode.INSTALLATION_BROKEN
    assert "/no/such/python: No such file" in keeper.stopped_for.detail
    keeper.close()
