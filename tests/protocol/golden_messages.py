# SPDX-License-Identifier: GPL-3.0-or-later
"""One message of each kind, every field filled, and its bytes on disk. Run it to write missing files.

`golden/v1` holds the messages of version 1.0; a message that gained fields since has its new bytes in the folder
of the release that added them.
"""

from __future__ import annotations

import struct
from dataclasses import replace
from pathlib import Path

from protocol import (
    Acknowledge,
    Cancel,
    Credit,
    DType,
    Error,
    ErrorCode,
    Hello,
    JobState,
    Limits,
    Message,
    Ping,
    PlaneName,
    Planes,
    PlaneSpec,
    Pong,
    Progress,
    Query,
    Refused,
    Release,
    Result,
    Stage,
    Status,
    Submit,
    TranslationRequest,
    Welcome,
    WorkerState,
)
from protocol.framing import encode

FOLDER = Path(__file__).parent / "golden"
CHANGED = {Submit: "v1.1", Pong: "v1.1", Release: "v1.1"}
"""Where the bytes of messages are that are new or gained fields since version 1.0."""

_JOB_ID = "00112233445566778899aabbccddeeff"
_IMAGE = PlaneSpec(PlaneName.IMAGE, DType.U16, (1, 2, 3), 12, bytes(range(16)))
_GARMENT = PlaneSpec(PlaneName.GARMENT, DType.F32, (1, 2), 8, bytes(range(16, 32)))
_REQUEST_1_0 = TranslationRequest("studio", 40, 0.25, 0.125, 5.5, 0.75, 0.5, 0.875)
_REQUEST = replace(_REQUEST_1_0, seed=7, variation=0.625)

MESSAGES: list[tuple[Message, list[bytes]]] = [
    (Hello((1, 1), "blender 5.2, make_real 0.1.0"), []),
    (Welcome(1, "e1", "make-real 0.1.0", "cpu", ("starter", "studio"), Limits(1, 2, 3, 4, 5, 6, 7)), []),
    (Refused(ErrorCode.UNSUPPORTED_VERSION, (2, 3)), []),
    (Submit(_JOB_ID, _REQUEST, (_IMAGE, _GARMENT), "Robe d'été, frame 12"), []),
    (Credit(_JOB_ID), []),
    (Planes(_JOB_ID, PlaneName.IMAGE, 4), [b"\x00\x01\x02\x03\x04\x05\x06\x07"]),
    (Status(_JOB_ID, JobState.FAILED, 3, ErrorCode.OUT_OF_MEMORY, "needs 9 GiB"), []),
    (Progress(_JOB_ID, Stage.DENOISING, 7, 15, 0.5), []),
    (
        Result(_JOB_ID, (_IMAGE,), {"request": {"steps": 40}}, {"ssim_garment": 0.9375}, {"denoising": 1.5}),
        [bytes(range(12))],
    ),
    (Acknowledge(_JOB_ID), []),
    (Cancel(_JOB_ID), []),
    (Query(_JOB_ID), []),
    (Ping(), []),
    (
        Pong(
            "e1",
            WorkerState.STOPPED,
            "cuda:0 NVIDIA H100",
            ("cpu", "cuda:0 NVIDIA H100"),
            ErrorCode.WORKER_CRASHED,
            "exit status 3",
        ),
        [],
    ),
    (Release(), []),
    (Error(ErrorCode.LIMIT_EXCEEDED, "70000000 pixels, at most 67108864", _JOB_ID), []),
]

EARLIER: list[tuple[Path, Message]] = [
    (FOLDER / "v1" / "submit.bin", Submit(_JOB_ID, _REQUEST_1_0, (_IMAGE, _GARMENT), "Robe d'été, frame 12")),
    (FOLDER / "v1" / "pong.bin", Pong("e1", WorkerState.BUSY, "cuda:0 NVIDIA H100")),
]
"""Files of earlier releases, and what they mean today."""


def path_of(message: Message) -> Path:
    return FOLDER / CHANGED.get(type(message), "v1") / f"{type(message).__name__.lower()}.bin"


def to_file(parts: list[bytes | memoryview]) -> bytes:
    """Every part behind its length, four bytes, big-endian."""
    return b"".join(struct.pack(">I", len(part)) + part for part in parts)


def from_file(data: bytes) -> list[bytes]:
    parts = []
    while data:
        (length,) = struct.unpack(">I", data[:4])
        parts.append(data[4 : 4 + length])
        data = data[4 + length :]
    return parts


if __name__ == "__main__":
    for _message, _buffers in MESSAGES:
        path_of(_message).parent.mkdir(parents=True, exist_ok=True)
        if not path_of(_message).exists():
            path_of(_message).write_bytes(to_file(encode(_message, _buffers)))
