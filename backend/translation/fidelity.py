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
COLOUR_LIMIT = 3.0
"""Mean CIEDE2000 above which the colour is called drifted: a difference that is seen at a glance."""
MARGIN = 16
"""Pixels around the garment's box that the filters may look at."""


def measure(
    render: Float32[Tensor, "3 height width"],
    result: Float32[Tensor, "3 height width"],
    garment: Float32[Tensor, "height width"],
) -> dict[str, float]:
    """Compare a result with its render, on the device where they are.

    Args:
        render, result: Display-referred sRGB, 0..1.
        garment: Coverage, 0..1, not all 0.

    Returns:
        `ssim_garment`: mean SSIM of the luma, 1 is equal (Wang et al. 2004; Gaussian window of 1.5 pixels).
        `delta_e_garment`: mean CIEDE2000.
        `highpass_garment`: correlation of the lumas finer than 2 pixels, 1 is equal.
        `alignment_px`: displacement in pixels, see `alignment`.
    """
    rows, columns = (_span(garment.any(axis)) for axis in (1, 0))
    weight = garment[rows, columns][None, None]
    first, second = (image[:, rows, columns].movedim(0, -1) for image in (render, result))
    lumas = [(image @ constant(LUMA, image))[None, None] for image in (first, second)]
    fine = [luma - gaussian_blur(luma, 2.0) for luma in lumas]
    soft = gaussian_blur(weight, 2.0) * weight
    figures = {
        "ssim_garment": _mean(_ssim(*lumas), weight),
        "delta_e_garment": _mean(ciede2000(srgb_to_lab(first), srgb_to_lab(second)), weight),
        "highpass_garment": _correlation(fine[0], fine[1], weight),
        "alignment_px": displacement(*(plane[0, 0] for plane in (*fine, soft))),
    }
    values: list[float] = torch.stack(list(figures.values())).tolist()
    return dict(zip(figures, values, strict=True))


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
            f" {report['highpass_garment']:.2f}): lower garment_strength, or raise texture_lock and detail"
        )
    if report["delta_e_garment"] > COLOUR_LIMIT:
        warnings.append(
            f"the garment's colour drifted (CIEDE2000 {report['delta_e_garment']:.1f}): lower garment_strength or"
            " guidance_scale"
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


def _ssim(x: Tensor, y: Tensor) -> Tensor:
    """SSIM of every pixel, for values 0..1: K1 = 0.01, K2 = 0.03."""
    mean_x, mean_y = gaussian_blur(x, 1.5), gaussian_blur(y, 1.5)
    variance_x = gaussian_blur(x * x, 1.5) - mean_x**2
    variance_y = gaussian_blur(y * y, 1.5) - mean_y**2
    covariance = gaussian_blur(x * y, 1.5) - mean_x * mean_y
    c1, c2 = 0.01**2, 0.03**2
    return ((2 * mean_x * mean_y + c1) * (2 * covariance + c2)) / (
        (mean_x**2 + mean_y**2 + c1) * (variance_x + variance_y + c2)
    )


def _correlation(x: Tensor, y: Tensor, weight: Tensor) -> Tensor:
    """Weighted Pearson correlation; 1 when neither side varies."""
    x, y = x - _mean(x, weight), y - _mean(y, weight)
    spread = (_mean(x * x, weight) * _mean(y * y, weight)).sqrt()
    return torch.where(spread > 0, _mean(x * y, weight) / spread, 1.0)
