# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import numpy as np
import pytest
import torch
from diffusers import DDIMScheduler

from backend.translation.schedule import (
    count_steps,
    ddim,
    leading_walk,
    linear_alphas,
    low_noise_walk,
    mean_noise,
    scaled_linear_alphas,
)
from protocol.request import TranslationRequest

ALPHAS = scaled_linear_alphas(0.00085, 0.012, 1000)


def diffusers_scheduler(**changes: object) -> DDIMScheduler:
    settings = {"beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear", "steps_offset": 1}
    return DDIMScheduler(**settings, clip_sample=False, set_alpha_to_one=False, **changes)


def test_alphas_are_those_of_diffusers() -> None:
    np.testing.assert_allclose(ALPHAS, diffusers_scheduler().alphas_cumprod.numpy(), rtol=2e-5)
    linear = DDIMScheduler(beta_start=0.0001, beta_end=0.02, beta_schedule="linear").alphas_cumprod.numpy()
    np.testing.assert_allclose(linear_alphas(0.0001, 0.02, 1000), linear, rtol=2e-5)


@pytest.mark.parametrize("steps", [1, 10, 30, 50, 333])
def test_leading_nodes_are_those_of_diffusers_from_the_clean_end(steps: int) -> None:
    scheduler = diffusers_scheduler()
    scheduler.set_timesteps(steps)
    walk = leading_walk(ALPHAS, steps, steps)
    assert walk.timesteps == (0, *scheduler.timesteps.tolist()[::-1])
    assert walk.steps == steps


def test_the_papers_setting_walks_fifteen_steps_up_to_281() -> None:
    walk = leading_walk(ALPHAS, 50, count_steps(0.3, 50))
    assert walk.timesteps == (0, *range(1, 282, 20))
    assert walk.alphas[-1] == pytest.approx(0.622, abs=1e-3)


def test_nodes_are_in_the_middle_of_equal_parts() -> None:
    assert low_noise_walk(ALPHAS, 10, 3).timesteps == (0, 50, 150, 250)
    assert low_noise_walk(ALPHAS, 1000, 1000).timesteps[-3:] == (998, 999, 999)


def test_the_default_goes_further_than_the_paper_in_less_than_half_of_its_steps() -> None:
    request = TranslationRequest()
    walk = low_noise_walk(ALPHAS, request.steps, count_steps(request.garment_strength, request.steps))
    assert walk.steps == 6 and walk.timesteps[-1] > 281


def test_whole_steps_are_counted_as_the_released_code_does() -> None:
    assert count_steps(0.3, 50) == 15
    assert count_steps(0.9, 15) == 13
    assert count_steps(0.29, 100) == 29  # 0.29 * 100 is 28.999999999999996
    assert count_steps(0.0, 50) == 0 and count_steps(1.0, 50) == 50


def test_a_step_down_is_diffusers_ddim_step() -> None:
    torch.manual_seed(0)
    latents, noise = torch.randn(2, 1, 4, 8, 8, dtype=torch.float64)
    scheduler = diffusers_scheduler()
    scheduler.set_timesteps(50)
    expected = scheduler.step(noise, 281, latents).prev_sample
    walk = leading_walk(ALPHAS, 50, 15)
    torch.testing.assert_close(
        ddim(latents, noise, walk.alphas[15], walk.alphas[14]), expected, rtol=0, atol=1e-5
    )


def test_a_step_up_undoes_the_step_down() -> None:
    torch.manual_seed(0)
    latents, noise = torch.randn(2, 1, 4, 8, 8, dtype=torch.float64)
    there = ddim(latents, noise, 0.62, 0.67)
    torch.testing.assert_close(ddim(there, noise, 0.67, 0.62), latents, rtol=0, atol=1e-14)


def test_the_step_is_linear() -> None:
    """The denoising walks the difference to the inverted trajectory, which needs just that."""
    torch.manual_seed(0)
    x, z, e, f = torch.randn(4, 1, 4, 8, 8, dtype=torch.float64)
    apart = ddim(x, e, 0.62, 0.67) - ddim(z, f, 0.62, 0.67)
    torch.testing.assert_close(ddim(x - z, e - f, 0.62, 0.67), apart, rtol=0, atol=1e-14)


def invert_gaussian(steps: int, second_order: bool) -> float:
    """Error of the inversion up to the noise level of timestep 277 where the answer is known.

    The latents are N(0, 1/4): then eps(x, t) = sqrt(1 - a) x / (a / 4 + 1 - a), and x stays in proportion to its
    deviation.
    """
    walk = low_noise_walk(ALPHAS, steps, count_steps(0.3, steps))
    deviations = [(a / 4 + 1 - a) ** 0.5 for a in walk.alphas]
    x = torch.full((1, 1, 1, 1), deviations[0], dtype=torch.float64)
    before = None
    for i in range(walk.steps):
        now = (1 - walk.alphas[i]) ** 0.5 * x / deviations[i] ** 2
        step = now
        if second_order and before is not None:
            step = mean_noise(before, now, walk.alphas[i - 1 : i + 2])  # type: ignore[arg-type]
        x = ddim(x, step, walk.alphas[i], walk.alphas[i + 1])
        before = now
    return abs(float(x) - deviations[-1])


def test_the_mean_over_a_step_is_exact_where_the_noise_is_linear() -> None:
    """eps = c + d s solves du = eps ds to u_2 = u_1 + c (s_2 - s_1) + d (s_2^2 - s_1^2) / 2, with x = sqrt(a) u."""
    torch.manual_seed(0)
    u, c, d = torch.randn(3, 1, 4, 8, 8, dtype=torch.float64)
    alphas = (0.62, 0.67, 0.8)
    s = [(1 / a - 1) ** 0.5 for a in alphas]
    noise = mean_noise(c + d * s[0], c + d * s[1], alphas)
    expected = alphas[2] ** 0.5 * (u + c * (s[2] - s[1]) + d * (s[2] ** 2 - s[1] ** 2) / 2)
    torch.testing.assert_close(
        ddim(alphas[1] ** 0.5 * u, noise, alphas[1], alphas[2]), expected, rtol=0, atol=1e-14
    )


def test_six_steps_of_second_order_are_better_than_fifteen_of_first() -> None:
    assert invert_gaussian(TranslationRequest.steps, True) < invert_gaussian(50, False)
