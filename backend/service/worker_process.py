# SPDX-License-Identifier: GPL-3.0-or-later
"""One start of the worker, seen from the supervisor.

Pipes cannot be polled beside sockets on every system, so a thread for each of the worker's output streams
carries it over: reports into an in-process socket, printed lines into the log.
"""

from __future__ import annotations

import contextlib
import logging
import os
import subprocess
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import BinaryIO, cast

import zmq

from protocol import Message

from .channel import read_header, write_message

SOURCE_FOLDER = Path(__file__).parents[2]
"""Where `backend` and `protocol` are imported from."""

EXIT_GRACE_S = 1.0
"""Seconds between closing its reports and being gone."""

log = logging.getLogger(__name__)


class WorkerProcess:
    """A running worker.

    Args:
        command: The worker program; the supervisor's process id is added to it.
        context: Context of the socket that the reports go to.
        endpoint: In-process address of that socket. It receives [number, header] for each report and
            [number, empty] when the worker has ended.
        number: Tells the reports of this start from those of the one before.

    Raises:
        OSError: The program cannot be started.
    """

    def __init__(
        self, command: Sequence[str], context: zmq.Context[zmq.Socket[bytes]], endpoint: str, number: int
    ) -> None:
        # `-P` keeps the current folder, which may be anybody's, off the import path; this folder replaces it.
        paths = [str(SOURCE_FOLDER), *filter(None, [os.environ.get("PYTHONPATH")])]
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(paths)}
        self._process = subprocess.Popen(
            [*command, "--parent-pid", str(os.getpid())],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=environment,
            # Windows would open a console window for it.
            creationflags=getattr(subprocess, "CREATE_NO_WINDOW", 0),
        )
        self.number = number
        self._context = context
        self._endpoint = endpoint
        self._threads = [
            threading.Thread(
                target=self._carry_reports, args=(cast("BinaryIO", self._process.stdout),), daemon=True
            ),
            threading.Thread(
                target=self._carry_log, args=(cast("BinaryIO", self._process.stderr),), daemon=True
            ),
        ]
        for thread in self._threads:
            thread.start()

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._process.pid

    def send(self, message: Message) -> None:
        """Send a message. One to a worker that is gone is dropped: its end is reported anyhow."""
        with contextlib.suppress(OSError):
            write_message(cast("BinaryIO", self._process.stdin), message)

    def kill(self) -> None:
        """End it at once; reported like any other end."""
        self._process.kill()

    def close(self) -> int:
        """End it, wait until it is gone, and return its exit status (negative: the signal's number)."""
        self._process.kill()
        return self.collect()

    def collect(self) -> int:
        """Wait until one that ended by itself, or was killed, is gone; returns its exit status."""
        try:
            status = self._process.wait(timeout=EXIT_GRACE_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            status = self._process.wait()
        for thread in self._threads:
            thread.join()
        for stream in (self._process.stdin, self._process.stdout, self._process.stderr):
            assert stream is not None
            with contextlib.suppress(OSError):
                stream.close()
        return status

    def _carry_reports(self, stream: BinaryIO) -> None:
        socket = self._context.socket(zmq.PUSH)
        socket.setsockopt(zmq.LINGER, 0)
        socket.connect(self._endpoint)
        number = str(self.number).encode()
        while header := read_header(stream):
            socket.send_multipart([number, header])
        socket.send_multipart([number, b""])
        socket.close()

    def _carry_log(self, stream: BinaryIO) -> None:
        for line in stream:
            log.info("%s", line.decode(errors="replace").rstrip())
