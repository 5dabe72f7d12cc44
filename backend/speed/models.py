# SPDX-License-Identifier: GPL-3.0-or-later
"""Models to measure: the starter with its own weights, the shapes of SD 1.5 and SDXL with random ones.

The time of a pass does not depend on what the weights are. The native areas are those that the shapes are
fine-tuned at for garments, so that a picture of that size is taken in one piece, as the paper does.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from diffusers import AutoencoderKL, UNet2DConditionModel
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from backend.models import STARTER_FOLDER
from backend.translation.autoencoder import Autoencoder
from backend.translation.loading import load_model
from backend.translation.model import Model
from backend.translation.schedule import scaled_linear_alphas
from backend.translation.text import Conditioning

TOKENS = 77

SD15 = {
    "block_out_channels": (320, 640, 1280, 1280),
    "attention_head_dim": 8,
    "cross_attention_dim": 768,
    "down_block_types": ("CrossAttnDownBlock2D",) * 3 + ("DownBlock2D",),
    "up_block_types": ("UpBlock2D",) + ("CrossAttnUpBlock2D",) * 3,
}
SDXL = {
    "block_out_channels": (320, 640, 1280),
    "attention_head_dim": (5, 10, 20),
    "cross_attention_dim": 2048,
    "transformer_layers_per_block": (1, 2, 10),
    "use_linear_projection": True,
    "addition_embed_type": "text_time",
    "addition_time_embed_dim": 256,
    "projection_class_embeddings_input_dim": 2816,
    "down_block_types": ("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
    "up_block_types": ("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"),
}
KL = {
    "block_out_channels": (128, 256, 512, 512),
    "layers_per_block": 2,
    "latent_channels": 4,
    "down_block_types": ("DownEncoderBlock2D",) * 4,
    "up_block_types": ("UpDecoderBlock2D",) * 4,
}
SHAPES = {"sd15": (SD15, 96 * 128, None), "sdxl": (SDXL, 128 * 128, 1280)}
"""The network, its native area in latent cells, and the width of the pooled text."""


def make_model(name: str, device: str, dtype: torch.dtype) -> Model:
    """`starter`, `sd15` or `sdxl`, its networks in an element type; the same weights every time."""
    if name == "starter":
        return load_model(STARTER_FOLDER, device)
    settings, native_area, pooled = SHAPES[name]
    target = torch.device(device)
    torch.manual_seed(0)
    with _default(dtype), target:
        unet = UNet2DConditionModel(**settings)
        coder = AutoencoderKL(**KL)
        hidden = torch.randn(2, 1, TOKENS, int(unet.config.cross_attention_dim))
        pools = [None, None] if pooled is None else list(torch.randn(2, 1, pooled))
    for module in (unet, coder):
        module.eval().requires_grad_(False).to(memory_format=torch.channels_last)
    empty, negative = (Conditioning(h, p) for h, p in zip(hidden, pools, strict=True))
    return Model(
        name=name,
        digest=name,
        unet=unet,
        autoencoder=Autoencoder(coder),
        alphas_cumprod=scaled_linear_alphas(0.00085, 0.012, 1000),
        prediction="epsilon",
        empty=empty,
        negative=negative,
        domain="random",
        guidance_gain=1.0,
        native_area=native_area,
    )


def count_flops(model: Model, rows: int, columns: int) -> tuple[float, float]:
    """FLOPs of one pass of the network over `rows` x `columns` cells and one picture, and of the autoencoder
    there and back; a multiplication and an addition are two. Counted without computing anything.
    """
    factor, channels = model.autoencoder.factor, int(model.unet.config.in_channels)
    with torch.device("meta"):
        unet, coder = (_empty_copy(module) for module in (model.unet, model.autoencoder.module))
        latents = torch.empty(1, channels, rows, columns)
        image = torch.empty(1, 3, rows * factor, columns * factor)
        told: dict[str, Any] = {"encoder_hidden_states": torch.empty_like(model.empty.hidden, device="meta")}
        if model.empty.pooled is not None:
            pooled = torch.empty_like(model.empty.pooled, device="meta")
            told["added_cond_kwargs"] = {"text_embeds": pooled, "time_ids": torch.empty(1, 6)}
        told = {key: _to_float(value) for key, value in told.items()}
        with FlopCounterMode(display=False) as network:
            unet(latents, torch.empty(()), **told)
        with FlopCounterMode(display=False) as coding:
            coder.encode(image)
            coder.decode(latents)
    return float(network.get_total_flops()), float(coding.get_total_flops())


def _empty_copy(module: nn.Module) -> Any:
    return type(module).from_config(module.config).eval()  # type: ignore[attr-defined]


def _to_float(value: Any) -> Any:
    return {k: v.float() for k, v in value.items()} if isinstance(value, dict) else value.float()


@contextmanager
def _default(dtype: torch.dtype) -> Iterator[None]:
    before = torch.get_default_dtype()
    torch.set_default_dtype(dtype)
    try:
        yield
    finally:
        torch.set_default_dtype(before)
