# SPDX-License-Identifier: GPL-3.0-or-later
"""CIEDE2000, as written down by Sharma, Wu and Dalal (Color Research and Application 30, 2005)."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float64

D65 = np.array((0.95047, 1.0, 1.08883))
LINEAR_TO_XYZ = np.array(
    ((0.4124564, 0.3575761, 0.1804375), (0.2126729, 0.7151522, 0.0721750), (0.0193339, 0.1191920, 0.9503041))
)


def srgb_to_lab(image: Float64[np.ndarray, "*pixels 3"]) -> Float64[np.ndarray, "*pixels 3"]:
    """CIE L*a*b* under D65 of display-referred sRGB, 0..1."""
    linear = np.where(image <= 0.04045, image / 12.92, ((image + 0.055) / 1.055) ** 2.4)
    ratio = linear @ LINEAR_TO_XYZ.T / D65
    delta = 6 / 29
    x, y, z = np.moveaxis(np.where(ratio > delta**3, np.cbrt(ratio), ratio / (3 * delta**2) + 4 / 29), -1, 0)
    return np.stack((116 * y - 16, 500 * (x - y), 200 * (y - z)), axis=-1)


def ciede2000(
    first: Float64[np.ndarray, "*pixels 3"], second: Float64[np.ndarray, "*pixels 3"]
) -> Float64[np.ndarray, "*pixels"]:
    """Colour difference of two L*a*b* pictures, k_L = k_C = k_H = 1; about 1 is just noticeable."""
    (l1, a1, b1), (l2, a2, b2) = (np.moveaxis(lab, -1, 0) for lab in (first, second))
    mean_chroma = (np.hypot(a1, b1) + np.hypot(a2, b2)) / 2
    stretch = 1.5 - 0.5 * np.sqrt(mean_chroma**7 / (mean_chroma**7 + 25.0**7))
    c1, c2 = np.hypot(stretch * a1, b1), np.hypot(stretch * a2, b2)
    h1, h2 = (np.degrees(np.arctan2(b, stretch * a)) % 360 for a, b in ((a1, b1), (a2, b2)))

    turn = (h2 - h1 + 180) % 360 - 180
    # At exactly opposite hues the standard turns forward.
    turn = np.where((turn == -180) & (h2 > h1), 180.0, turn)
    grey = c1 * c2 == 0
    turn = np.where(grey, 0.0, turn)
    d_lightness, d_chroma = l2 - l1, c2 - c1
    d_hue = 2 * np.sqrt(c1 * c2) * np.sin(np.radians(turn / 2))

    lightness, chroma = (l1 + l2) / 2, (c1 + c2) / 2
    hue = np.where(grey, h1 + h2, h1 + turn / 2)
    tilt = (
        1
        - 0.17 * np.cos(np.radians(hue - 30))
        + 0.24 * np.cos(np.radians(2 * hue))
        + 0.32 * np.cos(np.radians(3 * hue + 6))
        - 0.20 * np.cos(np.radians(4 * hue - 63))
    )
    s_lightness = 1 + 0.015 * (lightness - 50) ** 2 / np.sqrt(20 + (lightness - 50) ** 2)
    s_chroma = 1 + 0.045 * chroma
    s_hue = 1 + 0.015 * chroma * tilt
    blue = 60 * np.exp(-((((hue % 360) - 275) / 25) ** 2))
    rotation = -2 * np.sqrt(chroma**7 / (chroma**7 + 25.0**7)) * np.sin(np.radians(blue))
    terms = d_lightness / s_lightness, d_chroma / s_chroma, d_hue / s_hue
    difference: Float64[np.ndarray, "*pixels"] = np.sqrt(
        sum(t**2 for t in terms) + rotation * terms[1] * terms[2]
    )
    return difference
