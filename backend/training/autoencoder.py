# SPDX-License-Identifier: GPL-3.0-or-later
"""Train the starter's autoencoder: an f8 `AutoencoderTiny`, distilled from TAEF2 and sharpened on the pictures.

    python -m backend.training.autoencoder --pack DIR --teacher DIR --out DIR --minutes 4

TAEF2 (MIT, Ollin Boer Bohan) is a network of the same blocks, except that its deepest blocks pool over the whole
picture. Pooling makes a pixel depend on every other one, which tiles and crops cannot bear, and diffusers has no
such block; so the student starts from the teacher's convolutions, drops the pooling, gets further blocks in its
place that begin as the identity, and learns to return pictures while its latents stay at the teacher's.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from pathlib import Path

import torch
from diffusers import AutoencoderTiny
from jaxtyping import Float
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.nn import functional

from backend.adaptation.recolour import recolour

from .data import Pictures, crop, read_pack

LATENT_CHANNELS = 32
TEACHER_BLOCKS = (3, 3, 3)
EXTRA_BLOCKS = 2
"""Blocks that stand in for the teacher's pooling, at an eighth of the size, where they cost least."""
LATENT_STD = 0.825
"""Standard deviation of the teacher's latents on held-out photos; the scaling factor is its inverse."""
CROP = 192
LATENT_NOISE = 0.08
"""The decoder meets latents that a network predicted, not only encoded ones: it trains with a little noise."""


class _Pool(nn.Module):
    """The teacher's pooling branch: x + P(x), statistics over the whole picture."""

    def __init__(self, channels: int = 64) -> None:
        super().__init__()
        self.pool = nn.Sequential(
            nn.Conv2d(channels, 4 * channels, 1, bias=False),
            nn.GroupNorm(4, 4 * channels),
            nn.ReLU(),
            nn.Conv2d(4 * channels, channels, 1, bias=False),
        )

    def forward(self, x: Float[Tensor, "batch channels h w"]) -> Float[Tensor, "batch channels h w"]:
        pooled: Tensor = x + self.pool(x)
        return pooled


class TeacherEncoder(nn.Module):
    """TAEF2's encoder: RGB in 0..1 to 32-channel latents. Layer numbers are the checkpoint's."""

    def __init__(self, weights: dict[str, Tensor]) -> None:
        super().__init__()
        student = AutoencoderTiny(latent_channels=LATENT_CHANNELS).encoder.layers
        self.layers = nn.ModuleList(student)
        self.pools = nn.ModuleDict({str(index): _Pool() for index in (11, 12, 13)})
        own = {key: value.float() for key, value in weights.items() if ".pool." not in key}
        self.layers.load_state_dict(own)
        for index, pool in self.pools.items():
            prefix = f"{index}.pool."
            pool.get_submodule("pool").load_state_dict(
                {key.removeprefix(prefix): v.float() for key, v in weights.items() if key.startswith(prefix)}
            )

    def forward(self, x: Float[Tensor, "batch 3 height width"]) -> Float[Tensor, "batch 32 h w"]:
        for index, layer in enumerate(self.layers):
            if str(index) in self.pools:
                x = self.pools[str(index)](x)
            x = layer(x)
        return x


def student_from_teacher(encoder: dict[str, Tensor], decoder: dict[str, Tensor]) -> AutoencoderTiny:
    """An `AutoencoderTiny` with the teacher's convolutions and `EXTRA_BLOCKS` identity blocks at the deepest level."""
    student = AutoencoderTiny(
        latent_channels=LATENT_CHANNELS,
        num_encoder_blocks=(1, 3, 3, 3 + EXTRA_BLOCKS),
        num_decoder_blocks=(3 + EXTRA_BLOCKS, 3, 3, 1),
        scaling_factor=1 / LATENT_STD,
    )
    # Encoder: the last convolution moves behind the extra blocks. Decoder: all but the first two layers move,
    # and the checkpoint counts its soft clamp as layer 0.
    _copy(student.encoder.layers, encoder, lambda index: index if index < 14 else index + EXTRA_BLOCKS)
    _copy(student.decoder.layers, decoder, lambda index: index - 1 if index < 6 else index - 1 + EXTRA_BLOCKS)
    for block in [
        *student.encoder.layers[14 : 14 + EXTRA_BLOCKS],
        *student.decoder.layers[5 : 5 + EXTRA_BLOCKS],
    ]:
        nn.init.zeros_(block.conv[4].weight)
        nn.init.zeros_(block.conv[4].bias)
    return student


def _copy(layers: nn.Sequential, weights: dict[str, Tensor], place: Callable[[int], int]) -> None:
    state = layers.state_dict()
    for key, value in weights.items():
        if ".pool." not in key:
            index, _, rest = key.partition(".")
            state[f"{place(int(index))}.{rest}"] = value.float()
    layers.load_state_dict(state)


def psnr(a: Float[Tensor, "*shape"], b: Float[Tensor, "*shape"]) -> float:
    """Mean over the batch of 10 log10(1 / MSE) for pictures in -1..1, in dB."""
    error = ((a.clamp(-1, 1) - b) / 2).square().flatten(1).mean(1)
    return float((-10 * torch.log10(error.clamp(min=1e-10))).mean())


@torch.no_grad()
def validate(student: AutoencoderTiny, held_out: Pictures) -> float:
    """PSNR in dB on whole held-out pictures at 384x512."""
    pixels = held_out.pixels[:, :, 10:522, 8:392].float() / 127.5 - 1
    values = [psnr(student.decode(student.encode(p[None]).latents).sample.float(), p[None]) for p in pixels]
    return sum(values) / len(values)


def train(
    student: AutoencoderTiny,
    teacher: TeacherEncoder,
    domains: list[Pictures],
    held_out: Pictures,
    *,
    minutes: float,
    batch: int,
    seed: int,
) -> None:
    """Minimise |decode(encode(x) + noise) - x| + |encode(x) - teacher(x)|^2 / 10 on crops for a given time."""
    device = domains[0].pixels.device
    generator = torch.Generator(device).manual_seed(seed)
    pixels = torch.cat([domain.pixels for domain in domains])
    optimizer = torch.optim.AdamW(student.parameters(), lr=0.0, weight_decay=0.0, fused=device.type == "cuda")
    compiled = torch.compile(student.encoder), torch.compile(student.decoder), torch.compile(teacher)
    encode, decode, teach = compiled if device.type == "cuda" else (student.encoder, student.decoder, teacher)
    started, step = time.monotonic(), 0
    while (done := (time.monotonic() - started) / (60 * minutes)) < 1:
        for group in optimizer.param_groups:
            group["lr"] = 3e-4 * min(1, (step + 1) / 100) * max(0.02, 1 - done)
        chosen = torch.randint(len(pixels), (batch,), generator=generator, device=device)
        x = recolour(crop(pixels[chosen], (CROP, CROP), (0.9, 1.5), generator), generator)
        x = x.contiguous(memory_format=torch.channels_last)
        with torch.autocast(device.type, torch.bfloat16, enabled=device.type == "cuda"):
            with torch.no_grad():
                target = teach(x)
            latents = encode(x * 2 - 1)
            noise = torch.randn(latents.shape, generator=generator, device=device)
            level = LATENT_NOISE * torch.rand(batch, 1, 1, 1, generator=generator, device=device)
            returned = decode(latents + level * noise)
        error = (returned.float() - (x * 2 - 1)).abs().mean()
        loss = error + 0.1 * functional.mse_loss(latents.float(), target.float())
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
        step += 1
        if step % 200 == 0:
            print(f"{time.monotonic() - started:6.0f} s  step {step}  error {float(error):.4f}", flush=True)
    print(f"{step} steps, held-out PSNR {validate(student, held_out):.2f} dB", flush=True)


def main() -> None:
    """Command line; see the module's docstring."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pack", type=Path, required=True)
    parser.add_argument(
        "--teacher", type=Path, required=True, help="folder with taef2_{encoder,decoder}.safetensors"
    )
    parser.add_argument("--out", type=Path, required=True, help="the model directory; writes its vae/")
    parser.add_argument("--minutes", type=float, default=4.0)
    parser.add_argument("--batch", type=int, default=96)
    parser.add_argument(
        "--held-out", type=int, default=64, help="photos kept back for the PSNR that is printed"
    )
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    torch.manual_seed(arguments.seed)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    encoder = load_file(arguments.teacher / "taef2_encoder.safetensors")
    decoder = load_file(arguments.teacher / "taef2_decoder.safetensors")
    student: AutoencoderTiny = student_from_teacher(encoder, decoder).to(device)
    teacher = TeacherEncoder(encoder).to(device).requires_grad_(False)
    for network in (student, teacher):
        network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    photos, renders = (
        read_pack(arguments.pack, "photo").to(device),
        read_pack(arguments.pack, "render").to(device),
    )
    kept = arguments.held_out
    held_out = Pictures(photos.pixels[:kept], photos.garments[:kept], photos.domain)
    photos = Pictures(photos.pixels[kept:], photos.garments[kept:], photos.domain)
    print(f"before training: held-out PSNR {validate(student, held_out):.2f} dB", flush=True)
    train(
        student, teacher, [photos, renders], held_out,
        minutes=arguments.minutes, batch=arguments.batch, seed=arguments.seed,
    )  # fmt: skip
    student.half().save_pretrained(arguments.out / "vae")


if __name__ == "__main__":
    main()
