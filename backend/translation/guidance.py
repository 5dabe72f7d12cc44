# SPDX-License-Identifier: GPL-3.0-or-later
"""Guidance away from the rendered domain (FashionR2R, arXiv 2410.14429, section 3.3).

    eps~(z_t, t) = w eps(z_t, t, v_null) + (1 - w) eps(z_t, t, v_nd)
                 = eps(z_t, t, v_null) + (w - 1) (eps(z_t, t, v_null) - eps(z_t, t, v_nd))

How far the two predictions lie apart differs from domain to domain by an order of magnitude. A domain may carry
a gain on their difference, measured when it was trained, so that one w means one strength of effect:

    eps~(z_t, t) = eps(z_t, t, v_null) + gain (w - 1) (eps(z_t, t, v_null) - eps(z_t, t, v_nd))

The positive side is the empty prompt, the negative side the negative domain embedding. Both are the two
halves of one batch; at w = 1, and for a model without a domain, the negative side has no say and is not
computed.
"""

from __future__ import annotations

from collections.abc import Callable

from jaxtyping import Float
from torch import Tensor

from .model import Model


def guided_noise(
    predict: Callable[..., Float[Tensor, "batch channels rows columns"]], model: Model, guidance_scale: float
) -> Float[Tensor, "pictures channels rows columns"]:
    """eps~ of the pictures that `predict` knows.

    Args:
        predict: Gives eps under each of the texts that it is called with, all pictures a text.
        guidance_scale: w, 0..30.
    """
    if guidance_scale == 1 or model.negative is None:
        return predict(model.empty)
    empty, negative = predict(model.empty, model.negative).chunk(2)
    return empty + model.guidance_gain * (guidance_scale - 1) * (empty - negative)
