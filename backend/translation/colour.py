# SPDX-License-Identifier: GPL-3.0-or-later
"""The picture keeps its colours: a region's chromaticity in the large, its exposure and its contrasts are the render's.

A product's hue and saturation are data, and so is the backdrop's; the light on them is not. In Oklab (Ottosson,
2020) a change of light by a factor scales L, a and b alike, so the ratio c = (a, b) / L is the material's own.

Photos have more contrast than renders, so the network deepens the dark squares of a plaid and brightens its lines. A
print's colours are data too, and the tone is chosen by view transform and grade. What of the output follows the render,
by regression over the region, comes back to a slope of 1 and to the render's mean, for L and for both parts of c; what
the network drew beside it, n, stays, be it a fold, the fall of light, or yarn:

    x_out = alpha x_render + beta + n        x_out <- x_render + n        x in L, c

The low band of c is the render's altogether, and that of L where the light is to stay:

    x_out <- x_out + blur(x_render - x_out)

Finer variation is a print where the render's own c varies more around a pixel than the network's differs from it, and
then comes back by the Wiener gate that `detail` uses; elsewhere it is yarn and lint, and stays:

    n = c_out - c_render        p = c_render - blur(c_render)        c_out <- c_out - <p, p> / (<p, p> + <n, n>) n
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache, partial

import torch
from jaxtyping import Float
from torch import Tensor

from .constants import constant
from .filters import masked_blur

RELATIVE_SIGMA = 1 / 48
"""Width of the low band, as a part of the longer side: folds are finer, panels of cloth are coarser."""
DARK = 0.05
"""Lightness added below the ratio, so that black cloth has no wild chromaticity."""
FLAT = 1e-4
"""Variance below which a region has no contrast to speak of: (2.5 / 255) squared."""
FAINT = 1e-6
"""Energy of chromaticity below which there is no print: (0.3 / 255) squared."""

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
    light: bool = False,
) -> Float[Tensor, "1 3 height width"]:
    """The output with the render's chromaticity in the large and its contrasts inside the mask.

    Args:
        output, render: Display-referred sRGB, 0..1.
        mask: Coverage of the region, 0..1.
        light: Whether the low band of the lightness is kept too.
    """
    wanted = _material(render)
    kept = _keep_contrast(_material(output), wanted, mask)
    low = partial(masked_blur, mask=mask, sigma=RELATIVE_SIGMA * max(output.shape[-2:]))
    drift = low(wanted - kept)
    lightness = (kept[:, :1] + light * drift[:, :1]).clamp_min(0)
    chromaticity = _keep_print(kept[:, 1:] + drift[:, 1:], wanted[:, 1:], low)
    coloured = from_oklab(torch.cat([lightness, chromaticity * (lightness + DARK)], dim=1))
    return output + mask * (coloured.clamp(0, 1) - output)


def _material(image: Float[Tensor, "1 3 height width"]) -> Float[Tensor, "1 3 height width"]:
    """Lightness and the two parts of the chromaticity."""
    lab = to_oklab(image)
    return torch.cat([lab[:, :1], lab[:, 1:] / (lab[:, :1] + DARK)], dim=1)


def _keep_contrast(
    drawn: Float[Tensor, "1 channels height width"],
    wanted: Float[Tensor, "1 channels height width"],
    mask: Float[Tensor, "1 1 height width"],
) -> Float[Tensor, "1 channels height width"]:
    """What was drawn, with mean and slope of what was wanted over the mask, each channel by itself."""
    weight = mask / mask.sum().clamp_min(1)

    def mean(plane: Tensor) -> Float[Tensor, "1 channels 1 1"]:
        return (weight * plane).sum((2, 3), keepdim=True)

    own, pattern = drawn - mean(drawn), wanted - mean(wanted)
    slope = (mean(own * pattern) + FLAT) / (mean(pattern.square()) + FLAT)
    return own + mean(wanted) + (1 - slope) * pattern


def _keep_print(
    drawn: Float[Tensor, "1 2 height width"],
    wanted: Float[Tensor, "1 2 height width"],
    low: Callable[[Tensor], Tensor],
) -> Float[Tensor, "1 2 height width"]:
    """The chromaticity that was drawn, and the wanted one where that varies more than the two differ."""
    beside, pattern = drawn - wanted, wanted - low(wanted)
    added, printed = (low(plane.square().sum(1, keepdim=True)) for plane in (beside, pattern))
    return drawn - printed / (printed + added + FAINT) * beside


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
