# SPDX-License-Identifier: GPL-3.0-or-later
"""Planes: the pixel arrays that travel beside a message as raw buffers.

A plane is a C-contiguous, little-endian array whose first row is the picture's top row. `PlaneSpec` describes
it in the message header; the bytes are one part of the multipart message, in the order of the specs.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class DType(StrEnum):
    """Element types that a plane may have. Closed: a peer's string is never given to numpy. Since 1.0."""

    U8 = "u8"
    U16 = "u16"
    F16 = "f16"
    F32 = "f32"


class PlaneName(StrEnum):
    """What a plane holds. Since 1.0."""

    IMAGE = "image"
    """(height, width, 3 or 4) display-referred RGB or RGBA (straight alpha), 0..1 or the dtype's full range."""
    GARMENT = "garment"
    """(height, width) coverage of the garment, 0..1 or the dtype's full range; soft edges kept."""
    PROTECTED = "protected"
    """(height, width) coverage of the pixels that must come back bit for bit."""


@dataclass(frozen=True)
class PlaneSpec:
    """Description of one plane in a message header.

    Args:
        name: What it holds. Since 1.0.
        dtype: Element type. Since 1.0.
        shape: (height, width) or (height, width, channels). Since 1.0.
        byte_length: product(shape) * itemsize; redundant on purpose, checked. Since 1.0.
        digest: 16-byte BLAKE2b of the plane's bytes. Since 1.0.
    """

    name: PlaneName
    dtype: DType
    shape: tuple[int, ...]
    byte_length: int
    digest: bytes
