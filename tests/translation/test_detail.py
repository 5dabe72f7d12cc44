# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import pytest
import torch
from garment_samples import picture
from torch import Tensor

from backend.translation.detail import restore_detail
from backend.translation.filters import gaussian_blur


@pytest.fixture
def render() -> Tensor:
    return torch.from_numpy(picture(96, 128)).permute(2, 0, 1)[None] / 255


@pytest.fixture
def round_trip(render: Tensor) -> Tensor:
    """What an autoencoder leaves: softer, and a little off in tone."""
    return gaussian_blur(render, 1.5) * 0.97 + 0.02


def fine(image: Tensor) -> Tensor:
    return image - gaussian_blur(image, 2.0)


def correlation(x: Tensor, y: Tensor) -> float:
    return float(torch.corrcoef(torch.stack([x.flatten(), y.flatten()]))[0, 1])


def test_an_unchanged_latent_gives_the_render(render: Tensor, round_trip: Tensor) -> None:
    restored = restore_detail(round_trip, round_trip, render, amount=1.0)
    assert (restored - render).abs().max() < 1e-5


def test_amount_zero_is_the_output(render: Tensor, round_trip: Tensor) -> None:
    assert torch.equal(restore_detail(round_trip, round_trip, render, amount=0.0), round_trip)


def test_new_light_stays(render: Tensor, round_trip: Tensor) -> None:
    """A shadow over half of the cloth: the low band is the output's, the pattern in it is the render's, darker."""
    shadow = torch.ones(1, 1, 96, 128)
    shadow[..., 64:] = 0.6
    shadow = gaussian_blur(shadow, 6.0)
    restored = restore_detail(round_trip * shadow, round_trip, render, amount=1.0)
    inside = slice(80, 128)
    ratio = (restored / render)[..., inside].mean()
    assert ratio == pytest.approx(0.6, abs=0.03)
    contrast = fine(restored)[..., inside].std() / fine(render)[..., inside].std()
    assert contrast == pytest.approx(0.6, abs=0.06)
    assert correlation(fine(restored), fine(render)) > 0.97


def test_a_print_that_the_network_blurred_is_sharp_again(render: Tensor, round_trip: Tensor) -> None:
    blurred = gaussian_blur(round_trip, 2.0)
    restored = restore_detail(blurred, round_trip, render, amount=1.0)
    plain_residual = (blurred + render - round_trip).clamp(0, 1)
    assert correlation(fine(restored), fine(render)) > 0.99
    assert (restored - render).abs().mean() < 0.5 * (plain_residual - render).abs().mean()


def test_what_the_network_drew_on_flat_cloth_stays(round_trip: Tensor) -> None:
    flat = torch.full_like(round_trip, 0.5)
    grain = 0.05 * torch.randn(round_trip.shape, generator=torch.Generator().manual_seed(0))
    restored = restore_detail(flat + grain, flat, flat, amount=1.0)
    assert correlation(fine(restored), fine(grain)) > 0.99
