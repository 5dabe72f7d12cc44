# SPDX-License-Identifier: GPL-3.0-or-later
"""The fidelity report: how far the garment is still the rendered one. All figures are within the garment."""

from __future__ import annotations

import sys

import torch
from jaxtyping import Bool, Float32
from torch import Tensor

from .alignment import displacement
from .colour_difference import ciede2000, srgb_to_lab
from .constants import constant
from .detail import LUMA
from .filters import gaussian_blur

ALIGNMENT_LIMIT = 0.25
"""Pixels of displacement from which a result is called misaligned."""
SSIM_LIMIT = 0.90
HIGHPASS_LIMIT = 0.80
"""SSIM, and correlation of the fine structure, below which the texture is called drifted."""
COLOUR_LIMIT = 2.0
"""Mean CIEDE2000 of `colour_garment` above which the colour is called drifted: a difference that anybody sees."""
COLOUR_SCALE = 2.0
"""Pixels of the blur before colours are compared: finer colour is not seen, least of all a render's noise (S-CIELAB,
Zhang and Wandell 1996)."""
MARGIN = 16
"""Pixels around the garment's box that the filters may look at."""
FIGURES = ("ssim_garment", "delta_e_garment", "colour_garment", "highpass_garment", "alignment_px")


def measure(
    render: Float32[Tensor, "3 height width"],
    result: Float32[Tensor, "3 height width"],
    garment: Float32[Tensor, "height width"],
) -> dict[str, float]:
    """The figures of `compare`, by name."""
    return named(compare(render, result, garment, box_of(garment)))


def compare(
    render: Float32[Tensor, "3 height width"],
    result: Float32[Tensor, "3 height width"],
    garment: Float32[Tensor, "height width"],
    box: tuple[slice, slice],
) -> Float32[Tensor, " figures"]:
    """Compare a result with its render, on the device where they are; the host does not wait for it.

    Args:
        render, result: Display-referred sRGB, 0..1.
        garment: Coverage, 0..1, not all 0.
        box: Rows and columns to look at, of `box_of`.

    Returns:
        `ssim_garment`: mean SSIM of the luma, 1 is equal (Wang et al. 2004; Gaussian window of 1.5 pixels).
        `delta_e_garment`: mean CIEDE2000, light and noise included.
        `colour_garment`: mean CIEDE2000 of the colours alone: coarser than `COLOUR_SCALE`, and with the garment's mean
            change of lightness in place of each pixel's, for folds that catch other light are no other colour.
        `highpass_garment`: correlation of the lumas finer than 2 pixels, 1 is equal.
        `alignment_px`: displacement in pixels, see `alignment`.
    """
    weight = garment[box]
    images = torch.stack([image[:, *box] for image in (render, result)]).movedim(1, -1)
    lumas = images @ constant(LUMA, images)
    fine = lumas - gaussian_blur(lumas[:, None], 2.0)[:, 0]
    soft = gaussian_blur(weight[None, None], 2.0)[0, 0] * weight
    seen = srgb_to_lab(gaussian_blur(images.movedim(-1, 1), COLOUR_SCALE).movedim(1, -1))
    return torch.stack(
        [
            _mean(_ssim(*lumas), weight),
            _mean(ciede2000(*srgb_to_lab(images)), weight),
            _mean(_colour_difference(seen[0], seen[1], weight), weight),
            _correlation(fine[0], fine[1], weight),
            displacement(fine[0], fine[1], soft),
        ]
    )


def named(figures: Float32[Tensor, " figures"]) -> dict[str, float]:
    """The figures of `compare` on the host."""
    return dict(zip(FIGURES, figures.tolist(), strict=True))


def box_of(garment: Float32[Tensor, "height width"]) -> tuple[slice, slice]:
    """Rows and columns that hold the garment, with a margin."""
    rows, columns = (_span(garment.any(axis)) for axis in (1, 0))
    return rows, columns


def _span(covered: Bool[Tensor, " length"]) -> slice:
    """From the first to the last that is covered, with a margin."""
    places = covered.nonzero()[:, 0].tolist()
    return slice(max(places[0] - MARGIN, 0), places[-1] + MARGIN + 1)


def drift_warnings(report: dict[str, float]) -> list[str]:
    """Sentences on where the garment left the render's by more than the limits; none for a faithful result.

    Args:
        report: What `measure` gave.
    """
    warnings = []
    if report["alignment_px"] >= ALIGNMENT_LIMIT:
        warnings.append(f"the garment is displaced by {report['alignment_px']:.2f} pixels")
    if report["ssim_garment"] < SSIM_LIMIT or report["highpass_garment"] < HIGHPASS_LIMIT:
        warnings.append(
            f"the garment's texture drifted (SSIM {report['ssim_garment']:.2f}, fine structure"
            f" {report['highpass_garment']:.2f}): lower the garment's strength, or raise texture lock and detail;"
            " noise of a render that was not denoised counts as texture, too"
        )
    if report["colour_garment"] > COLOUR_LIMIT:
        warnings.append(
            f"the garment's colour drifted (CIEDE2000 {report['colour_garment']:.1f}): lower the garment's strength or"
            " the guidance"
        )
    return warnings


def peak_memory_bytes(device: torch.device) -> int | None:
    """Most memory held so far: on a CUDA device, else resident in this process; None where not told."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    if sys.platform == "win32":
        return None
    import resource

    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


def _mean(values: Tensor, weight: Tensor) -> Tensor:
    return (values * weight).sum() / weight.sum()


def _colour_difference(
    render: Float32[Tensor, "height width 3"],
    result: Float32[Tensor, "height width 3"],
    weight: Float32[Tensor, "height width"],
) -> Float32[Tensor, "height width"]:
    """CIEDE2000 of CIELAB colours whose lightness differs by the mean difference everywhere."""
    lightness = render[..., :1] + _mean(result[..., 0] - render[..., 0], weight)
    return ciede2000(render, torch.cat([lightness, result[..., 1:]], -1))


def _ssim(x: Tensor, y: Tensor) -> Tensor:
    """SSIM of every pixel, for values 0..1: K1 = 0.01, K2 = 0.03."""
    moments = torch.stack((x, y, x * x, y * y, x * y))
    mean_x, mean_y, square_x, square_y, product = gaussian_blur(moments[:, None], 1.5)[:, 0]
    variance_x, variance_y = square_x - mean_x**2, square_y - mean_y**2
    covariance = product - mean_x * mean_y
    c1, c2 = 0.01**2, 0.03**2
    ssim: Tensor = ((2 * mean_x * mean_y + c1) * (2 * covariance + c2)) / (
        (mean_x**2 + mean_y**2 + c1) * (variance_x + variance_y + c2)
    )
    return ssim


def _correlation(x: Tensor, y: Tensor, weight: Tensor) -> Tensor:
    """Weighted Pearson correlation; 1 when neither side varies."""
    x, y = x - _mean(x, weight), y - _mean(y, weight)
    spread = (_mean(x * x, weight) * _mean(y * y, weight)).sqrt()
    return torch.where(spread > 0, _mean(x * y, weight) / spread, 1.0)
