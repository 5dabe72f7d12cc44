# SPDX-License-Identifier: GPL-3.0-or-later
"""The two image filters that the translation and its report need: Gaussian blur and resizing by area."""

from __future__ import annotations

import math

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional


def gaussian_blur(
    image: Float[Tensor, "batch channels height width"], sigma: float
) -> Float[Tensor, "batch channels height width"]:
    """Gaussian blur of standard deviation `sigma` pixels, cut off at 3 sigma, edges repeated."""
    radius = math.ceil(3 * sigma)
    offsets = torch.arange(-radius, radius + 1, dtype=image.dtype, device=image.device)
    kernel = torch.exp(-(offsets**2) / (2 * sigma**2))
    kernel = kernel / kernel.sum()
    channels = image.shape[1]
    padded = functional.pad(image, (radius, radius, 0, 0), mode="replicate")
    rows = functional.conv2d(padded, kernel.view(1, 1, 1, -1).repeat(channels, 1, 1, 1), groups=channels)
    padded = functional.pad(rows, (0, 0, radius, radius), mode="replicate")
    return functional.conv2d(padded, kernel.view(1, 1, -1, 1).repeat(channels, 1, 1, 1), groups=channels)


def masked_blur(
    image: Float[Tensor, "batch channels height width"], mask: Float[Tensor, "1 1 height width"], sigma: float
) -> Float[Tensor, "batch channels height width"]:
    """Gaussian mean of the pixels inside `mask` alone (normalised convolution); 0 where no mask is near."""
    weight = gaussian_blur(mask, sigma)
    return gaussian_blur(image * mask, sigma) / weight.clamp_min(1e-4)


def resize_by_area(
    plane: Float[Tensor, "1 1 height width"], height: int, width: int
) -> Float[Tensor, "1 1 new_height new_width"]:
    """Mean over the area of each new pixel, so that coverage keeps its meaning."""
    return functional.adaptive_avg_pool2d(plane, (height, width))
