# SPDX-License-Identifier: GPL-3.0-or-later
"""A TCP proxy that keeps every byte that passes, in both directions. Pumped by the test, no thread."""

from __future__ import annotations

import contextlib
import selectors
import socket


class Wiretap:
    """Forwards one connection to a loopback port.

    Args:
        port: Where the tapped server listens.
    """

    def __init__(self, port: int) -> None:
        self.heard = bytearray()
        self._target = ("127.0.0.1", port)
        self._server = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._server.getsockname()[1]
        self._selector = selectors.DefaultSelector()
        self._selector.register(self._server, selectors.EVENT_READ)
        self._peers: dict[socket.socket, socket.socket] = {}

    def pump(self) -> None:
        for key, _ in self._selector.select(timeout=0):
            assert isinstance(key.fileobj, socket.socket)
            if key.fileobj is self._server:
                self._accept()
            else:
                self._forward(key.fileobj)

    def _accept(self) -> None:
        near, _ = self._server.accept()
        far = socket.create_connection(self._target)
        self._peers |= {near: far, far: near}
        for side in (near, far):
            self._selector.register(side, selectors.EVENT_READ)

    def _forward(self, side: socket.socket) -> None:
        data = b""
        with contextlib.suppress(ConnectionError):
            data = side.recv(65536)
        self.heard += data
        if data:
            self._peers[side].sendall(data)
        else:
            self._selector.unregister(side)

    def close(self) -> None:
        self._selector.close()
        for side in (self._server, *self._peers):
            side.close()
