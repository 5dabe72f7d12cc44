# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

from dataclasses import replace
from functools import partial

import pytest
import torch

from backend.translation import Translator
from backend.translation.guidance import MASKING, REFERENCE_CONTRAST, guided_noise, hidden_contrast
from backend.translation.model import Model

EVERYTHING = torch.tensor(1e3)
"""A render that hides any contrast."""


@pytest.fixture
def latents() -> torch.Tensor:
    return torch.randn(1, 4, 16, 16, generator=torch.Generator().manual_seed(0))


def guided(model: Model, latents: torch.Tensor, guidance_scale: float) -> torch.Tensor:
    return guided_noise(partial(model.predict_noise, latents, 200), model, guidance_scale, EVERYTHING)


@pytest.fixture
def passes(translators: dict[str, Translator]) -> list[int]:
    """Batch size of each pass of the SD 1.5-shaped network from here on."""
    batches: list[int] = []
    unet = translators["sd15"].model.unet
    handle = unet.register_forward_pre_hook(lambda _module, arguments: batches.append(len(arguments[0])))
    yield batches
    handle.remove()


@torch.inference_mode()
def test_equation(translators: dict[str, Translator], latents: torch.Tensor) -> None:
    for name in ("sd15", "sdxl"):
        model = replace(translators[name].model, guidance_gain=0.01)
        empty = model.predict_noise(latents, 200, model.empty)
        negative = model.predict_noise(latents, 200, model.negative)
        both = guided(model, latents, 7.5)
        torch.testing.assert_close(both, empty + 0.01 * 6.5 * (empty - negative), rtol=0, atol=1e-5)
        assert not torch.allclose(empty, negative, atol=1e-4)


@torch.inference_mode()
def test_the_domains_gain_scales_the_difference(
    translators: dict[str, Translator], latents: torch.Tensor
) -> None:
    model = translators["sd15"].model
    gained = guided(replace(model, guidance_gain=0.03), latents, 2.5)
    less = replace(model, guidance_gain=0.01)
    torch.testing.assert_close(gained, guided(less, latents, 5.5), rtol=0, atol=1e-5)
    unguided = guided(model, latents, 1.0)
    without_gain = guided(replace(model, guidance_gain=0.0), latents, 7.5)
    # A batch of two and a batch of one round differently.
    torch.testing.assert_close(without_gain, unguided, rtol=0, atol=1e-5)


def test_a_picture_whose_predictions_lie_far_apart_is_not_carried_away(
    translators: dict[str, Translator],
) -> None:
    """Each picture of a batch for itself: the one at twice the reference is brought to it, the other left alone."""
    model = replace(translators["sd15"].model, guidance_gain=0.5)
    empty = torch.zeros(2, 4, 8, 8)
    negative = torch.full((2, 4, 8, 8), 2.0) * REFERENCE_CONTRAST * torch.tensor([2.0, 0.5]).view(2, 1, 1, 1)
    noise = guided_noise(lambda *_: torch.cat([empty, negative]), model, 7.5, EVERYTHING)
    torch.testing.assert_close(noise[0], torch.full((4, 8, 8), -6.5 * REFERENCE_CONTRAST))
    torch.testing.assert_close(noise[1], torch.full((4, 8, 8), -6.5 * REFERENCE_CONTRAST / 2))


def test_smooth_cloth_gets_less_than_a_weave_that_hides_it(translators: dict[str, Translator]) -> None:
    model = replace(translators["sd15"].model, guidance_gain=1.0)
    noise = torch.randn(2, 1, 4, 16, 32, generator=torch.Generator().manual_seed(0))
    roughness = torch.where(torch.arange(32) < 16, 0.2, 1.0)
    hidden = hidden_contrast(noise[0] * roughness)
    drawn = guided_noise(lambda *_: torch.cat([noise[1], 0 * noise[1]]), model, 2.0, hidden) - noise[1]
    smooth, weave = (float(half.square().mean().sqrt()) for half in (drawn[..., :13], drawn[..., 19:]))
    assert smooth == pytest.approx(0.2 * MASKING, rel=0.15)
    assert weave == pytest.approx(REFERENCE_CONTRAST, rel=0.15)
    assert (
        guided_noise(lambda *_: 0 * noise.flatten(0, 1), model, 2.0, hidden_contrast(0 * noise[0]))
        .isfinite()
        .all()
    )


@torch.inference_mode()
def test_both_halves_are_one_pass(
    translators: dict[str, Translator], latents: torch.Tensor, passes: list[int]
) -> None:
    guided(translators["sd15"].model, latents, 7.5)
    assert passes == [2]


@torch.inference_mode()
def test_without_guidance_the_negative_side_costs_nothing(
    translators: dict[str, Translator], latents: torch.Tensor, passes: list[int]
) -> None:
    model: Model = translators["sd15"].model
    unguided = guided(model, latents, 1.0)
    without_domain = guided(replace(model, negative=None), latents, 7.5)
    assert passes == [1, 1]
    assert torch.equal(unguided, without_domain)
