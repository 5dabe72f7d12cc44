# SPDX-License-Identifier: GPL-3.0-or-later
"""The memory of results, given back without holding anybody up.

To free a 4K picture takes whoever does it 4 ms. ZeroMQ frees what still waits in a socket that is closed in a thread of
its own: so whatever was received waits in one until then.
"""

from __future__ import annotations

import uuid
from collections.abc import Sequence

import zmq


class Received:
    """Buffers of results, held beside whoever reads them.

    Args:
        context: Whose thread frees them.
    """

    def __init__(self, context: zmq.Context[zmq.Socket[bytes]]) -> None:
        self._context = context
        self._ends: dict[str, tuple[zmq.Socket[bytes], zmq.Socket[bytes]]] = {}

    def hold(self, job_id: str, buffers: Sequence[memoryview]) -> None:
        """Hold a job's result, instead of an earlier one of the same job.

        Args:
            buffers: As `curve.receive` returned them.
        """
        self.let_go(job_id)
        reader, writer = self._ends[job_id] = self._context.socket(zmq.PAIR), self._context.socket(zmq.PAIR)
        for end in (reader, writer):
            end.set_hwm(0)
        endpoint = f"inproc://make-real-received-{uuid.uuid4().hex}"
        reader.bind(endpoint)
        writer.connect(endpoint)
        for buffer in buffers:
            # The received frame itself: ZeroMQ counts who holds it, and copies nothing.
            writer.send(buffer.obj, zmq.NOBLOCK, copy=False)

    def let_go(self, job_id: str) -> None:
        """Hold a job's result no longer. Who still reads it keeps it, and frees it then."""
        for end in self._ends.pop(job_id, ()):
            end.close(linger=0)
