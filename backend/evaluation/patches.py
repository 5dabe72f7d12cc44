# SPDX-License-Identifier: GPL-3.0-or-later
"""Where cloth is: 128-pixel patches inside a garment's mask, and in the middle of a photo of one garment.

Layout, people and backdrops differ between renders and photos, and a translation does not change them. Cloth is
what it changes, so cloth is what is compared, at the pixel scale of each picture.
"""

from __future__ import annotations

from typing import TypeAlias

import numpy as np
import torch
from jaxtyping import Float32, UInt8
from torch import Tensor
from torch.nn.functional import avg_pool2d

SIDE = 128
PER_PICTURE = 4
MIN_COVERAGE = 0.7
"""Part of a patch that the garment covers, at least."""
GRID = 8
"""Pixels between the positions that are looked at."""
MIN_DISTANCE = 64
"""Pixels between two patches of a picture, at least."""
MIDDLE_OFFSET = 32
"""Pixels from a photo's centre to the centres of its patches, in each direction: they cover 192 x 192 pixels."""

Corner: TypeAlias = tuple[int, int]
"""Row and column of a patch's upper left pixel."""


def garment_corners(mask: Float32[np.ndarray, "height width"]) -> list[Corner]:
    """Up to `PER_PICTURE` patches that the garment covers, as far from each other as there are; may be none.

    The first is the one most covered (of equals, the nearest to the garment's centre), the next the farthest from
    those before. The same mask gives the same patches.
    """
    if min(mask.shape) < SIDE:
        return []
    cells = avg_pool2d(torch.from_numpy(mask)[None, None], GRID)
    coverage = avg_pool2d(cells, SIDE // GRID, stride=1)[0, 0].numpy()
    corners = np.argwhere(coverage >= MIN_COVERAGE) * GRID
    if len(corners) == 0:
        return []
    centre = np.array(
        [np.average(np.arange(n), weights=mask.sum(1 - axis)) for axis, n in enumerate(mask.shape)]
    )
    from_centre = np.linalg.norm(corners + SIDE / 2 - centre, axis=1)
    covered = coverage[tuple((corners // GRID).T)]
    chosen = [int(np.lexsort((from_centre, -covered.round(2)))[0])]
    while len(chosen) < PER_PICTURE:
        distance = np.linalg.norm(corners[:, None] - corners[chosen], axis=2).min(1)
        if distance.max() < MIN_DISTANCE:
            break
        chosen.append(int(distance.argmax()))
    return [(int(row), int(column)) for row, column in corners[chosen]]


def middle_corners(height: int, width: int) -> list[Corner]:
    """The four patches around a photo's centre; none when the photo is too small."""
    if min(height, width) < SIDE + 2 * MIDDLE_OFFSET:
        return []
    offsets = (-MIDDLE_OFFSET, MIDDLE_OFFSET)
    return [(height // 2 + y - SIDE // 2, width // 2 + x - SIDE // 2) for y in offsets for x in offsets]


def cut(
    picture: UInt8[Tensor, "3 height width"], corners: list[Corner]
) -> UInt8[Tensor, "patches 3 128 128"]:
    """The patches of a picture."""
    if not corners:
        return picture.new_empty((0, 3, SIDE, SIDE))
    return torch.stack([picture[:, row : row + SIDE, column : column + SIDE] for row, column in corners])
