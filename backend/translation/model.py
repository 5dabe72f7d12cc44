# SPDX-License-Identifier: GPL-3.0-or-later
"""A loaded model as one noise predictor, whatever its family: SD 1.x, SD 2.x or SDXL."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from diffusers import UNet2DConditionModel
from jaxtyping import Float, Float64
from torch import Tensor

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
        """Where the network lives."""
        device: torch.device = self.unet.device
        return device

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
        return torch.promote_types(self.unet.dtype, torch.float32)

    def predict_noise(
        self, latents: Float[Tensor, "batch channels rows columns"], timestep: int, *texts: Conditioning
    ) -> Float[Tensor, "texts channels rows columns"]:
        """eps(x_t, t, text): the noise in one latent, seen under each of the texts, in one pass.

        For a v-prediction network (arXiv 2202.00512), eps = sqrt(a) v + sqrt(1 - a) x.
        """
        batch = latents.expand(len(texts), -1, -1, -1)
        predicted: Tensor = self.unet(
            batch.to(self.unet.dtype).contiguous(memory_format=torch.channels_last),
            timestep,
            encoder_hidden_states=torch.cat([text.hidden for text in texts]),
            added_cond_kwargs=self._size_conditioning(latents, texts),
        ).sample.to(latents.dtype)
        if self.prediction == "epsilon":
            return predicted
        alpha = float(self.alphas_cumprod[timestep])
        return math.sqrt(alpha) * predicted + math.sqrt(1 - alpha) * batch

    def _size_conditioning(
        self, latents: Tensor, texts: tuple[Conditioning, ...]
    ) -> dict[str, Tensor] | None:
        """SDXL's micro-conditioning (arXiv 2307.01952, 2.2): original size, crop corner, target size."""
        pooled = [text.pooled for text in texts if text.pooled is not None]
        if not pooled:
            return None
        height, width = (side * self.autoencoder.factor for side in latents.shape[-2:])
        sizes = torch.tensor(
            [[height, width, 0, 0, height, width]], device=latents.device, dtype=self.unet.dtype
        )
        return {"text_embeds": torch.cat(pooled), "time_ids": sizes.expand(len(pooled), -1)}
