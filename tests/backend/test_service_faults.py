# SPDX-License-Identifier: GPL-3.0-or-later
"""Processes that die and disks that fill up: no finished picture is lost, and every job ends."""

from __future__ import annotations

import re
import signal
import sqlite3

import numpy as np
import pytest
from fake_worker import expected_image
from live_service import REQUEST, Service, end, events_until, finish, picture, planes_of, wait_for

from protocol import ErrorCode, JobState, PlaneName, Progress, Stage, Status, is_alive
from protocol.client import Lost

IMAGE = picture()


@pytest.mark.parametrize("place", ["loading 0", "inverting 3", "denoising 2", "decoding 1"])
def test_a_worker_killed_at_a_step_still_leads_to_a_result(service: Service, place: str) -> None:
    service.script(at={place: "kill"}, once=True)
    service.start()
    client = service.client()
    finished = finish(client, client.submit(REQUEST, planes_of(IMAGE)))
    assert np.array_equal(finished.planes[PlaneName.IMAGE], expected_image(IMAGE))
    assert len(worker_pids(service)) == 2


def test_a_job_that_kills_its_worker_twice_has_failed_and_the_next_one_runs(service: Service) -> None:
    service.script(at={"inverting 1": "kill"})
    service.start()
    client = service.client()
    status = end(client, client.submit(REQUEST, planes_of(IMAGE)))
    assert (status.error, status.detail) == (ErrorCode.WORKER_CRASHED, "signal 9")
    service.script()
    finish(client, client.submit(REQUEST, planes_of(IMAGE)))


def test_a_device_fault_ends_the_worker_and_the_job_runs_on_a_new_one(service: Service) -> None:
    service.script(at={"denoising 1": "device_fault"}, once=True)
    service.start()
    client = service.client()
    finish(client, client.submit(REQUEST, planes_of(IMAGE)))
    assert len(worker_pids(service)) == 2
    assert "exit status 70" in log(service)


@pytest.mark.parametrize(
    ("action", "code", "detail"),
    [
        ("out_of_memory", ErrorCode.OUT_OF_MEMORY, "it needs 3 GiB more"),
        ("mistake", ErrorCode.INTERNAL, "ZeroDivisionError: a mistake"),
    ],
)
def test_an_error_of_the_job_leaves_the_worker_alive(
    service: Service, action: str, code: ErrorCode, detail: str
) -> None:
    service.script(at={"inverting 2": action}, once=True)
    service.start()
    client = service.client()
    status = end(client, client.submit(REQUEST, planes_of(IMAGE)))
    assert (status.error, status.detail) == (code, detail)
    finish(client, client.submit(REQUEST, planes_of(IMAGE)))
    assert len(worker_pids(service)) == 1


def test_what_a_library_prints_does_not_disturb_the_worker(service: Service) -> None:
    service.script(at={"inverting 2": "print"})
    service.start()
    client = service.client()
    finish(client, client.submit(REQUEST, planes_of(IMAGE)))
    assert "a library prints" in log(service)
    assert len(worker_pids(service)) == 1


def test_a_worker_that_cannot_start_is_told_and_tried_again(service: Service) -> None:
    service.script(refuse=True)
    service.start()
    client = service.client()
    status = end(client, client.submit(REQUEST, planes_of(IMAGE)))
    assert (status.error, status.detail) == (ErrorCode.INSTALLATION_BROKEN, "no module named torch")
    # Mended without a restart of the service.
    service.script()
    finish(client, client.submit(REQUEST, planes_of(IMAGE)))


def test_the_worker_dies_with_a_killed_supervisor(service: Service) -> None:
    service.script(at={"inverting 1": "hang"})
    service.start()
    client = service.client()
    client.submit(REQUEST, planes_of(IMAGE))
    events_until(client, is_at(Stage.INVERTING, 1), "step")
    (pid,) = worker_pids(service)
    service.stop(signal.SIGKILL)
    wait_for(lambda: not is_alive(pid), "end of the worker")


def test_a_supervisor_killed_between_result_and_journal_delivers_it_at_the_next_start(
    service: Service,
) -> None:
    service.script(step_s=0.05)
    service.start()
    client = service.client()
    job_id = client.submit(REQUEST, planes_of(IMAGE))
    events_until(client, is_at(Stage.INVERTING, 1), "step")
    # The supervisor stands still while its worker finishes, so it cannot have journaled or told anything.
    service.process.send_signal(signal.SIGSTOP)
    wait_for(service.result_folder(job_id).is_dir, "result on disk")
    service.stop(signal.SIGKILL)
    written_by = worker_pids(service)
    service.start()
    finished = finish(client, job_id)
    assert np.array_equal(finished.planes[PlaneName.IMAGE], expected_image(IMAGE))
    assert [finished.result.recipe["worker_pid"]] == written_by


def test_a_supervisor_killed_between_journal_and_delivery_delivers_it_at_the_next_start(
    service: Service,
) -> None:
    service.script(step_s=0.05)
    service.start()
    client = service.client()
    job_id = client.submit(REQUEST, planes_of(IMAGE))
    events_until(client, is_at(Stage.INVERTING, 1), "step")
    client.close()
    service.clients.remove(client)
    wait_for(lambda: f"{job_id} '' done" in log(service), "journal row")
    service.stop(signal.SIGKILL)
    written_by = worker_pids(service)
    service.start()
    client = service.client()
    client.query(job_id)
    finished = finish(client, job_id)
    assert np.array_equal(finished.planes[PlaneName.IMAGE], expected_image(IMAGE))
    assert [finished.result.recipe["worker_pid"]] == written_by


def test_a_supervisor_killed_while_a_job_runs_leads_to_a_result(service: Service) -> None:
    service.script(step_s=0.2)
    service.start()
    client = service.client()
    job_id = client.submit(REQUEST, planes_of(IMAGE))
    events_until(client, is_at(Stage.DENOISING, 1), "step")
    service.stop(signal.SIGKILL)
    events_until(client, lambda event: isinstance(event, Lost), "loss")
    service.script()
    service.start()
    assert np.array_equal(finish(client, job_id).planes[PlaneName.IMAGE], expected_image(IMAGE))


def test_queued_jobs_survive_an_orderly_stop_without_their_client(service: Service) -> None:
    service.script(step_s=0.2)
    service.start()
    client = service.client()
    job_ids = [client.submit(REQUEST, planes_of(IMAGE)) for _ in range(3)]
    events_until(client, lambda event: event == Status(job_ids[-1], JobState.QUEUED, 2), "last in the queue")
    events_until(client, is_at(Stage.INVERTING, 1), "step")
    assert service.stop() == 0
    client.close()
    service.clients.remove(client)
    service.script()
    service.start()
    for job_id in job_ids:
        wait_for(lambda job_id=job_id: service.result_folder(job_id).is_dir(), "result on disk")
    # An orderly stop is no failed attempt.
    assert journal_column(service, job_ids[0], "attempts") == 1


def test_what_a_crash_left_half_written_is_removed(service: Service) -> None:
    partial = service.result_folder("b" * 32 + ".part")
    partial.mkdir(parents=True)
    spooled = service.data_dir / "spool" / ("c" * 32)
    spooled.mkdir(parents=True)
    service.start()
    assert not partial.exists()
    assert not spooled.exists()


def test_a_full_disk_fails_the_job_with_the_file_and_the_next_one_runs(service: Service) -> None:
    service.script(at={"inverting 1": "small_disk"}, once=True)
    service.start()
    client = service.client()
    job_id = client.submit(REQUEST, planes_of(picture(256, 256)))
    status = end(client, job_id)
    assert status.error is ErrorCode.DISK_FULL
    assert str(service.result_folder(job_id)) in status.detail
    assert not list((service.data_dir / "results").iterdir())
    service.script(at={"inverting 1": "large_disk"}, once=True)
    finish(client, client.submit(REQUEST, planes_of(picture(256, 256))))


def test_a_damaged_journal_is_moved_aside(service: Service) -> None:
    service.data_dir.mkdir()
    (service.data_dir / "journal.sqlite3").write_bytes(b"not a database" * 1000)
    service.start()
    assert list(service.data_dir.glob("journal.sqlite3.damaged-*"))
    client = service.client()
    finish(client, client.submit(REQUEST, planes_of(IMAGE)))


def test_a_damaged_result_fails_its_job_instead_of_being_delivered(service: Service) -> None:
    service.start()
    client = service.client()
    job_id = client.submit(REQUEST, planes_of(IMAGE))
    finish(client, job_id)
    pixels = service.result_folder(job_id) / "image.plane"
    pixels.write_bytes(bytes(len(pixels.read_bytes())))
    client.query(job_id)
    status = end(client, job_id)
    assert status.error is ErrorCode.INTERNAL
    assert "damaged" in status.detail


def is_at(stage: Stage, step: int):
    """Whether an event is a progress at or after a step."""
    return lambda event: isinstance(event, Progress) and event.stage is stage and event.step >= step


def log(service: Service) -> str:
    return (service.data_dir / "logs" / "serve.log").read_text()


def worker_pids(service: Service) -> list[int]:
    """Process ids of the workers that were started, oldest first."""
    return [int(pid) for pid in re.findall(r"worker started, process (\d+)", log(service))]


def journal_column(service: Service, job_id: str, column: str):
    service.stop()
    with sqlite3.connect(service.data_dir / "journal.sqlite3") as database:
        (value,) = database.execute(f"SELECT {column} FROM jobs WHERE job_id = ?", (job_id,)).fetchone()
    database.close()
    return value
