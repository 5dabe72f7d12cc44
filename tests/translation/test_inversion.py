# SPDX-License-Identifier: GPL-3.0-or-later
"""Inversion followed by unguided denoising returns the latent; the released code's order of timesteps does not."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from backend.models import STARTER_FOLDER
from backend.translation import Translator
from backend.translation.loading import load_model
from backend.translation.progress import Progress
from backend.translation.regions import Regions
from backend.translation.schedule import Walk, ddim, low_noise_walk, scaled_linear_alphas
from protocol.request import TranslationRequest

Predict = Callable[[Tensor, int], Tensor]
ALPHAS = scaled_linear_alphas(0.00085, 0.012, 1000)
GAIN_DB = 6.0


def round_trip(latents: Tensor, walk: Walk, predict: Predict) -> Tensor:
    """Plain DDIM there and back over the walk, without the trajectory's correction."""
    x = latents
    for i in range(walk.steps):
        x = ddim(x, predict(x, walk.timesteps[i]), walk.alphas[i], walk.alphas[i + 1])
    return denoise(x, walk, predict)


def released_round_trip(latents: Tensor, walk: Walk, predict: Predict) -> Tensor:
    """The released code: inversion takes the timesteps in the order of denoising, highest first.

    Its `next_step` moves from the level one stride below a timestep to the timestep's own.
    """
    x = latents
    for i in range(walk.steps, 0, -1):
        x = ddim(x, predict(x, walk.timesteps[i]), walk.alphas[i - 1], walk.alphas[i])
    return denoise(x, walk, predict)


def denoise(x: Tensor, walk: Walk, predict: Predict) -> Tensor:
    for i in range(walk.steps, 0, -1):
        x = ddim(x, predict(x, walk.timesteps[i]), walk.alphas[i], walk.alphas[i - 1])
    return x


def psnr(first: Tensor, second: Tensor) -> float:
    return float(10 * torch.log10((first.max() - first.min()) ** 2 / ((first - second) ** 2).mean()))


def test_round_trip_with_the_exact_denoiser_of_a_sparse_prior(record_property: pytest.RecordProperty) -> None:
    """The wavelet coefficients of pictures are sparse: mostly near 0, some large. For independent coefficients of

        p(x) = q N(0, s^2) + (1 - q) N(0, S^2)

    the best network is known in closed form: eps(x, t) = sqrt(1 - a) x E[1 / variance | x]. It is as nonlinear in
    the noise level as a trained one: what is texture at a low timestep is noise at a high one.
    """
    torch.manual_seed(0)
    sparse, small, large = 0.8, 0.05, 2.0
    shape = (1, 4, 64, 64)
    deviation = torch.where(torch.rand(shape) < sparse, small, large)
    latents = torch.randn(shape, dtype=torch.float64) * deviation

    def predict(x: Tensor, timestep: int) -> Tensor:
        alpha = float(ALPHAS[timestep])
        variances = [alpha * s**2 + 1 - alpha for s in (small, large)]
        logs = [
            math.log(q) - math.log(v) / 2 - x**2 / (2 * v)
            for q, v in zip((sparse, 1 - sparse), variances, strict=True)
        ]
        share = torch.sigmoid(logs[0] - logs[1])
        return math.sqrt(1 - alpha) * x * (share / variances[0] + (1 - share) / variances[1])

    compare(latents, low_noise_walk(ALPHAS, 50, 15), predict, record_property)


@pytest.mark.slow
@pytest.mark.skipif(not STARTER_FOLDER.is_dir(), reason="this checkout has no starter model")
def test_round_trip_with_the_starter(planes: dict, record_property: pytest.RecordProperty) -> None:
    model = load_model(STARTER_FOLDER)
    with torch.inference_mode():
        image = torch.from_numpy(planes["image"]).permute(2, 0, 1)[None] / 255
        latents = model.autoencoder.encode(image)
        walk = low_noise_walk(model.alphas_cumprod, 50, 15)
        compare(latents, walk, lambda x, t: model.predict_noise(x, t, model.empty), record_property)


def test_without_guidance_the_translation_returns_the_latent(translators: dict[str, Translator]) -> None:
    """The walk of the difference cancels the inversion's own error, whatever the network is."""
    torch.manual_seed(0)
    latents = torch.randn(1, 4, 16, 16)
    start = torch.full((1, 1, 16, 16), 15.0)
    regions = Regions(start.numpy()[0, 0], start / 15, start, steps=15, garment_steps=15)
    for lock in (0.0, 1.0):
        request = TranslationRequest(guidance_scale=1.0, texture_lock=lock)
        progress = Progress(lambda *_: None, lambda: False)
        with torch.inference_mode():
            returned, _ = translators["sd15"]._walk(request, latents, regions, progress, keep_features=True)
        assert psnr(latents, returned) > 100


def compare(latents: Tensor, walk: Walk, predict: Predict, record: pytest.RecordProperty) -> None:
    ours = psnr(latents, round_trip(latents, walk, predict))
    released = psnr(latents, released_round_trip(latents, walk, predict))
    record("psnr_ours_db", ours)
    record("psnr_released_db", released)
    print(f"round trip: {ours:.1f} dB, released order: {released:.1f} dB")
    assert ours > released + GAIN_DB, (ours, released)
