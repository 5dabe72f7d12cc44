# SPDX-License-Identifier: GPL-3.0-or-later
"""Inversion in the right order, against the order of the released code, which walks the timesteps backwards.

Two things are compared, in decibels: how exactly unguided denoising returns the latent, and how close each node
of the inverted trajectory is to the exact one (the probability-flow ODE, walked in steps of one timestep). The
second is where the released order fails: it shows the clean latent to the network at the highest timestep. That
its plain round trip may nevertheless be tight (both directions then pass the same wrong pairs) is printed too.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
import torch
from direct_walk import walk_latents
from torch import Tensor

from backend.models import STARTER_FOLDER
from backend.translation import Translator
from backend.translation.schedule import Walk, ddim, low_noise_walk, scaled_linear_alphas
from protocol.planes import PlaneName
from protocol.request import TranslationRequest

Predict = Callable[[Tensor, int], Tensor]
Record = Callable[[str, object], None]
GAIN_DB = 6.0
STEPS = 15
CLOSE = 5
"""Timesteps between the nodes of the walk that counts as exact; a quarter of a step's, and all nodes are among them."""


def invert(latents: Tensor, walk: Walk, predict: Predict) -> list[Tensor]:
    """Plain DDIM inversion, node by node."""
    nodes = [latents]
    for i in range(walk.steps):
        noise = predict(nodes[-1], walk.timesteps[i])
        nodes.append(ddim(nodes[-1], noise, walk.alphas[i], walk.alphas[i + 1]))
    return nodes


def invert_as_released(latents: Tensor, walk: Walk, predict: Predict) -> list[Tensor]:
    """The released code: the timesteps of denoising in their own order, highest first.

    Its `next_step` moves from the level one stride below a timestep to the timestep's own.
    """
    nodes = [latents]
    for i in range(walk.steps, 0, -1):
        noise = predict(nodes[-1], walk.timesteps[i])
        nodes.append(ddim(nodes[-1], noise, walk.alphas[i - 1], walk.alphas[i]))
    return nodes


def denoise(x: Tensor, walk: Walk, predict: Predict) -> Tensor:
    for i in range(walk.steps, 0, -1):
        x = ddim(x, predict(x, walk.timesteps[i]), walk.alphas[i], walk.alphas[i - 1])
    return x


def decibels(reference: Tensor, other: Tensor) -> float:
    """PSNR over the range of the reference."""
    error = float(((reference - other) ** 2).mean())
    return 10 * math.log10(float(reference.max() - reference.min()) ** 2 / max(error, 1e-30))


def trajectory_decibels(exact: list[Tensor], nodes: list[Tensor]) -> float:
    return decibels(torch.cat(exact[1:]), torch.cat(nodes[1:]))


def translate_unguided(translator: Translator, latents: Tensor, lock: float = 0.0) -> Tensor:
    """The translation's own walk without guidance, 15 of 50 steps everywhere."""
    start = torch.full((1, 1, *latents.shape[-2:]), float(STEPS))
    request = TranslationRequest(guidance_scale=1.0, texture_lock=lock)
    return walk_latents(translator, request, latents, start, start / STEPS, STEPS)


def compare(
    latents: Tensor,
    alphas: np.ndarray,
    predict: Predict,
    returned: Tensor | None,
    record: Callable[[str, object], None],
) -> None:
    """Assert both comparisons; `returned` is what the translation gave, else plain DDIM is judged."""
    walk = low_noise_walk(alphas, 50, STEPS)
    close = tuple(range(0, walk.timesteps[-1] + 1, CLOSE))
    fine = Walk(close, tuple(float(alphas[t]) for t in close))
    ours, released = invert(latents, walk, predict), invert_as_released(latents, walk, predict)
    plain = denoise(ours[-1], walk, predict)
    exact = invert(latents, fine, predict)
    figures = {
        "round_trip_ours": decibels(latents, plain if returned is None else returned),
        "round_trip_plain_ddim": decibels(latents, plain),
        "round_trip_released": decibels(latents, denoise(released[-1], walk, predict)),
        "trajectory_ours": trajectory_decibels([exact[t // CLOSE] for t in walk.timesteps], ours),
        "trajectory_released": trajectory_decibels([exact[t // CLOSE] for t in walk.timesteps], released),
    }
    for name, value in figures.items():
        record(f"{name}_db", round(value, 1))
        print(f"{name}: {value:.1f} dB")
    assert figures["round_trip_ours"] > figures["round_trip_released"] + GAIN_DB, figures
    assert figures["trajectory_ours"] > figures["trajectory_released"] + GAIN_DB, figures


def test_with_the_exact_denoiser_of_a_sparse_prior(record_property: Record) -> None:
    """The wavelet coefficients of pictures are sparse: mostly near 0, some large. For independent coefficients of

        p(x) = q N(0, s^2) + (1 - q) N(0, S^2)

    the best network is known in closed form: eps(x, t) = sqrt(1 - a) x E[1 / variance | x]. It is as nonlinear in
    the noise level as a trained one: what is texture at a low timestep is noise at a high one.
    """
    torch.manual_seed(0)
    alphas = scaled_linear_alphas(0.00085, 0.012, 1000)
    sparse, small, large = 0.8, 0.05, 2.0
    shape = (1, 4, 64, 64)
    deviation = torch.where(torch.rand(shape) < sparse, small, large)
    latents = torch.randn(shape, dtype=torch.float64) * deviation

    def predict(x: Tensor, timestep: int) -> Tensor:
        alpha = float(alphas[timestep])
        variances = [alpha * s**2 + 1 - alpha for s in (small, large)]
        logs = [
            math.log(q) - math.log(v) / 2 - x**2 / (2 * v)
            for q, v in zip((sparse, 1 - sparse), variances, strict=True)
        ]
        share = torch.sigmoid(logs[0] - logs[1])
        return math.sqrt(1 - alpha) * x * (share / variances[0] + (1 - share) / variances[1])

    compare(latents, alphas, predict, None, record_property)


@pytest.mark.slow
@pytest.mark.skipif(not STARTER_FOLDER.is_dir(), reason="this checkout has no starter model")
@torch.inference_mode()
def test_with_the_starter(planes: dict[PlaneName, np.ndarray], record_property: Record) -> None:
    translator = Translator.load(STARTER_FOLDER)
    model = translator.model
    latents = model.autoencoder.encode(
        torch.from_numpy(planes[PlaneName.IMAGE]).permute(2, 0, 1)[None] / 255
    )[..., :8, :8]
    returned = translate_unguided(translator, latents)
    compare(
        latents,
        model.alphas_cumprod,
        lambda x, t: model.predict_noise(x, t, model.empty),
        returned,
        record_property,
    )


@pytest.mark.parametrize("lock", [0.0, 1.0])
@torch.inference_mode()
def test_without_guidance_the_translation_returns_the_latent(
    translators: dict[str, Translator], lock: float
) -> None:
    """The walk of the difference cancels the inversion's own error, whatever the network is."""
    latents = torch.randn(1, 4, 16, 16, generator=torch.Generator().manual_seed(0))
    assert decibels(latents, translate_unguided(translators["sd15"], latents, lock)) > 100
