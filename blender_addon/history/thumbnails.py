# SPDX-License-Identifier: GPL-3.0-or-later
"""Small versions of pictures, and sheets of them. Pure numpy."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

SAMPLES = 4
"""Samples across a cell of pixels that becomes one pixel; 16 in all are averaged."""


def shrink(picture: np.ndarray, longest: int) -> np.ndarray:
    """Make a picture smaller by averaging; one that is small enough stays as it is.

    Args:
        picture: (height, width, channels) uint16.
        longest: Pixels of the longer side at most.

    Returns:
        uint16, same channels.
    """
    height, width = picture.shape[:2]
    factor = max(height, width) / longest
    if factor <= 1.0:
        return picture
    rows, columns = (max(1, round(side / factor)) for side in (height, width))
    total = np.zeros((rows, columns, picture.shape[2]), np.uint32)
    for down in range(SAMPLES):
        y = ((np.arange(rows) + (down + 0.5) / SAMPLES) * height / rows).astype(int)
        for across in range(SAMPLES):
            x = ((np.arange(columns) + (across + 0.5) / SAMPLES) * width / columns).astype(int)
            total += picture[y[:, None], x]
    return (total // SAMPLES**2).astype(np.uint16)


def sheet(pictures: Sequence[np.ndarray], columns: int, gap: int) -> np.ndarray:
    """Pictures of one size side by side, row after row, on a neutral grey.

    Args:
        pictures: (height, width, 3 or 4) uint16 each.
        columns: Pictures in a row.
        gap: Pixels between and around them.
    """
    height, width, channels = pictures[0].shape
    rows = -(-len(pictures) // columns)
    shape = (rows * (height + gap) + gap, columns * (width + gap) + gap, channels)
    canvas = np.full(shape, 65535 // 5, np.uint16)
    if channels == 4:
        canvas[..., 3] = 65535
    for number, picture in enumerate(pictures):
        row, column = divmod(number, columns)
        top, left = gap + row * (height + gap), gap + column * (width + gap)
        canvas[top : top + height, left : left + width] = picture
    return canvas


def bounding_box(mask: np.ndarray) -> tuple[int, int, int, int] | None:
    """Left, top, right, bottom of what is covered, right and bottom exclusive; None when nothing is.

    Args:
        mask: (height, width).
    """
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    if not len(rows):
        return None
    return int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1
