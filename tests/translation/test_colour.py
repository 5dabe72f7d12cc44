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


def test_a_cast_is_taken_back(render: Tensor) -> None:
    cast = (render * torch.tensor([1.08, 1.0, 0.9])[None, :, None, None]).clamp(0, 1)
    kept = keep_colour(cast, render, WHOLE)
    assert chroma_error(kept, render) < 0.2 * chroma_error(cast, render)


@pytest.mark.parametrize("contrast, exposure", [(1.0, -0.1), (1.15, 0.0), (0.8, 0.05)])
def test_exposure_and_contrast_are_the_renders(render: Tensor, contrast: float, exposure: float) -> None:
    toned = ((render - 0.5) * contrast + 0.5 + exposure).clamp(0, 1)
    error = (toned - render).abs().mean()
    assert (keep_colour(toned, render, WHOLE) - render).abs().mean() < 0.25 * error


def test_a_fold_that_the_network_drew_stays(render: Tensor) -> None:
    across = torch.linspace(-1, 1, 96)[None, None, None]
    fold = 0.05 * torch.exp(-((across / 0.2) ** 2))
    lab = to_oklab(render)
    folded = from_oklab(torch.cat([lab[:, :1] - fold, lab[:, 1:]], dim=1)).clamp(0, 1)
    kept = keep_colour(folded, render, WHOLE)
    drawn = (lab[:, 0] - to_oklab(kept)[:, 0]).mean(1)[0]
    assert drawn.argmax() in range(44, 52)
    assert drawn.max() - drawn.min() > 0.9 * fold.max()


def test_where_the_light_is_to_stay_a_halo_goes(render: Tensor) -> None:
    across = torch.linspace(-1, 1, 96)[None, None, None]
    halo = (render + 0.1 * torch.exp(-((across / 0.5) ** 2))).clamp(0, 1)
    kept = keep_colour(halo, render, WHOLE, light=True)
    assert (kept - render).abs().mean() < 0.2 * (halo - render).abs().mean()
    assert (kept - render).abs().mean() < 0.3 * (keep_colour(halo, render, WHOLE) - render).abs().mean()


def test_a_prints_colours_come_back_and_yarn_stays() -> None:
    noise = 0.02 * torch.randn(1, 2, 96, 96, generator=torch.Generator().manual_seed(0))

    def with_noise(image: Tensor) -> Tensor:
        lab = to_oklab(image)
        return from_oklab(torch.cat([lab[:, :1], lab[:, 1:] + noise], dim=1)).clamp(0, 1)

    plain = torch.full((1, 3, 96, 96), 0.5)
    lint = with_noise(plain)
    assert chroma_error(keep_colour(lint, plain, WHOLE), plain) > 0.8 * chroma_error(lint, plain)
    squares = (torch.arange(96) // 8 % 2).bool()
    squares = squares[:, None] ^ squares[None]
    blue, cream = (torch.tensor(c).view(1, 3, 1, 1) for c in ((0.2, 0.3, 0.5), (0.8, 0.75, 0.6)))
    printed = torch.where(squares, blue, cream)
    drifted = with_noise(printed)
    assert chroma_error(keep_colour(drifted, printed, WHOLE), printed) < 0.5 * chroma_error(drifted, printed)


def test_an_empty_region_changes_nothing(render: Tensor) -> None:
    assert torch.equal(keep_colour(render * 0.7, render, 0 * WHOLE), render * 0.7)


def test_outside_the_mask_nothing_changes(render: Tensor) -> None:
    mask = WHOLE.clone()
    mask[..., 48:] = 0
    cast = render * torch.tensor([1.08, 1.0, 0.9])[None, :, None, None]
    kept = keep_colour(cast.clamp(0, 1), render, mask)
    assert torch.equal(kept[..., 48:], cast.clamp(0, 1)[..., 48:])
    assert not torch.equal(kept[..., :48], cast.clamp(0, 1)[..., :48])
