# SPDX-License-Identifier: GPL-3.0-or-later
"""Guidance away from the rendered domain (FashionR2R, arXiv 2410.14429, section 3.3).

    eps~(z_t, t) = w eps(z_t, t, v_null) + (1 - w) eps(z_t, t, v_nd)
                 = eps(z_t, t, v_null) + (w - 1) (eps(z_t, t, v_null) - eps(z_t, t, v_nd))

How far the two predictions lie apart differs from domain to domain, and from picture to picture, by an order of
magnitude: plain cloth out of focus gets ten times the difference of a weave, and guidance feeds on what it made in
the step before, until cloth turns to fleece; a whole figure gets next to none. So the difference is brought to one
root mean square c over a picture, as far as the domain's gain allows, and one w means one strength of effect:

    eps~(z_t, t) = eps(z_t, t, v_null) + (w - 1) min(c / rms(d), gain) d,    d = eps(z_t, t, v_null) - eps(z_t, t, v_nd)

What is drawn shows more on smooth cloth than in a weave, which hides it (visual masking). So around each latent cell
the scaled difference stays below a part m of how much the render's own latents vary there:

    rms(difference) <= m deviation(z_0)        over 5 x 5 cells

The positive side is the empty prompt, the negative side the negative domain embedding. Both are the two
halves of one batch; at w = 1, and for a model without a domain, the negative side has no say and is not
computed.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import avg_pool2d

from .model import Model

REFERENCE_CONTRAST = 0.04
"""c, the root mean square between the two predictions at which w = 7.5 is a clear and bearable effect."""

MASKING = 0.12
"""m: at 0.2 smooth cloth turns to fleece, at 0.1 it gains next to nothing."""
SMOOTHEST = 1e-3
"""Deviation of a picture without any structure; a render's noise alone is a hundred times as much."""
NEIGHBOURHOOD = 5
"""Cells along a side, 40 pixels."""


def hidden_contrast(
    latents: Float[Tensor, "pictures channels rows columns"],
) -> Float[Tensor, "pictures 1 rows columns"]:
    """How large the difference may be around each cell.

    Args:
        latents: z_0.
    """
    deviation = _around((latents - _around(latents)).square().mean(1, keepdim=True)).sqrt()
    return MASKING * deviation.clamp_min(SMOOTHEST)


def guided_noise(
    predict: Callable[..., Float[Tensor, "batch channels rows columns"]],
    model: Model,
    guidance_scale: float,
    hidden: Float[Tensor, "pictures 1 rows columns"],
) -> Float[Tensor, "pictures channels rows columns"]:
    """eps~ of the pictures that `predict` knows.

    Args:
        predict: Gives eps under each of the texts that it is called with, all pictures a text.
        guidance_scale: w, 0..30.
        hidden: What `hidden_contrast` says of the render.
    """
    if guidance_scale == 1 or model.negative is None:
        return predict(model.empty)
    empty, negative = predict(model.empty, model.negative).chunk(2)
    difference = empty - negative
    # Squares of half precision would lose the small ones.
    exact = torch.promote_types(difference.dtype, torch.float32)
    energy = difference.to(exact).square().mean(1, keepdim=True)
    gain = (REFERENCE_CONTRAST / energy.mean((2, 3), keepdim=True).sqrt()).clamp(max=model.guidance_gain)
    local = gain * _around(energy).sqrt()
    gain = gain * hidden / torch.maximum(local, hidden)
    return empty + (guidance_scale - 1) * gain.to(difference.dtype) * difference


def _around(
    plane: Float[Tensor, "pictures channels rows columns"],
) -> Float[Tensor, "pictures channels rows columns"]:
    """Mean over each cell's neighbourhood, as far as there is one."""
    return avg_pool2d(plane, NEIGHBOURHOOD, 1, NEIGHBOURHOOD // 2, count_include_pad=False)
