# SPDX-License-Identifier: GPL-3.0-or-later
"""Small pictures that behave like cloth: a fine pattern under slow light."""

from __future__ import annotations

import numpy as np


def picture(height: int, width: int, seed: int = 0) -> np.ndarray:
    """A woven-looking 8-bit picture: a stripe pattern, slow shading and a little noise."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:height, :width]
    pattern = 0.15 * np.sign(np.sin(x / 2.5) * np.sin(y / 3.5))
    shading = 0.5 + 0.2 * np.sin(x / width * 5 + 1) * np.cos(y / height * 4)
    colours = (shading + pattern)[..., None] * np.array((1.0, 0.8, 0.6)) + rng.normal(
        0, 0.01, (height, width, 3)
    )
    return (colours.clip(0, 1) * 255).astype(np.uint8)


def box_mask(height: int, width: int) -> np.ndarray:
    """The middle of the picture, with a soft edge of one pixel."""
    mask = np.zeros((height, width), np.uint8)
    mask[height // 4 - 1 : 3 * height // 4 + 1, width // 4 - 1 : 3 * width // 4 + 1] = 128
    mask[height // 4 : 3 * height // 4, width // 4 : 3 * width // 4] = 255
    return mask
