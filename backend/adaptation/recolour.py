# SPDX-License-Identifier: GPL-3.0-or-later
"""Random colours, the same for both domains: colour then says nothing about the domain.

Guidance away from renders would otherwise recolour a garment.
"""

from __future__ import annotations

import math

import torch
from jaxtyping import Float
from torch import Tensor

_LUMA = (0.299, 0.587, 0.114)


def uniform(count: int, low: float, high: float, generator: torch.Generator) -> Float[Tensor, "count 1 1 1"]:
    """One draw a picture, on the generator's device."""
    return torch.rand(count, 1, 1, 1, generator=generator, device=generator.device) * (high - low) + low


def recolour(
    pictures: Float[Tensor, "batch 3 height width"], generator: torch.Generator
) -> Float[Tensor, "batch 3 height width"]:
    """Random exposure, contrast, white balance, saturation and, for a third of them, hue.

    Values 0..1, display-referred.
    """
    count = pictures.shape[0]
    luma = torch.tensor(_LUMA, device=pictures.device).view(1, 3, 1, 1)
    gain = torch.exp(uniform(count, -0.22, 0.22, generator))
    balance = 1 + 0.24 * (torch.rand(count, 3, 1, 1, generator=generator, device=generator.device) - 0.5)
    pictures = pictures * gain * balance
    mean = (pictures * luma).sum(1, keepdim=True).mean((2, 3), keepdim=True)
    pictures = mean + (pictures - mean) * uniform(count, 0.8, 1.2, generator)
    grey = (pictures * luma).sum(1, keepdim=True)
    chroma = (pictures - grey) * uniform(count, 0.5, 1.5, generator)
    turned = uniform(count, 0, 1, generator) < 0.33
    angle = torch.where(turned, uniform(count, -math.pi, math.pi, generator), torch.zeros_like(gain))
    return (grey + _turn_hue(chroma, angle)).clamp(0, 1)


def _turn_hue(
    chroma: Float[Tensor, "batch 3 height width"], angle: Float[Tensor, "batch 1 1 1"]
) -> Float[Tensor, "batch 3 height width"]:
    """Rodrigues' rotation of RGB about the grey axis (unit vector (1, 1, 1) / sqrt 3)."""
    cross = (chroma.roll(-2, 1) - chroma.roll(-1, 1)) / math.sqrt(3)
    along = chroma.mean(1, keepdim=True)
    return along + (chroma - along) * torch.cos(angle) + cross * torch.sin(angle)
