# SPDX-License-Identifier: GPL-3.0-or-later
"""Messages to message parts and back.

    part 0   b"MR1": the magic, with the protocol's major version
    part 1   msgpack map: "type" and the message's fields
    part 2.. raw buffers: one for `Planes`, one a plane for `Result`, none for the rest

`decode` trusts nothing: whatever the bytes, it returns a message that keeps its dataclass's contract or
raises MakeRealError.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, get_args

import msgpack

from .errors import ErrorCode, MakeRealError
from .limits import MAX_HEADER_BYTES, Limits, check_layout
from .messages import Message, Planes, Result
from .schema import from_plain, to_plain

MAGIC = b"MR1"
MESSAGE_TYPES: dict[str, type[Message]] = {kind.__name__.lower(): kind for kind in get_args(Message)}
"""Every message by its name on the wire, the class name in lower case."""


def encode(message: Message, buffers: Sequence[bytes | memoryview] = ()) -> list[bytes | memoryview]:
    """Parts of a message. The buffers are passed on, not copied.

    Raises:
        MakeRealError: if a field breaks its contract, as `decode` would say: what encodes, decodes.
    """
    name = type(message).__name__.lower()
    fields = to_plain(message)
    from_plain(type(message), fields, name)
    try:
        header = msgpack.packb({"type": name, **fields}, use_bin_type=True)
    except (ValueError, OverflowError) as error:
        raise MakeRealError(ErrorCode.MALFORMED_MESSAGE, f"{name}: {error}") from error
    if len(header) > MAX_HEADER_BYTES:
        raise MakeRealError(ErrorCode.LIMIT_EXCEEDED, f"header of {name} has {len(header)} bytes")
    return [MAGIC, header, *buffers]


def decode(parts: Sequence[bytes | memoryview], limits: Limits) -> tuple[Message, list[memoryview]]:
    """Message and buffers of a received message, routing identity removed. Digests are not checked here.

    Raises:
        MakeRealError: UNSUPPORTED_VERSION for another major version, UNSUPPORTED_MESSAGE for an unknown type,
            LIMIT_EXCEEDED, or MALFORMED_MESSAGE; `job_id` is set where the header names a job.
    """
    if len(parts) < 2:
        raise MakeRealError(ErrorCode.MALFORMED_MESSAGE, f"{len(parts)} parts, at least 2")
    _check_magic(bytes(memoryview(parts[0])[:8]))
    header = _unpack(parts[1], limits)
    try:
        message = _read_message(header)
        buffers = [memoryview(part) for part in parts[2:]]
        _check_buffers(message, [len(buffer) for buffer in buffers], limits)
    except MakeRealError as error:
        raise MakeRealError(error.code, error.detail, _job_id(header)) from error
    return message, buffers


def _check_magic(magic: bytes) -> None:
    if magic == MAGIC:
        return
    if magic.startswith(b"MR") and magic[2:].isdigit():
        raise MakeRealError(ErrorCode.UNSUPPORTED_VERSION, f"protocol {magic[2:].decode('ascii')}, not 1")
    raise MakeRealError(ErrorCode.MALFORMED_MESSAGE, "the first part is not the protocol's mark")


def _unpack(part: bytes | memoryview, limits: Limits) -> dict[Any, Any]:
    if len(part) > min(limits.max_header_bytes, MAX_HEADER_BYTES):
        raise MakeRealError(ErrorCode.LIMIT_EXCEEDED, f"header of {len(part)} bytes")
    try:
        header = msgpack.unpackb(part, raw=False, strict_map_key=True)
    # What msgpack's two implementations raise on arbitrary bytes; RecursionError is the pure one's.
    except (ValueError, TypeError, OverflowError, RecursionError, msgpack.UnpackException) as error:
        raise MakeRealError(ErrorCode.MALFORMED_MESSAGE, f"header: {error}") from error
    if not isinstance(header, dict):
        raise MakeRealError(ErrorCode.MALFORMED_MESSAGE, "the header is not a map")
    return header


def _read_message(header: dict[Any, Any]) -> Message:
    name = header.get("type")
    if not isinstance(name, str):
        raise MakeRealError(ErrorCode.MALFORMED_MESSAGE, "the header has no type")
    if name not in MESSAGE_TYPES:
        raise MakeRealError(ErrorCode.UNSUPPORTED_MESSAGE, name[:80])
    return from_plain(MESSAGE_TYPES[name], header, name)


def _check_buffers(message: Message, lengths: list[int], limits: Limits) -> None:
    if isinstance(message, Planes):
        if len(lengths) != 1 or lengths[0] == 0:
            raise MakeRealError(
                ErrorCode.MALFORMED_MESSAGE, f"planes has {len(lengths)} buffers, not one with bytes"
            )
        if lengths[0] > limits.max_chunk_bytes:
            raise MakeRealError(
                ErrorCode.LIMIT_EXCEEDED, f"chunk of {lengths[0]} bytes, at most {limits.max_chunk_bytes}"
            )
        return
    announced: list[int] = []
    if isinstance(message, Result):
        for spec in message.planes:
            check_layout(spec)
        announced = [spec.byte_length for spec in message.planes]
    if lengths != announced:
        raise MakeRealError(
            ErrorCode.MALFORMED_MESSAGE, f"buffers of {lengths[:16]} bytes, the header announces {announced}"
        )


def _job_id(header: dict[Any, Any]) -> str:
    job_id = header.get("job_id")
    is_job_id = (
        isinstance(job_id, str) and len(job_id) == 32 and all(digit in "0123456789abcdef" for digit in job_id)
    )
    return str(job_id) if is_job_id else ""
