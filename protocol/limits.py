# SPDX-License-Identifier: GPL-3.0-or-later
"""What a supervisor accepts, and the check of a job's planes against it before a pixel travels."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from .errors import ErrorCode, MakeRealError
from .planes import PlaneName, PlaneSpec
from .schema import Count

MAX_HEADER_BYTES = 64 * 1024
"""Bytes of a message header, before and after the handshake."""
SLOWEST_BYTES_PER_S = 1_000_000
"""Slowest link that a result is waited for over: 8 Mbit/s, poor Wi-Fi. A result is one message, and nothing else
arrives while it does, so that silence tells nothing until it could have passed.
"""


@dataclass(frozen=True)
class Limits:
    """What the supervisor accepts; told in `Welcome`, checked before sending and after receiving. Since 1.0.

    Args:
        max_side: Pixels along the longer side. Since 1.0.
        max_pixels: Pixels of the picture. Since 1.0.
        max_planes: Planes of one job. Since 1.0.
        max_job_bytes: Bytes of all planes of one job. Since 1.0.
        max_chunk_bytes: Bytes of the buffer beside one `Planes` message. Since 1.0.
        max_header_bytes: Bytes of a message header. Since 1.0.
        max_jobs: Unfinished jobs of one client. Since 1.0.
    """

    max_side: Count = 16384
    max_pixels: Count = 64 * 1024 * 1024
    max_planes: Count = 16
    max_job_bytes: Count = 1024 * 1024 * 1024
    max_chunk_bytes: Count = 1024 * 1024
    max_header_bytes: Count = MAX_HEADER_BYTES
    max_jobs: Count = 10_000


def check_planes(specs: Sequence[PlaneSpec], limits: Limits) -> None:
    """Check that the planes make one picture and that the picture is not too large.

    Raises:
        MakeRealError: INVALID_REQUEST, naming the plane that does not fit; LIMIT_EXCEEDED, naming the limit.
    """
    names = [spec.name for spec in specs]
    if PlaneName.IMAGE not in names or len(set(names)) != len(names):
        raise MakeRealError(
            ErrorCode.INVALID_REQUEST, "a job has one plane `image` and each other plane at most once"
        )
    height, width = specs[names.index(PlaneName.IMAGE)].shape[:2]
    for spec in specs:
        check_layout(spec)
        if spec.shape[:2] != (height, width):
            raise MakeRealError(
                ErrorCode.INVALID_REQUEST,
                f"plane {spec.name} is {spec.shape[1]}x{spec.shape[0]}, the image {width}x{height} pixels",
            )
    _check_amount("planes", len(specs), limits.max_planes)
    _check_amount("pixels along one side", max(height, width), limits.max_side)
    _check_amount("pixels", height * width, limits.max_pixels)
    _check_amount("bytes in one job", sum(spec.byte_length for spec in specs), limits.max_job_bytes)


def check_layout(spec: PlaneSpec) -> None:
    """Check that a plane has the axes that its name asks for, none empty, and as many bytes as its shape.

    Raises:
        MakeRealError: INVALID_REQUEST for the axes, MALFORMED_MESSAGE for the bytes.
    """
    axes_fit = spec.shape[2:] in ((3,), (4,)) if spec.name is PlaneName.IMAGE else len(spec.shape) == 2
    if not axes_fit or 0 in spec.shape:
        wanted = "(height, width, 3 or 4)" if spec.name is PlaneName.IMAGE else "(height, width)"
        raise MakeRealError(
            ErrorCode.INVALID_REQUEST, f"plane {spec.name} must be {wanted}, not {spec.shape}"
        )
    expected = math.prod(spec.shape) * spec.dtype.itemsize
    if spec.byte_length != expected:
        raise MakeRealError(
            ErrorCode.MALFORMED_MESSAGE,
            f"plane {spec.name} has {spec.byte_length} bytes, its shape {expected}",
        )


def _check_amount(what: str, amount: int, limit: int) -> None:
    if amount > limit:
        raise MakeRealError(ErrorCode.LIMIT_EXCEEDED, f"{amount} {what}, at most {limit}")
