# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether the result stands where the render stood: sub-pixel registration of the garment.

Editors built on diffusion are known to shift or zoom a picture by a pixel or more; a product shot must not.
The shift is the peak of the cross-correlation of the two high-passed lumas, found on the pixel grid and then
refined by a matrix-multiplied Fourier transform (Guizar-Sicairos et al., Optics Letters 33, 2008). A zoom
leaves the whole unmoved but moves its halves apart, so the four halves of the garment are registered too.
"""

from __future__ import annotations

import math

import torch
from jaxtyping import Float, Int
from torch import Tensor

REFINEMENTS = ((0.1, 10), (0.01, 10))
"""Grids around the peak found so far: spacing in pixels, points to each side."""
LEAST_PART = 0.1
"""A half with less of the garment's structure than this is not registered."""


def displacement(
    render: Float[Tensor, "height width"],
    result: Float[Tensor, "height width"],
    mask: Float[Tensor, "height width"],
) -> Float[Tensor, ""]:
    """Pixels by which the garment, or the half of it that moved most, was displaced.

    Args:
        render, result: High-passed luma.
        mask: Soft-edged coverage of the garment, 0..1.
    """
    height, width = mask.shape
    rows = torch.arange(height, dtype=mask.dtype, device=mask.device)[:, None]
    columns = torch.arange(width, dtype=mask.dtype, device=mask.device)
    energy = render**2
    parts = [mask]
    for grid in (rows, columns):
        middle = (mask * grid).sum() / mask.sum()
        # A soft cut: a hard one would be the same edge in both pictures and pin the peak to 0.
        side = torch.sigmoid((middle - grid) / 4.0)
        parts += [mask * side, mask * (1 - side)]
    several = torch.stack(parts)
    shares = (several * energy).sum((1, 2))
    distances = shift(render * several, result * several).norm(dim=1)
    strong = shares > LEAST_PART * shares[0]
    return torch.where(strong, distances, 0.0).max()


def shift(
    render: Float[Tensor, "pairs height width"], result: Float[Tensor, "pairs height width"]
) -> Float[Tensor, "pairs axes"]:
    """(rows, columns) by which each `result` is displaced from its `render`, to a hundredth of a pixel."""
    cross = torch.fft.fft2(render).conj() * torch.fft.fft2(result)
    sides = cross.shape[-2:]
    # From half of a side on a shift is one in the other direction.
    wrapped = [torch.fft.fftfreq(n, 1 / n, dtype=torch.float64, device=cross.device) for n in sides]
    centre = torch.stack(
        [axis[place] for axis, place in zip(wrapped, _peak(torch.fft.ifft2(cross).real), strict=True)], 1
    )
    for spacing, reach in REFINEMENTS:
        offsets = spacing * torch.arange(-reach, reach + 1, dtype=torch.float64, device=cross.device)
        rows, columns = (
            torch.exp(2j * math.pi / n * (place[:, None] + offsets)[..., None] * axis).to(cross.dtype)
            for n, place, axis in zip(sides, centre.unbind(1), wrapped, strict=True)
        )
        peak = _peak((rows @ cross @ columns.mT).real)
        centre = centre + offsets[torch.stack(peak, 1)]
    return centre.to(render.dtype)


def _peak(planes: Float[Tensor, "pairs height width"]) -> tuple[Int[Tensor, " pairs"], Int[Tensor, " pairs"]]:
    """Rows and columns of the largest values; they stay on the device."""
    place = planes.flatten(1).argmax(1)
    return place // planes.shape[2], place % planes.shape[2]
