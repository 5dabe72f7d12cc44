# SPDX-License-Identifier: GPL-3.0-or-later
"""What the denoiser learns from: encoded crops of photos, of their rendered looks and of renders, on the device."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from diffusers import AutoencoderTiny
from jaxtyping import Float, Int
from torch import Tensor

from backend.adaptation.rendered_look import look_rendered

from .data import Pictures, augment, caption


@dataclass(frozen=True)
class Bank:
    """Encoded training crops under the captions of one domain, ready on the device.

    Args:
        latents: (crops 32 64 48) half precision, scaled to unit variance: what the captions ask for.
        rendered: The same crops with the rendered look; the `latents` themselves where nothing is to change.
        captions: Index of each crop's caption in the list of all captions.
    """

    latents: Float[Tensor, "crops channels h w"]
    rendered: Float[Tensor, "crops channels h w"]
    captions: Int[Tensor, " crops"]


@dataclass(frozen=True)
class Banks:
    """What the denoiser learns from.

    Args:
        photos: Photos under captions of photos, paired with their rendered look.
        looks: The rendered looks of the same photos under captions of renders, as they are.
        renders: Renders under captions of renders, as they are.
    """

    photos: Bank
    looks: Bank
    renders: Bank


@torch.no_grad()
def encode_banks(
    vae: AutoencoderTiny,
    photos: Pictures,
    renders: Pictures,
    captions: list[str],
    crops: int,
    generator: torch.Generator,
) -> Banks:
    """Encode `crops` augmented crops of either domain, each picture about equally often."""
    index_of = {caption: index for index, caption in enumerate(captions)}

    def choose(pictures: Pictures) -> Int[Tensor, " crops"]:
        count = len(pictures.pixels)
        rounds = [torch.randperm(count, generator=generator, device=generator.device)] * -(-crops // count)
        return torch.cat(rounds)[:crops]

    def called(pictures: Pictures, domain: str, chosen: Tensor) -> Int[Tensor, " crops"]:
        indices = torch.tensor([index_of[name] for name in pictures.captions(domain)], device=chosen.device)
        return indices[chosen]

    def encode(pixels: Float[Tensor, "batch 3 height width"]) -> Tensor:
        latents: Tensor = vae.encode((pixels * 2 - 1).to(vae.dtype)).latents * vae.config.scaling_factor
        return latents.half()

    chosen = choose(photos)
    clean, looks = [], []
    for few in chosen.split(64):
        crops_of_few = augment(photos.pixels[few], generator)
        clean.append(encode(crops_of_few))
        looks.append(encode(look_rendered(crops_of_few, generator)))
    latents, rendered = torch.cat(clean), torch.cat(looks)
    photo_bank = Bank(latents, rendered, called(photos, "photo", chosen))
    look_bank = Bank(rendered, rendered, called(photos, "render", chosen))
    chosen = choose(renders)
    latents = torch.cat([encode(augment(renders.pixels[few], generator)) for few in chosen.split(64)])
    return Banks(photo_bank, look_bank, Bank(latents, latents, called(renders, "render", chosen)))


def draw(bank: Bank, count: int, generator: torch.Generator) -> tuple[Tensor, Tensor, Tensor]:
    """A random batch of a bank: latents and rendered latents in float32, and caption indices."""
    chosen = torch.randint(len(bank.latents), (count,), generator=generator, device=generator.device)
    return bank.latents[chosen].float(), bank.rendered[chosen].float(), bank.captions[chosen]


def draw_mixed(
    banks: Banks, shares: tuple[float, float, float], batch: int, generator: torch.Generator
) -> tuple[Tensor, Tensor, Tensor, int]:
    """A batch of photos, rendered looks and renders, in this order, as `draw` gives them; and the number of photos."""
    counts = [round(share * batch) for share in shares[1:]]
    photos = batch - sum(counts)
    sources = (banks.photos, banks.looks, banks.renders)
    drawn = [draw(bank, count, generator) for bank, count in zip(sources, [photos, *counts], strict=True)]
    latents, rendered, captions = (torch.cat(parts) for parts in zip(*drawn, strict=True))
    return latents, rendered, captions, photos


def all_captions(domains: list[Pictures]) -> list[str]:
    """Every caption once, the empty one first, in an order that does not depend on the pictures' order."""
    words = {garment for pictures in domains for garment in pictures.garments}
    return ["", *sorted(caption(domain, word) for domain in ("photo", "render") for word in words)]
