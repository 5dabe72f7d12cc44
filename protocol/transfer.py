# SPDX-License-Identifier: GPL-3.0-or-later
"""The client's long work, cut into slices short enough for a tick of Blender's event loop.

Hashing a 4K float plane takes 0.2 s and copying it into a socket 30 ms; a slice of either takes well under a
millisecond.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import Enum, auto
from typing import TYPE_CHECKING, Any

from .errors import ErrorCode, MakeRealError
from .messages import Planes, Result, Submit
from .planes import DIGEST_BYTES, PlaneName, new_digest, raw_bytes, specify, view
from .request import TranslationRequest

if TYPE_CHECKING:
    from numpy.typing import NDArray

HASH_SLICE_BYTES = 256 * 1024
"""About 0.35 ms of BLAKE2b."""


class SlicedHash:
    """Digests of several buffers, one slice at a time.

    Args:
        buffers: Hashed in this order; `digests` grows as they are done.
    """

    def __init__(self, buffers: Sequence[memoryview]) -> None:
        self.digests: list[bytes] = []
        self._buffers = buffers
        self._offset = 0
        self._hash = new_digest()

    def advance(self) -> bool:
        """Hash one slice; True when every buffer is done."""
        buffer = self._buffers[len(self.digests)]
        self._hash.update(buffer[self._offset : self._offset + HASH_SLICE_BYTES])
        self._offset += HASH_SLICE_BYTES
        if self._offset >= len(buffer):
            self.digests.append(self._hash.digest())
            self._hash = new_digest()
            self._offset = 0
        return len(self.digests) == len(self._buffers)


class Phase(Enum):
    """Where a job is, as its client knows."""

    HASHING = auto()
    READY = auto()
    """Hashed; to be submitted, for the first time or again."""
    SUBMITTED = auto()
    """Waits for credit."""
    SENDING = auto()
    WAITING = auto()
    """Every plane was sent; waits for the result."""
    ASKED = auto()
    """The link was new; waits for the answer to a query."""


@dataclass
class Upload:
    """A job on its way to the supervisor, kept until it ends so that it can be submitted again.

    Args:
        job_id: UUID, 32 hexadecimal digits.
        request: What decides the picture.
        arrays: The planes, C-contiguous; not copied, so they must not change until the job ended.
        label: What the artist calls it.
    """

    job_id: str
    request: TranslationRequest
    arrays: dict[PlaneName, NDArray[Any]]
    label: str
    phase: Phase = Phase.HASHING
    is_announced: bool = False
    """Whether the supervisor may know the job."""
    heard_at: float = 0.0
    """Monotonic seconds when the supervisor last spoke of it."""
    is_cancelled: bool = False
    is_due: bool = False
    """Whether the supervisor may have every plane, so that the result may be on its way."""
    _index: int = field(default=0, init=False)
    _offset: int = field(default=0, init=False)

    def __post_init__(self) -> None:
        self._buffers = [raw_bytes(name, array) for name, array in self.arrays.items()]
        self._hash = SlicedHash(self._buffers)

    def advance_hash(self) -> None:
        """Hash one slice; READY when all is hashed."""
        if self._hash.advance():
            self.phase = Phase.READY

    def announcement(self) -> Submit:
        """The job's `Submit`; digests that are not known yet are zeros."""
        missing = len(self.arrays) - len(self._hash.digests)
        digests = [*self._hash.digests, *[bytes(DIGEST_BYTES)] * missing]
        specs = (
            specify(name, array, digest)
            for (name, array), digest in zip(self.arrays.items(), digests, strict=True)
        )
        return Submit(self.job_id, self.request, tuple(specs), self.label)

    def submit_again(self) -> None:
        """The supervisor lacks planes."""
        self.phase, self.is_due = Phase.READY, False

    def await_result(self) -> None:
        """The supervisor has every plane."""
        self.phase, self.is_due = Phase.WAITING, True

    def rewind(self) -> None:
        """Send from the first chunk on."""
        self.phase, self.is_due = Phase.SENDING, False
        self._index = self._offset = 0

    def chunk(self, max_bytes: int) -> tuple[Planes, memoryview]:
        """The next chunk of pixels."""
        name = list(self.arrays)[self._index]
        return Planes(self.job_id, name, self._offset), self._buffers[self._index][self._offset :][:max_bytes]

    def chunk_sent(self, size: int) -> None:
        """Go on to the next chunk; WAITING after the last."""
        self._offset += size
        if self._offset == len(self._buffers[self._index]):
            self._index, self._offset = self._index + 1, 0
        if self._index == len(self._buffers):
            self.await_result()


class Download:
    """A result whose planes are being checked.

    Args:
        result: The message.
        buffers: Its buffers, lengths checked by `framing.decode`.
    """

    def __init__(self, result: Result, buffers: Sequence[memoryview]) -> None:
        self.result = result
        self.buffers = buffers
        self._hash = SlicedHash(buffers)

    def advance(self) -> bool:
        """Hash one slice; True when all is hashed and right.

        Raises:
            MakeRealError: DIGEST_MISMATCH, naming the plane.
        """
        if not self._hash.advance():
            return False
        for spec, digest in zip(self.result.planes, self._hash.digests, strict=True):
            if digest != spec.digest:
                raise MakeRealError(ErrorCode.DIGEST_MISMATCH, f"plane {spec.name}", self.result.job_id)
        return True

    def planes(self) -> dict[PlaneName, NDArray[Any]]:
        """The checked planes, read-only, in the memory that received them."""
        pairs = zip(self.result.planes, self.buffers, strict=True)
        return {spec.name: view(spec, buffer) for spec, buffer in pairs}
