# SPDX-License-Identifier: GPL-3.0-or-later
"""What an adaptation may be told."""

from __future__ import annotations

import math
from dataclasses import dataclass, fields

from protocol import ErrorCode, MakeRealError

SETTING_RANGES: dict[str, tuple[float, float]] = {
    "rank": (1, 1024),
    "positive_steps": (1, 10**7),
    "negative_steps": (1, 10**7),
    "batch": (1, 4096),
    "accumulate": (1, 4096),
    "positive_rate": (1e-9, 1),
    "negative_rate": (1e-9, 1),
    "width": (32, 8192),
    "height": (32, 8192),
    "zoom": (1, 8),
    "crops": (1, 10**7),
    "vectors": (1, 1024),
    "caption_dropout": (0, 1),
    "render_share": (0, 0.9),
    "seed": (0, 2**63 - 1),
}
"""Least and greatest value of each number."""
PRECISIONS = ("no", "fp16", "bf16")


@dataclass(frozen=True)
class Settings:
    """Everything that decides the weights, beside the model and the pictures.

    A run that was interrupted goes on only under the same settings.

    Args:
        full: Fine-tune the whole network; else LoRA layers of `rank`.
        positive_steps: Optimiser steps on photos.
        negative_steps: Optimiser steps on renders.
        batch: Crops that go through the network at once.
        accumulate: Batches of one optimiser step.
        positive_rate: Learning rate of the network; rises over 100 steps, then falls to a tenth.
        negative_rate: Learning rate of the vectors, likewise.
        width: Of a training crop, in pixels.
        height: Of a training crop, in pixels.
        zoom: Crops show from the largest part of a picture that has their shape down to 1 / zoom of it.
        crops: Encoded crops of each kind, about; every picture gives at least one.
        vectors: Token vectors of the negative embedding, in each text encoder.
        initial_prompt: What these vectors begin as; the empty prompt's tokens fill the rest.
        template: Caption of a photo that has no text file beside it.
        caption_dropout: Share of the photos that are shown without their caption.
        render_share: Of renders in a batch of the positive stage, each under its caption, so that the network keeps
            a prompt for them (the prior preservation of DreamBooth, arXiv 2208.12242); 0 as in the paper.
        render_template: Caption of a render that has no text file beside it.
        bridge: Learn photos from pairs with their rendered look, see `bridge`; else as in the paper.
        mixed_precision: `no`, `fp16` or `bf16`.
        seed: Of every draw.

    Raises:
        MakeRealError: INVALID_REQUEST, naming the option.
    """

    full: bool = False
    rank: int = 32
    positive_steps: int = 4000
    negative_steps: int = 2000
    batch: int = 4
    accumulate: int = 1
    positive_rate: float = 1e-4
    negative_rate: float = 5e-4
    width: int = 512
    height: int = 512
    zoom: float = 1.6
    crops: int = 4000
    vectors: int = 75
    initial_prompt: str = ""
    template: str = "a photo of a garment"
    caption_dropout: float = 0.5
    render_share: float = 0.0
    render_template: str = "a render of a garment"
    bridge: bool = False
    mixed_precision: str = "no"
    seed: int = 0

    def __post_init__(self) -> None:
        for name, (least, greatest) in SETTING_RANGES.items():
            value = getattr(self, name)
            # Also false for a number that is none.
            if not least <= value <= greatest:
                raise MakeRealError(
                    ErrorCode.INVALID_REQUEST,
                    f"--{name.replace('_', '-')} must be from {least:g} to {greatest:g}, not {value}",
                )
        if self.mixed_precision not in PRECISIONS:
            raise MakeRealError(
                ErrorCode.INVALID_REQUEST,
                f"--mixed-precision must be one of {', '.join(PRECISIONS)}, not {self.mixed_precision!r}",
            )

    def differences(self, other: dict[str, object]) -> list[str]:
        """Options that an earlier run, stored as a map, was given differently."""
        return [
            f"--{field.name.replace('_', '-')} {other.get(field.name)}"
            for field in fields(self)
            if other.get(field.name) != getattr(self, field.name)
        ]


@dataclass(frozen=True)
class Pace:
    """How a run goes about it; none of this changes the weights.

    Args:
        checkpoint_every: Steps between checkpoints, each with a validation.
        sample_every: Steps between sample sheets.
        minutes: Stop after this time, to go on another day.
        compile: Compile the network and capture its steps; CUDA only.
        gradient_checkpointing: Compute activations twice rather than keep them: less memory, slower.
    """

    checkpoint_every: int = 250
    sample_every: int = 1000
    minutes: float = math.inf
    compile: bool = False
    gradient_checkpointing: bool = False

    def __post_init__(self) -> None:
        for name in ("checkpoint_every", "sample_every", "minutes"):
            if not getattr(self, name) > 0:
                raise MakeRealError(ErrorCode.INVALID_REQUEST, f"--{name.replace('_', '-')} must be above 0")
