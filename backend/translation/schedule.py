# SPDX-License-Identifier: GPL-3.0-or-later
"""Noise schedule and DDIM step (Song et al., arXiv 2010.02502, equation 12 with eta = 0), as pure functions.

A walk over the low-noise part of the schedule has the nodes i = 0..n. Node 0 is the clean latent, at the
level of timestep 0. The schedule is cut into `steps` equal parts, and node i >= 1 is in the middle of the i-th:

    t_i = (i - 1/2) T / steps

Inversion walks i = 0..n, denoising n..0, over the same nodes with the same `ddim`. The step is the explicit Euler
step of du = eps ds with u = x / sqrt(a) and s = sqrt((1 - a) / a); given the noise of the node before it becomes
the second-order Adams-Bashforth step of the same equation, for no further pass of the network (`mean_noise`).
Stable Diffusion's own nodes, t_i = (i - 1) * (T // steps) + 1, spend a step between the timesteps 1 and 0.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Float64
from torch import Tensor


def count_steps(fraction: float, steps: int) -> int:
    """Whole steps in `fraction` (0..1) of `steps`, rounded down as the paper's released code does."""
    return math.floor(fraction * steps + 1e-6)


def scaled_linear_alphas(
    beta_start: float, beta_end: float, timesteps: int
) -> Float64[np.ndarray, " timesteps"]:
    """alpha_bar(t) = prod (1 - beta), sqrt(beta) linear in t: the schedule of Stable Diffusion."""
    betas = np.linspace(beta_start**0.5, beta_end**0.5, timesteps, dtype=np.float64) ** 2
    return np.cumprod(1.0 - betas)


def linear_alphas(beta_start: float, beta_end: float, timesteps: int) -> Float64[np.ndarray, " timesteps"]:
    """alpha_bar(t) = prod (1 - beta), beta linear in t."""
    betas = np.linspace(beta_start, beta_end, timesteps, dtype=np.float64)
    return np.cumprod(1.0 - betas)


@dataclass(frozen=True)
class Walk:
    """Nodes 0..n of a walk between the clean latent and the noisiest level that a translation visits.

    Args:
        timesteps: t_i of each node, increasing.
        alphas: alpha_bar(t_i) of each node, decreasing.
    """

    timesteps: tuple[int, ...]
    alphas: tuple[float, ...]

    @property
    def steps(self) -> int:
        """n, the number of steps between the first and the last node."""
        return len(self.timesteps) - 1


def low_noise_walk(alphas_cumprod: Float64[np.ndarray, " timesteps"], steps: int, walked: int) -> Walk:
    """The first `walked` of `steps` equal steps of the schedule, counted from the clean end.

    Args:
        alphas_cumprod: alpha_bar of every training timestep.
        steps: Steps over the whole schedule, 1..T.
        walked: Steps to walk, 0..steps.
    """
    length = len(alphas_cumprod)
    return _walk(alphas_cumprod, [math.ceil((i + 0.5) * length / steps) for i in range(walked)])


def leading_walk(alphas_cumprod: Float64[np.ndarray, " timesteps"], steps: int, walked: int) -> Walk:
    """The same over Stable Diffusion's own nodes ("leading", offset 1), as the paper's released code walks."""
    stride = len(alphas_cumprod) // steps
    return _walk(alphas_cumprod, [i * stride + 1 for i in range(walked)])


def _walk(alphas_cumprod: Float64[np.ndarray, " timesteps"], nodes: Sequence[int]) -> Walk:
    timesteps = (0, *(min(node, len(alphas_cumprod) - 1) for node in nodes))
    return Walk(timesteps, tuple(float(alphas_cumprod[t]) for t in timesteps))


def ddim(
    latents: Float[Tensor, "batch channels height width"],
    noise: Float[Tensor, "batch channels height width"],
    alpha_from: float,
    alpha_to: float,
) -> Float[Tensor, "batch channels height width"]:
    """One deterministic step between two noise levels, in either direction.

        x_to = sqrt(a_to) * (x_from - sqrt(1 - a_from) * eps) / sqrt(a_from) + sqrt(1 - a_to) * eps

    The step is linear in (x, eps) and `ddim(ddim(x, eps, a, b), eps, b, a) == x` up to rounding.
    """
    scale = math.sqrt(alpha_to / alpha_from)
    return scale * latents + (math.sqrt(1 - alpha_to) - scale * math.sqrt(1 - alpha_from)) * noise


def mean_noise(
    before: Float[Tensor, "batch channels height width"],
    now: Float[Tensor, "batch channels height width"],
    alphas: tuple[float, float, float],
) -> Float[Tensor, "batch channels height width"]:
    """The noise's mean over a step, with which `ddim` is of second order: extrapolated to the middle of the step.

        eps + (s_2 - s_1) / (2 (s_1 - s_0)) (eps - eps_0)

    Args:
        before, now: eps at the node before the step's, and at the node where the step begins.
        alphas: alpha_bar of those two nodes and of the one where the step ends.
    """
    s = [math.sqrt(1 / alpha - 1) for alpha in alphas]
    # Among 1000 steps of 1000 timesteps two nodes share the last one.
    ratio = (s[2] - s[1]) / (2 * (s[1] - s[0])) if s[1] != s[0] else 0.0
    return now + ratio * (now - before)
