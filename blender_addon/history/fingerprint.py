# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether two renders look the same, told from a few kilobytes each. Pure numpy.

A digest would not do: the same render is read from another file, with other rounding, once the compositor stands
between it and the artist.
"""

from __future__ import annotations

import base64
from collections.abc import Generator
from typing import Protocol

import numpy as np

from .. import pace

CELLS = 32
"""Cells across and down."""
VALUES_AT_ONCE = 1 << 19
"""Added up between two pauses; less than a millisecond."""
TOLERANCE = 1
"""Steps of an 8-bit display that the mean of a cell may differ by; rounding alone can make it one."""


class Rows(Protocol):
    """(height, width, channels) values, of which a few rows at a time are read: an array, or a file's `tiff.Rows`."""

    shape: tuple[int, ...]

    def __getitem__(self, rows: slice) -> np.ndarray: ...


def take(picture: Rows, rows_at_once: int | None = None) -> Generator[None, None, str]:
    """Mean colours of a grid of cells, with pauses.

    Args:
        picture: (height, width, channels) uint16, at least one pixel.
        rows_at_once: Read between two pauses, where more is not better than fewer; as many as fit by default.

    Returns:
        The means as 8-bit values, base64.
    """
    height, width, channels = picture.shape
    down, across = min(CELLS, height), min(CELLS, width)
    top, left = (np.arange(count) * side // count for count, side in ((down, height), (across, width)))
    columns = np.diff(np.append(left, width))[:, None]
    means = []
    for start, end in zip(top, [*top[1:], height], strict=True):
        sums = np.zeros((width, channels), np.uint64)
        row = start
        while row < end:
            rows = rows_at_once or pace.fit(max(1, VALUES_AT_ONCE // (width * channels)))
            sums += picture[row : min(row + rows, end)].sum(axis=0, dtype=np.uint64)
            row += rows
            yield
        cells = np.add.reduceat(sums, left, axis=0) / (columns * (end - start) * 257.0)
        means.append(np.rint(cells).astype(np.uint8))
    return base64.b64encode(np.stack(means).tobytes()).decode("ascii")


def differ(first: str, second: str) -> bool:
    """Whether two renders look different; those of different sizes or channels may."""
    if first == second:
        return False
    one, other = (np.frombuffer(base64.b64decode(text), np.uint8).astype(int) for text in (first, second))
    return one.shape != other.shape or bool(np.abs(one - other).max(initial=0) > TOLERANCE)
