# SPDX-License-Identifier: GPL-3.0-or-later
"""The packed pictures as tensors, and the augmentation that both domains share."""

from __future__ import annotations

import csv
import io
import tarfile
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float, UInt8
from PIL import Image, ImageOps
from torch import Tensor
from torch.nn import functional

from backend.adaptation.recolour import recolour, uniform

STORED_SIZE = (400, 532)
"""Width and height at which pictures are kept; near the photos' own 400 x 533."""
NATIVE_SIZE = (384, 512)
"""Width and height of a training crop, and so the starter's native area."""


@dataclass(frozen=True)
class Pictures:
    """Pictures of one domain.

    Args:
        pixels: (count 3 height width) at `STORED_SIZE`, display-referred.
        garments: The garment word of each picture.
        domain: `photo` or `render`.
    """

    pixels: UInt8[Tensor, "count 3 height width"]
    garments: list[str]
    domain: str

    def captions(self, domain: str) -> list[str]:
        """One caption a picture, as if it were of that domain."""
        return [caption(domain, garment) for garment in self.garments]

    def to(self, device: torch.device) -> Pictures:
        """The same pictures with the pixels on another device."""
        return Pictures(self.pixels.to(device), self.garments, self.domain)


def caption(domain: str, garment: str) -> str:
    """What a picture is called: domain (`photo` or `render`) and garment word."""
    return f"a {domain} of a {garment}"


def _read(stored: bytes) -> UInt8[np.ndarray, "height width 3"]:
    """Decode one picture upright at `STORED_SIZE`; a landscape picture of a laid-flat garment is turned."""
    with Image.open(io.BytesIO(stored)) as file:
        picture = file.convert("RGB")
        if picture.width > picture.height:
            picture = picture.transpose(Image.Transpose.ROTATE_90)
        return np.asarray(ImageOps.fit(picture, STORED_SIZE, Image.Resampling.LANCZOS))


def read_pack(pack: Path, domain: str) -> Pictures:
    """Read every picture of a domain from a folder made by `pack.py`. Memory: 0.64 MB a picture."""
    with (pack / "pack.csv").open(newline="") as table:
        garments = {row["name"]: row["garment"] for row in csv.DictReader(table) if row["domain"] == domain}
    stored: list[tuple[str, bytes]] = []
    for shard in sorted(pack.glob(f"{domain}s*.tar")):
        with tarfile.open(shard) as source:
            for member in source:
                content = source.extractfile(member)
                if content is not None:
                    stored.append((member.name, content.read()))
    with ThreadPoolExecutor() as pool:
        pixels = list(pool.map(lambda entry: _read(entry[1]), stored))
    array = np.stack(pixels).transpose(0, 3, 1, 2)
    return Pictures(
        torch.from_numpy(np.ascontiguousarray(array)), [garments[name] for name, _ in stored], domain
    )


def crop(
    pixels: UInt8[Tensor, "batch 3 height width"],
    size: tuple[int, int],
    zoom: tuple[float, float],
    generator: torch.Generator,
) -> Float[Tensor, "batch 3 new_height new_width"]:
    """Random crops of `size` (width, height), each enlarged by a factor from `zoom` and mirrored half the time.

    Values 0..1. Stored pixels map to crop pixels about one to one at zoom 1, so cloth keeps its statistics.
    """
    count, _, height, width = pixels.shape
    new_width, new_height = size
    scale = uniform(count, *zoom, generator).flatten()
    mirror = torch.where(uniform(count, 0, 1, generator).flatten() < 0.5, -1.0, 1.0)
    part_x, part_y = new_width / width / scale, new_height / height / scale
    shift_x = (1 - part_x).clamp(min=0) * uniform(count, -1, 1, generator).flatten()
    shift_y = (1 - part_y).clamp(min=0) * uniform(count, -1, 1, generator).flatten()
    zero = torch.zeros_like(scale)
    affine = torch.stack(
        [torch.stack([part_x * mirror, zero, shift_x], 1), torch.stack([zero, part_y, shift_y], 1)], 1
    )
    grid = functional.affine_grid(affine, [count, 3, new_height, new_width], align_corners=False)
    return functional.grid_sample(
        pixels.float() / 255, grid, mode="bicubic", padding_mode="reflection", align_corners=False
    ).clamp(0, 1)


def augment(
    pixels: UInt8[Tensor, "batch 3 height width"], generator: torch.Generator
) -> Float[Tensor, "batch 3 512 384"]:
    """One training picture each: a crop of the native size, recoloured; 0..1."""
    return recolour(crop(pixels, NATIVE_SIZE, (1.0, 1.6), generator), generator)
