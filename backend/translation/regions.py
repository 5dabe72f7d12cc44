# SPDX-License-Identifier: GPL-3.0-or-later
"""Regions: each pixel joins the denoising at its own node of the inverted trajectory (arXiv 2306.00950).

    s(p)        = min(garment(p) + free(p), 1)
    strength(p) = (1 - protected(p)) * factor(p) * (s(p) garment_strength + (1 - s(p)) rest_strength)
    start(p)    = floor(strength(p) * steps)            x_i(p) = z_i(p)  while  i >= start(p)

A pixel whose node has not come yet is the render's own, at the render's own noise level, so what is denoised
beside it fits to it; a pixel that starts at node 0 is never changed.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Float32
from torch import Tensor

from protocol.request import TranslationRequest

from .filters import resize_by_area
from .model import Model
from .picture import Picture
from .schedule import count_steps
from .sizes import pad_to_multiple

ROUNDING = 1e-3
"""Steps by which a start may fall short of a whole number, for the rounding of planes and of their resizing."""


@dataclass(frozen=True)
class Regions:
    """Where and how far a picture is translated.

    Args:
        coverage: Share of the translation in each pixel of the picture; 0 where the input's bytes stay.
        garment: Coverage of the garment in each latent cell.
        start: Node at which each latent cell starts, a whole number.
        steps: The highest start, n.
        garment_steps: The start of the garment where its factor is 1.
    """

    coverage: Float32[Tensor, "height width"]
    garment: Float[Tensor, "1 1 rows columns"]
    start: Float[Tensor, "1 1 rows columns"]
    steps: int
    garment_steps: int


def divide(picture: Picture, request: TranslationRequest, model: Model) -> Regions:
    """Regions of a picture, in the latent cells of a model."""
    garment_steps = count_steps(request.garment_strength, request.steps)
    rest_steps = count_steps(request.rest_strength, request.steps)
    kept = 1 - picture.protected
    subject = (picture.garment + picture.free).clamp_max(1)
    # Starts in pixels: a region whose factor leaves it less than a step keeps its bytes.
    garment_start, rest_start = picture.strength * garment_steps, picture.strength * rest_steps
    coverage = kept * (subject * _is_step(garment_start) + (1 - subject) * _is_step(rest_start))
    start = kept * (subject * garment_start + (1 - subject) * rest_start)

    def to_cells(plane: Float32[Tensor, "height width"]) -> Float[Tensor, "1 1 rows columns"]:
        padded = pad_to_multiple(plane[None, None], model.pixel_multiple)
        rows, columns = (side // model.autoencoder.factor for side in padded.shape[-2:])
        return resize_by_area(padded, rows, columns)

    return Regions(
        coverage=coverage,
        garment=to_cells(picture.garment),
        start=torch.floor(to_cells(start) + ROUNDING),
        steps=max(garment_steps, rest_steps),
        garment_steps=garment_steps,
    )


def _is_step(start: Float32[Tensor, "height width"]) -> Bool[Tensor, "height width"]:
    return start + ROUNDING >= 1
