# SPDX-License-Identifier: GPL-3.0-or-later
"""What a peer sends wrong over a real link is answered with an error code, and the link lives on."""

from __future__ import annotations

import time
from collections.abc import Iterator

import msgpack
import numpy as np
import pytest
import zmq
from scripted_server import ScriptedServer

from protocol import (
    Credit,
    Error,
    ErrorCode,
    Limits,
    Message,
    Ping,
    PlaneName,
    Planes,
    Pong,
    Status,
    Submit,
    TranslationRequest,
    dial,
    receive,
)
from protocol.curve import MAX_PARTS
from protocol.framing import MAGIC, decode, encode
from protocol.planes import describe

JOB_ID = "e" * 32
IMAGE = np.arange(300, dtype=np.uint8).reshape(10, 10, 3)
SUBMIT = Submit(JOB_ID, TranslationRequest(), (describe(PlaneName.IMAGE, IMAGE),))


class Peer:
    """A raw DEALER with the right keys that may say anything."""

    def __init__(self, server: ScriptedServer) -> None:
        self._server = server
        self._context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        self._socket = dial(self._context, server.connection)

    def ask(self, parts: list[bytes | memoryview]) -> Message:
        """Send parts and wait for the answer."""
        is_sent = False
        end = time.monotonic() + 20
        while time.monotonic() < end:
            try:
                if not is_sent:
                    self._socket.send_multipart(parts, zmq.NOBLOCK)
                    is_sent = True
            except zmq.Again:
                pass
            self._server.pump()
            answer = receive(self._socket)
            if answer is not None:
                return decode(answer, Limits())[0]
            time.sleep(0.001)
        raise AssertionError("no answer")

    def close(self) -> None:
        self._socket.close(linger=0)
        self._context.destroy(linger=0)


@pytest.fixture
def peer() -> Iterator[Peer]:
    server = ScriptedServer()
    peer = Peer(server)
    yield peer
    peer.close()
    server.close()


def header(**fields: object) -> bytes:
    return bytes(msgpack.packb(fields))


SUBMIT_HEADER = bytes(encode(SUBMIT)[1])

BAD: dict[str, tuple[list[bytes], ErrorCode]] = {
    "empty": ([b""], ErrorCode.MALFORMED_MESSAGE),
    "another protocol": ([b"GET / HTTP/1.1", b""], ErrorCode.MALFORMED_MESSAGE),
    "another version": ([b"MR9", header(type="ping")], ErrorCode.UNSUPPORTED_VERSION),
    "no map": ([MAGIC, msgpack.packb([1, 2])], ErrorCode.MALFORMED_MESSAGE),
    "truncated header": ([MAGIC, SUBMIT_HEADER[:-9]], ErrorCode.MALFORMED_MESSAGE),
    "unknown type": ([MAGIC, header(type="reboot")], ErrorCode.UNSUPPORTED_MESSAGE),
    "missing field": ([MAGIC, header(type="query")], ErrorCode.MALFORMED_MESSAGE),
    "wrong type": ([MAGIC, header(type="cancel", job_id=7)], ErrorCode.MALFORMED_MESSAGE),
    "oversize header": ([MAGIC, header(type="ping", padding="x" * 70_000)], ErrorCode.LIMIT_EXCEEDED),
    "unexpected buffer": ([MAGIC, header(type="ping"), b"pixels"], ErrorCode.MALFORMED_MESSAGE),
    "too many parts": ([MAGIC, header(type="ping"), *[b"x"] * 10 * MAX_PARTS], ErrorCode.MALFORMED_MESSAGE),
}


@pytest.mark.parametrize(("parts", "code"), BAD.values(), ids=BAD)
def test_a_bad_message_is_answered_and_the_link_lives(
    peer: Peer, parts: list[bytes], code: ErrorCode
) -> None:
    for _ in range(3):
        answer = peer.ask([*parts])
        assert isinstance(answer, Error)
        assert answer.code is code
    assert isinstance(peer.ask(encode(Ping())), Pong)


def chunk(offset: int, size: int) -> list[bytes | memoryview]:
    return encode(Planes(JOB_ID, PlaneName.IMAGE, offset), [bytes(size)])


@pytest.mark.parametrize(
    ("parts", "code"),
    [
        (chunk(0, 301), ErrorCode.MALFORMED_MESSAGE),
        (chunk(100, 100), ErrorCode.MALFORMED_MESSAGE),
        (chunk(0, 300), ErrorCode.DIGEST_MISMATCH),
        (chunk(0, 0), ErrorCode.MALFORMED_MESSAGE),
        (chunk(0, 1)[:2], ErrorCode.MALFORMED_MESSAGE),
        ([*chunk(0, 1), b"more"], ErrorCode.MALFORMED_MESSAGE),
        (chunk(0, 1024 * 1024 + 1), ErrorCode.LIMIT_EXCEEDED),
        (chunk(0, 32 * 1024 * 1024), ErrorCode.LIMIT_EXCEEDED),
    ],
    ids=["too long", "gap", "damaged", "empty", "no buffer", "two buffers", "oversize", "far oversize"],
)
def test_bad_planes_are_answered_with_their_job_and_the_link_lives(
    peer: Peer, parts: list[bytes | memoryview], code: ErrorCode
) -> None:
    assert peer.ask(encode(SUBMIT)) == Credit(JOB_ID)
    answer = peer.ask(parts)
    assert isinstance(answer, Error)
    assert (answer.code, answer.job_id) == (code, JOB_ID)
    good = encode(Planes(JOB_ID, PlaneName.IMAGE, 0), [IMAGE.tobytes()])
    assert isinstance(peer.ask(good), Status)


def test_a_picture_beyond_the_limits_is_answered_with_its_job(peer: Peer) -> None:
    large = describe(PlaneName.IMAGE, np.zeros((1, 16385, 3), np.uint8))
    answer = peer.ask(encode(Submit(JOB_ID, TranslationRequest(), (large,))))
    assert isinstance(answer, Error)
    assert answer.code is ErrorCode.LIMIT_EXCEEDED
    assert isinstance(peer.ask(encode(Ping())), Pong)
