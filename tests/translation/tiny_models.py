# SPDX-License-Identifier: GPL-3.0-or-later
"""Tiny random models in the real directory format: the shapes of SD 1.5, SDXL and the starter."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from diffusers import AutoencoderKL, AutoencoderTiny, DDIMScheduler, UNet2DConditionModel
from safetensors.torch import save_file
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection, CLIPTokenizer

WIDTH = 32
TOKENS = 77
NEGATIVE_VECTORS = 75


def write_sd15(folder: Path, **scheduler: Any) -> Path:
    """SD 1.5's layout: three levels with attention and one without, KL autoencoder with 4 channels."""
    torch.manual_seed(1)
    _write_unet(folder, latent_channels=4, cross_attention_dim=WIDTH)
    AutoencoderKL(
        block_out_channels=(32, 32, 32, 32),
        down_block_types=("DownEncoderBlock2D",) * 4,
        up_block_types=("UpDecoderBlock2D",) * 4,
        latent_channels=4,
    ).save_pretrained(folder / "vae")
    _write_text(folder, "")
    _write_rest(folder, scheduler)
    return folder


def write_sdxl(folder: Path) -> Path:
    """SDXL's layout: no attention at the highest level, two text encoders, pooled text and sizes."""
    torch.manual_seed(2)
    UNet2DConditionModel(
        sample_size=16,
        block_out_channels=(32, 64, 64),
        layers_per_block=1,
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"),
        transformer_layers_per_block=(1, 2, 2),
        attention_head_dim=(2, 4, 4),
        use_linear_projection=True,
        cross_attention_dim=2 * WIDTH,
        addition_embed_type="text_time",
        addition_time_embed_dim=8,
        projection_class_embeddings_input_dim=6 * 8 + WIDTH,
    ).save_pretrained(folder / "unet")
    AutoencoderKL(
        block_out_channels=(32, 32, 32, 32),
        down_block_types=("DownEncoderBlock2D",) * 4,
        up_block_types=("UpDecoderBlock2D",) * 4,
        latent_channels=4,
        scaling_factor=0.13025,
    ).save_pretrained(folder / "vae")
    _write_text(folder, "")
    _write_text(folder, "_2")
    _write_rest(folder, {}, encoders=("text_encoder", "text_encoder_2"))
    (folder / "model_index.json").write_text('{"force_zeros_for_empty_prompt": true}')
    return folder


def write_starter_shape(folder: Path) -> Path:
    """The starter's layout: tiny autoencoder with 32 channels, native size in `make_real.json`."""
    torch.manual_seed(3)
    _write_unet(folder, latent_channels=32, cross_attention_dim=WIDTH)
    AutoencoderTiny(
        latent_channels=32, encoder_block_out_channels=(16,) * 4, decoder_block_out_channels=(16,) * 4
    ).save_pretrained(folder / "vae")
    _write_text(folder, "")
    _write_rest(folder, {})
    (folder / "make_real.json").write_text('{"native": [128, 192]}')
    return folder


def _write_unet(folder: Path, latent_channels: int, cross_attention_dim: int) -> None:
    unet = UNet2DConditionModel(
        sample_size=16,
        in_channels=latent_channels,
        out_channels=latent_channels,
        block_out_channels=(32, 32, 64, 64),
        layers_per_block=1,
        attention_head_dim=(2, 2, 4, 4),
        cross_attention_dim=cross_attention_dim,
        down_block_types=("CrossAttnDownBlock2D",) * 3 + ("DownBlock2D",),
        up_block_types=("UpBlock2D",) + ("CrossAttnUpBlock2D",) * 3,
    )
    # Freshly drawn attention looks everywhere alike; a trained one does not.
    with torch.no_grad():
        for name, weight in unet.named_parameters():
            if ".attn1.to_q" in name or ".attn1.to_k" in name:
                weight.mul_(4)
    unet.save_pretrained(folder / "unet")


def _write_text(folder: Path, suffix: str) -> None:
    words = ["a</w>", "<|startoftext|>", "<|endoftext|>"]
    vocabulary, merges = folder / "vocab.json", folder / "merges.txt"
    vocabulary.write_text(json.dumps({word: index for index, word in enumerate(words)}))
    merges.write_text("#version: 0.2\n")
    tokenizer = CLIPTokenizer(
        vocab=str(vocabulary), merges=str(merges), model_max_length=TOKENS, pad_token="<|endoftext|>"
    )
    tokenizer.save_pretrained(folder / f"tokenizer{suffix}")
    vocabulary.unlink()
    merges.unlink()
    config = CLIPTextConfig(
        vocab_size=len(words),
        hidden_size=WIDTH,
        intermediate_size=WIDTH,
        num_hidden_layers=2,
        num_attention_heads=2,
        projection_dim=WIDTH,
        max_position_embeddings=TOKENS,
        bos_token_id=1,
        eos_token_id=2,
        pad_token_id=2,
    )
    kind = CLIPTextModelWithProjection if suffix else CLIPTextModel
    kind(config).save_pretrained(folder / f"text_encoder{suffix}")


def _write_rest(
    folder: Path, scheduler: dict[str, Any], encoders: tuple[str, ...] = ("text_encoder",)
) -> None:
    DDIMScheduler(
        beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear", steps_offset=1, **scheduler
    ).save_pretrained(folder / "scheduler")
    (folder / "model_index.json").write_text("{}")
    domain = folder / "domain"
    domain.mkdir()
    save_file(
        {key: torch.randn(NEGATIVE_VECTORS, WIDTH) for key in encoders},
        domain / "negative_embedding.safetensors",
    )
    (domain / "domain.json").write_text(
        json.dumps(
            {
                "format": 1,
                "name": "rendered garments",
                "negative_embedding": "negative_embedding.safetensors",
                "unet_lora": None,
            }
        )
    )
