# SPDX-License-Identifier: GPL-3.0-or-later
"""Cancel at every point of a job's life: it ends as cancelled, leaves nothing behind, and the next one runs."""

from __future__ import annotations

import numpy as np
import pytest
from fake_worker import expected_image
from live_service import REQUEST, Service, end, events_until, finish, picture, planes_of

from protocol import ErrorCode, Finished, JobState, PlaneName, Progress, Stage, Status

IMAGE = picture()


@pytest.mark.parametrize("stage", [Stage.LOADING, Stage.INVERTING, Stage.DENOISING, Stage.DECODING])
def test_cancel_while_running(service: Service, stage: Stage) -> None:
    service.script(step_s=0.2)
    service.start()
    client = service.client()
    job_id = client.submit(REQUEST, planes_of(IMAGE))
    events_until(client, lambda event: isinstance(event, Progress) and event.stage is stage, "stage")
    client.cancel(job_id)
    assert end(client, job_id) == Status(job_id, JobState.CANCELLED)
    next_job_runs(service, client, job_id)
    assert (service.data_dir / "logs" / "serve.log").read_text().count("worker started") == 1


def test_cancel_in_the_queue(service: Service) -> None:
    service.script(step_s=0.2)
    service.start()
    client = service.client()
    running = client.submit(REQUEST, planes_of(IMAGE))
    queued = client.submit(REQUEST, planes_of(picture(height=9)))
    events_until(client, lambda event: event == Status(queued, JobState.QUEUED, 1), "queue")
    client.cancel(queued)
    assert end(client, queued) == Status(queued, JobState.CANCELLED)
    service.script()
    finish(client, running)
    next_job_runs(service, client, queued)


def test_cancel_before_the_planes_have_arrived(service: Service) -> None:
    service.start()
    client = service.client()
    job_id = client.submit(REQUEST, planes_of(picture(2000, 2000, np.float32)))
    events_until(client, lambda event: event == Status(job_id, JobState.ACCEPTED), "acceptance")
    client.cancel(job_id)
    assert end(client, job_id) == Status(job_id, JobState.CANCELLED)
    next_job_runs(service, client, job_id)


def test_cancel_a_result_that_nobody_took(service: Service) -> None:
    service.start()
    client = service.client()
    job_id = client.submit(REQUEST, planes_of(IMAGE))
    finish(client, job_id)
    client.cancel(job_id)
    assert end(client, job_id) == Status(job_id, JobState.CANCELLED)
    next_job_runs(service, client, job_id)


def test_cancel_after_the_end_changes_nothing(service: Service) -> None:
    service.script(at={"inverting 1": "mistake"}, once=True)
    service.start()
    client = service.client()
    job_id = client.submit(REQUEST, planes_of(IMAGE))
    failed = end(client, job_id)
    client.cancel(job_id)
    assert end(client, job_id) == failed
    assert failed.error is ErrorCode.INTERNAL


def test_a_worker_that_does_not_heed_a_cancel_is_replaced(service: Service) -> None:
    service.script(at={"inverting 1": "hang"}, once=True)
    service.start()
    client = service.client()
    job_id = client.submit(REQUEST, planes_of(IMAGE))
    # One step earlier it would still heed.
    events_until(
        client, lambda event: isinstance(event, Progress) and event.step == 1 and event.steps > 1, "hang"
    )
    client.cancel(job_id)
    assert end(client, job_id) == Status(job_id, JobState.CANCELLED)
    next_job_runs(service, client, job_id)
    assert (service.data_dir / "logs" / "serve.log").read_text().count("worker started") == 2


def next_job_runs(service: Service, client, cancelled: str) -> None:
    service.script()
    job_id = client.submit(REQUEST, planes_of(IMAGE))
    events = events_until(client, lambda event: isinstance(event, Finished), "next result")
    assert (events[-1].job_id, cancelled != job_id) == (job_id, True)
    assert np.array_equal(events[-1].planes[PlaneName.IMAGE], expected_image(IMAGE))
    assert not (service.data_dir / "spool" / cancelled).exists()
    assert not service.result_folder(cancelled).exists()
