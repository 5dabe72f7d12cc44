# SPDX-License-Identifier: GPL-3.0-or-later
"""The parts of the base model that an adaptation leaves as they are."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from diffusers import UNet2DConditionModel
from jaxtyping import Float64

from backend.translation.autoencoder import Autoencoder
from backend.translation.loading import (
    load_autoencoder,
    load_encoders,
    native_size,
    quieten_libraries,
    read_schedule,
)
from backend.translation.model import Model
from backend.translation.text import Conditioning, TextEncoder, empty_conditioning, prompt_conditioning
from protocol import ErrorCode, MakeRealError


@dataclass(frozen=True)
class Parts:
    """What surrounds the network.

    Args:
        base: The model's folder.
        device: Where the autoencoder is; the text encoders are on the CPU.
        pixel_multiple: Pixels by which both sides of a crop must be divisible.
        native: Width and height that the network was made for, in pixels.
        empty: Conditioning of the empty prompt.
    """

    base: Path
    device: torch.device
    autoencoder: Autoencoder
    encoders: list[TextEncoder]
    alphas_cumprod: Float64[np.ndarray, " timesteps"]
    prediction: str
    pixel_multiple: int
    native: tuple[int, int]
    empty: Conditioning

    def captions(self, captions: Sequence[str]) -> Conditioning:
        """One text a caption, on the CPU; the first caption is the empty one, which the model may give zeros."""
        self.place_encoders(self.device)
        texts = [self.empty, *(prompt_conditioning(self.encoders, caption) for caption in captions[1:])]
        self.place_encoders(torch.device("cpu"))
        pooled = [text.pooled.cpu() for text in texts if text.pooled is not None]
        return Conditioning(
            torch.cat([text.hidden.cpu() for text in texts]), torch.cat(pooled) if pooled else None
        )

    def place_encoders(self, device: torch.device) -> None:
        """Move the text encoders."""
        for encoder in self.encoders:
            encoder.encoder.to(device)

    def model(
        self, name: str, unet: UNet2DConditionModel, negative: Conditioning | None, gain: float
    ) -> Model:
        """A model as translations use it, around a network that may still be in training."""
        factor = self.autoencoder.factor
        return Model(
            name=name,
            digest="",
            unet=unet,
            autoencoder=self.autoencoder,
            alphas_cumprod=self.alphas_cumprod,
            prediction=self.prediction,
            empty=self.empty.to(self.device, unet.dtype),
            negative=None if negative is None else negative.to(self.device, unet.dtype),
            domain=name,
            guidance_gain=gain,
            native_area=(self.native[0] // factor) * (self.native[1] // factor),
        )


def load_parts(base: Path, device: torch.device) -> Parts:
    """Load everything but the network.

    Raises:
        MakeRealError: MODEL_BROKEN, naming the part, also for a model of another kind.
    """
    quieten_libraries()
    autoencoder = load_autoencoder(base, device)
    encoders = load_encoders(base)
    alphas_cumprod, prediction = read_schedule(base)
    unet = dict(UNet2DConditionModel.load_config(base / "unet"))
    index = json.loads((base / "model_index.json").read_text(encoding="utf-8"))
    if unet["in_channels"] != unet["out_channels"]:
        raise MakeRealError(
            ErrorCode.MODEL_BROKEN,
            f"{base / 'unet'}: a network for inpainting or editing; give a text-to-image model",
        )
    columns, rows = native_size(base, unet["sample_size"], autoencoder.factor)
    return Parts(
        base=base,
        device=device,
        autoencoder=autoencoder,
        encoders=encoders,
        alphas_cumprod=alphas_cumprod,
        prediction=prediction,
        pixel_multiple=autoencoder.factor << (len(unet["block_out_channels"]) - 1),
        native=(columns * autoencoder.factor, rows * autoencoder.factor),
        empty=empty_conditioning(encoders, zeros=bool(index.get("force_zeros_for_empty_prompt"))),
    )
