# SPDX-License-Identifier: GPL-3.0-or-later
"""Noise that holds the rendered look: how the positive domain learns a translation and not only a domain.

Photos and renders alone teach a network little to translate with: below timestep 300 a noisy latent shows by
itself which of the two it is, so the network need not read the prompt, and guidance has nothing to amplify. With
pairs of a photo x and the same photo with a rendered look y (`rendered_look`), let the look fade with the noise.
With s(t) = sqrt(1 - a(t)) / sqrt(a(t)), the noise level relative to the latent, and T the `BRIDGE_END`:

    z_t / sqrt(a) = x + s(t) (eps + (y - x) / s(T))      t <= T        target: eps + (y - x) / s(T)
    z_t / sqrt(a) = y + s(t) eps                         t >  T        target: eps

This is a stochastic interpolant (Albergo, Boffi, Vanden-Eijnden 2023; as in I2SB, Liu et al. 2023) in the
coordinates of DDIM, straight in s: the ordinary noise prediction loss with another noise. Its flow carries
noised rendered looks at T into photos at 0. For the prompts of renders, y = x and it is the ordinary loss. One
noisy latent then has two right answers, and only the prompt tells which; their difference is (y - x) / s(T), so
guidance with gain (w - 1) = 1 walks the whole way from render to photo.
"""

from __future__ import annotations

from jaxtyping import Float, Int
from torch import Tensor

BRIDGE_END = 500
"""Timestep T at which the rendered look is complete: where a translation at the default strength, 0.5, starts."""


def noisy_pair(
    photos: Float[Tensor, "batch channels h w"],
    rendered: Float[Tensor, "batch channels h w"],
    noise: Float[Tensor, "batch channels h w"],
    timesteps: Int[Tensor, " batch"],
    alphas_cumprod: Float[Tensor, " timesteps"],
) -> tuple[Float[Tensor, "batch channels h w"], Float[Tensor, "batch channels h w"]]:
    """The noisy latent and the noise that it is to be told; equal `photos` and `rendered` give plain diffusion."""
    alpha = alphas_cumprod[timesteps].view(-1, 1, 1, 1)
    end = alphas_cumprod[BRIDGE_END]
    level, end_level = ((1 - alpha) / alpha).sqrt(), ((1 - end) / end).sqrt()
    target = noise + (timesteps <= BRIDGE_END).view(-1, 1, 1, 1) * (rendered - photos) / end_level
    clean = photos + (level / end_level).clamp(max=1) * (rendered - photos)
    return alpha.sqrt() * clean + (1 - alpha).sqrt() * noise, target
