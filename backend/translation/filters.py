# SPDX-License-Identifier: GPL-3.0-or-later
"""The image filters that the translation and its report need: Gaussian means, and resizing by area."""

from __future__ import annotations

import math
from functools import lru_cache

import torch
from jaxtyping import Float, Float64
from torch import Tensor
from torch.nn import functional

NOISE_FLOOR = 1e-5
"""Local energy below which nothing is told apart: (0.8 / 255) squared."""
KEPT_LENGTH = 2048
"""Pixels along a side up to which its matrices are kept."""


def gaussian_blur(
    image: Float[Tensor, "batch channels height width"], sigma: float
) -> Float[Tensor, "batch channels height width"]:
    """Gaussian blur of standard deviation `sigma` pixels, cut off at 3 sigma, edges repeated."""
    height, width = image.shape[-2:]
    down, across = (
        (_kept_matrix if length <= KEPT_LENGTH else _matrix_on)(length, sigma, image.dtype, image.device)
        for length in (height, width)
    )
    return down @ image @ across.T


def _matrix_on(
    length: int, sigma: float, dtype: torch.dtype, device: torch.device
) -> Float[Tensor, "length length"]:
    # Kept ones are used within inference mode and without.
    with torch.inference_mode(False):
        return _blur_matrix(length, sigma, device).to(dtype)


_kept_matrix = lru_cache(maxsize=24)(_matrix_on)
"""One picture needs the same few matrices many times, and so does the next of its size."""


def _blur_matrix(length: int, sigma: float, device: torch.device) -> Float64[Tensor, "length length"]:
    """The blur of one axis as a matrix: for wide kernels a product with it is many times faster than a convolution."""
    radius = math.ceil(3 * sigma)
    offsets = torch.arange(-radius, radius + 1, device=device)
    kernel = torch.exp(-(offsets.double() ** 2) / (2 * sigma**2))
    columns = (torch.arange(length, device=device)[:, None] + offsets).clamp(0, length - 1)
    matrix = torch.zeros(length, length, dtype=torch.float64, device=device)
    return matrix.scatter_add_(1, columns, (kernel / kernel.sum()).expand(length, -1))


def masked_blur(
    image: Float[Tensor, "batch channels height width"], mask: Float[Tensor, "1 1 height width"], sigma: float
) -> Float[Tensor, "batch channels height width"]:
    """Gaussian mean of the pixels inside `mask` alone (normalised convolution); 0 where no mask is near."""
    weight = gaussian_blur(mask, sigma)
    return gaussian_blur(image * mask, sigma) / weight.clamp_min(1e-4)


def local_product(
    x: Float[Tensor, "batch channels height width"],
    y: Float[Tensor, "batch channels height width"],
    sigma: float,
) -> Float[Tensor, "batch 1 height width"]:
    """Inner product of two images around each pixel: the sum over the channels, the Gaussian mean over the place."""
    return gaussian_blur((x * y).sum(1, keepdim=True), sigma)


def slope(
    product: Float[Tensor, "batch 1 height width"], energy: Float[Tensor, "batch 1 height width"]
) -> Float[Tensor, "batch 1 height width"]:
    """How strongly a pattern stands in an image around each pixel, by regression: 1 where neither varies.

    Args:
        product: `local_product` of the image and the pattern.
        energy: That of the pattern with itself.
    """
    return (product + NOISE_FLOOR) / (energy + NOISE_FLOOR)


def resize_by_area(
    plane: Float[Tensor, "1 1 height width"], height: int, width: int
) -> Float[Tensor, "1 1 new_height new_width"]:
    """Mean over the area of each new pixel, so that coverage keeps its meaning."""
    return functional.adaptive_avg_pool2d(plane, (height, width))
