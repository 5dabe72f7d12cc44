# SPDX-License-Identifier: GPL-3.0-or-later
"""One link from a client to a supervisor: from `dial` until it breaks. Nothing in it waits."""

from __future__ import annotations

from dataclasses import dataclass

import zmq
from zmq.utils.monitor import parse_monitor_message

from .connection import Connection
from .curve import dial, receive
from .errors import ErrorCode
from .framing import encode
from .messages import Message


@dataclass(frozen=True)
class Fault:
    """Why a link broke.

    Args:
        code: BACKEND_LOST where trying again may help, KEY_REFUSED where it does not.
        detail: In words.
    """

    code: ErrorCode
    detail: str


_FAULTS: dict[int, Fault] = {
    zmq.EVENT_CLOSED: Fault(ErrorCode.BACKEND_LOST, "nothing listens at the backend's port"),
    zmq.EVENT_DISCONNECTED: Fault(ErrorCode.BACKEND_LOST, "the backend closed the connection"),
    zmq.EVENT_HANDSHAKE_FAILED_AUTH: Fault(ErrorCode.KEY_REFUSED, "the backend does not know this key"),
    zmq.EVENT_HANDSHAKE_FAILED_PROTOCOL: Fault(
        ErrorCode.KEY_REFUSED, "the other side is no Make Real backend"
    ),
    zmq.EVENT_HANDSHAKE_FAILED_NO_DETAIL: Fault(
        ErrorCode.KEY_REFUSED, "the other side does not have the backend's key"
    ),
}


class Link:
    """A socket and the news about its connection.

    Args:
        context: The client's context.
        connection: Where and with which keys.
    """

    def __init__(self, context: zmq.Context[zmq.Socket[bytes]], connection: Connection) -> None:
        endpoint = f"inproc://make-real-link-{id(self)}"
        self._socket = dial(context, connection, (endpoint, sum(_FAULTS)))
        self._monitor = context.socket(zmq.PAIR)
        self._monitor.setsockopt(zmq.LINGER, 0)
        self._monitor.connect(endpoint)

    def send(self, message: Message, buffer: memoryview | None = None) -> bool:
        """Hand a message to the socket; False if the link does not stand yet or its queue is full.

        Copies the buffer: pyzmq's zero-copy send would start a Python thread.

        Raises:
            MakeRealError: as `framing.encode`.
        """
        parts = encode(message, () if buffer is None else (buffer,))
        try:
            self._socket.send_multipart(parts, zmq.NOBLOCK, copy=True)
        except zmq.Again:
            return False
        return True

    def receive(self) -> list[memoryview] | None:
        """The parts of the next message, None if none waits."""
        return receive(self._socket)

    def fault(self) -> Fault | None:
        """Why the link broke; None while it stands or is being made."""
        try:
            event = parse_monitor_message(self._monitor.recv_multipart(zmq.NOBLOCK))
        except zmq.Again:
            return None
        return _FAULTS[event["event"]]

    def close(self) -> None:
        """Drop the link and what was not sent yet. May be repeated."""
        if self._socket.closed:
            return
        self._socket.disable_monitor()
        self._monitor.close(linger=0)
        self._socket.close(linger=0)
