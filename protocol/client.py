# SPDX-License-Identifier: GPL-3.0-or-later
"""The one client: the extension, the command line and the tests all use it. It never waits and has no thread.

client = Client(connection, "my program 1.0")
job_id = client.submit(request, {PlaneName.IMAGE: pixels})
while ...:                                  # a timer's tick
    for event in client.poll():
        match event:
            case Finished(): use(event.planes); client.acknowledge(event.job_id)
"""

from __future__ import annotations

import math
import time
import uuid
from collections.abc import Callable
from enum import StrEnum
from typing import TYPE_CHECKING, Any

import zmq

from .connection import Connection, read_connection
from .errors import ErrorCode, MakeRealError
from .events import Event, Lost
from .framing import decode, encode
from .jobs import Jobs
from .link import Fault, Link
from .messages import (
    PROTOCOL_VERSION,
    Acknowledge,
    Error,
    Hello,
    Message,
    Ping,
    Pong,
    Refused,
    Release,
    Welcome,
)
from .planes import PlaneName
from .received import Received
from .request import TranslationRequest
from .transfer import Upload

if TYPE_CHECKING:
    from numpy.typing import NDArray

HEARTBEAT_S = 5.0
"""Silence after which the client asks `Ping`. A process that ends is noticed at once, without it."""
MISSED_HEARTBEATS = 3
"""As many unanswered are a loss; more of them while a result may be on its way, before which no answer arrives."""
FIRST_RETRY_S = 0.5
LAST_RETRY_S = 4.0


class ClientState(StrEnum):
    """How a client stands with its supervisor."""

    CONNECTING = "connecting"
    READY = "ready"
    LOST = "lost"
    """Tries again by itself; unfinished jobs go on when it succeeds."""
    REFUSED = "refused"
    """The versions do not fit. Final."""


class Client:
    """A client of one supervisor, or of the supervisors that follow each other in the connection file.

    Args:
        connection: The supervisor.
        name: Name and version of the program, for the supervisor's log.
        find: Asked for the connection again after a loss; by default it reads the user's connection file.
    """

    def __init__(
        self, connection: Connection, name: str, *, find: Callable[[], Connection | None] = read_connection
    ) -> None:
        self.state = ClientState.CONNECTING
        self.welcome: Welcome | None = None
        self.pong: Pong | None = None
        """The supervisor's last word about its worker."""
        self._hello = Hello((PROTOCOL_VERSION, PROTOCOL_VERSION), name)
        self._find = find
        self._events: list[Event] = []
        self._context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        self._received = Received(self._context)
        self._jobs = Jobs(self._events.append, self._received.hold)
        self._retry_s = FIRST_RETRY_S
        self._retry_at = 0.0
        self._is_outage_told = False
        self._is_hello_sent = False
        self._open(connection)

    def submit(
        self,
        request: TranslationRequest,
        planes: dict[PlaneName, NDArray[Any]],
        *,
        job_id: str | None = None,
        label: str = "",
    ) -> str:
        """Start a job. Returns at once; hashing, sending and everything after happen in `poll`.

        Args:
            request: What decides the picture.
            planes: C-contiguous uint8, uint16, float16 or float32 arrays: `image`, and others of its height
                and width. They are not copied: leave them unchanged until the job ended.
            job_id: UUID of 32 hexadecimal digits; made if not given.
            label: What the artist calls it, at most 255 characters.

        Returns:
            The job's id.

        Raises:
            MakeRealError: INVALID_REQUEST or MALFORMED_MESSAGE, naming what is wrong; LIMIT_EXCEEDED;
                JOB_CONFLICT if this id is at work already.
        """
        upload = Upload(job_id or uuid.uuid4().hex, request, dict(planes), label)
        encode(upload.announcement())
        self._jobs.add(upload)
        return upload.job_id

    def cancel(self, job_id: str) -> None:
        """Stop a job; a `Status` event tells how it ended."""
        self._jobs.cancel(job_id)

    def query(self, job_id: str) -> None:
        """Ask for the truth about a job; the answer is a `Status` event, or `Finished` when it is done."""
        self._jobs.query(job_id)

    def acknowledge(self, job_id: str) -> None:
        """Tell the supervisor that the result was taken and may be forgotten."""
        self._jobs.request(Acknowledge(job_id))

    def let_go(self, job_id: str) -> None:
        """Give the memory of a job's result back, in ZeroMQ's thread. Drop its arrays first: the caller's own thread
        would take milliseconds for a large picture.
        """
        self._received.let_go(job_id)

    def release(self) -> bool:
        """Ask the supervisor to free the device's memory; `pong` tells whether it did, and it does nothing
        while it computes a picture.

        Returns:
            Whether there is a supervisor to ask.
        """
        return self.state is ClientState.READY and self._link.send(Release())

    def close(self) -> None:
        """Leave. Jobs go on at the supervisor; what was not sent yet is dropped."""
        self._link.close()
        self._context.destroy(linger=0)

    def poll(self, budget_s: float = 0.002) -> list[Event]:
        """Do what can be done without waiting and return what happened since the last call.

        Args:
            budget_s: Seconds after which no new slice of work is begun. One takes less than a millisecond.
        """
        deadline = time.monotonic() + budget_s
        if self.state is ClientState.LOST:
            self._retry()
        if self._is_linked:
            self._tend_link(deadline)
        while self._advance() and time.monotonic() < deadline:
            pass
        events = self._events.copy()
        self._events.clear()
        return events

    @property
    def _is_linked(self) -> bool:
        return self.state in (ClientState.CONNECTING, ClientState.READY)

    def _advance(self) -> bool:
        if self.state is ClientState.CONNECTING and not self._is_hello_sent:
            self._is_hello_sent = self._link.send(self._hello)
        return self._jobs.advance(self._send if self.state is ClientState.READY else None)

    def _send(self, message: Message, buffer: memoryview | None) -> bool:
        is_sent = self._link.send(message, buffer)
        if is_sent and buffer is not None:
            # The supervisor makes room for chunks in the queue, so it is there, though its words may be late. A small
            # message finds room whether it is there or not.
            self._quiet_since = time.monotonic()
            self._missed = 0
        return is_sent

    def _open(self, connection: Connection) -> None:
        self._link = Link(self._context, connection)
        self.state = ClientState.CONNECTING
        self._is_hello_sent = False
        self._quiet_since = time.monotonic()
        self._missed = 0

    def _tend_link(self, deadline: float) -> None:
        """Take what came in; ask for a sign of life after silence; give the link up when it broke."""
        is_drained = self._receive(deadline)
        if not is_drained or not self._is_linked:
            return
        fault = self._link.fault() or self._beat()
        if fault:
            self._lose(fault)
        elif self.state is ClientState.READY:
            self._jobs.ask_after_silence()

    def _receive(self, deadline: float) -> bool:
        """Take messages until none waits, and then return True, or until the deadline."""
        while self._is_linked:
            parts = self._link.receive()
            if parts is None:
                return True
            self._quiet_since = time.monotonic()
            self._missed = 0
            try:
                self._handle(*decode(parts, self._jobs.limits))
            except MakeRealError as error:
                # A later supervisor may tell more than this client knows.
                if error.code is not ErrorCode.UNSUPPORTED_MESSAGE:
                    self._jobs.handle(Error.of(error), [])
            if time.monotonic() >= deadline:
                break
        return False

    def _handle(self, message: Message, buffers: list[memoryview]) -> None:
        match message:
            case Welcome():
                self._greet(message)
            case Refused():
                self._link.close()
                self.state = ClientState.REFUSED
                self._events.append(message)
            case Pong():
                self.pong = message
            case _:
                self._jobs.handle(message, buffers)

    def _greet(self, welcome: Welcome) -> None:
        self.welcome = welcome
        self.state = ClientState.READY
        self._retry_s = FIRST_RETRY_S
        self._is_outage_told = False
        self._events.append(welcome)
        self._jobs.limits = welcome.limits
        self._jobs.reconnected()

    def _beat(self) -> Fault | None:
        """Ask for a sign of life after silence; the fault when several were asked for in vain.

        A host that did not poll for a minute was busy itself, so a pause of any length counts once.
        """
        now = time.monotonic()
        if now - self._quiet_since < HEARTBEAT_S:
            return None
        self._quiet_since = now
        self._missed += 1
        # Before the handshake no result is on its way.
        patience_s = self._jobs.patience_s() if self.state is ClientState.READY else 0.0
        allowed = MISSED_HEARTBEATS + math.ceil(patience_s / HEARTBEAT_S)
        if self._missed > allowed:
            return Fault(ErrorCode.BACKEND_LOST, f"no answer to {allowed} heartbeats")
        if self.state is ClientState.READY:
            self._link.send(Ping())
        return None

    def _lose(self, fault: Fault) -> None:
        self._link.close()
        self.state = ClientState.LOST
        self._retry_at = time.monotonic() + self._retry_s
        self._retry_s = min(2 * self._retry_s, LAST_RETRY_S)
        if not self._is_outage_told:
            self._is_outage_told = True
            self._events.append(Lost(fault.detail, fault.code))

    def _retry(self) -> None:
        if time.monotonic() < self._retry_at:
            return
        try:
            connection = self._find()
        except MakeRealError as error:
            self._retry_at = time.monotonic() + LAST_RETRY_S
            self._events.append(Error.of(error))
            return
        if connection:
            self._open(connection)
        else:
            self._retry_at = time.monotonic() + FIRST_RETRY_S
