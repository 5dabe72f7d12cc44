# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether two renders look the same, told from a few kilobytes each. Pure numpy.

A digest would not do: the same render is read from another file, with other rounding, once the compositor stands
between it and the artist.
"""

from __future__ import annotations

import base64
from collections.abc import Generator

import numpy as np

CELLS = 32
"""Cells across and down."""
TOLERANCE = 1
"""Steps of an 8-bit display that the mean of a cell may differ by; rounding alone can make it one."""


def take(picture: np.ndarray) -> Generator[None, None, str]:
    """Mean colours of a grid of cells, with a pause after each row of cells.

    Args:
        picture: (height, width, channels) uint16, at least one pixel.

    Returns:
        The means as 8-bit values, base64.
    """
    height, width = picture.shape[:2]
    down, across = min(CELLS, height), min(CELLS, width)
    top, left = (np.arange(count) * side // count for count, side in ((down, height), (across, width)))
    columns = np.diff(np.append(left, width))[:, None]
    means = []
    for start, end in zip(top, [*top[1:], height], strict=True):
        sums = np.add.reduceat(picture[start:end].sum(axis=0, dtype=np.uint64), left, axis=0)
        means.append(np.rint(sums / (columns * (end - start) * 257.0)).astype(np.uint8))
        yield
    return base64.b64encode(np.stack(means).tobytes()).decode("ascii")


def at_once(picture: np.ndarray) -> str:
    """The same without pauses."""
    steps = take(picture)
    while True:
        try:
            next(steps)
        except StopIteration as end:
            return end.value


def differ(first: str, second: str) -> bool:
    """Whether two renders look different; those of different sizes or channels may."""
    if first == second:
        return False
    one, other = (np.frombuffer(base64.b64decode(text), np.uint8).astype(int) for text in (first, second))
    return one.shape != other.shape or bool(np.abs(one - other).max(initial=0) > TOLERANCE)
