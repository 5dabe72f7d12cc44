# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from backend.translation import Translator
from backend.translation.variation import random_noise, vary
from protocol.planes import PlaneName
from protocol.request import TranslationRequest

REQUEST = TranslationRequest(steps=10, detail=0.0)


def test_a_variation_turns_the_noise_and_keeps_the_picture() -> None:
    alpha, clean, noise = 0.6, torch.randn(1, 4, 64, 64), torch.randn(1, 4, 64, 64)
    latents = alpha**0.5 * clean + (1 - alpha) ** 0.5 * noise
    random = random_noise(3, latents)
    for variation in (0.0, 0.3, 1.0):
        x = vary(latents, noise, random, variation, alpha)
        turned = (x - alpha**0.5 * clean) / (1 - alpha) ** 0.5
        assert float(turned.std()) == pytest.approx(1, abs=0.03)
        along = float((turned * noise).mean() / (noise * noise).mean())
        assert along == pytest.approx((1 - variation**2) ** 0.5, abs=0.03)
    assert torch.equal(vary(latents, noise, random, 0.0, alpha), latents)


def test_a_seed_is_the_same_noise_for_every_batch() -> None:
    one, three = (random_noise(5, torch.empty(count, 4, 8, 8)) for count in (1, 3))
    assert torch.equal(one, three)
    assert not torch.equal(one, random_noise(6, torch.empty(1, 4, 8, 8)))


def test_seeds_differ_inside_the_moving_region_alone(
    translators: dict[str, Translator], planes: dict[PlaneName, np.ndarray]
) -> None:
    translator = translators["starter"]
    plain = translator.translate(REQUEST, planes).image
    assert np.array_equal(translator.translate(replace(REQUEST, seed=9), planes).image, plain)
    first, again, other = (
        translator.translate(replace(REQUEST, variation=0.5, seed=seed), planes).image for seed in (1, 1, 2)
    )
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other) and not np.array_equal(first, plain)
    outside = planes[PlaneName.GARMENT] == 0
    assert np.array_equal(first[outside], planes[PlaneName.IMAGE][outside])
