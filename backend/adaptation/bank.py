# SPDX-License-Identifier: GPL-3.0-or-later
"""Encoded crops, made once before training: the network then trains without decoder or autoencoder in its way.

They lie in files of some hundred crops each; a file that is there is not made again, so that preparing goes on
after a kill as training does.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from backend.translation.autoencoder import Autoencoder

from .crops import Crop, check_size, load_upright, middle_crop, random_crop
from .draws import generator
from .folders import PictureFile
from .recolour import recolour
from .rendered_look import look_rendered
from .settings import Settings
from .tensors import read_tensors, write_tensors

FILE_CROPS = 256
ENCODED_AT_ONCE = 8
HELD_OUT_CROPS = 64
DRAW_COLOURS = 1
DOMAINS = ("photos", "renders")
Item = TypeVar("Item")


@dataclass(frozen=True)
class Bank:
    """Encoded crops of one domain.

    Args:
        latents: float16, scaled to about unit variance.
        rendered: The same crops with the rendered look (`bridge`); the `latents` themselves without a bridge.
        sizes: SDXL's micro-conditioning of each crop, see `crops.Crop`.
        captions: Index of each crop's caption; 0 is the empty one.
    """

    latents: Float[Tensor, "crops channels rows columns"]
    rendered: Float[Tensor, "crops channels rows columns"]
    sizes: Float[Tensor, "crops 6"]
    captions: Int[Tensor, " crops"]

    def __len__(self) -> int:
        return len(self.latents)


@dataclass(frozen=True)
class Preparation:
    """What turns pictures into banks.

    Args:
        folder: Where the encoded crops are kept.
        autoencoder: The model's.
        settings: Size, zoom and number of the crops.
        device: The autoencoder's.
        advance: Called with the number of pictures that are done, and whether that was work.
    """

    folder: Path
    autoencoder: Autoencoder
    settings: Settings
    device: torch.device
    advance: Callable[[int, bool], None]

    def training(self, domain: str, files: Sequence[PictureFile], captions: Sequence[str]) -> Bank:
        """Random crops of every picture, recoloured.

        Args:
            domain: `photos` or `renders`.
            captions: Every caption; those of `files` are among them.

        Raises:
            MakeRealError: PICTURE_UNREADABLE, LIMIT_EXCEEDED or INVALID_REQUEST, naming the file.
        """
        each = -(-self.settings.crops // len(files))
        index_of = {caption: index for index, caption in enumerate(captions)}
        parts = []
        for number, chunk in enumerate(_chunks(files, max(1, FILE_CROPS // each))):
            path = self.folder / f"{domain}-{number:05d}.safetensors"
            if fresh := not path.exists():
                draws = generator(
                    self.device, self.settings.seed, DRAW_COLOURS, DOMAINS.index(domain), number
                )
                tensors = self._encode(domain, chunk, each, draws, recoloured=True)
                indices = torch.tensor([index_of[file.caption] for file in chunk]).repeat_interleave(each)
                write_tensors(path, {**tensors, "captions": indices})
            parts.append(read_tensors(path))
            self.advance(len(chunk), fresh)
        return _join(parts)

    def held_out(self, domain: str, files: Sequence[PictureFile]) -> Bank:
        """The middle of each of the first pictures in its own colours, without a caption. Raises as `training`."""
        path = self.folder / f"{domain}-held-out.safetensors"
        chosen = files[:HELD_OUT_CROPS]
        if fresh := not path.exists():
            draws = generator(self.device, self.settings.seed, DRAW_COLOURS, DOMAINS.index(domain))
            tensors = self._encode(domain, chosen, 0, draws, recoloured=False)
            write_tensors(path, {**tensors, "captions": torch.zeros(len(chosen), dtype=torch.int64)})
        self.advance(len(files), fresh)
        return _join([read_tensors(path)])

    @torch.no_grad()
    def _encode(
        self,
        domain: str,
        files: Sequence[PictureFile],
        each: int,
        draws: torch.Generator,
        *,
        recoloured: bool,
    ) -> dict[str, Tensor]:
        """Crops of the pictures through the autoencoder; `each` random ones, or at 0 the middle one."""
        with ThreadPoolExecutor() as pool:
            crops = [crop for some in pool.map(lambda f: self._cut(domain, f, each), files) for crop in some]
        bridged = self.settings.bridge and domain == "photos"
        latents, rendered = [], []
        for batch in _chunks(crops, ENCODED_AT_ONCE):
            pixels = torch.from_numpy(np.stack([crop.pixels for crop in batch])).to(self.device)
            pictures = pixels.permute(0, 3, 1, 2).float() / 255
            pictures = recolour(pictures, draws) if recoloured else pictures
            latents.append(self.autoencoder.encode(pictures).half().cpu())
            if bridged:
                look = look_rendered(pictures, draws)
                rendered.append(self.autoencoder.encode(look).half().cpu())
        tensors = {
            "latents": torch.cat(latents),
            "sizes": torch.from_numpy(np.stack([c.size for c in crops])),
        }
        return {**tensors, "rendered": torch.cat(rendered)} if bridged else tensors

    def _cut(self, domain: str, file: PictureFile, each: int) -> list[Crop]:
        settings = self.settings
        rng = random.Random(f"{settings.seed} {domain} {file.name}")
        picture = load_upright(file.path)
        check_size(picture, file.path, settings.width, settings.height)
        if each == 0:
            return [middle_crop(picture, settings.width, settings.height)]
        return [
            random_crop(picture, settings.width, settings.height, settings.zoom, rng) for _ in range(each)
        ]


def _chunks(items: Sequence[Item], size: int) -> list[Sequence[Item]]:
    return [items[start : start + size] for start in range(0, len(items), size)]


def _join(parts: Sequence[dict[str, Tensor]]) -> Bank:
    tensors = {key: torch.cat([part[key] for part in parts]) for key in parts[0]}
    return Bank(**{"rendered": tensors["latents"], **tensors})
