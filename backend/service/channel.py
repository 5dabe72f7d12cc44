# SPDX-License-Identifier: GPL-3.0-or-later
"""The pipe between supervisor and worker: protocol messages without buffers, each header after its length.

No pixels travel here; they are on the disk. The messages mean

    supervisor -> worker    Submit    run this job, whose planes are in the spool
                            Cancel    stop it
    worker -> supervisor    Pong      the device is ready
                            Progress
                            Status    the job is done (its result is on the disk), failed or cancelled
                            Error     the worker cannot start
"""

from __future__ import annotations

from typing import BinaryIO

from protocol import Limits, Message
from protocol.framing import MAGIC, decode, encode

LENGTH_BYTES = 4
LIMITS = Limits()


def write_message(stream: BinaryIO, message: Message) -> None:
    """Send one message. Blocks while the pipe is full. Raises OSError when the other end is gone."""
    header = encode(message)[1]
    stream.write(len(header).to_bytes(LENGTH_BYTES, "big") + header)
    stream.flush()


def read_header(stream: BinaryIO) -> bytes:
    """Wait for one message's header; empty when the other end is gone or sends something else."""
    length = int.from_bytes(stream.read(LENGTH_BYTES), "big")
    if length > LIMITS.max_header_bytes:
        return b""
    header = stream.read(length)
    return header if len(header) == length else b""


def read_message(header: bytes) -> Message:
    """The message of a header. Raises MakeRealError."""
    return decode([MAGIC, header], LIMITS)[0]
