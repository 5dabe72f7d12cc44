# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import numpy as np
import torch

from backend.evaluation.patches import (
    MIN_COVERAGE,
    MIN_DISTANCE,
    PER_PICTURE,
    SIDE,
    cut,
    garment_corners,
    middle_corners,
)


def test_patches_lie_on_the_garment_and_apart() -> None:
    mask = np.zeros((512, 384), np.float32)
    mask[60:460, 80:300] = 1
    corners = garment_corners(mask)
    assert len(corners) == PER_PICTURE
    for row, column in corners:
        assert mask[row : row + SIDE, column : column + SIDE].mean() >= MIN_COVERAGE
    distances = [np.hypot(a[0] - b[0], a[1] - b[1]) for a in corners for b in corners if a != b]
    assert min(distances) >= MIN_DISTANCE
    assert corners == garment_corners(mask)


def test_the_first_patch_is_wholly_covered_where_one_can_be() -> None:
    mask = np.zeros((512, 384), np.float32)
    mask[200:344, 120:264] = 1
    row, column = garment_corners(mask)[0]
    assert mask[row : row + SIDE, column : column + SIDE].all()


def test_a_small_garment_and_a_small_picture_have_no_patch() -> None:
    mask = np.zeros((512, 384), np.float32)
    mask[200:260, 100:160] = 1
    assert garment_corners(mask) == []
    assert garment_corners(np.ones((100, 300), np.float32)) == []
    assert middle_corners(180, 300) == []


def test_a_photo_is_cut_around_its_centre() -> None:
    corners = np.array(middle_corners(533, 400))
    assert len(corners) == 4
    np.testing.assert_allclose(corners.mean(0) + SIDE / 2, (266, 200))
    patches = cut(torch.arange(3 * 533 * 400, dtype=torch.int32).reshape(3, 533, 400), [(5, 7)])
    assert patches.shape == (1, 3, SIDE, SIDE)
    assert patches[0, 0, 0, 0] == 5 * 400 + 7
