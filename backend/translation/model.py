# SPDX-License-Identifier: GPL-3.0-or-later
"""A loaded model as one noise predictor, whatever its family: SD 1.x, SD 2.x or SDXL."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import torch
from diffusers import UNet2DConditionModel
from jaxtyping import Float, Float64, Int
from torch import Tensor, nn

from .autoencoder import Autoencoder
from .text import Conditioning


@dataclass(frozen=True)
class Model:
    """What a translation needs of a model. The text encoders are gone: their two results are kept.

    Args:
        name: Name of the model's folder.
        digest: Identifies the weights, see `loading.weights_digest`.
        unet: The network; float16 on CUDA, float32 on the CPU.
        autoencoder: Between pictures and latents; float32.
        alphas_cumprod: alpha_bar of every training timestep.
        prediction: What the network predicts, `epsilon` or `v_prediction`.
        empty: Conditioning of the empty prompt.
        negative: Conditioning of the negative domain embedding; None for a model without a domain.
        domain: Name of the domain, or None.
        guidance_gain: The domain's factor on the guidance difference; 1 without a domain.
        native_area: Latent cells of the picture size that the network was trained on.
    """

    name: str
    digest: str
    unet: UNet2DConditionModel
    autoencoder: Autoencoder
    alphas_cumprod: Float64[np.ndarray, " timesteps"]
    prediction: str
    empty: Conditioning
    negative: Conditioning | None
    domain: str | None
    guidance_gain: float
    native_area: int

    @property
    def device(self) -> torch.device:
        """Where translations are computed; the network may wait elsewhere while it is not needed."""
        return self.empty.hidden.device

    @property
    def dtype(self) -> torch.dtype:
        """Element type of the network."""
        return self.empty.hidden.dtype

    @cached_property
    def network_bytes(self) -> int:
        """Of the network's weights."""
        return _weight_bytes(self.unet)

    @cached_property
    def coder_bytes(self) -> int:
        """Of the autoencoder's weights."""
        return _weight_bytes(self.autoencoder.module)

    @property
    def latent_multiple(self) -> int:
        """Latent cells by which both sides must be divisible, so that every level halves exactly."""
        halvings = len(self.unet.config.block_out_channels) - 1
        return 1 << halvings

    @property
    def pixel_multiple(self) -> int:
        """The same in pixels of the picture."""
        return self.latent_multiple * self.autoencoder.factor

    @property
    def latents_dtype(self) -> torch.dtype:
        """Element type of stored latents and schedule arithmetic: at least float32."""
        return torch.promote_types(self.dtype, torch.float32)

    def predict_noise(
        self, latents: Float[Tensor, "pictures channels rows columns"], timestep: int, *texts: Conditioning
    ) -> Float[Tensor, "batch channels rows columns"]:
        """eps(x_t, t, text) of all latents under each of the texts, text by text, in one pass."""
        told = self.tell(texts, len(latents), *latents.shape[-2:])
        at = torch.full((), timestep, device=latents.device)
        return self.as_noise(self.run(latents, at, told), latents, timestep)

    def tell(self, texts: Sequence[Conditioning], pictures: int, rows: int, columns: int) -> dict[str, Any]:
        """The network's conditioning arguments for `pictures` latents under each of the texts."""
        told: dict[str, Any] = {
            "encoder_hidden_states": torch.cat([text.hidden.expand(pictures, -1, -1) for text in texts])
        }
        pooled = [text.pooled.expand(pictures, -1) for text in texts if text.pooled is not None]
        if pooled:
            # SDXL's micro-conditioning (arXiv 2307.01952, 2.2): original size, crop corner, target size.
            height, width = rows * self.autoencoder.factor, columns * self.autoencoder.factor
            sizes = torch.tensor([[height, width, 0, 0, height, width]]).to(self.device, self.dtype)
            told["added_cond_kwargs"] = {
                "text_embeds": torch.cat(pooled),
                "time_ids": sizes.expand(len(pooled) * pictures, -1),
            }
        return told

    def run(
        self,
        latents: Float[Tensor, "pictures channels rows columns"],
        timestep: Int[Tensor, ""],
        told: dict[str, Any],
    ) -> Float[Tensor, "batch channels rows columns"]:
        """One pass of the network: what it predicts, in the latents' element type."""
        texts = len(told["encoder_hidden_states"]) // len(latents)
        batch = latents.to(self.dtype).repeat(texts, 1, 1, 1)
        batch = batch.contiguous(memory_format=torch.channels_last)
        predicted: Tensor = self.unet(batch, timestep, return_dict=False, **told)[0]
        return predicted.to(latents.dtype)

    def as_noise(
        self,
        predicted: Float[Tensor, "batch channels rows columns"],
        latents: Float[Tensor, "pictures channels rows columns"],
        timestep: int,
    ) -> Float[Tensor, "batch channels rows columns"]:
        """eps of a prediction; for a v-prediction network (arXiv 2202.00512), sqrt(a) v + sqrt(1 - a) x."""
        if self.prediction == "epsilon":
            return predicted
        alpha = float(self.alphas_cumprod[timestep])
        batch = latents.repeat(len(predicted) // len(latents), 1, 1, 1)
        return math.sqrt(alpha) * predicted + math.sqrt(1 - alpha) * batch


def _weight_bytes(module: nn.Module) -> int:
    """Takes milliseconds: a network has hundreds of weights."""
    return sum(parameter.nbytes for parameter in module.parameters())
