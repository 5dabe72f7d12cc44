# SPDX-License-Identifier: GPL-3.0-or-later
"""The one noun that decides a picture: if a setting is not in `TranslationRequest`, it does not exist."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any

from .errors import ErrorCode, MakeRealError

RANGES: dict[str, tuple[float, float]] = {
    "steps": (1, 1000),
    "garment_strength": (0.0, 1.0),
    "rest_strength": (0.0, 1.0),
    "guidance_scale": (0.0, 30.0),
    "texture_lock": (0.0, 1.0),
    "texture_steps": (0.0, 1.0),
    "detail": (0.0, 1.0),
    "seed": (0, 2**31 - 1),
    "variation": (0.0, 1.0),
}
"""Inclusive range of every number in a request."""

WHOLE_NUMBERS = frozenset({"steps", "seed"})
"""The numbers of a request that have no fraction."""


@dataclass(frozen=True)
class TranslationRequest:
    """Everything, beside the planes, that changes the pixels of the result. Field names are the field's own.

    Args:
        model: Name of an installed model; `starter` is the embedded one. Since 1.0.
        steps: Equal steps over the whole schedule, 1..1000; the translation runs `strength * steps` of them.
            Since 1.0.
        garment_strength: Part of the schedule that the garment's pixels are inverted through, 0..1. At 0 they
            come back bit for bit. Since 1.0.
        rest_strength: The same for pixels outside the garment; by default they stay the render. Since 1.0.
        guidance_scale: Weight w of eps = w * eps(empty) + (1 - w) * eps(negative), 0..30; 1 is unguided.
            Paper, section 3.2. Since 1.0.
        texture_lock: Amount of texture-preserving attention control inside the garment, 0..1, and how firmly
            smooth cloth is kept from showing what was drawn on it. Since 1.0.
        texture_steps: Part of the denoising steps under attention control (the paper's gamma), 0..1.
            Since 1.0.
        detail: Amount of the autoencoder's residual taken back from the render, 0..1: at 1
            every thread is as crisp as rendered, at a half as a lens would draw it. Since 1.0.
        seed: Which of the variations, 0..2^31 - 1; without effect while `variation` is 0. Since 1.1.
        variation: Part of the inverted noise that a random one replaces, 0..1: how far this seed's picture
            may differ from the others. Since 1.1.

    Raises:
        MakeRealError: INVALID_REQUEST, naming the field and its range.
    """

    model: str = "starter"
    steps: int = 12
    garment_strength: float = 0.5
    rest_strength: float = 0.0
    guidance_scale: float = 7.5
    texture_lock: float = 1.0
    texture_steps: float = 0.9
    detail: float = 0.5
    seed: int = 0
    variation: float = 0.0

    def __post_init__(self) -> None:
        if not self.model or len(self.model) > 255:
            raise MakeRealError(ErrorCode.INVALID_REQUEST, "model must be a name of 1 to 255 characters")
        for name, (low, high) in RANGES.items():
            value = getattr(self, name)
            # The negated comparison also refuses NaN.
            if isinstance(value, bool) or not isinstance(value, int | float) or not low <= value <= high:
                raise MakeRealError(
                    ErrorCode.INVALID_REQUEST, f"{name} must be from {low} to {high}, not {value!r}"
                )
            if name in WHOLE_NUMBERS and not isinstance(value, int):
                raise MakeRealError(
                    ErrorCode.INVALID_REQUEST, f"{name} must be a whole number, not {value!r}"
                )

    def to_map(self) -> dict[str, Any]:
        """Plain dictionary for a journal row or a recipe; `TranslationRequest(**map)` is its inverse."""
        return {field.name: getattr(self, field.name) for field in fields(self)}
