# SPDX-License-Identifier: GPL-3.0-or-later
"""Small versions of pictures, and sheets of them. Pure numpy."""

from __future__ import annotations

from collections.abc import Generator, Sequence

import numpy as np

from .. import pace

SAMPLES = 4
"""Samples across a cell of pixels that becomes one pixel; 16 in all are averaged."""
PIXELS_AT_ONCE = 1 << 11
MASK_PIXELS_AT_ONCE = 1 << 19
"""Small pixels averaged, and pixels of a mask looked at, between two pauses; about half a millisecond."""


def shrink(picture: np.ndarray, longest: int) -> Generator[None, None, np.ndarray]:
    """Make a picture smaller by averaging, with pauses; one that is small enough stays as it is.

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
    result = np.empty((rows, columns, picture.shape[2]), np.uint16)
    places = (np.arange(SAMPLES) + 0.5) / SAMPLES
    x = ((np.arange(columns) + places[:, None]) * width / columns).astype(int)
    for part in pace.slices(rows, max(1, PIXELS_AT_ONCE // columns)):
        y = ((np.arange(part.start, part.stop) + places[:, None]) * height / rows).astype(int)
        samples = (picture[down[:, None], across].astype(np.uint32) for down in y for across in x)
        result[part] = sum(samples) // SAMPLES**2
        yield
    return result


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


def bounding_box(mask: np.ndarray) -> Generator[None, None, tuple[int, int, int, int] | None]:
    """Left, top, right, bottom of what is covered, right and bottom exclusive; None when nothing is. Pauses.

    Args:
        mask: (height, width).
    """
    height, width = mask.shape
    in_rows, in_columns = np.zeros(height, bool), np.zeros(width, bool)
    for rows in pace.slices(height, max(1, MASK_PIXELS_AT_ONCE // width)):
        in_rows[rows] = mask[rows].any(axis=1)
        in_columns |= mask[rows].any(axis=0)
        yield
    rows, columns = np.flatnonzero(in_rows), np.flatnonzero(in_columns)
    if not len(rows):
        return None
    return int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1
