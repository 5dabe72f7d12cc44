# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import pytest
import torch

from backend.translation.sizes import pad_to_multiple


@pytest.mark.parametrize(
    ("size", "padded"), [((333, 517), (384, 576)), ((512, 512), (512, 512)), ((5, 3), (64, 64))]
)
def test_padded_to_the_next_multiple_and_the_picture_in_its_place(
    size: tuple[int, int], padded: tuple[int, int]
) -> None:
    plane = torch.rand(1, *size, generator=torch.Generator().manual_seed(0))
    result = pad_to_multiple(plane, 64)
    assert result.shape == (1, *padded)
    assert torch.equal(result[:, : size[0], : size[1]], plane)
    if size[0] < padded[0]:
        assert torch.equal(result[:, size[0]], result[:, size[0] - 1]), "continued by reflection"
    assert torch.isin(result, plane).all(), "no new value"


def test_a_plane_without_channels() -> None:
    assert pad_to_multiple(torch.zeros(10, 70), 64).shape == (64, 128)
