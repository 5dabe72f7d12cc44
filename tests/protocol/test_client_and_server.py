# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import dataclasses
import os
import socket
import statistics
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scripted_server import PlaneMap, ScriptedServer, has, run

import protocol.client
import protocol.jobs
from protocol import (
    Acknowledge,
    Cancel,
    Client,
    ClientState,
    Connection,
    Credit,
    Error,
    ErrorCode,
    Event,
    Finished,
    Hello,
    JobState,
    Limits,
    Lost,
    MakeRealError,
    Ping,
    PlaneName,
    Planes,
    Query,
    Refused,
    Stage,
    Status,
    Submit,
    TranslationRequest,
    Welcome,
)
from protocol.messages import Progress

REQUEST = TranslationRequest()
Start = Callable[..., ScriptedServer]
Connect = Callable[..., Client]


def picture(height: int = 40, width: int = 60, dtype: Any = np.uint8) -> PlaneMap:
    values = np.random.default_rng(1).integers(0, 200, (height, width, 3))
    mask = np.full((height, width), 255, np.uint8)
    return {PlaneName.IMAGE: values.astype(dtype), PlaneName.GARMENT: mask}


def large_picture() -> PlaneMap:
    """12 MiB: many chunks, many slices of hashing."""
    return {PlaneName.IMAGE: np.random.default_rng(2).random((1024, 1024, 3), dtype=np.float32)}


@pytest.fixture
def start() -> Iterator[Start]:
    servers: list[ScriptedServer] = []

    def make(*arguments: Any, **options: Any) -> ScriptedServer:
        servers.append(ScriptedServer(*arguments, **options))
        return servers[-1]

    yield make
    for server in servers:
        server.close()


@pytest.fixture
def connect() -> Iterator[Connect]:
    clients: list[Client] = []

    def make(connection: Connection, find: Callable[[], Connection | None] = lambda: None) -> Client:
        clients.append(Client(connection, "test", find=find))
        return clients[-1]

    yield make
    for client in clients:
        client.close()


def has_state(job_id: str, state: JobState) -> Callable[[list[Event]], bool]:
    return lambda events: any(
        isinstance(event, Status) and (event.job_id, event.state) == (job_id, state) for event in events
    )


def finish(client: Client, server: ScriptedServer, job_id: str) -> Finished:
    """Let the server take the job's planes, send their inverse, and let the client take that."""
    run(client, server, until=lambda events: job_id in server.received)
    planes = server.received[job_id]
    server.finish(job_id, {PlaneName.IMAGE: 200 - planes[PlaneName.IMAGE]})
    event = run(client, server, until=has(Finished))[-1]
    assert isinstance(event, Finished)
    return event


# The whole way


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float16, np.float32])
def test_a_picture_goes_there_and_its_translation_comes_back(
    start: Start, connect: Connect, dtype: Any
) -> None:
    server = start()
    client = connect(server.connection)
    planes = picture(dtype=dtype)
    job_id = client.submit(REQUEST, planes, label="Robe d'été")
    finished = finish(client, server, job_id)

    (submit,) = server.heard_of(Submit)
    assert (submit.request, submit.label) == (REQUEST, "Robe d'été")
    for name, array in planes.items():
        assert np.array_equal(server.received[job_id][name], array)
    image = finished.planes[PlaneName.IMAGE]
    assert image.dtype == dtype
    assert np.array_equal(image, 200 - planes[PlaneName.IMAGE])
    assert not image.flags.writeable
    assert finished.result.recipe == {"made_by": "script"}

    client.acknowledge(job_id)
    run(client, server, until=lambda events: bool(server.heard_of(Acknowledge)))


def test_the_handshake_tells_the_limits_and_progress_is_passed_on(start: Start, connect: Connect) -> None:
    server = start(limits=Limits(max_side=100))
    client = connect(server.connection)
    assert client.state == "connecting"
    (welcome,) = run(client, server, until=has(Welcome))
    assert client.welcome == welcome
    assert client.state == "ready"
    assert isinstance(welcome, Welcome)
    assert welcome.limits.max_side == 100
    progress = Progress("a" * 32, Stage.DENOISING, 3, 15, 0.25)
    server.send(progress)
    assert run(client, server, until=has(Progress)) == [progress]


def test_several_jobs_at_once(start: Start, connect: Connect) -> None:
    server = start()
    client = connect(server.connection)
    jobs = [
        client.submit(REQUEST, {PlaneName.IMAGE: np.full((9, 9, 3), index, np.uint8)}) for index in range(5)
    ]
    run(client, server, until=lambda events: all(job_id in server.received for job_id in jobs))
    for index, job_id in enumerate(jobs):
        assert server.received[job_id][PlaneName.IMAGE].max() == index


def test_a_result_of_a_job_from_before_this_client_is_delivered(start: Start, connect: Connect) -> None:
    server = start()
    client = connect(server.connection)
    run(client, server, until=has(Welcome))
    server.finish("b" * 32, picture())
    assert run(client, server, until=has(Finished))[-1].job_id == "b" * 32  # type: ignore[union-attr]


# Never waits


def test_a_4k_float_plane_never_holds_up_the_caller(start: Start, connect: Connect) -> None:
    # Before the link: a server that is not pumped for five seconds admits nobody.
    planes = {PlaneName.IMAGE: np.random.default_rng(0).random((2160, 3840, 4), dtype=np.float32)}
    assert planes[PlaneName.IMAGE].nbytes == 132_710_400
    server = start()
    client = connect(server.connection)
    threads = threading.enumerate()
    seconds: list[float] = []
    cpu_seconds: list[float] = []

    def timed(until: Callable[[], bool]) -> list[Event]:
        events: list[Event] = []
        end = time.monotonic() + 240
        while not until() and not any(isinstance(event, Finished) for event in events):
            assert time.monotonic() < end
            assert not has(Lost)(events), events
            began, cpu_began = time.perf_counter(), time.thread_time()
            events += client.poll()
            seconds.append(time.perf_counter() - began)
            cpu_seconds.append(time.thread_time() - cpu_began)
            server.pump()
        return events

    began = time.perf_counter()
    job_id = client.submit(REQUEST, planes)
    assert time.perf_counter() - began < 0.05
    timed(until=lambda: job_id in server.received)
    server.finish(job_id, planes)
    finished = timed(until=lambda: False)[-1]
    assert isinstance(finished, Finished)
    assert np.array_equal(finished.planes[PlaneName.IMAGE], planes[PlaneName.IMAGE])
    # The processor's time, which a machine busy with other things does not lengthen.
    assert statistics.median(cpu_seconds) < 0.004
    assert max(cpu_seconds) < 0.03
    if os.getloadavg()[0] < 2 * (os.cpu_count() or 1):
        assert statistics.median(seconds) < 0.004
    assert threading.enumerate() == threads


def test_nobody_listens(connect: Connect, start: Start) -> None:
    # Bound, so that nobody else is given the port, but not listening.
    with socket.socket() as deaf:
        deaf.bind(("127.0.0.1", 0))
        port = deaf.getsockname()[1]
        nobody = dataclasses.replace(start().connection, endpoint=f"tcp://127.0.0.1:{port}")
        client = connect(nobody, find=lambda: nobody)
        events = run(client, until=has(Lost))
        began = time.perf_counter()
        events += run(client, until=lambda events: time.perf_counter() - began > 1.2)
    assert [type(event) for event in events] == [Lost]
    assert client.welcome is None
    # An attempt may be under way.
    assert client.state in (ClientState.LOST, ClientState.CONNECTING)


# Heartbeats


def test_a_supervisor_that_hangs_is_lost(
    start: Start, connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(protocol.client, "HEARTBEAT_S", 0.05)
    server = start(silent_to=(Ping,))
    client = connect(server.connection)
    events = run(client, server, until=has(Lost))
    assert [type(event) for event in events] == [Welcome, Lost]
    assert "3 heartbeats" in events[-1].detail  # type: ignore[union-attr]
    assert len(server.heard_of(Ping)) == 3


def test_a_supervisor_that_answers_stays(
    start: Start, connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(protocol.client, "HEARTBEAT_S", 0.05)
    server = start()
    client = connect(server.connection)
    events = run(client, server, until=lambda events: len(server.heard_of(Ping)) >= 10)
    assert [type(event) for event in events] == [Welcome]
    assert client.pong is not None
    assert client.pong.epoch == "first"


def test_a_host_that_did_not_poll_for_long_does_not_blame_the_supervisor(
    start: Start, connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(protocol.client, "HEARTBEAT_S", 0.1)
    server = start()
    client = connect(server.connection)
    run(client, server, until=has(Welcome))
    time.sleep(1.0)
    began = time.monotonic()
    assert not run(client, server, until=lambda events: time.monotonic() - began > 0.5)


# A result on a slow link: nothing else arrives while it does


@pytest.fixture
def slow_link(monkeypatch: pytest.MonkeyPatch) -> None:
    """A client that is lost after 0.2 s of silence, asks after 0.1 s, and gives the result of `picture()` 1.5 s."""
    monkeypatch.setattr(protocol.client, "HEARTBEAT_S", 0.05)
    monkeypatch.setattr(protocol.jobs, "QUIET_S", 0.1)
    monkeypatch.setattr(protocol.jobs, "SLOWEST_BYTES_PER_S", picture()[PlaneName.IMAGE].nbytes / 1.5)


def elapsed(seconds: float) -> Callable[[list[Event]], bool]:
    """Condition for `run`: that time passed."""
    end = time.monotonic() + seconds
    return lambda events: time.monotonic() > end


@pytest.mark.usefixtures("slow_link")
def test_a_result_may_take_longer_than_the_heartbeats_and_is_not_asked_for_meanwhile(
    start: Start, connect: Connect
) -> None:
    server = start(silent_to=(Ping, Query))
    client = connect(server.connection)
    jobs = [client.submit(REQUEST, picture()) for _ in range(2)]
    events = run(client, server, until=lambda events: all(job_id in server.received for job_id in jobs))
    for job_id in jobs:
        events += run(client, server, until=elapsed(1.0))
        server.finish(job_id, picture())
        events += run(client, server, until=has(Finished))
    assert not has(Lost)(events), events
    assert server.heard_of(Ping)
    assert not server.heard_of(Query)


@pytest.mark.usefixtures("slow_link")
def test_a_supervisor_that_hangs_with_a_job_is_asked_and_lost_when_the_result_could_have_come(
    start: Start, connect: Connect
) -> None:
    server = start(silent_to=(Ping, Query))
    client = connect(server.connection)
    job_id = client.submit(REQUEST, picture())
    run(client, server, until=lambda events: job_id in server.received)
    began = time.monotonic()
    run(client, server, until=has(Lost))
    assert 1.5 < time.monotonic() - began < 10.0
    assert server.heard_of(Query)


@pytest.mark.usefixtures("slow_link")
def test_a_supervisor_that_hangs_before_a_result_can_be_due_is_lost_as_soon_as_ever(
    start: Start, connect: Connect
) -> None:
    server = start(silent_to=(Ping, Submit))
    client = connect(server.connection)
    client.submit(REQUEST, picture())
    run(client, server, until=lambda events: bool(server.heard_of(Submit)))
    assert client._jobs.patience_s() == 0.0
    server.silent_to = (Ping, Query)
    began = time.monotonic()
    run(client, server, until=has(Lost))
    # It has asked by then, and what it asks about is not due either.
    assert time.monotonic() - began < 1.5


def test_no_result_is_waited_for_longer_than_the_link_stands(start: Start, connect: Connect) -> None:
    server = start(silent_to=())
    client = connect(server.connection)
    pixels = np.broadcast_to(np.zeros((), np.uint8), (4096, 4096, 3))
    job_id = client.submit(REQUEST, picture())
    run(client, server, until=lambda events: job_id in server.received)
    client._jobs._uploads[job_id].arrays = {PlaneName.IMAGE: pixels}
    assert client._jobs.patience_s() == 30.0


# Reconnect


def is_submitted(server: ScriptedServer, job_id: str) -> bool:
    return job_id in server.states


def is_half_sent(server: ScriptedServer, job_id: str) -> bool:
    return len(server.heard_of(Planes)) >= 3


def is_queued(server: ScriptedServer, job_id: str) -> bool:
    return job_id in server.received


@pytest.mark.parametrize("reached", [is_submitted, is_half_sent, is_queued])
def test_a_supervisor_that_forgot_gets_the_job_again(
    start: Start, connect: Connect, reached: Callable[[ScriptedServer, str], bool]
) -> None:
    first = start("first", silent_to=(Submit,) if reached is is_submitted else ())
    second = start("second")
    client = connect(first.connection, find=lambda: second.connection)
    planes = large_picture()
    job_id = client.submit(REQUEST, planes)
    if reached is is_submitted:
        run(client, first, until=lambda events: bool(first.heard_of(Submit)))
    else:
        run(client, first, until=lambda events: reached(first, job_id))
    first.close()
    events = run(client, second, until=lambda events: job_id in second.received)
    kinds = [type(event) for event in events if not isinstance(event, Status)]
    assert kinds == [Lost, Welcome]
    assert client.welcome is not None
    assert client.welcome.epoch == "second"
    assert second.heard_of(Query)[0].job_id == job_id
    assert np.array_equal(second.received[job_id][PlaneName.IMAGE], planes[PlaneName.IMAGE])
    finish(client, second, job_id)


def test_a_supervisor_that_remembers_delivers_without_a_second_submit(start: Start, connect: Connect) -> None:
    first, second = start("first"), start("second")
    client = connect(first.connection, find=lambda: second.connection)
    job_id = client.submit(REQUEST, picture())
    run(client, first, until=lambda events: job_id in first.received)
    second.states[job_id] = JobState.DONE
    second.results[job_id] = picture()
    first.close()
    events = run(client, second, until=has(Finished))
    assert events[-1].job_id == job_id  # type: ignore[union-attr]
    assert not second.heard_of(Submit)


def test_a_job_whose_planes_were_lost_is_given_credit_again(start: Start, connect: Connect) -> None:
    first, second = start("first"), start("second")
    client = connect(first.connection, find=lambda: second.connection)
    job_id = client.submit(REQUEST, large_picture())
    run(client, first, until=lambda events: is_half_sent(first, job_id))
    second.states[job_id] = JobState.ACCEPTED
    first.close()
    run(client, second, until=lambda events: job_id in second.received)


def test_a_job_made_while_the_supervisor_is_away_waits(start: Start, connect: Connect) -> None:
    first, second = start("first"), start("second")
    found: list[Connection] = []
    client = connect(first.connection, find=lambda: found[0] if found else None)
    run(client, first, until=has(Welcome))
    first.close()
    run(client, until=has(Lost))
    job_id = client.submit(REQUEST, picture())
    began = time.monotonic()
    run(client, second, until=lambda events: time.monotonic() - began > 0.7)
    assert not second.heard
    found.append(second.connection)
    run(client, second, until=lambda events: job_id in second.received)
    assert not second.heard_of(Query)


def test_a_connection_file_that_cannot_be_trusted_is_told(start: Start, connect: Connect) -> None:
    def refuse() -> Connection:
        raise MakeRealError(ErrorCode.CONNECTION_FILE_REFUSED, "connection.json has mode 0644")

    server = start()
    client = connect(server.connection, find=refuse)
    run(client, server, until=has(Welcome))
    server.close()
    event = run(client, until=has(Error))[-1]
    assert event == Error(ErrorCode.CONNECTION_FILE_REFUSED, "connection.json has mode 0644")


# The truth is asked for


def test_a_credit_that_got_lost_is_asked_for(
    start: Start, connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(protocol.jobs, "QUIET_S", 0.2)
    server = start(silent_to=(Submit,))
    client = connect(server.connection)
    job_id = client.submit(REQUEST, picture())
    run(client, server, until=lambda events: bool(server.heard_of(Submit)))
    server.states[job_id] = JobState.ACCEPTED
    server.silent_to = ()
    run(client, server, until=lambda events: job_id in server.received)
    assert len(server.heard_of(Submit)) == 2


def test_a_failure_that_was_not_told_is_asked_for(
    start: Start, connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(protocol.jobs, "QUIET_S", 0.2)
    server = start()
    client = connect(server.connection)
    job_id = client.submit(REQUEST, picture())
    run(client, server, until=lambda events: job_id in server.received)
    server.states[job_id] = JobState.FAILED
    run(client, server, until=has_state(job_id, JobState.FAILED))


def test_a_job_that_is_heard_of_is_not_asked_after(start: Start, connect: Connect) -> None:
    server = start()
    client = connect(server.connection)
    finish(client, server, client.submit(REQUEST, picture()))
    assert not server.heard_of(Query)


def test_a_result_that_comes_twice_is_told_once_unless_asked_for(start: Start, connect: Connect) -> None:
    server = start()
    client = connect(server.connection)
    job_id = client.submit(REQUEST, picture())
    finish(client, server, job_id)
    server.finish(job_id, picture())
    client.acknowledge(job_id)
    events = run(client, server, until=lambda events: bool(server.heard_of(Acknowledge)))
    assert not any(isinstance(event, Finished) for event in events)
    client.query(job_id)
    run(client, server, until=has(Finished))


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="tells its memory on Linux alone")
def test_the_memory_of_a_result_is_given_back_when_it_is_let_go(start: Start, connect: Connect) -> None:
    """Not when its last array is dropped, for that would take its thread milliseconds."""

    def resident() -> int:
        return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")

    server = start()
    client = connect(server.connection)
    # Less than 32 MiB the C library may keep for itself.
    size = 48 << 20
    job_id = client.submit(REQUEST, {PlaneName.IMAGE: np.zeros((4096, size // 4096 // 3, 3), np.uint8)})
    finished: Finished | None = finish(client, server, job_id)
    assert finished
    before = resident()
    finished = None
    assert before - resident() < size / 2
    client.let_go(job_id)
    deadline = time.monotonic() + 10.0
    while before - resident() < size / 2:
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_arrays_outlive_the_result_that_was_let_go(start: Start, connect: Connect) -> None:
    server = start()
    client = connect(server.connection)
    job_id = client.submit(REQUEST, picture())
    finished = finish(client, server, job_id)
    client.let_go(job_id)
    client.let_go(job_id)
    client.close()
    assert np.array_equal(finished.planes[PlaneName.IMAGE], 200 - server.received[job_id][PlaneName.IMAGE])


# Cancel


def is_hashing(server: ScriptedServer, job_id: str) -> bool:
    return bool(server.heard_of(Hello))


@pytest.mark.parametrize("reached", [is_hashing, is_submitted, is_half_sent, is_queued])
def test_cancel_anywhere_and_the_next_job_works(
    start: Start, connect: Connect, reached: Callable[[ScriptedServer, str], bool]
) -> None:
    server = start()
    client = connect(server.connection)
    job_id = client.submit(REQUEST, large_picture())
    run(client, server, until=lambda events: reached(server, job_id))
    client.cancel(job_id)
    run(client, server, until=has_state(job_id, JobState.CANCELLED))
    assert bool(server.heard_of(Cancel)) == (reached is not is_hashing)
    chunks = len(server.heard_of(Planes))
    following = client.submit(REQUEST, picture())
    finish(client, server, following)
    assert all(chunk.job_id == following for chunk in server.heard_of(Planes)[chunks:])


def test_cancel_while_the_supervisor_is_away(start: Start, connect: Connect) -> None:
    first, second = start("first"), start("second")
    client = connect(first.connection, find=lambda: second.connection)
    job_id = client.submit(REQUEST, picture())
    run(client, first, until=lambda events: job_id in first.received)
    first.close()
    run(client, until=has(Lost))
    client.cancel(job_id)
    run(client, second, until=has_state(job_id, JobState.CANCELLED))
    assert not second.heard_of(Submit)


# Damage and refusal


def test_a_damaged_result_is_asked_for_once_more(start: Start, connect: Connect) -> None:
    server = start()
    client = connect(server.connection)
    job_id = client.submit(REQUEST, picture())
    run(client, server, until=lambda events: job_id in server.received)
    server.finish(job_id, picture(), damaged=True)
    events = run(client, server, until=has(Finished))
    assert len(server.heard_of(Query)) == 1
    assert not any(isinstance(event, Error) for event in events)


def test_a_result_damaged_twice_is_an_error(start: Start, connect: Connect) -> None:
    server = start(silent_to=(Query,))
    client = connect(server.connection)
    job_id = client.submit(REQUEST, picture())
    run(client, server, until=lambda events: job_id in server.received)
    server.finish(job_id, picture(), damaged=True)
    run(client, server, until=lambda events: bool(server.heard_of(Query)))
    server.finish(job_id, picture(), damaged=True)
    error = run(client, server, until=has(Error))[-1]
    assert error == Error(ErrorCode.DIGEST_MISMATCH, "plane image", job_id)


def test_nonsense_from_the_supervisor_is_told_and_survived(start: Start, connect: Connect) -> None:
    server = start()
    client = connect(server.connection)
    run(client, server, until=has(Welcome))
    server.send_raw([b"MR1", b"\xc1"])
    server.send_raw([b"MR1", b"\x81\xa4type\xa4news"])  # {"type": "news"}: a later version's event
    error = run(client, server, until=has(Error))[-1]
    assert error.code is ErrorCode.MALFORMED_MESSAGE  # type: ignore[union-attr]
    finish(client, server, client.submit(REQUEST, picture()))


def test_a_refused_version_is_final(start: Start, connect: Connect) -> None:
    server = start(silent_to=(Hello,))
    client = connect(server.connection, find=lambda: server.connection)
    run(client, server, until=lambda events: bool(server.heard_of(Hello)))
    server.send(Refused(ErrorCode.UNSUPPORTED_VERSION, (2, 3)))
    events = run(client, server, until=has(Refused))
    assert events == [Refused(ErrorCode.UNSUPPORTED_VERSION, (2, 3))]
    began = time.monotonic()
    assert not run(client, server, until=lambda events: time.monotonic() - began > 0.7)
    assert client.state is ClientState.REFUSED
    assert len(server.heard_of(Hello)) == 1


# Limits and bad input


def test_limits_are_checked_before_a_pixel_is_sent(start: Start, connect: Connect) -> None:
    server = start(limits=Limits(max_side=50, max_jobs=1))
    client = connect(server.connection)
    early = client.submit(REQUEST, picture(40, 60))
    error = run(client, server, until=has(Error))[-1]
    assert error == Error(ErrorCode.LIMIT_EXCEEDED, "60 pixels along one side, at most 50", early)
    with pytest.raises(MakeRealError, match="60 pixels along one side, at most 50"):
        client.submit(REQUEST, picture(40, 60))
    client.submit(REQUEST, picture(40, 50))
    with pytest.raises(MakeRealError, match="1 unfinished jobs"):
        client.submit(REQUEST, picture(40, 50))
    run(client, server, until=lambda events: bool(server.received))
    assert len(server.heard_of(Submit)) == 1


def test_chunks_are_as_large_as_the_supervisor_likes(start: Start, connect: Connect) -> None:
    server = start(limits=Limits(max_chunk_bytes=1000))
    client = connect(server.connection)
    job_id = client.submit(REQUEST, picture(40, 60))
    finish(client, server, job_id)
    assert [chunk.offset for chunk in server.heard_of(Planes)] == [
        *range(0, 7200, 1000),
        *range(0, 2400, 1000),
    ]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({PlaneName.IMAGE: np.zeros((4, 4, 3))}, "plane image must be uint8, uint16, float16 or float32"),
        ({PlaneName.IMAGE: np.zeros((4, 8, 3), np.uint8)[:, ::2]}, "plane image must be C-contiguous"),
        ({PlaneName.IMAGE: np.zeros((4, 4), np.uint8)}, "plane image must be (height, width, 3 or 4)"),
        ({PlaneName.GARMENT: np.zeros((4, 5), np.uint8)}, "plane garment is 5x4, the image 4x4 pixels"),
    ],
)
def test_planes_that_cannot_travel_are_refused_at_once(
    start: Start, connect: Connect, change: PlaneMap, words: str
) -> None:
    client = connect(start().connection)
    with pytest.raises(MakeRealError) as caught:
        client.submit(REQUEST, {PlaneName.IMAGE: np.zeros((4, 4, 3), np.uint8), **change})
    assert caught.value.code is ErrorCode.INVALID_REQUEST
    assert words in caught.value.detail


def test_an_id_is_used_once_and_is_an_id(start: Start, connect: Connect) -> None:
    client = connect(start().connection)
    job_id = client.submit(REQUEST, picture(), job_id="c" * 32)
    with pytest.raises(MakeRealError) as caught:
        client.submit(REQUEST, picture(), job_id=job_id)
    assert caught.value.code is ErrorCode.JOB_CONFLICT
    with pytest.raises(MakeRealError):
        client.submit(REQUEST, picture(), job_id="../secret")


def test_a_credit_that_nobody_waits_for_is_ignored(start: Start, connect: Connect) -> None:
    server = start()
    client = connect(server.connection)
    job_id = client.submit(REQUEST, picture())
    run(client, server, until=has_state(job_id, JobState.QUEUED))
    chunks = len(server.heard_of(Planes))
    server.send(Credit(job_id))
    server.send(Credit("d" * 32))
    finish(client, server, job_id)
    assert len(server.heard_of(Planes)) == chunks
