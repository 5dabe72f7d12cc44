# SPDX-License-Identifier: GPL-3.0-or-later
"""Arrays of whole pictures that are given back to the system at once."""

from __future__ import annotations

import math

import numpy as np

HEAP_BYTES = 32 << 20
"""Up to so many the GNU C library may take an array from its heap, and then gives it back in small pages, which takes
5 ms for the light of 1920x1080; a larger one has a mapping of its own, in large pages."""


def floats(shape: tuple[int, ...]) -> np.ndarray:
    """An uninitialised float32 array. What its mapping has beyond it is never touched, so it takes no memory."""
    count = math.prod(shape)
    return np.empty(max(count, HEAP_BYTES // 4 + 1), np.float32)[:count].reshape(shape)
