# SPDX-License-Identifier: GPL-3.0-or-later
"""Sharing: the device's memory with other programs, and the service with other machines."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import stat

import pytest
from live_service import REQUEST, WAIT_S, Service, end, events_until, finish, picture, planes_of, wait_for

from backend.service.remote import ListenAddress
from protocol import (
    Client,
    ErrorCode,
    MakeRealError,
    Pong,
    Progress,
    WorkerState,
    is_alive,
    read_remote_connection,
)


def worker_pid(client: Client, job_id: str) -> int:
    return int(finish(client, job_id).result.recipe["worker_pid"])


def pong(client: Client, *states: WorkerState) -> Pong:
    """The next word about the worker; it comes after `release`."""

    def answer() -> Pong | None:
        client.poll()
        return client.pong if client.pong and client.pong.worker in states else None

    return wait_for(answer, f"pong with {states}")


def test_release_ends_the_worker_until_the_next_picture(service: Service) -> None:
    service.start()
    client = service.client()
    first = worker_pid(client, client.submit(REQUEST, planes_of(picture())))
    assert client.release()
    pong(client, WorkerState.STOPPED)
    assert not is_alive(first)
    second = worker_pid(client, client.submit(REQUEST, planes_of(picture())))
    assert second != first


def test_release_does_not_touch_a_picture_that_is_being_computed(service: Service) -> None:
    service.script(step_s=0.05)
    service.start()
    client = service.client()
    job_id = client.submit(REQUEST, planes_of(picture()))
    events_until(client, lambda event: isinstance(event, Progress), "progress")
    assert client.release()
    assert pong(client, *WorkerState).worker is WorkerState.BUSY
    assert finish(client, job_id).result.recipe["request"]["model"] == REQUEST.model


def test_release_without_a_link_is_refused(service: Service) -> None:
    service.start()
    client = service.client()
    assert not client.release()


def test_pong_tells_every_device_and_why_a_worker_was_given_up(service: Service) -> None:
    service.start()
    client = service.client()
    worker_pid(client, client.submit(REQUEST, planes_of(picture())))
    client.release()
    assert pong(client, WorkerState.STOPPED).devices == ("cpu", "cuda:0 Fake GPU")
    service.stop()
    service.script(refuse=True)
    service.start()
    client = service.client()
    end(client, client.submit(REQUEST, planes_of(picture())))
    client.release()
    assert pong(client, WorkerState.STOPPED).error is ErrorCode.INSTALLATION_BROKEN
    assert client.pong
    assert client.pong.detail == "no module named torch"


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def remote_client(service: Service) -> Client:
    """A client that has nothing but the copy."""
    copy = service.data_dir.parent / "elsewhere" / "copied.json"
    copy.parent.mkdir(exist_ok=True)
    if not copy.exists():
        shutil.copy(service.data_dir / "remote-connection.json", copy)
    connection = read_remote_connection(copy)
    assert connection
    client = Client(connection, "elsewhere", find=lambda: read_remote_connection(copy))
    service.clients.append(client)
    return client


def test_another_machine_needs_a_copy_of_one_file_and_it_lasts(service: Service) -> None:
    port = free_port()
    options = ("--listen", f"localhost:{port}")
    service.start(*options)
    copy = service.data_dir / "remote-connection.json"
    assert stat.S_IMODE(copy.stat().st_mode) == 0o600
    assert stat.S_IMODE((service.data_dir / "remote-keys.json").stat().st_mode) == 0o600
    assert json.loads(copy.read_text())["endpoint"] == f"tcp://localhost:{port}"
    assert service.connection().endpoint != f"tcp://localhost:{port}"
    client = remote_client(service)
    worker_pid(client, client.submit(REQUEST, planes_of(picture())))
    service.stop()
    service.start(*options)
    client = remote_client(service)
    worker_pid(client, client.submit(REQUEST, planes_of(picture())))


def test_without_the_option_there_is_no_copy_and_no_kept_key(service: Service) -> None:
    service.start()
    assert not list(service.data_dir.glob("remote-*"))


def test_a_taken_port_is_told(service: Service) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(AssertionError) as caught:
            service.start("--listen", f"localhost:{port}")
    assert f"127.0.0.1:{port}: Address already in use" in str(caught.value)
    assert "[backend_start_failed]" in str(caught.value)
    assert service.process.wait(WAIT_S) == 70


@pytest.mark.parametrize("text", ["", "0.0.0.0", "host:0", "host:99999", "a b", "host:port", "[::1]:5"])
def test_an_address_that_nobody_could_use_is_refused(text: str) -> None:
    with pytest.raises(MakeRealError) as caught:
        ListenAddress.parse(text)
    assert caught.value.code is ErrorCode.INVALID_REQUEST
    assert repr(text) in caught.value.detail


def test_a_damaged_key_file_is_told(service: Service) -> None:
    service.data_dir.mkdir()
    (service.data_dir / "remote-keys.json").write_text("{}")
    with pytest.raises(AssertionError, match=r"remote-keys\.json is damaged"):
        service.start("--listen", f"localhost:{free_port()}")


def test_a_killed_supervisor_is_followed_by_the_next_at_the_same_address(service: Service) -> None:
    options = ("--listen", f"localhost:{free_port()}")
    service.script(step_s=0.05)
    service.start(*options)
    client = remote_client(service)
    job_id = client.submit(REQUEST, planes_of(picture()))
    events_until(client, lambda event: isinstance(event, Progress), "progress")
    os.kill(service.process.pid, signal.SIGKILL)
    service.process.wait()
    service.start(*options)
    assert finish(client, job_id).result.seconds == {"inverting": 0.5}
