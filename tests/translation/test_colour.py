# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import pytest
import torch
from garment_samples import picture
from torch import Tensor

from backend.translation.colour import from_oklab, keep_colour, to_oklab


@pytest.fixture
def render() -> Tensor:
    return torch.from_numpy(picture(96, 96)).permute(2, 0, 1)[None] / 255 * 0.8 + 0.1


WHOLE = torch.ones(1, 1, 96, 96)


def chroma_error(first: Tensor, second: Tensor) -> float:
    return float((to_oklab(first)[:, 1:] - to_oklab(second)[:, 1:]).abs().mean())


def test_oklab_of_known_colours() -> None:
    """White and the red of sRGB, as published with the definition."""
    colours = torch.tensor([[1.0, 1.0, 1.0], [1.0, 0.0, 0.0]]).T[None, :, None]
    expected = torch.tensor([[1.0, 0.0, 0.0], [0.62796, 0.22486, 0.12585]]).T[None, :, None]
    torch.testing.assert_close(to_oklab(colours), expected, rtol=0, atol=1e-4)


def test_oklab_and_back() -> None:
    colours = torch.rand(1, 3, 32, 32, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    torch.testing.assert_close(from_oklab(to_oklab(colours)), colours, rtol=0, atol=1e-6)


def test_the_same_picture_stays(render: Tensor) -> None:
    torch.testing.assert_close(keep_colour(render, render, WHOLE), render, rtol=0, atol=1e-5)


def test_a_cast_is_taken_back_and_light_stays(render: Tensor) -> None:
    cast = (render * torch.tensor([1.08, 1.0, 0.9])[None, :, None, None]).clamp(0, 1)
    kept = keep_colour(cast, render, WHOLE)
    assert chroma_error(kept, render) < 0.2 * chroma_error(cast, render)
    darker = render * 0.7
    kept = keep_colour(darker, render, WHOLE)
    assert (kept - darker).abs().mean() < 0.01
    assert (to_oklab(kept)[:, 0] - to_oklab(darker)[:, 0]).abs().max() < 0.01


def test_outside_the_mask_nothing_changes(render: Tensor) -> None:
    mask = WHOLE.clone()
    mask[..., 48:] = 0
    cast = render * torch.tensor([1.08, 1.0, 0.9])[None, :, None, None]
    kept = keep_colour(cast.clamp(0, 1), render, mask)
    assert torch.equal(kept[..., 48:], cast.clamp(0, 1)[..., 48:])
    assert not torch.equal(kept[..., :48], cast.clamp(0, 1)[..., :48])
