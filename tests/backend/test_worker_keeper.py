# SPDX-License-Identifier: GPL-3.0-or-later
"""The worker is started again when it dies, and given up when that leads nowhere."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import closing
from io import BytesIO

import pytest
import zmq
from live_service import REQUEST, picture, wait_for

from backend.service import worker_keeper
from backend.service.channel import write_message
from backend.service.worker_keeper import Ended, WorkerKeeper
from protocol import ErrorCode, PlaneName, Pong, Submit, WorkerState
from protocol.planes import describe

DIES = [sys.executable, "-c", "raise SystemExit(3)"]
TALKS_NONSENSE = [
    sys.executable,
    "-c",
    r"import os; os.write(1, b'\0\0\0\2hi'); import time; time.sleep(600)",
]


def deaf_worker() -> list[str]:
    """The command of a worker that says it is ready, and listens to nothing."""
    ready = BytesIO()
    write_message(ready, Pong("epoch", WorkerState.IDLE, "cpu"))
    program = f"import os; os.write(1, {ready.getvalue()!r}); import time; time.sleep(600)"
    return [sys.executable, "-c", program]


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


def test_a_worker_that_is_killed_for_unheeded_cancels_is_not_given_up(
    context: zmq.Context, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(worker_keeper, "RESTART_PAUSES_S", (0.0, 0.01))
    monkeypatch.setattr(worker_keeper, "CANCEL_GRACE_S", 0.0)
    ends: list[Ended] = []
    with closing(WorkerKeeper(context, deaf_worker())) as keeper:

        def is_settled() -> bool:
            keeper.tick()
            keeper.inbox.poll(20)
            ends.extend(report for report in keeper.reports() if isinstance(report, Ended))
            return keeper.state in (WorkerState.IDLE, WorkerState.STOPPED)

        planes = (describe(PlaneName.IMAGE, picture()),)
        for number in range(4):
            wait_for(is_settled, "worker that is ready")
            assert keeper.stopped_for is None
            job_id = f"{number:032x}"
            keeper.run(Submit(job_id, REQUEST, planes))
            keeper.cancel(job_id)
            wait_for(is_settled, "worker after the cancel")
            assert ends[number:] == [Ended(job_id, "signal 9")]
        assert keeper.state is WorkerState.IDLE


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
