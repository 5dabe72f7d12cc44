# SPDX-License-Identifier: GPL-3.0-or-later
"""Positive domain fine-tuning (FashionR2R, equation 1): the network learns photographs.

    eps* = argmin E |eps - eps_theta(z_t, t, v)|^2

A part of the photos is shown without its caption, so that the empty prompt comes to mean a photograph: it is the
prompt that a translation uses. Renders may be among them, under their captions alone.
"""

from __future__ import annotations

from pathlib import Path

import torch
from diffusers import UNet2DConditionModel
from jaxtyping import Float
from peft import LoraConfig, get_peft_model_state_dict
from torch import Tensor, nn

from backend.translation.loading import load_unet
from backend.translation.text import Conditioning

from .bank import Bank
from .denoising import Denoiser, joined
from .draws import generator
from .settings import Settings
from .tensors import write_tensors

STAGE = 0
KEPT_RENDERS = 2
"""In the place of a stage in their draws: the negative one draws the same renders by 1."""
DRAW_DROPOUT, DRAW_LORA = 6, 7
LORA_LAYERS = ["to_q", "to_k", "to_v", "to_out.0", "ff.net.0.proj", "ff.net.2", "proj_in", "proj_out"]
STORED_TYPES = {"no": torch.float32, "fp16": torch.float16, "bf16": torch.bfloat16}
"""Element type of weights that are not trained, by the precision of the arithmetic."""
WEIGHTS_FILES = {True: "unet.safetensors", False: "unet_lora.safetensors"}
"""What a domain holds of the network, by whether it was fine-tuned whole."""


def trainable_network(base: Path, settings: Settings, device: torch.device) -> UNet2DConditionModel:
    """The base's network, all of it trainable in float32, or frozen with trainable LoRA layers that do nothing yet.

    Raises:
        MakeRealError: MODEL_BROKEN, naming the part of the model.
    """
    if settings.full:
        unet = load_unet(base, torch.float32).requires_grad_(True)
        return unet.to(device, memory_format=torch.channels_last)
    unet = load_unet(base, STORED_TYPES[settings.mixed_precision])
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(generator(torch.device("cpu"), settings.seed, DRAW_LORA).initial_seed())
        unet.add_adapter(LoraConfig(r=settings.rank, lora_alpha=settings.rank, target_modules=LORA_LAYERS))
    for parameter in trained(unet).values():
        parameter.data = parameter.data.float()
    return unet.to(device, memory_format=torch.channels_last)


def trained(network: nn.Module) -> dict[str, nn.Parameter]:
    """The parameters that a training changes, by name."""
    return {name: weight for name, weight in network.named_parameters() if weight.requires_grad}


def positive_loss(
    denoiser: Denoiser, photos: Bank, renders: Bank, captions: Conditioning, settings: Settings, number: int
) -> Float[Tensor, ""]:
    """Loss of batch `number`.

    Args:
        renders: What a share of the batch is drawn from, see `Settings.render_share`.
        captions: One text for each caption; the first is the empty prompt.
    """
    kept = round(settings.render_share * settings.batch)
    batch = denoiser.draw(photos, settings.batch - kept, number, settings.seed, STAGE)
    if kept:
        batch = joined(batch, denoiser.draw(renders, kept, number, settings.seed, KEPT_RENDERS))
    draws = generator(torch.device("cpu"), settings.seed, DRAW_DROPOUT, number)
    dropped = torch.rand(settings.batch, generator=draws) < settings.caption_dropout
    dropped[settings.batch - kept :] = False
    chosen = torch.where(dropped, 0, batch.captions)
    pooled = captions.pooled
    text = Conditioning(
        captions.hidden[chosen].to(batch.latents.device),
        None if pooled is None else pooled[chosen].to(batch.latents.device),
    )
    return denoiser.losses(batch, text).mean()


def write_network(unet: UNet2DConditionModel, full: bool, path: Path) -> None:
    """Write what was trained, in float16. Raises OSError."""
    state = unet.state_dict() if full else get_peft_model_state_dict(unet)
    write_tensors(path, {key: tensor.half() for key, tensor in state.items()})
