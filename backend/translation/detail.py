# SPDX-License-Identifier: GPL-3.0-or-later
"""Detail that the latents cannot carry, taken back from the render.

Let s be the render, a = D(E(s)) its round trip through the autoencoder and o the decoded output. The residual
r = s - a is what no latent holds: thread, stitch, small print. Adding r to o is right where the network left
the pattern alone; where it blurred the pattern, half of it would be missing; where it drew another one there,
the two would show as ghosts; and in a new shadow the pattern's contrast would be the old light's.

So the pictures are split into bands finer than the autoencoder's cell, sum_b x_b + x_low = x (differences of
Gaussians of 1, 2 and 4 pixels), and in each band the round trip explains the output around every pixel:

    o_b = alpha a_b + n            alpha = <o_b, a_b> / <a_b, a_b>,   n: what the network drew itself

The part that is the render's pattern is exchanged for the render's own, as bright as the new light makes it,
and as far as the render has more to say there than the network (a Wiener gate):

    out_b   = o_b + amount * g (l s_b - alpha a_b)
    g       = <s_b, s_b> / (<s_b, s_b> + <n, n>)          l = o_low / a_low
    out_low = o_low + amount * (s_low - a_low)

Prints and seams, strong in the render, come back as sharp as rendered. Folds and light live in the low band,
and cloth grain where the render is flat: both stay the network's. With an unchanged latent o = a, so
alpha = g = l = 1, n = 0, and the sum is the render.
"""

from __future__ import annotations

from itertools import pairwise

import torch
from jaxtyping import Float
from torch import Tensor

from .constants import constant
from .filters import NOISE_FLOOR, gaussian_blur, local_product, slope

SIGMAS = (1.0, 2.0, 4.0)
"""Band edges in pixels; the last is half a latent cell of an f8 autoencoder."""
LUMA = (0.2126, 0.7152, 0.0722)
LIGHT_RANGE = (0.5, 2.0)
"""Bounds of the change of light that detail follows."""


def restore_detail(
    output: Float[Tensor, "1 3 height width"],
    round_trip: Float[Tensor, "1 3 height width"],
    render: Float[Tensor, "1 3 height width"],
    amount: float,
) -> Float[Tensor, "1 3 height width"]:
    """The output with the render's fine structure, values 0..1.

    Args:
        output: Decoded result of the translation.
        round_trip: Decoded latents of the render.
        render: What was encoded.
        amount: The request's `detail`, 0..1.
    """
    bands = zip(*(_bands(image) for image in (output, round_trip, render)), strict=True)
    *fine, (o_low, a_low, s_low) = bands
    light = (_luma(o_low) + NOISE_FLOOR) / (_luma(a_low) + NOISE_FLOOR)
    light = light.clamp(*LIGHT_RANGE)
    restored: Tensor = output + amount * (s_low - a_low)
    for (o, a, s), sigma in zip(fine, SIGMAS, strict=True):
        around = 2 * sigma
        alpha = slope(local_product(o, a, around), local_product(a, a, around)).clamp(0, max(LIGHT_RANGE))
        drawn = o - alpha * a
        rendered = local_product(s, s, around) + NOISE_FLOOR
        gate = rendered / (rendered + local_product(drawn, drawn, around))
        restored = restored + amount * gate * (light * s - alpha * a)
    return restored.clamp(0, 1)


def _bands(image: Float[Tensor, "1 3 height width"]) -> list[Float[Tensor, "1 3 height width"]]:
    """Differences of Gaussians from fine to coarse, and the rest; their sum is the image."""
    levels = [image, *(gaussian_blur(image, sigma) for sigma in SIGMAS)]
    return [fine - coarse for fine, coarse in pairwise(levels)] + [levels[-1]]


def _luma(image: Float[Tensor, "1 3 height width"]) -> Float[Tensor, "1 1 height width"]:
    luma: Tensor = torch.einsum("bchw,c->bhw", image, constant(LUMA, image))[:, None]
    return luma
