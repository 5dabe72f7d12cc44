# SPDX-License-Identifier: GPL-3.0-or-later
"""The pictures of a benchmark: renders with their masks, and photos of one side of the split."""

from __future__ import annotations

import csv
import io
import tarfile
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float32, UInt8
from PIL import Image
from torch import Tensor

from backend.training.splits import Split, split_of_sender

MASK_SUFFIX = ".mask.png"
PHOTO_SUFFIXES = (".jpg", ".jpeg", ".png")


class UnusableFolderError(Exception):
    """A folder does not hold what the benchmark needs; the text names it and says what is missing."""


@dataclass(frozen=True)
class Render:
    """A render and the mask of its garment, as files.

    Args:
        name: File name without suffix; results carry it too.
        picture: PNG, display-referred.
        mask: PNG, coverage of the garment.
        garment: What it shows, from `renders.csv` (`index`, `garment`); the name where there is none.
    """

    name: str
    picture: Path
    mask: Path
    garment: str

    def pixels(self) -> UInt8[np.ndarray, "height width 3"]:
        """The picture's RGB."""
        return read_rgb(self.picture)

    def coverage(self) -> Float32[np.ndarray, "height width"]:
        """The mask, 0..1."""
        with Image.open(self.mask) as file:
            return np.asarray(file.convert("L"), np.float32) / 255


def find_renders(folder: Path, limit: int | None = None) -> list[Render]:
    """Renders with masks (`NAME.png`, `NAME.mask.png`) in the order of their names, at most `limit`.

    Raises:
        UnusableFolderError: There is none.
    """
    masks = sorted(folder.glob("*" + MASK_SUFFIX))
    garments = _garments(folder / "renders.csv")
    renders = [
        Render(name, picture, mask, garments.get(name, name))
        for mask in masks
        if (picture := folder / f"{(name := mask.name.removesuffix(MASK_SUFFIX))}.png").is_file()
    ]
    if not renders:
        raise UnusableFolderError(f"{folder} has no pictures NAME.png with masks NAME{MASK_SUFFIX}")
    return renders[:limit]


def _garments(table: Path) -> dict[str, str]:
    if not table.is_file():
        return {}
    with table.open(newline="") as rows:
        return {f"{int(row['index']):06d}": row["garment"] for row in csv.DictReader(rows)}


def group_by_size(renders: Sequence[Render], most: int) -> list[list[Render]]:
    """Groups of up to `most` renders of one size, in the order of their first members."""
    groups: list[list[Render]] = []
    open_groups: dict[tuple[int, int], list[Render]] = {}
    for render in renders:
        with Image.open(render.picture) as file:
            group = open_groups.get(file.size, [])
            if len(group) in (0, most):
                groups.append(group := [])
                open_groups[file.size] = group
        group.append(render)
    return groups


def read_photos(
    folder: Path, split: Split, per_sender: int | None = None
) -> Iterator[tuple[str, UInt8[np.ndarray, "height width 3"]]]:
    """Name and RGB of each photo.

    With a `train.csv` (`image_id`, `sender_id`) and tar shards, as the *Clothing dataset* is kept here, the photos
    of the senders of one split, at most `per_sender` of each; of a plain folder of JPEG and PNG files all, for
    whoever brings held-out photos.

    Raises:
        UnusableFolderError: There is none.
    """
    table = folder / "train.csv"
    found = _from_shards(folder, table, split, per_sender) if table.is_file() else _from_files(folder)
    empty = True
    for name, photo in found:
        empty = False
        yield name, photo
    if empty:
        raise UnusableFolderError(
            f"{folder} has no photos: neither JPEG or PNG files nor train.csv with tar files"
        )


def read_rgb(file: Path | io.BytesIO) -> UInt8[np.ndarray, "height width 3"]:
    """RGB, 8 bits, of a picture file."""
    with Image.open(file) as picture:
        return np.asarray(picture.convert("RGB"))


def to_tensor(pixels: UInt8[np.ndarray, "height width 3"]) -> UInt8[Tensor, "3 height width"]:
    """The same picture, channels first."""
    return torch.from_numpy(np.ascontiguousarray(pixels.transpose(2, 0, 1)))


def _from_shards(
    folder: Path, table: Path, split: Split, per_sender: int | None
) -> Iterator[tuple[str, UInt8[np.ndarray, "height width 3"]]]:
    wanted: dict[str, list[str]] = defaultdict(list)
    with table.open(newline="") as rows:
        for row in csv.DictReader(rows):
            if split_of_sender(row["sender_id"]) == split:
                wanted[row["sender_id"]].append(row["image_id"])
    names = {name for images in wanted.values() for name in images[:per_sender]}
    for shard in sorted(folder.glob("*.tar")):
        with tarfile.open(shard) as source:
            for member in source:
                name, content = Path(member.name).stem, source.extractfile(member)
                if name in names and content is not None:
                    yield name, read_rgb(io.BytesIO(content.read()))


def _from_files(folder: Path) -> Iterator[tuple[str, UInt8[np.ndarray, "height width 3"]]]:
    for path in sorted(folder.iterdir()):
        if path.suffix.lower() in PHOTO_SUFFIXES and not path.name.endswith(MASK_SUFFIX):
            yield path.stem, read_rgb(path)
