# SPDX-License-Identifier: GPL-3.0-or-later
"""The picture keeps its colours: the chromaticity of a region in the large is the render's.

A product's hue and saturation are data, and so is the backdrop's; the light on them is not. In Oklab (Ottosson,
2020) a change of light by a factor scales L, a and b alike, so the ratio (a, b) / L is the material's own. Its low
band is taken from the render:

    c = (a, b) / L        c_out <- c_out + blur(c_render - c_out)        within a region

Lightness, and every finer variation of colour that the network drew, stay.
"""

from __future__ import annotations

from functools import lru_cache

import torch
from jaxtyping import Float
from torch import Tensor

from .constants import constant
from .filters import masked_blur

RELATIVE_SIGMA = 1 / 48
"""Width of the low band, as a part of the longer side: folds are finer, panels of cloth are coarser."""
DARK = 0.05
"""Lightness added below the ratio, so that black cloth has no wild chromaticity."""

LINEAR_TO_CONE = (
    (0.4122214708, 0.5363325363, 0.0514459929),
    (0.2119034982, 0.6806995451, 0.1073969566),
    (0.0883024619, 0.2817188376, 0.6299787005),
)
CONE_TO_LAB = (
    (0.2104542553, 0.7936177850, -0.0040720468),
    (1.9779984951, -2.4285922050, 0.4505937099),
    (0.0259040371, 0.7827717662, -0.8086757660),
)


def keep_colour(
    output: Float[Tensor, "1 3 height width"],
    render: Float[Tensor, "1 3 height width"],
    mask: Float[Tensor, "1 1 height width"],
) -> Float[Tensor, "1 3 height width"]:
    """The output with the render's low-band chromaticity inside the mask.

    Args:
        output, render: Display-referred sRGB, 0..1.
        mask: Coverage of the region, 0..1.
    """
    lab = to_oklab(output)
    lightness = lab[:, :1] + DARK
    drift = _chromaticity(to_oklab(render)) - lab[:, 1:] / lightness
    low = masked_blur(drift, mask, RELATIVE_SIGMA * max(output.shape[-2:]))
    kept = from_oklab(torch.cat([lab[:, :1], lab[:, 1:] + lightness * low], dim=1))
    return output + mask * (kept.clamp(0, 1) - output)


def _chromaticity(lab: Float[Tensor, "1 3 height width"]) -> Float[Tensor, "1 2 height width"]:
    return lab[:, 1:] / (lab[:, :1] + DARK)


def to_oklab(image: Float[Tensor, "1 3 height width"]) -> Float[Tensor, "1 3 height width"]:
    """Oklab (L 0..1, a, b) of display-referred sRGB."""
    linear = torch.where(image <= 0.04045, image / 12.92, ((image.clamp_min(0.04045) + 0.055) / 1.055) ** 2.4)
    return _mix(CONE_TO_LAB, _mix(LINEAR_TO_CONE, linear).clamp_min(0) ** (1 / 3))


def from_oklab(lab: Float[Tensor, "1 3 height width"]) -> Float[Tensor, "1 3 height width"]:
    """Display-referred sRGB of Oklab; outside 0..1 where the screen cannot show it."""
    linear = _mix(_inverse(LINEAR_TO_CONE), _mix(_inverse(CONE_TO_LAB), lab) ** 3)
    return torch.where(
        linear <= 0.0031308, linear * 12.92, 1.055 * linear.clamp_min(0.0031308) ** (1 / 2.4) - 0.055
    )


def _mix(matrix: tuple[tuple[float, ...], ...], image: Tensor) -> Tensor:
    return torch.einsum("oc,bchw->bohw", constant(matrix, image), image)


@lru_cache
def _inverse(matrix: tuple[tuple[float, ...], ...]) -> tuple[tuple[float, ...], ...]:
    inverse = torch.linalg.inv(torch.tensor(matrix, dtype=torch.float64))
    return tuple(tuple(row) for row in inverse.tolist())
