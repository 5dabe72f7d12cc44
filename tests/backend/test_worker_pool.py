# SPDX-License-Identifier: GPL-3.0-or-later
"""Several workers share the queue, a worker that hangs is replaced, and an idle one makes itself faster."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from live_service import REQUEST, Service, events_until, finish, picture, planes_of

from backend.service import serve, worker_pool
from backend.service.channel import read_header, read_message
from backend.service.worker import PREPARING, Worker
from backend.service.worker_pool import WorkerPool
from protocol import Event, Finished, PlaneName, Pong, Submit, TranslationRequest, WorkerState
from protocol.planes import describe


def test_two_workers_share_the_queue(service: Service) -> None:
    """Each job takes its worker a while, so the second goes to the other one."""
    service.script(step_s=0.1)
    service.start("--device", "cpu,cpu")
    client = service.client()
    jobs = [client.submit(REQUEST, planes_of(picture(16 + n))) for n in range(4)]
    results: dict[str, Finished] = {}

    def is_last(event: Event) -> bool:
        if isinstance(event, Finished) and event.job_id not in results:
            results[event.job_id] = event
            client.acknowledge(event.job_id)
        return len(results) == len(jobs)

    events_until(client, is_last, "end of all jobs")
    assert len({result.result.recipe["worker_pid"] for result in results.values()}) == 2
    for n, job_id in enumerate(jobs):
        assert np.array_equal(results[job_id].planes[PlaneName.IMAGE], 255 - picture(16 + n))


def test_a_worker_that_hangs_is_replaced_and_the_job_done(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody cancels: the silence alone gives it away."""
    monkeypatch.setenv("FAKE_HANG_S", "5")
    service.script(at={"inverting 2": "hang"}, once=True)
    service.start()
    client = service.client()
    result = finish(client, client.submit(REQUEST, planes_of(picture())))
    assert np.array_equal(result.planes[PlaneName.IMAGE], 255 - picture())
    assert "did not move for 5 s" in (service.data_dir / "logs" / "serve.log").read_text()


class IdleKeeper:
    """A keeper whose worker is idle until it gets a job."""

    def __init__(self, _context: object, command: list[str], _number: int) -> None:
        self.device = command[-1]
        self.devices: tuple[str, ...] = ("cpu",)
        self.inbox = None
        self.stopped_for: Any = None
        self.jobs: list[str] = []
        self.state = WorkerState.IDLE

    def run(self, job: Submit) -> None:
        self.jobs.append(job.job_id)
        self.state = WorkerState.BUSY


def job(number: int, image: np.ndarray, model: str = "starter") -> Submit:
    plane = describe(PlaneName.IMAGE, image)
    return Submit(f"{number:032x}", TranslationRequest(model=model), (plane,))


def test_a_look_at_the_same_picture_goes_to_the_worker_that_knows_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(worker_pool, "WorkerKeeper", IdleKeeper)
    pool = WorkerPool(None, [["cuda:0"], ["cuda:1"]])  # type: ignore[arg-type]
    first, second = pool._keepers
    one, other = picture(), picture(20)

    def run(number: int, image: np.ndarray, model: str = "starter") -> None:
        pool.run(job(number, image, model))

    def rest() -> None:
        first.state = second.state = WorkerState.IDLE

    run(1, one)
    assert pool.state is WorkerState.BUSY and pool.has_idle
    run(2, other)
    assert not pool.has_idle and pool.device == "cuda:0, cuda:1"
    rest()
    run(3, other)
    run(4, one)
    assert (first.jobs, second.jobs) == ([f"{n:032x}" for n in (1, 4)], [f"{n:032x}" for n in (2, 3)])
    rest()
    run(5, other, "another model")
    assert len(first.jobs) == 3, "what it knows of the picture is of no use under another model"
    second.state, first.stopped_for = WorkerState.STOPPED, ValueError("given up")
    assert pool.stopped_for is None, "one that works is enough"


@pytest.mark.parametrize(
    ("device", "devices"),
    [("auto", ["auto"]), ("cuda:0,cuda:2", ["cuda:0", "cuda:2"]), ("cuda:all", ["cuda:0", "cuda:1"])],
)
def test_devices_that_get_a_worker(monkeypatch: pytest.MonkeyPatch, device: str, devices: list[str]) -> None:
    monkeypatch.setattr(serve, "COUNT_DEVICES", (serve.sys.executable, "-c", "print(2)"))
    assert serve.worker_devices(device) == devices


class Preparing:
    """An engine on CUDA with three things to prepare."""

    def __init__(self, failing: bool) -> None:
        self.device, self.devices = "cuda:0 A card", ("cpu", "cuda:0 A card")
        self.left, self.failing = 3, failing

    def prepare(self) -> bool:
        if self.failing:
            raise ValueError("no compiler")
        self.left -= 1
        return self.left > 0


def prepared(tmp_path: Path, engine: Preparing, is_wanted: bool) -> list[str]:
    """The device in words as reported, while a worker prepares twice."""
    stream = io.BytesIO()
    worker = Worker(engine, tmp_path, [], stream)  # type: ignore[arg-type]
    for _ in range(2):
        worker.prepare(lambda: is_wanted)
    stream.seek(0)
    words = []
    while header := read_header(stream):
        message = read_message(header)
        assert isinstance(message, Pong) and message.worker is WorkerState.IDLE
        words.append(message.device)
    return words


@pytest.mark.parametrize(("is_wanted", "left"), [(False, -1), (True, 1)])
def test_an_idle_worker_prepares_and_says_so(tmp_path: Path, is_wanted: bool, left: int) -> None:
    """All of it when nobody waits; one part at a time when somebody does."""
    engine = Preparing(failing=False)
    words = prepared(tmp_path, engine, is_wanted)
    assert words == [f"cuda:0 A card{PREPARING}", "cuda:0 A card"] * 2
    assert engine.left == left


def test_a_fast_path_that_fails_is_done_without(tmp_path: Path) -> None:
    words = prepared(tmp_path, Preparing(failing=True), is_wanted=False)
    assert words == [f"cuda:0 A card{PREPARING}", "cuda:0 A card"], "not tried again"
