# SPDX-License-Identifier: GPL-3.0-or-later
"""The rendered look of a photo: what a path tracer would have left of it.

A renderer's cloth is cleaner than a camera's: no lint and no uneven yarn (textures are even, denoisers smooth
what is left), softer folds (simulations and normal maps are coarser than cloth), flatter tones (view transforms
compress them), edges without a lens's softness, and colour as sharp as light, which no camera records. Taking
these from a photo gives pairs of one garment in both domains, which photos and renders of different garments
cannot give. `bridge` says how the network learns from them.
"""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional

from .recolour import uniform

UNTOUCHED_SHARE = 0.1
"""Part of the photos that keep their own look, so that the network also knows when nothing is to be done."""


def look_rendered(
    photos: Float[Tensor, "batch 3 height width"], generator: torch.Generator
) -> Float[Tensor, "batch 3 height width"]:
    """Photos, 0..1, each with a random amount of the rendered look."""
    amount = uniform(len(photos), 0.25, 1.0, generator)
    amount = amount * (uniform(len(photos), 0.0, 1.0, generator) >= UNTOUCHED_SHARE)
    result = photos
    for radius in (1, 3):
        # From 0.4 to 8 % of the range: yarn and lint go, prints and seams stay.
        threshold = 10 ** uniform(len(photos), -4.8, -2.2, generator)
        result = torch.lerp(result, smooth(result, radius, threshold), amount)
    for radius in (8, 32):
        coarse = _coarse(result, radius)
        kept = 1 - amount * uniform(len(photos), 0.0, 0.4, generator)
        result = coarse + kept * (result - coarse)
    sharpness = amount * uniform(len(photos), 0.0, 1.2, generator)
    result = result + sharpness * (result - _box(result, 1))
    result = torch.lerp(result, colour_by_shading(result), amount)
    mean = result.mean((1, 2, 3), keepdim=True)
    contrast = 1 - amount * uniform(len(photos), 0.0, 0.2, generator)
    return (mean + contrast * (result - mean)).clamp(0, 1)


def smooth(
    pictures: Float[Tensor, "batch 3 height width"], radius: int, threshold: Float[Tensor, "batch 1 1 1"]
) -> Float[Tensor, "batch 3 height width"]:
    """Self-guided filter (He, Sun, Tang 2010): variation far below `threshold`, a variance, goes; edges stay."""
    mean = _box(pictures, radius)
    variance = (_box(pictures * pictures, radius) - mean * mean).clamp_min(0).mean(1, keepdim=True)
    gain = variance / (variance + threshold)
    # Averaged gain and offset of all windows that hold a pixel.
    return _box(gain, radius) * pictures + _box((1 - gain) * mean, radius)


def colour_by_shading(
    pictures: Float[Tensor, "batch 3 height width"],
) -> Float[Tensor, "batch 3 height width"]:
    """Colour that follows every pixel of lightness: the ratio of colour to lightness is smooth instead."""
    lightness = pictures.mean(1, keepdim=True) + 0.05
    return lightness * _box(pictures / lightness, 1)


def _box(
    pictures: Float[Tensor, "batch channels height width"], radius: int
) -> Float[Tensor, "batch channels height width"]:
    padded = functional.pad(pictures, [radius] * 4, mode="reflect")
    return functional.avg_pool2d(padded, 2 * radius + 1, stride=1)


def _coarse(
    pictures: Float[Tensor, "batch 3 height width"], radius: int
) -> Float[Tensor, "batch 3 height width"]:
    """What is left at a coarseness of `radius` pixels."""
    small = functional.avg_pool2d(pictures, radius, ceil_mode=True, count_include_pad=False)
    return functional.interpolate(small, pictures.shape[-2:], mode="bicubic", antialias=False)
