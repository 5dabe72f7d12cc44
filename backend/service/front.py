# SPDX-License-Identifier: GPL-3.0-or-later
"""The supervisor's side of the clients: who is there, who listens to which job, who is owed a result.

Nothing here waits. A hint that a client has no room for is dropped, since a query tells the truth; a result
stays owed until it could be handed over, and each client holds few at a time: a slow one costs little memory.
Everybody who holds this start's client key is the same user and may ask for any of the user's jobs.
"""

from __future__ import annotations

import errno
import logging
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import zmq

from protocol import Error, Limits, MakeRealError, Message
from protocol.curve import Listener, receive
from protocol.framing import decode, encode

MAX_RESULTS_ON_THE_WAY = 2
"""Results that were handed to a client and not acknowledged yet."""
MAX_MESSAGES_A_TURN = 64

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Letter:
    """A message and the client that it came from."""

    client: bytes
    message: Message
    buffers: list[memoryview]


@dataclass
class Deliveries:
    """A client's results: ids of the jobs whose results wait for it, and of those on the way to it."""

    owed: dict[str, None] = field(default_factory=dict)
    on_the_way: set[str] = field(default_factory=set)


class Front:
    """Clients of one listening socket, by routing identity.

    Args:
        listener: The socket and its gate.
        limits: Checked on everything that arrives.
    """

    def __init__(self, listener: Listener, limits: Limits) -> None:
        self._router = listener.router
        self._gate = listener.gate
        self._limits = limits
        self._listeners: dict[str, set[bytes]] = defaultdict(set)
        self._deliveries: dict[bytes, Deliveries] = defaultdict(Deliveries)
        self._gone: set[bytes] = set()

    def letters(self) -> Iterator[Letter]:
        """What has arrived, a bounded number a call. What cannot be read is answered here."""
        self._gate.handle()
        for _ in range(MAX_MESSAGES_A_TURN):
            parts = receive(self._router)
            if parts is None:
                return
            client = bytes(parts[0])
            try:
                message, buffers = decode(parts[1:], self._limits)
            except MakeRealError as error:
                self.refuse(client, error)
                continue
            yield Letter(client, message, buffers)

    def send(self, client: bytes, message: Message, buffers: Sequence[bytes | memoryview] = ()) -> bool:
        """Send a message; False when the client is gone or has no room."""
        try:
            self._router.send_multipart([client, *encode(message, buffers)], zmq.NOBLOCK, copy=False)
        except zmq.Again:
            return False
        except zmq.ZMQError as error:
            if error.errno != errno.EHOSTUNREACH:
                raise
            self._forget(client)
            return False
        return True

    def refuse(self, client: bytes, error: MakeRealError) -> None:
        """Tell a client that its message was refused."""
        log.warning("refused: %s %s %s", error.code, error.job_id, error.detail)
        self.send(client, Error.of(error))

    def listen(self, client: bytes, job_id: str) -> None:
        """Send a client what happens to a job from now on."""
        self._listeners[job_id].add(client)

    def notify(self, job_id: str, message: Message) -> None:
        """Send a hint to everybody who listens to a job."""
        for client in tuple(self._listeners.get(job_id, ())):
            self.send(client, message)

    def owe(self, client: bytes, job_id: str) -> None:
        """Note that a client shall have a job's result, also if it was sent once before."""
        deliveries = self._deliveries[client]
        deliveries.on_the_way.discard(job_id)
        deliveries.owed[job_id] = None

    def owe_all(self, job_id: str) -> None:
        """Note that everybody who listens to a job shall have its result."""
        for client in self._listeners.get(job_id, ()):
            self.owe(client, job_id)

    def next_owed(self) -> Iterator[tuple[bytes, str]]:
        """Clients with room for a result, each once, and the job whose result it should have next."""
        for client, deliveries in list(self._deliveries.items()):
            if deliveries.owed and len(deliveries.on_the_way) < MAX_RESULTS_ON_THE_WAY:
                yield client, next(iter(deliveries.owed))

    def settle(self, client: bytes, job_id: str, was_sent: bool) -> None:
        """Note that an owed result was sent, or that there is nothing to send."""
        deliveries = self._deliveries[client]
        deliveries.owed.pop(job_id, None)
        if was_sent:
            deliveries.on_the_way.add(job_id)

    def close_job(self, job_id: str) -> None:
        """Nothing more happens to a job: forget who listened."""
        self._listeners.pop(job_id, None)
        for deliveries in self._deliveries.values():
            deliveries.owed.pop(job_id, None)
            deliveries.on_the_way.discard(job_id)

    def take_gone(self) -> set[bytes]:
        """Clients that turned out to be gone since the last call."""
        gone, self._gone = self._gone, set()
        return gone

    def _forget(self, client: bytes) -> None:
        self._gone.add(client)
        self._deliveries.pop(client, None)
        for clients in self._listeners.values():
            clients.discard(client)
