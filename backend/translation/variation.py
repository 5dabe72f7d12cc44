# SPDX-License-Identifier: GPL-3.0-or-later
"""Variations of a picture: part of the inverted noise is exchanged for a random one, by the seed.

The inverted latent is the picture and its noise, z = sqrt(a) z_0 + sqrt(1 - a) eps. A variation v keeps the
picture and turns the noise towards a random one of the same size:

    eps_v = sqrt(1 - v^2) eps + v xi                 xi ~ N(0, 1), drawn by the seed
    x     = z + sqrt(1 - a) (eps_v - eps)

At v = 0 this is z. The draw is made on the CPU, so a seed means the same noise on every device.
"""

from __future__ import annotations

import math

import torch
from jaxtyping import Float
from torch import Tensor


def random_noise(seed: int, like: Float[Tensor, batch * shape]) -> Float[Tensor, 1 * shape]:
    """xi, the same for every picture of a batch and on every device."""
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(1, *like.shape[1:], generator=generator).to(like)


def vary(
    latents: Float[Tensor, batch * shape],
    noise: Float[Tensor, batch * shape],
    random: Float[Tensor, 1 * shape],
    variation: float,
    alpha: float,
) -> Float[Tensor, batch * shape]:
    """x for z at noise level alpha_bar = `alpha`, with `noise` = eps(z) and `random` = xi.

    Args:
        variation: The request's `variation`, 0..1.
    """
    turned = math.sqrt(1 - variation**2) * noise + variation * random
    return latents + math.sqrt(1 - alpha) * (turned - noise)
