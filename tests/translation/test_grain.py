# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import pytest
import torch
from garment_samples import picture
from torch import Tensor

from backend.translation.filters import gaussian_blur
from backend.translation.grain import FLOOR, SHARE, hide_grain

WHOLE = torch.ones(1, 1, 96, 128)
SMOOTH = torch.full((1, 3, 96, 128), 0.5)


@pytest.fixture
def printed() -> Tensor:
    return torch.from_numpy(picture(96, 128)).permute(2, 0, 1)[None] / 255


def grain(rms: float) -> Tensor:
    """A pattern without a meaning, in all channels alike."""
    noise = torch.randn(1, 1, 96, 128, generator=torch.Generator().manual_seed(0))
    return (noise - gaussian_blur(noise, 4.0)).expand(1, 3, -1, -1) * rms


def rms(image: Tensor) -> float:
    return float(image.square().mean().sqrt())


def test_the_render_comes_back(printed: Tensor) -> None:
    torch.testing.assert_close(hide_grain(printed, printed, WHOLE), printed, rtol=0, atol=1e-6)


def test_fleece_on_smooth_cloth_becomes_a_faint_grain() -> None:
    fleece = grain(0.04)
    shown = hide_grain(SMOOTH + fleece, SMOOTH, WHOLE) - SMOOTH
    assert rms(shown) == pytest.approx(FLOOR, rel=0.1)
    assert torch.corrcoef(torch.stack([shown.flatten(), fleece.flatten()]))[0, 1] > 0.98


def test_a_faint_grain_stays() -> None:
    drawn = SMOOTH + grain(0.5 * FLOOR)
    torch.testing.assert_close(hide_grain(drawn, SMOOTH, WHOLE), drawn, rtol=0, atol=1e-6)


def test_a_pattern_hides_what_smooth_cloth_shows(printed: Tensor) -> None:
    added = grain(0.02)
    beside_pattern = rms(hide_grain(printed + added, printed, WHOLE) - printed)
    assert beside_pattern > 1.5 * rms(hide_grain(SMOOTH + added, SMOOTH, WHOLE) - SMOOTH)


def test_a_pattern_made_stronger_counts_as_drawn() -> None:
    weave = SMOOTH + grain(0.02)
    stronger = SMOOTH + 2 * grain(0.02)
    gained = rms(hide_grain(stronger, weave, WHOLE) - weave)
    assert gained == pytest.approx(FLOOR + SHARE * 0.02, rel=0.1)


def test_noise_that_is_gone_stays_gone() -> None:
    noisy = SMOOTH + grain(0.04)
    assert rms(hide_grain(SMOOTH, noisy, WHOLE) - SMOOTH) < 0.002


def test_light_stays(printed: Tensor) -> None:
    """Folds are coarser than texture."""
    columns = torch.linspace(0, 12.57, 128)
    shaded = (printed * (0.8 + 0.2 * columns.cos())).clamp(0, 1)
    kept = hide_grain(shaded, printed, WHOLE)
    assert rms(kept - shaded) < 0.1 * rms(printed - shaded)


def test_where_the_texture_is_not_held_nothing_changes() -> None:
    half = WHOLE.clone()
    half[..., 64:] = 0
    fleece = SMOOTH + grain(0.04)
    shown = hide_grain(fleece, SMOOTH, half)
    assert torch.equal(shown[..., 64:], fleece[..., 64:])
    assert rms((shown - SMOOTH)[..., :64]) < 0.5 * rms((fleece - SMOOTH)[..., :64])
