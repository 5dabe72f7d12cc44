# SPDX-License-Identifier: GPL-3.0-or-later
"""Train the starter's denoiser and text encoder on photos and renders, told apart by their captions.

    python -m backend.training.denoiser --pack DIR --model DIR --minutes 9

Needs the model directory's `vae/` (see `autoencoder.py`). If `unet/` is there already, training goes on from it, so
several short runs make a long one. Timesteps are drawn where translation happens: four fifths below 520.
"""

from __future__ import annotations

import argparse
import itertools
import re
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from diffusers import AutoencoderTiny, DDIMScheduler, UNet2DConditionModel
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional
from transformers import CLIPTextModel, CLIPTokenizer

from backend.adaptation.bridge import noisy_pair
from backend.adaptation.draws import draw_timesteps

from .banks import Banks, all_captions, draw, draw_mixed, encode_banks
from .data import NATIVE_SIZE, read_pack
from .text import WIDTH, new_text_encoder, write_tokenizer

CAPTION_DROPOUT = 0.15
SHARES = (0.5, 0.15, 0.35)
"""Of photos, of rendered looks and of renders in a batch."""
EMA_DECAY = 0.998


def new_unet() -> UNet2DConditionModel:
    """A UNet with Stable Diffusion's block layout, 39.5 M parameters, on 32-channel latents."""
    channels = (96, 192, 256, 224)
    return UNet2DConditionModel(
        sample_size=(NATIVE_SIZE[1] // 8, NATIVE_SIZE[0] // 8),
        in_channels=32,
        out_channels=32,
        block_out_channels=channels,
        layers_per_block=2,
        cross_attention_dim=WIDTH,
        attention_head_dim=[
            count // 32 for count in channels
        ],  # this field holds the number of heads, as in SD
        use_linear_projection=True,
        down_block_types=("CrossAttnDownBlock2D",) * 3 + ("DownBlock2D",),
        up_block_types=("UpBlock2D",) + ("CrossAttnUpBlock2D",) * 3,
    )


def new_scheduler() -> DDIMScheduler:
    """Stable Diffusion's schedule: scaled linear, epsilon prediction."""
    return DDIMScheduler(
        beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear", clip_sample=False,
        set_alpha_to_one=False, steps_offset=1,
    )  # fmt: skip


def load_or_create(
    model: Path, words: list[str]
) -> tuple[CLIPTokenizer, CLIPTextModel, UNet2DConditionModel]:
    """The model directory's tokenizer, text encoder and UNet, in float32; new ones if it has none."""
    if (model / "unet").is_dir():
        return (
            CLIPTokenizer.from_pretrained(model / "tokenizer"),
            CLIPTextModel.from_pretrained(model / "text_encoder", dtype=torch.float32),
            UNet2DConditionModel.from_pretrained(model / "unet", torch_dtype=torch.float32),
        )
    tokenizer = write_tokenizer(words, model / "tokenizer")
    return tokenizer, new_text_encoder(tokenizer), new_unet()


def tokenize(
    tokenizer: CLIPTokenizer, captions: list[str], device: torch.device
) -> Int[Tensor, "captions tokens"]:
    """Token ids padded to the encoder's length."""
    ids: Tensor = tokenizer(captions, padding="max_length", truncation=True, return_tensors="pt").input_ids
    return ids.to(device)


def noise_prediction_loss(
    unet: Callable[..., Any],
    latents: Float[Tensor, "batch channels h w"],
    rendered: Float[Tensor, "batch channels h w"],
    text: Float[Tensor, "batch tokens width"],
    alphas_cumprod: Float[Tensor, " timesteps"],
    generator: torch.Generator,
) -> Float[Tensor, ""]:
    """Mean of |eps - eps_theta(z_t, t, v)|^2 (method, eq. 1) at drawn timesteps, with the noise of `bridge`."""
    timesteps = draw_timesteps(len(latents), len(alphas_cumprod), generator)
    noise = torch.randn(latents.shape, generator=generator, device=latents.device)
    noisy, target = noisy_pair(latents, rendered, noise, timesteps, alphas_cumprod)
    # On CPUs without bfloat16 units the convolutions would crawl.
    with torch.autocast(latents.device.type, torch.bfloat16, enabled=latents.is_cuda):
        predicted = unet(
            noisy.contiguous(memory_format=torch.channels_last), timesteps, text, return_dict=False
        )[0]
    return functional.mse_loss(predicted.float(), target)


class Average:
    """Exponential moving average of parameters, with the warm-up (1 + step) / (10 + step)."""

    def __init__(self, parameters: list[nn.Parameter]) -> None:
        self.parameters = parameters
        self.averages = [parameter.detach().clone() for parameter in parameters]
        self.step = 0

    @torch.no_grad()
    def update(self) -> None:
        """Take in the parameters' present values."""
        self.step += 1
        decay = min(EMA_DECAY, (1 + self.step) / (10 + self.step))
        torch._foreach_lerp_(self.averages, [p.detach() for p in self.parameters], 1 - decay)

    @torch.no_grad()
    def apply(self) -> None:
        """Write the averages into the parameters."""
        torch._foreach_copy_([p.detach() for p in self.parameters], self.averages)


def train(
    unet: UNet2DConditionModel,
    text_encoder: CLIPTextModel,
    tokens: Int[Tensor, "captions tokens"],
    banks: Banks,
    *,
    minutes: float,
    batch: int,
    learning_rates: tuple[float, float],
    generator: torch.Generator,
) -> None:
    """Minimise the noise prediction loss over both domains for a given time; ends with the averaged weights.

    Args:
        tokens: Ids of all captions; the first is the empty one.
        learning_rates: At the start (after a warm-up of 200 steps) and at the end; linear between.
    """
    device = generator.device
    alphas_cumprod = new_scheduler().alphas_cumprod.to(device)
    parameters = [*unet.parameters(), *text_encoder.parameters()]
    average = Average(parameters)
    optimizer = torch.optim.AdamW(
        parameters, betas=(0.9, 0.99), weight_decay=0.01, fused=device.type == "cuda"
    )
    network = torch.compile(unet, mode="reduce-overhead") if device.type == "cuda" else unet
    started: float | None = None
    losses: list[Tensor] = []
    for step in itertools.count():
        # The clock starts when the network is compiled, so that the schedule covers training alone.
        if step == 5:
            started = time.monotonic()
        done = 0.0 if started is None else (time.monotonic() - started) / (60 * minutes)
        if done >= 1:
            break
        for group in optimizer.param_groups:
            group["lr"] = min(1, (step + 1) / 200) * (
                learning_rates[0] + done * (learning_rates[1] - learning_rates[0])
            )
        latents, rendered, captions, _ = draw_mixed(banks, SHARES, batch, generator)
        dropped = torch.rand(batch, generator=generator, device=device) < CAPTION_DROPOUT
        with torch.autocast(device.type, torch.bfloat16, enabled=device.type == "cuda"):
            embeddings = text_encoder(tokens)[0]
        text = embeddings[torch.where(dropped, torch.zeros_like(captions), captions)]
        if device.type == "cuda":
            torch.compiler.cudagraph_mark_step_begin()
        loss = noise_prediction_loss(network, latents, rendered, text, alphas_cumprod, generator)
        losses.append(loss.detach().clone())
        loss.backward()
        nn.utils.clip_grad_norm_(parameters, 1.0)
        optimizer.step()
        # Gradients live in the captured graph's memory, which the next step writes over.
        optimizer.zero_grad(set_to_none=True)
        average.update()
        if len(losses) == 200:
            elapsed = 0.0 if started is None else time.monotonic() - started
            print(
                f"{elapsed:6.0f} s  step {step + 1}  loss {float(torch.stack(losses).mean()):.4f}", flush=True
            )
            losses.clear()
    print(f"{step} steps of {batch}", flush=True)
    average.apply()


@torch.no_grad()
def caption_contrast(
    unet: UNet2DConditionModel,
    text_encoder: CLIPTextModel,
    tokens: Int[Tensor, "captions tokens"],
    banks: Banks,
    batch: int,
    generator: torch.Generator,
) -> None:
    """Print each bank's loss under its own captions and under none: what the text tells the network."""
    alphas_cumprod = new_scheduler().alphas_cumprod.to(generator.device)
    embeddings = text_encoder(tokens)[0]
    for name, bank in vars(banks).items():
        values = {"own caption": 0.0, "no caption": 0.0}
        for kind in values:
            seeded = torch.Generator(generator.device).manual_seed(1)
            for _ in range(4):
                latents, rendered, captions = draw(bank, batch, seeded)
                text = embeddings[captions if kind == "own caption" else torch.zeros_like(captions)]
                loss = noise_prediction_loss(unet, latents, rendered, text, alphas_cumprod, seeded)
                values[kind] += float(loss) / 4
        print(f"{name}: " + ", ".join(f"{kind} {value:.4f}" for kind, value in values.items()), flush=True)


def main() -> None:
    """Command line; see the module's docstring."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pack", type=Path, required=True)
    parser.add_argument("--model", type=Path, required=True, help="model directory; its vae/ must be there")
    parser.add_argument("--minutes", type=float, default=9.0, help="of training, after compiling")
    parser.add_argument("--batch", type=int, default=192)
    parser.add_argument(
        "--learning-rates", type=float, nargs=2, default=(4e-4, 5e-5), metavar=("START", "END")
    )
    parser.add_argument("--crops", type=int, default=20_000, help="encoded crops of each domain")
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    torch.manual_seed(arguments.seed)
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = True
    torch.backends.cudnn.benchmark = True
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    generator = torch.Generator(device).manual_seed(arguments.seed)
    photos, renders = (read_pack(arguments.pack, domain).to(device) for domain in ("photo", "render"))
    captions = all_captions([photos, renders])
    vae = AutoencoderTiny.from_pretrained(arguments.model / "vae", torch_dtype=torch.float32).to(device)
    vae = vae.to(torch.bfloat16) if device.type == "cuda" else vae
    banks = encode_banks(vae, photos, renders, captions, arguments.crops, generator)
    words = re.findall("[a-z]+", " ".join(captions))
    tokenizer, text_encoder, unet = load_or_create(arguments.model, words)
    unet.to(device, memory_format=torch.channels_last)
    text_encoder.to(device)
    tokens = tokenize(tokenizer, captions, device)
    train(
        unet, text_encoder, tokens, banks, minutes=arguments.minutes, batch=arguments.batch,
        learning_rates=tuple(arguments.learning_rates), generator=generator,
    )  # fmt: skip
    caption_contrast(unet, text_encoder, tokens, banks, arguments.batch, generator)
    text_encoder.half().save_pretrained(arguments.model / "text_encoder")
    unet.half().save_pretrained(arguments.model / "unet", max_shard_size="15MB")
    new_scheduler().save_pretrained(arguments.model / "scheduler")


if __name__ == "__main__":
    main()
