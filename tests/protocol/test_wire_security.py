# SPDX-License-Identifier: GPL-3.0-or-later
"""Who cannot read along, and who is not let in. Each refusal is proved beside the same thing succeeding."""

from __future__ import annotations

import contextlib
import dataclasses
import re
import time
from collections.abc import Callable, Iterator

import numpy as np
import pytest
import zmq
from scripted_server import ScriptedServer, has, run
from wiretap import Wiretap

from protocol import (
    Client,
    Connection,
    ErrorCode,
    Finished,
    Hello,
    Lost,
    Ping,
    PlaneName,
    Submit,
    TranslationRequest,
    Welcome,
    dial,
    receive,
)
from protocol.framing import encode

MARK = b"the-garment-nobody-may-see-before-the-show"
SECRET_PICTURE = np.frombuffer((MARK * 400)[: 64 * 64 * 3], np.uint8).reshape(64, 64, 3)
LABEL = "autumn collection, look 7"


@pytest.fixture
def server() -> Iterator[ScriptedServer]:
    server = ScriptedServer()
    yield server
    server.close()


@pytest.fixture
def context() -> Iterator[zmq.Context[zmq.Socket[bytes]]]:
    context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
    yield context
    context.destroy(linger=0)


def port_of(endpoint: str) -> int:
    return int(endpoint.rpartition(":")[2])


def test_an_eavesdropper_sees_nothing(server: ScriptedServer) -> None:
    tap = Wiretap(port_of(server.connection.endpoint))
    tapped = dataclasses.replace(server.connection, endpoint=f"tcp://127.0.0.1:{tap.port}")
    client = Client(tapped, "test", find=lambda: None)

    def pump(until: Callable[[], bool]) -> None:
        end = time.monotonic() + 20
        while not until():
            assert time.monotonic() < end
            finished.extend(event for event in client.poll() if isinstance(event, Finished))
            tap.pump()
            server.pump()

    finished: list[Finished] = []
    job_id = client.submit(TranslationRequest(), {PlaneName.IMAGE: SECRET_PICTURE}, label=LABEL)
    pump(until=lambda: job_id in server.received)
    server.finish(job_id, {PlaneName.IMAGE: SECRET_PICTURE})
    pump(until=lambda: bool(finished))
    client.close()
    tap.close()

    assert np.array_equal(finished[0].planes[PlaneName.IMAGE], SECRET_PICTURE)
    assert len(tap.heard) > 2 * SECRET_PICTURE.nbytes
    for secret in (MARK, LABEL.encode(), job_id.encode(), b"submit", b"starter"):
        assert secret not in tap.heard


def test_the_same_tap_reads_a_pair_without_curve(context: zmq.Context[zmq.Socket[bytes]]) -> None:
    router = context.socket(zmq.ROUTER)
    tap = Wiretap(router.bind_to_random_port("tcp://127.0.0.1"))
    dealer = context.socket(zmq.DEALER)
    dealer.connect(f"tcp://127.0.0.1:{tap.port}")
    dealer.send_multipart([*encode(Hello((1, 1), LABEL)), SECRET_PICTURE.tobytes()])
    end = time.monotonic() + 20
    while receive(router) is None:
        assert time.monotonic() < end
        tap.pump()
    for closing in (tap, router, dealer):
        closing.close()
    for secret in (MARK, LABEL.encode(), b"hello"):
        assert secret in tap.heard


def is_heard(server: ScriptedServer, dealer: zmq.Socket[bytes], seconds: float) -> bool:
    """Say Ping again and again until the server hears it or the time is over; closes the dealer."""
    end = time.monotonic() + seconds
    while time.monotonic() < end and not server.heard:
        with contextlib.suppress(zmq.Again):
            dealer.send_multipart(encode(Ping()), zmq.NOBLOCK)
        server.pump()
        time.sleep(0.005)
    dealer.close(linger=0)
    return bool(server.heard)


def test_the_right_keys_are_let_in(server: ScriptedServer, context: zmq.Context[zmq.Socket[bytes]]) -> None:
    assert is_heard(server, dial(context, server.connection), seconds=20)


def wrong_client_key(right: Connection) -> Connection:
    public, secret = zmq.curve_keypair()
    return dataclasses.replace(right, client_public_key=public, client_secret_key=secret)


def stolen_public_key(right: Connection) -> Connection:
    """The admitted public key without its secret half."""
    return dataclasses.replace(right, client_secret_key=zmq.curve_keypair()[1])


def wrong_server_key(right: Connection) -> Connection:
    return dataclasses.replace(right, server_public_key=zmq.curve_keypair()[0])


@pytest.mark.parametrize("forge", [wrong_client_key, stolen_public_key, wrong_server_key])
def test_wrong_keys_are_refused(
    server: ScriptedServer, context: zmq.Context[zmq.Socket[bytes]], forge: Callable[[Connection], Connection]
) -> None:
    assert not is_heard(server, dial(context, forge(server.connection)), seconds=1.0)


def no_key(dealer: zmq.Socket[bytes]) -> None:
    pass


def password(dealer: zmq.Socket[bytes]) -> None:
    dealer.setsockopt(zmq.PLAIN_USERNAME, b"make-real")
    dealer.setsockopt(zmq.PLAIN_PASSWORD, b"make-real")


@pytest.mark.parametrize("mechanism", [no_key, password])
def test_plaintext_is_refused(
    server: ScriptedServer,
    context: zmq.Context[zmq.Socket[bytes]],
    mechanism: Callable[[zmq.Socket[bytes]], None],
) -> None:
    dealer = context.socket(zmq.DEALER)
    mechanism(dealer)
    dealer.connect(server.connection.endpoint)
    assert not is_heard(server, dealer, seconds=1.0)


@pytest.mark.parametrize(
    ("forge", "words"),
    [(wrong_client_key, "does not know this key"), (wrong_server_key, "does not have the backend's key")],
)
def test_a_client_with_wrong_keys_says_that_it_is_lost(
    server: ScriptedServer, forge: Callable[[Connection], Connection], words: str
) -> None:
    client = Client(forge(server.connection), "test", find=lambda: None)
    client.submit(TranslationRequest(), {PlaneName.IMAGE: SECRET_PICTURE})
    lost = run(client, server, until=has(Lost))[-1]
    client.close()
    assert isinstance(lost, Lost)
    assert words in lost.detail
    assert lost.code is ErrorCode.KEY_REFUSED
    assert not server.heard


def test_two_starts_have_nothing_in_common(server: ScriptedServer) -> None:
    other = ScriptedServer()
    other.close()
    for name in ("endpoint", "server_public_key", "client_public_key", "client_secret_key"):
        assert getattr(server.connection, name) != getattr(other.connection, name)


def test_only_this_machine_is_listened_to(server: ScriptedServer) -> None:
    bound = server.listener.router.getsockopt_string(zmq.LAST_ENDPOINT)
    assert re.fullmatch(r"tcp://127\.0\.0\.1:[0-9]+", bound)
    assert server.connection.endpoint == bound


def test_a_stranger_at_the_port_does_not_disturb_a_client(
    server: ScriptedServer, context: zmq.Context[zmq.Socket[bytes]]
) -> None:
    client = Client(server.connection, "test", find=lambda: None)
    run(client, server, until=has(Welcome))
    server.heard.clear()
    assert not is_heard(server, dial(context, wrong_client_key(server.connection)), seconds=0.5)
    job_id = client.submit(TranslationRequest(), {PlaneName.IMAGE: SECRET_PICTURE})
    run(client, server, until=lambda events: job_id in server.received)
    client.close()
    assert len(server.heard_of(Submit)) == 1
