# SPDX-License-Identifier: GPL-3.0-or-later
"""The service as a client meets it: real processes, real sockets, a scripted worker."""

from __future__ import annotations

import json
import shutil
import stat
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from fake_worker import expected_image
from live_service import (
    REPOSITORY,
    REQUEST,
    WAIT_S,
    Service,
    end,
    events_until,
    finish,
    picture,
    planes_of,
    wait_for,
    write_model,
)

from protocol import (
    ErrorCode,
    Finished,
    JobState,
    PlaneName,
    Progress,
    Stage,
    Status,
    TranslationRequest,
    Welcome,
    WorkerState,
)
from protocol.messages import Error


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float16, np.float32])
def test_a_job_returns_its_picture_in_every_type(service: Service, dtype: type) -> None:
    service.start()
    client = service.client()
    image = picture(dtype=dtype, channels=4)
    finished = finish(client, client.submit(REQUEST, planes_of(image)))
    result = finished.planes[PlaneName.IMAGE]
    assert result.dtype == dtype
    assert np.array_equal(result, expected_image(image))


def test_a_job_is_followed_from_queue_to_delivery(service: Service) -> None:
    service.start()
    client = service.client()
    job_id = client.submit(REQUEST, planes_of(picture()), label="frame 1")
    events = events_until(client, lambda event: isinstance(event, Finished), "result")
    states = [event.state for event in events if isinstance(event, Status)]
    assert states == [JobState.ACCEPTED, JobState.QUEUED, JobState.RUNNING]
    progress = [event for event in events if isinstance(event, Progress)]
    fractions = [event.fraction for event in progress]
    assert fractions == sorted(fractions)
    assert fractions[-1] < 1
    assert {event.stage for event in progress} == set(Stage)
    assert sum(event.stage is Stage.DENOISING for event in progress) == 6
    finished = events[-1]
    assert isinstance(finished, Finished)
    assert finished.result.recipe["request"] == REQUEST.to_map()
    assert finished.result.report == {"ssim_garment": 1.0}
    client.acknowledge(job_id)
    events_until(client, lambda event: event == Status(job_id, JobState.DELIVERED), "delivery")


def test_what_stays_on_disk_after_delivery(service: Service) -> None:
    service.start()
    client = service.client()
    job_id = client.submit(REQUEST, planes_of(picture()), label="look 3")
    finish(client, job_id)
    folder = service.result_folder(job_id)
    assert {path.name for path in folder.iterdir()} == {"image.plane", "result.png", "recipe.json"}
    client.acknowledge(job_id)
    events_until(client, lambda event: event == Status(job_id, JobState.DELIVERED), "delivery")
    assert {path.name for path in folder.iterdir()} == {"result.png", "recipe.json"}
    assert json.loads((folder / "recipe.json").read_text())["label"] == "look 3"
    assert not list((service.data_dir / "spool").iterdir())


def test_the_welcome_names_models_and_the_device_shows_when_known(service: Service) -> None:
    service.start("--device", "cpu")
    client = service.client()
    (welcome,) = events_until(client, lambda event: isinstance(event, Welcome), "welcome")
    assert isinstance(welcome, Welcome)
    assert "tiny" in welcome.models

    def device() -> str:
        client.poll()
        return client.pong.device if client.pong and client.pong.worker is WorkerState.IDLE else ""

    assert wait_for(device, "device") == "fake cpu"


def test_jobs_run_in_the_order_of_their_submission(service: Service) -> None:
    service.script(step_s=0.005)
    service.start()
    client = service.client()
    job_ids = [client.submit(REQUEST, planes_of(picture(height=8 + n))) for n in range(4)]
    finished: list[str] = []

    def all_finished() -> bool:
        finished.extend(event.job_id for event in client.poll() if isinstance(event, Finished))
        for job_id in finished:
            client.acknowledge(job_id)
        return len(set(finished)) == len(job_ids)

    wait_for(all_finished, "four results")
    assert finished == job_ids


def test_two_clients_get_their_own_results(service: Service) -> None:
    service.start()
    clients = [service.client("one"), service.client("two")]
    images = [picture(height=9), picture(height=11)]
    job_ids = [
        client.submit(REQUEST, planes_of(image)) for client, image in zip(clients, images, strict=True)
    ]
    for client, job_id, image in zip(clients, job_ids, images, strict=True):
        assert np.array_equal(finish(client, job_id).planes[PlaneName.IMAGE], expected_image(image))
    strays = [event for client in clients for event in client.poll(0.1) if isinstance(event, Finished)]
    assert not strays


def test_a_repeated_submit_is_the_same_job(service: Service) -> None:
    service.start()
    first, second = service.client("one"), service.client("two")
    planes = planes_of(picture())
    job_id = first.submit(REQUEST, planes)
    one = finish(first, job_id)
    # The same content under the same id: nothing runs again, the stored result comes.
    second.submit(REQUEST, planes, job_id=job_id)
    two = finish(second, job_id)
    assert one.result.recipe["worker_pid"] == two.result.recipe["worker_pid"]
    assert (service.data_dir / "logs" / "serve.log").read_text().count(f"{job_id} '' running") == 1


def test_the_same_id_with_other_content_is_a_conflict(service: Service) -> None:
    service.start()
    first, second = service.client("one"), service.client("two")
    job_id = first.submit(REQUEST, planes_of(picture()))
    finish(first, job_id)
    second.submit(REQUEST, planes_of(picture(height=20)), job_id=job_id)
    events = events_until(second, lambda event: isinstance(event, Error), "error")
    assert (events[-1].code, events[-1].job_id) == (ErrorCode.JOB_CONFLICT, job_id)


def test_an_unknown_job_is_unknown_and_never_done(service: Service) -> None:
    service.start()
    client = service.client()
    client.query("a" * 32)
    events_until(client, lambda event: event == Status("a" * 32, JobState.UNKNOWN), "status")


def test_a_missing_model_is_told_before_any_pixel_travels(service: Service) -> None:
    service.start()
    client = service.client()
    job_id = client.submit(TranslationRequest(model="absent"), planes_of(picture()))
    events = events_until(client, lambda event: isinstance(event, Error), "error")
    assert (events[-1].code, events[-1].job_id) == (ErrorCode.MODEL_NOT_FOUND, job_id)
    assert "tiny" in events[-1].detail
    finish(client, client.submit(REQUEST, planes_of(picture())))


def test_a_deleted_model_folder_fails_its_pictures_and_nothing_else(service: Service) -> None:
    other = service.data_dir.parent / "other models"
    write_model(other / "another")
    service.start("--model-dir", str(other))
    client = service.client()
    finish(client, client.submit(REQUEST, planes_of(picture())))
    shutil.rmtree(service.models_dir)
    job_id = client.submit(REQUEST, planes_of(picture()))
    events = events_until(client, lambda event: isinstance(event, Error), "error")
    assert (events[-1].code, events[-1].job_id) == (ErrorCode.MODEL_NOT_FOUND, job_id)
    finish(client, client.submit(TranslationRequest(model="another"), planes_of(picture())))
    later = service.client("later")
    finish(later, later.submit(TranslationRequest(model="another"), planes_of(picture())))


def test_a_broken_model_fails_its_job_and_nothing_else(service: Service) -> None:
    broken = service.models_dir / "tiny" / "unet" / "model.safetensors"
    whole = broken.read_bytes()
    service.start()
    client = service.client()
    broken.write_bytes(whole[:-3])
    status = end(client, client.submit(REQUEST, planes_of(picture())))
    assert status.error is ErrorCode.MODEL_BROKEN
    assert str(broken) in status.detail
    broken.write_bytes(whole)
    finish(client, client.submit(REQUEST, planes_of(picture())))


def test_only_this_user_can_read_the_connection_file(service: Service) -> None:
    service.start()
    assert stat.S_IMODE(service.connection_path.stat().st_mode) == 0o600
    assert stat.S_IMODE(service.runtime_dir.stat().st_mode) == 0o700


@pytest.mark.parametrize("number", [2, 15])
def test_a_signal_ends_the_service_and_removes_the_connection_file(service: Service, number: int) -> None:
    service.start()
    assert service.stop(number) == 0
    assert not service.connection_path.exists()


def test_a_second_service_says_that_one_runs(service: Service) -> None:
    connection = service.start()
    second = subprocess.run(
        service.command(), env=service.environment, cwd=REPOSITORY, capture_output=True, text=True, timeout=60
    )
    assert second.returncode == 75
    assert "running already" in second.stderr.splitlines()[-1]
    assert "Traceback" not in second.stderr
    assert service.connection() == connection


def test_the_service_ends_with_its_parent(service: Service) -> None:
    parent = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
    try:
        service.start("--parent-pid", str(parent.pid))
    finally:
        parent.kill()
        # Not collected yet: a parent that is a zombie is gone, too.
    assert service.process.wait(WAIT_S) == 0
    parent.wait()
    assert not service.connection_path.exists()


def test_the_supervisor_never_loads_torch(service: Service) -> None:
    service.start()
    client = service.client()
    finish(client, client.submit(REQUEST, planes_of(picture())))
    maps = Path(f"/proc/{service.process.pid}/maps")
    if not maps.exists():
        pytest.skip("this system has no /proc")
    mapped = maps.read_text()
    assert "zmq" in mapped
    assert "torch" not in mapped
    assert "OpenImageIO" not in mapped
