# SPDX-License-Identifier: GPL-3.0-or-later
"""What the real service answers to a peer that breaks the rules, and to one without its keys."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pytest
import zmq
from live_service import REQUEST, Service, finish, picture, planes_of

from protocol import (
    Connection,
    Credit,
    ErrorCode,
    Hello,
    JobState,
    Limits,
    Message,
    Ping,
    PlaneName,
    Planes,
    Pong,
    Refused,
    Status,
    Submit,
    Welcome,
    dial,
    receive,
)
from protocol.framing import MAGIC, decode, encode
from protocol.messages import Error
from protocol.planes import describe

JOB_ID = "d" * 32
IMAGE = picture(40, 30)
SPEC = describe(PlaneName.IMAGE, IMAGE)
SUBMIT = Submit(JOB_ID, REQUEST, (SPEC,))


class Peer:
    """A socket that may send anything."""

    def __init__(self, context: zmq.Context, connection: Connection) -> None:
        self.connection = connection
        self.socket = dial(context, connection)

    def send(self, *parts: bytes, seconds: float = 10.0) -> bool:
        """Send a message; False when the other side does not let this one in."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            try:
                self.socket.send_multipart(parts, zmq.NOBLOCK)
                return True
            except zmq.Again:
                time.sleep(0.01)
        return False

    def ask(self, *parts: bytes) -> Message:
        """Send a message; the next one that comes back."""
        assert self.send(*parts)
        return self.hear()

    def hear(self, ignored: type | tuple[()] = Pong) -> Message:
        """The next message, the unasked signs of life left out."""
        while self.socket.poll(60_000):
            message, _ = decode(receive(self.socket), Limits())
            if not isinstance(message, ignored):
                return message
        raise AssertionError("no answer")

    def say(self, message: Message, *buffers: bytes) -> Message:
        return self.ask(*encode(message, buffers))

    def is_alive(self) -> bool:
        """Whether the link still carries a question and its answer."""
        assert self.send(*encode(Ping()))
        return isinstance(self.hear(ignored=()), Pong)


@pytest.fixture
def context() -> Iterator[zmq.Context]:
    made = zmq.Context()
    yield made
    made.destroy(linger=0)


@pytest.fixture
def peer(service: Service, context: zmq.Context) -> Peer:
    return Peer(context, service.start())


def test_bad_messages_get_an_error_code_and_the_link_lives(peer: Peer) -> None:
    header = encode(SUBMIT)[1]
    too_wide = replace(SPEC, shape=(1, 20_000, 3), byte_length=60_000)
    cases = {
        ErrorCode.MALFORMED_MESSAGE: [
            [b""],
            [b"XYZ", header],
            [MAGIC],
            [MAGIC, header[:-5]],
            [MAGIC, b"\xc1"],
            [MAGIC, b""],
            [MAGIC, header, b"a buffer too many"],
            encode(Planes(JOB_ID, PlaneName.IMAGE, 0)),
            encode(replace(SUBMIT, planes=(replace(SPEC, byte_length=5),))),
        ],
        ErrorCode.LIMIT_EXCEEDED: [
            [MAGIC, header + bytes(70_000)],
            encode(replace(SUBMIT, planes=(too_wide,))),
            [*encode(Planes(JOB_ID, PlaneName.IMAGE, 0)), bytes(2 * 1024 * 1024)],
        ],
        ErrorCode.UNSUPPORTED_MESSAGE: [encode(Credit(JOB_ID)), [MAGIC, b"\x81\xa4type\xa5dance"]],
        ErrorCode.UNSUPPORTED_VERSION: [[b"MR2", header]],
        ErrorCode.JOB_UNKNOWN: [[*encode(Planes(JOB_ID, PlaneName.IMAGE, 0)), b"x"]],
        ErrorCode.INVALID_REQUEST: [
            encode(replace(SUBMIT, planes=(SPEC, SPEC))),
            [MAGIC, header.replace(b"\xa5steps" + bytes([REQUEST.steps]), b"\xa5steps\x00")],
        ],
    }
    for code, messages in cases.items():
        for parts in messages:
            answer = peer.ask(*parts)
            assert isinstance(answer, Error), (parts, answer)
            assert answer.code is code, (parts, answer)
            assert peer.is_alive()


def test_hundreds_of_parts_get_an_error_code(peer: Peer) -> None:
    answer = peer.ask(MAGIC, encode(Ping())[1], *[b"x"] * 500)
    assert isinstance(answer, Error)
    assert peer.is_alive()


def test_versions_that_do_not_meet_are_refused(peer: Peer) -> None:
    assert peer.say(Hello((2, 3), "from the future")) == Refused(ErrorCode.UNSUPPORTED_VERSION, (1, 1))
    assert isinstance(peer.say(Hello((1, 3), "from the near future")), Welcome)


@pytest.mark.parametrize(
    ("chunk", "code"),
    [
        (Planes(JOB_ID, PlaneName.IMAGE, 7), ErrorCode.MALFORMED_MESSAGE),
        (Planes(JOB_ID, PlaneName.GARMENT, 0), ErrorCode.MALFORMED_MESSAGE),
        (Planes(JOB_ID, PlaneName.IMAGE, 0), ErrorCode.DIGEST_MISMATCH),
    ],
)
def test_planes_out_of_turn_or_damaged_fail_their_job(
    service: Service, peer: Peer, chunk: Planes, code: ErrorCode
) -> None:
    assert peer.say(SUBMIT) == Status(JOB_ID, JobState.ACCEPTED)
    assert peer.hear() == Credit(JOB_ID)
    answer = peer.say(chunk, bytes(IMAGE.nbytes))
    assert isinstance(answer, Status)
    assert (answer.state, answer.error) == (JobState.FAILED, code)
    # What was still on its way is dropped without another word.
    assert peer.send(*encode(replace(chunk, offset=9), [b"late"]))
    assert peer.is_alive()
    client = service.client()
    finish(client, client.submit(REQUEST, planes_of(IMAGE)))


def test_a_repeated_submit_leaves_the_planes_that_have_arrived(service: Service, peer: Peer) -> None:
    pixels = IMAGE.tobytes()
    half = len(pixels) // 2
    assert peer.say(SUBMIT) == Status(JOB_ID, JobState.ACCEPTED)
    assert peer.hear() == Credit(JOB_ID)
    assert peer.send(*encode(Planes(JOB_ID, PlaneName.IMAGE, 0), [pixels[:half]]))
    assert peer.say(SUBMIT) == Status(JOB_ID, JobState.ACCEPTED)
    assert peer.hear() == Credit(JOB_ID)
    answer = peer.say(Planes(JOB_ID, PlaneName.IMAGE, half), pixels[half:])
    assert isinstance(answer, Status)
    assert answer.state is JobState.QUEUED, answer


def test_another_link_begins_the_planes_anew(service: Service, peer: Peer, context: zmq.Context) -> None:
    pixels = IMAGE.tobytes()
    assert peer.say(SUBMIT) == Status(JOB_ID, JobState.ACCEPTED)
    assert peer.hear() == Credit(JOB_ID)
    assert peer.send(*encode(Planes(JOB_ID, PlaneName.IMAGE, 0), [pixels[:100]]))
    assert peer.is_alive()
    again = Peer(context, peer.connection)
    assert again.say(SUBMIT) == Status(JOB_ID, JobState.ACCEPTED)
    assert again.hear() == Credit(JOB_ID)
    answer = again.say(Planes(JOB_ID, PlaneName.IMAGE, 0), pixels)
    again.socket.close(linger=0)
    assert isinstance(answer, Status)
    assert answer.state is JobState.QUEUED, answer


def test_credit_is_bounded_by_bytes(peer: Peer) -> None:
    side = 16384
    specs = (
        replace(SPEC, shape=(side // 4, side, 3), byte_length=side * side * 3 // 4),
        replace(SPEC, name=PlaneName.GARMENT, shape=(side // 4, side), byte_length=side * side // 4),
    )
    credited, waiting = set(), []
    for number in range(6):
        job_id = f"{number:032x}"
        peer.send(*encode(Submit(job_id, REQUEST, specs)))
        waiting.append(job_id)
    while peer.socket.poll(1500):
        message, _ = decode(receive(peer.socket), Limits())
        if isinstance(message, Credit):
            credited.add(message.job_id)
    # Four planes sets of 256 MiB fill the limit of 1 GiB.
    assert sum(spec.byte_length for spec in specs) == 2**28
    assert sorted(credited) == waiting[:4]


@pytest.mark.parametrize("fault", ["client key", "server key", "plaintext"])
def test_a_peer_without_the_keys_is_not_let_in(service: Service, context: zmq.Context, fault: str) -> None:
    connection = service.start()
    public, secret = zmq.curve_keypair()
    if fault == "client key":
        stranger = dial(context, replace(connection, client_public_key=public, client_secret_key=secret))
    elif fault == "server key":
        stranger = dial(context, replace(connection, server_public_key=public))
    else:
        stranger = context.socket(zmq.DEALER)
        stranger.connect(connection.endpoint)
    peer = Peer.__new__(Peer)
    peer.socket = stranger
    peer.send(*encode(Hello((1, 1), "stranger")), seconds=1.0)
    assert not stranger.poll(1000)
    stranger.close(linger=0)
    # The rightful client is served meanwhile.
    client = service.client()
    assert np.any(finish(client, client.submit(REQUEST, planes_of(IMAGE))).planes[PlaneName.IMAGE])
