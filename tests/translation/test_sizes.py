# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import numpy as np
import pytest

from backend.translation.sizes import pad_to_multiple


@pytest.mark.parametrize(
    ("size", "padded"), [((333, 517), (384, 576)), ((512, 512), (512, 512)), ((5, 3), (64, 64))]
)
def test_padded_to_the_next_multiple_and_the_picture_in_its_place(
    size: tuple[int, int], padded: tuple[int, int]
) -> None:
    plane = np.random.default_rng(0).random((*size, 1))
    result = pad_to_multiple(plane, 64)
    assert result.shape == (*padded, 1)
    assert np.array_equal(result[: size[0], : size[1]], plane)
    assert np.isin(result, plane).all(), "continued by reflection: no new value"


def test_a_plane_without_channels() -> None:
    assert pad_to_multiple(np.zeros((10, 70)), 64).shape == (64, 128)
