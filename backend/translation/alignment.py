# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether the result stands where the render stood: sub-pixel registration of the garment.

Editors built on diffusion are known to shift or zoom a picture by a pixel or more; a product shot must not.
The shift is the peak of the cross-correlation of the two high-passed lumas, found on the pixel grid and then
refined by a matrix-multiplied Fourier transform (Guizar-Sicairos et al., Optics Letters 33, 2008). A zoom
leaves the whole unmoved but moves its halves apart, so the four halves of the garment are registered too.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Float64

REFINEMENTS = ((0.1, 10), (0.01, 10))
"""Grids around the peak found so far: spacing in pixels, points to each side."""
LEAST_PART = 0.1
"""A half with less of the garment's structure than this is not registered."""


def displacement(
    render: Float64[np.ndarray, "height width"],
    result: Float64[np.ndarray, "height width"],
    mask: Float64[np.ndarray, "height width"],
) -> float:
    """Pixels by which the garment, or the half of it that moved most, was displaced.

    Args:
        render, result: High-passed luma.
        mask: Soft-edged coverage of the garment, 0..1.
    """
    height, width = mask.shape
    rows, columns = np.mgrid[:height, :width]
    total = (mask * render**2).sum()
    middle_row, middle_column = (np.average(grid, weights=mask + 1e-12) for grid in (rows, columns))
    parts = [mask]
    for grid, middle in ((rows, middle_row), (columns, middle_column)):
        # A soft cut: a hard one would be the same edge in both pictures and pin the peak to 0.
        side = 1 / (1 + np.exp((grid - middle) / 4.0))
        parts += [mask * side, mask * (1 - side)]
    strong = [part for part in parts if (part * render**2).sum() > LEAST_PART * total]
    return max((float(np.hypot(*shift(render * part, result * part))) for part in strong), default=0.0)


def shift(
    render: Float64[np.ndarray, "height width"], result: Float64[np.ndarray, "height width"]
) -> tuple[float, float]:
    """(rows, columns) by which `result` is displaced from `render`, to a hundredth of a pixel."""
    cross = np.conj(np.fft.fft2(render)) * np.fft.fft2(result)
    peak = np.unravel_index(np.argmax(np.fft.ifft2(cross).real), cross.shape)
    row, column = (float(p - n if p > n / 2 else p) for p, n in zip(peak, cross.shape, strict=True))
    frequencies = [np.fft.fftfreq(n) for n in cross.shape]
    for spacing, reach in REFINEMENTS:
        offsets = spacing * np.arange(-reach, reach + 1)
        waves = [
            np.exp(2j * np.pi * np.outer(centre + offsets, frequency))
            for centre, frequency in zip((row, column), frequencies, strict=True)
        ]
        correlation = (waves[0] @ cross @ waves[1].T).real
        best = np.unravel_index(np.argmax(correlation), correlation.shape)
        row, column = row + offsets[best[0]], column + offsets[best[1]]
    return row, column
