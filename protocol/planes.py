# SPDX-License-Identifier: GPL-3.0-or-later
"""Planes: the pixel arrays that travel beside a message as raw buffers.

A plane is a C-contiguous, little-endian array whose first row is the picture's top row. `PlaneSpec` describes
it in the message header; the bytes travel in message parts of their own.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Any

import numpy as np

from .errors import ErrorCode, MakeRealError
from .schema import Count, Length, Range

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from .messages import Planes

DIGEST_BYTES = 16


class DType(StrEnum):
    """Element types that a plane may have. Closed: a peer's string is never given to numpy. Since 1.0."""

    U8 = "u8"
    U16 = "u16"
    F16 = "f16"
    F32 = "f32"

    @property
    def numpy(self) -> np.dtype[Any]:
        """The little-endian numpy type."""
        return _NUMPY_TYPES[self]

    @property
    def itemsize(self) -> int:
        """Bytes of one element."""
        return _NUMPY_TYPES[self].itemsize


_NUMPY_TYPES: dict[DType, np.dtype[Any]] = {
    DType.U8: np.dtype("u1"),
    DType.U16: np.dtype("<u2"),
    DType.F16: np.dtype("<f2"),
    DType.F32: np.dtype("<f4"),
}


class PlaneName(StrEnum):
    """What a plane holds. Since 1.0, where nothing else is said."""

    IMAGE = "image"
    """(height, width, 3 or 4) display-referred RGB or RGBA, straight alpha, 0..1 or the dtype's range."""
    GARMENT = "garment"
    """(height, width) coverage of the garment, 0..1 or the dtype's full range; soft edges kept."""
    PROTECTED = "protected"
    """(height, width) coverage of the pixels that must come back bit for bit."""
    FREE = "free"
    """(height, width) coverage of what is translated as far as the garment, without the hold on its texture.
    Since 1.1."""
    STRENGTH = "strength"
    """(height, width) factor of the request's strengths, 0..1 or the dtype's range. Since 1.1."""


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
    shape: Annotated[tuple[Annotated[int, Range(1, 2**31)], ...], Length(2, 3)]
    byte_length: Count
    digest: Annotated[bytes, Length(DIGEST_BYTES, DIGEST_BYTES)]


def describe(name: PlaneName, array: NDArray[Any]) -> PlaneSpec:
    """Describe an array at once, hashing it all (about 1.3 s a GB; blocks).

    Raises:
        MakeRealError: INVALID_REQUEST if the element type or memory layout cannot travel.
    """
    return specify(name, array, digest_of(raw_bytes(name, array)))


def specify(name: PlaneName, array: NDArray[Any], digest: bytes) -> PlaneSpec:
    """Describe an array whose digest is known already."""
    return PlaneSpec(name, dtype_of(name, array), array.shape, array.nbytes, digest)


def dtype_of(name: PlaneName, array: NDArray[Any]) -> DType:
    """Element type of an array.

    Raises:
        MakeRealError: INVALID_REQUEST, naming the plane and the types that may travel.
    """
    for dtype, numpy_type in _NUMPY_TYPES.items():
        if array.dtype == numpy_type:
            return dtype
    raise MakeRealError(
        ErrorCode.INVALID_REQUEST,
        f"plane {name} must be uint8, uint16, float16 or float32, not {array.dtype}",
    )


def raw_bytes(name: PlaneName, array: NDArray[Any]) -> memoryview:
    """The array's own memory, not a copy.

    Raises:
        MakeRealError: INVALID_REQUEST if the array is not C-contiguous or its element type cannot travel.
    """
    dtype_of(name, array)
    if not array.flags.c_contiguous:
        raise MakeRealError(ErrorCode.INVALID_REQUEST, f"plane {name} must be C-contiguous")
    return array.reshape(-1).view(np.uint8).data


def digest_of(buffer: memoryview | bytes) -> bytes:
    """16-byte BLAKE2b. Blocks, about 1.3 s a GB."""
    return new_digest(buffer).digest()


def new_digest(buffer: memoryview | bytes = b"") -> hashlib.blake2b:
    """Digest to feed in slices."""
    return hashlib.blake2b(buffer, digest_size=DIGEST_BYTES)


def view(spec: PlaneSpec, buffer: memoryview | bytearray | bytes) -> NDArray[Any]:
    """The plane in a received buffer: read-only, not a copy, digest not checked.

    Raises:
        MakeRealError: MALFORMED_MESSAGE if the buffer's length is not the spec's.
    """
    expected = int(np.prod(spec.shape, dtype=np.int64)) * spec.dtype.itemsize
    if not len(buffer) == spec.byte_length == expected:
        raise MakeRealError(
            ErrorCode.MALFORMED_MESSAGE,
            f"plane {spec.name} has {len(buffer)} bytes, its header says {spec.byte_length}",
        )
    array = np.frombuffer(buffer, spec.dtype.numpy).reshape(spec.shape)
    array.flags.writeable = False
    return array


def check_digest(spec: PlaneSpec, buffer: memoryview | bytes) -> None:
    """Check that a received buffer is the one that was sent. Blocks, about 1.3 s a GB.

    Raises:
        MakeRealError: DIGEST_MISMATCH, naming the plane.
    """
    if digest_of(buffer) != spec.digest:
        raise MakeRealError(ErrorCode.DIGEST_MISMATCH, f"plane {spec.name}")


class PlaneIntake:
    """Puts a job's planes together from their chunks; holds them in memory, hashes each chunk as it comes.

    Args:
        specs: The planes in the order of `Submit.planes`, checked by `limits.check_planes`.
    """

    def __init__(self, specs: tuple[PlaneSpec, ...]) -> None:
        self._specs = specs
        self._begin()

    def _begin(self) -> None:
        self._buffers: list[bytearray] = []
        self._index = 0
        self._offset = 0

    def add(self, chunk: Planes, buffer: memoryview | bytes) -> bool:
        """Take one chunk. One of the first plane at offset 0 begins anew, as after a reconnect.

        Returns:
            True when the planes are complete and their digests right.

        Raises:
            MakeRealError: MALFORMED_MESSAGE for a chunk out of turn, DIGEST_MISMATCH for a damaged plane.
        """
        if chunk.plane is self._specs[0].name and chunk.offset == 0:
            self._begin()
        expected = (self._specs[self._index].name, self._offset) if self._index < len(self._specs) else None
        if expected != (chunk.plane, chunk.offset):
            raise MakeRealError(
                ErrorCode.MALFORMED_MESSAGE,
                f"chunk of {chunk.plane} at {chunk.offset} is out of turn",
                chunk.job_id,
            )
        spec = self._specs[self._index]
        if chunk.offset + len(buffer) > spec.byte_length:
            raise MakeRealError(
                ErrorCode.MALFORMED_MESSAGE, f"plane {spec.name} is longer than announced", chunk.job_id
            )
        if chunk.offset == 0:
            self._buffers.append(bytearray(spec.byte_length))
            self._digest = new_digest()
        self._buffers[self._index][chunk.offset : chunk.offset + len(buffer)] = buffer
        self._digest.update(buffer)
        self._offset += len(buffer)
        if self._offset == spec.byte_length:
            self._finish_plane(spec, chunk.job_id)
        return self._index == len(self._specs)

    def _finish_plane(self, spec: PlaneSpec, job_id: str) -> None:
        if self._digest.digest() != spec.digest:
            raise MakeRealError(ErrorCode.DIGEST_MISMATCH, f"plane {spec.name}", job_id)
        self._index += 1
        self._offset = 0

    def planes(self) -> dict[PlaneName, NDArray[Any]]:
        """The complete planes, read-only."""
        return {
            spec.name: view(spec, buffer) for spec, buffer in zip(self._specs, self._buffers, strict=True)
        }
