# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import numpy as np
import pytest
import torch
from diffusers import DDIMScheduler

from backend.translation.schedule import (
    count_steps,
    ddim,
    linear_alphas,
    low_noise_walk,
    scaled_linear_alphas,
)

ALPHAS = scaled_linear_alphas(0.00085, 0.012, 1000)


def diffusers_scheduler(**changes: object) -> DDIMScheduler:
    settings = {"beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear", "steps_offset": 1}
    return DDIMScheduler(**settings, clip_sample=False, set_alpha_to_one=False, **changes)


def test_alphas_are_those_of_diffusers() -> None:
    np.testing.assert_allclose(ALPHAS, diffusers_scheduler().alphas_cumprod.numpy(), rtol=2e-5)
    linear = DDIMScheduler(beta_start=0.0001, beta_end=0.02, beta_schedule="linear").alphas_cumprod.numpy()
    np.testing.assert_allclose(linear_alphas(0.0001, 0.02, 1000), linear, rtol=2e-5)


@pytest.mark.parametrize("steps", [1, 10, 30, 50, 333])
def test_nodes_are_the_timesteps_of_diffusers_from_the_clean_end(steps: int) -> None:
    scheduler = diffusers_scheduler()
    scheduler.set_timesteps(steps)
    walk = low_noise_walk(ALPHAS, steps, steps)
    assert walk.timesteps == (0, *scheduler.timesteps.tolist()[::-1])
    assert walk.steps == steps


def test_the_papers_setting_walks_fifteen_steps_up_to_281() -> None:
    walk = low_noise_walk(ALPHAS, 50, count_steps(0.3, 50))
    assert walk.timesteps == (0, *range(1, 282, 20))
    assert walk.alphas[-1] == pytest.approx(0.622, abs=1e-3)


def test_every_training_timestep_can_be_a_step() -> None:
    assert max(low_noise_walk(ALPHAS, 1000, 1000).timesteps) == 999


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
    walk = low_noise_walk(ALPHAS, 50, 15)
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
