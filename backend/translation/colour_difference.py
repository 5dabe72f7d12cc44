# SPDX-License-Identifier: GPL-3.0-or-later
"""CIEDE2000, as written down by Sharma, Wu and Dalal (Color Research and Application 30, 2005)."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from .constants import constant

D65 = (0.95047, 1.0, 1.08883)
LINEAR_TO_XYZ = (
    (0.4124564, 0.3575761, 0.1804375),
    (0.2126729, 0.7151522, 0.0721750),
    (0.0193339, 0.1191920, 0.9503041),
)


def srgb_to_lab(image: Float[Tensor, "*pixels 3"]) -> Float[Tensor, "*pixels 3"]:
    """CIE L*a*b* under D65 of display-referred sRGB, 0..1."""
    linear = torch.where(image <= 0.04045, image / 12.92, ((image + 0.055) / 1.055) ** 2.4)
    ratio = linear @ constant(LINEAR_TO_XYZ, image).T / constant(D65, image)
    delta = 6 / 29
    root = ratio.clamp_min(delta**3) ** (1 / 3)
    x, y, z = torch.where(ratio > delta**3, root, ratio / (3 * delta**2) + 4 / 29).unbind(-1)
    return torch.stack((116 * y - 16, 500 * (x - y), 200 * (y - z)), dim=-1)


def ciede2000(
    first: Float[Tensor, "*pixels 3"], second: Float[Tensor, "*pixels 3"]
) -> Float[Tensor, "*pixels"]:
    """Colour difference of two L*a*b* pictures, k_L = k_C = k_H = 1; about 1 is just noticeable."""
    (l1, a1, b1), (l2, a2, b2) = first.unbind(-1), second.unbind(-1)
    mean_chroma = (torch.hypot(a1, b1) + torch.hypot(a2, b2)) / 2
    stretch = 1.5 - 0.5 * torch.sqrt(mean_chroma**7 / (mean_chroma**7 + 25.0**7))
    c1, c2 = torch.hypot(stretch * a1, b1), torch.hypot(stretch * a2, b2)
    h1, h2 = (torch.rad2deg(torch.atan2(b, stretch * a)).remainder(360) for a, b in ((a1, b1), (a2, b2)))

    turn = (h2 - h1 + 180).remainder(360) - 180
    # At exactly opposite hues the standard turns forward.
    turn = torch.where((turn == -180) & (h2 > h1), 180.0, turn)
    grey = c1 * c2 == 0
    turn = torch.where(grey, 0.0, turn)
    d_lightness, d_chroma = l2 - l1, c2 - c1
    d_hue = 2 * torch.sqrt(c1 * c2) * _sin(turn / 2)

    lightness, chroma = (l1 + l2) / 2, (c1 + c2) / 2
    hue = torch.where(grey, h1 + h2, h1 + turn / 2)
    tilt = (
        1
        - 0.17 * _cos(hue - 30)
        + 0.24 * _cos(2 * hue)
        + 0.32 * _cos(3 * hue + 6)
        - 0.20 * _cos(4 * hue - 63)
    )
    s_lightness = 1 + 0.015 * (lightness - 50) ** 2 / torch.sqrt(20 + (lightness - 50) ** 2)
    s_chroma = 1 + 0.045 * chroma
    s_hue = 1 + 0.015 * chroma * tilt
    blue = 60 * torch.exp(-((((hue.remainder(360)) - 275) / 25) ** 2))
    rotation = -2 * torch.sqrt(chroma**7 / (chroma**7 + 25.0**7)) * _sin(blue)
    terms = d_lightness / s_lightness, d_chroma / s_chroma, d_hue / s_hue
    square = terms[0] ** 2 + terms[1] ** 2 + terms[2] ** 2 + rotation * terms[1] * terms[2]
    # Rounding may leave equal colours a hair below 0.
    return square.clamp_min(0).sqrt()


def _sin(degrees: Tensor) -> Tensor:
    return torch.sin(torch.deg2rad(degrees))


def _cos(degrees: Tensor) -> Tensor:
    return torch.cos(torch.deg2rad(degrees))
