# SPDX-License-Identifier: GPL-3.0-or-later
"""Sockets that nobody reads along and nobody else may use: TCP (loopback unless told otherwise), CURVE, ZAP.

CURVE encrypts and proves the server to the client; only the ZAP answer (RFC 27) keeps out a client that
merely knows the server's public key. libzmq asks for it over an in-process socket, which the owner of the
listening socket polls in the same loop; there is no thread.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, field

import zmq
from zmq.utils import z85

from .connection import Connection
from .limits import Limits

MAX_PART_BYTES = 64 * 1024 * 1024
"""A part beyond this costs a client its connection: libzmq drops it unread. Chunks are far smaller."""
MAX_PARTS = 2 + Limits().max_planes
HEARTBEAT_MS = 5_000
LINK_TIMEOUT_MS = 30_000
"""Silence after which libzmq drops a link. A 1 GiB result is one part and may take seconds to pass."""
HANDSHAKE_MS = 5_000
QUEUED_MESSAGES = 64
"""High-water mark: with chunks of 1 MiB at most 64 MiB wait in a socket. libzmq's default is 1000."""
QUEUED_BY_CLIENT = 8
"""High-water mark of what a client sends: a `Cancel` or `Ping` waits behind 8 MiB at most."""

_ZAP_ENDPOINT = "inproc://zeromq.zap.01"
_ZAP_VERSION = b"1.0"
_ZAP_DOMAIN = b"make-real"


class Gate:
    """Answers libzmq's question whether a client's key is admitted. Poll `socket`; when readable, `handle()`.

    Args:
        context: Context of the listening socket; one gate a context.
        client_public_key: The key that is admitted, 40 bytes of Z85.
    """

    def __init__(self, context: zmq.Context[zmq.Socket[bytes]], client_public_key: bytes) -> None:
        self._admitted = z85.decode(client_public_key)
        self.socket = context.socket(zmq.REP)
        self.socket.setsockopt(zmq.LINGER, 0)
        self.socket.bind(_ZAP_ENDPOINT)

    def handle(self) -> None:
        """Answer every waiting question; returns at once if there is none."""
        while True:
            try:
                request = self.socket.recv_multipart(zmq.NOBLOCK)
            except zmq.Again:
                return
            self.socket.send_multipart(self._answer(request))

    def _answer(self, request: list[bytes]) -> list[bytes]:
        version, request_id, domain, _address, _identity, mechanism, *credentials = request
        is_admitted = (version, domain, mechanism, credentials) == (
            _ZAP_VERSION,
            _ZAP_DOMAIN,
            b"CURVE",
            [self._admitted],
        )
        status, text = (b"200", b"OK") if is_admitted else (b"400", b"unknown key")
        return [_ZAP_VERSION, request_id, status, text, b"", b""]


@dataclass(frozen=True)
class Listener:
    """A listening supervisor socket.

    Args:
        router: ROUTER socket; sending to a client that is gone raises `zmq.ZMQError` with EHOSTUNREACH, to
            one whose queue is full `zmq.Again`.
        gate: Poll its socket beside the router, or no client ever gets in.
        connection: What to write into the connection file.
    """

    router: zmq.Socket[bytes]
    gate: Gate
    connection: Connection

    def close(self) -> None:
        """Close both sockets; what was not sent yet is dropped."""
        self.router.close(linger=0)
        self.gate.socket.close(linger=0)


@dataclass(frozen=True)
class Keys:
    """The two key pairs of a listening supervisor and its one client, each key 40 bytes of Z85."""

    server_public: bytes
    server_secret: bytes = field(repr=False)
    client_public: bytes
    client_secret: bytes = field(repr=False)

    @classmethod
    def fresh(cls) -> Keys:
        """New ones."""
        return cls(*zmq.curve_keypair(), *zmq.curve_keypair())


def listen(
    context: zmq.Context[zmq.Socket[bytes]], epoch: str, keys: Keys | None = None, address: str = ""
) -> Listener:
    """Bind a ROUTER to a loopback port of the system's choice, with keys that admit one client key.

    Args:
        context: Context of the sockets.
        epoch: As in `messages.Welcome`.
        keys: Fresh ones if not given.
        address: `IP:PORT` to listen at as well, for clients on other machines.

    Raises:
        zmq.ZMQError: the address is taken, or not one of this machine.
    """
    keys = keys or Keys.fresh()
    # Before the router is bound, so that no client is let in unasked.
    gate = Gate(context, keys.client_public)
    router = context.socket(zmq.ROUTER)
    _set_common_options(router, MAX_PART_BYTES)
    router.setsockopt(zmq.ROUTER_MANDATORY, 1)
    router.setsockopt(zmq.ZAP_DOMAIN, _ZAP_DOMAIN)
    router.setsockopt(zmq.CURVE_SERVER, 1)
    router.setsockopt(zmq.CURVE_SECRETKEY, keys.server_secret)
    router.setsockopt(zmq.CURVE_PUBLICKEY, keys.server_public)
    router.bind("tcp://127.0.0.1:*")
    endpoint = router.getsockopt_string(zmq.LAST_ENDPOINT)
    connection = Connection(
        endpoint, keys.server_public, keys.client_public, keys.client_secret, os.getpid(), epoch
    )
    listener = Listener(router, gate, connection)
    if address:
        try:
            router.bind(f"tcp://{address}")
        except zmq.ZMQError:
            listener.close()
            raise
    return listener


def dial(
    context: zmq.Context[zmq.Socket[bytes]], connection: Connection, faults: tuple[str, int] | None = None
) -> zmq.Socket[bytes]:
    """A DEALER that connects in the background. It does not reconnect: a new link needs a new `Hello`.

    Args:
        context: Context of the socket.
        connection: Where and with which keys.
        faults: In-process endpoint and mask of the socket events to be told there.
    """
    dealer = context.socket(zmq.DEALER)
    _set_common_options(dealer, Limits().max_job_bytes)
    dealer.setsockopt(zmq.SNDHWM, QUEUED_BY_CLIENT)
    dealer.setsockopt(zmq.RECONNECT_IVL, -1)
    # Nothing is queued for a link that does not stand.
    dealer.setsockopt(zmq.IMMEDIATE, 1)
    dealer.setsockopt(zmq.CURVE_SERVERKEY, connection.server_public_key)
    dealer.setsockopt(zmq.CURVE_PUBLICKEY, connection.client_public_key)
    dealer.setsockopt(zmq.CURVE_SECRETKEY, connection.client_secret_key)
    if faults:
        # Before connecting: a refusal can come within a millisecond.
        dealer.monitor(*faults)
    dealer.connect(connection.endpoint)
    return dealer


def receive(socket: zmq.Socket[bytes]) -> list[memoryview] | None:
    """The parts of one message, not copied; None if none waits. Of too many parts one too many is returned.

    From a ROUTER the first part is the sender's routing identity.
    """
    parts: list[memoryview] = []
    flags = int(zmq.NOBLOCK)
    while True:
        try:
            frame = socket.recv(flags, copy=False)
        except zmq.Again:
            return None
        if len(parts) < MAX_PARTS + 2:
            parts.append(frame.buffer)
        if not frame.more:
            return parts
        flags = 0


def _set_common_options(socket: zmq.Socket[bytes], max_part_bytes: int) -> None:
    for option, value in {
        zmq.LINGER: 0,
        zmq.MAXMSGSIZE: max_part_bytes,
        zmq.SNDHWM: QUEUED_MESSAGES,
        zmq.RCVHWM: QUEUED_MESSAGES,
        zmq.HANDSHAKE_IVL: HANDSHAKE_MS,
        zmq.HEARTBEAT_IVL: HEARTBEAT_MS,
        zmq.HEARTBEAT_TIMEOUT: LINK_TIMEOUT_MS,
        zmq.HEARTBEAT_TTL: LINK_TIMEOUT_MS,
    }.items():
        socket.setsockopt(option, value)
