# SPDX-License-Identifier: GPL-3.0-or-later
"""Features of a set of pictures: of their cloth, patch by patch, and of each as a whole.

    python -m backend.evaluation.samples --photos DIR --split test --out FILE

keeps the features of photos in a file. The repository carries one (`--limit 500 --per-picture 1`) in
`backend/evaluation/reference/`: features are no photos, so whoever has none can still compute KID.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import TypeAlias, get_args

import numpy as np
import torch
from jaxtyping import UInt8
from safetensors.numpy import load_file, save_file

from backend.training.splits import Split

from .features import PictureFeatures, to_square
from .kid import Sample
from .patches import Corner, cut, middle_corners
from .pictures import read_photos, to_tensor

REFERENCE = Path(__file__).parent / "reference"
PHOTOS = REFERENCE / "photos_test.safetensors"
"""Of 500 test photos, one patch each."""

CutPicture: TypeAlias = tuple[UInt8[np.ndarray, "height width 3"], list[Corner]]
"""A picture and where its patches of cloth are."""


@dataclass(frozen=True)
class PictureSample:
    """Features of one set of pictures.

    Args:
        patches: A row a patch of cloth.
        wholes: A row a picture.
    """

    patches: Sample
    wholes: Sample

    @property
    def pictures(self) -> int:
        """How many pictures."""
        return len(self.wholes.owners)

    def save(self, path: Path) -> None:
        """Write a safetensors file, features in float16."""
        tensors: dict[str, np.ndarray] = {
            "patches": self.patches.features.astype(np.float16),
            "patch_owners": self.patches.owners.astype(np.int32),
            "wholes": self.wholes.features.astype(np.float16),
        }
        path.parent.mkdir(parents=True, exist_ok=True)
        save_file(tensors, path)

    @classmethod
    def load(cls, path: Path) -> PictureSample:
        """Read what `save` wrote."""
        tensors = load_file(path)
        wholes = Sample(tensors["wholes"].astype(np.float32), np.arange(len(tensors["wholes"])))
        return cls(Sample(tensors["patches"].astype(np.float32), tensors["patch_owners"]), wholes)


def sample_patches(pictures: Iterable[CutPicture], network: PictureFeatures) -> Sample:
    """Features of the patches of pictures."""
    cuts = [cut(to_tensor(pixels), corners) for pixels, corners in pictures]
    owners = np.repeat(np.arange(len(cuts)), [len(patches) for patches in cuts])
    return Sample(network(torch.cat(cuts)).numpy(), owners)


def sample_pictures(pictures: Iterable[CutPicture], network: PictureFeatures) -> PictureSample:
    """Features of the patches of pictures, and of each picture as a whole."""
    wholes = []

    def seen_whole() -> Iterator[CutPicture]:
        for pixels, corners in pictures:
            wholes.append(to_square(to_tensor(pixels)))
            yield pixels, corners

    patches = sample_patches(seen_whole(), network)
    return PictureSample(patches, Sample(network(torch.stack(wholes)).numpy(), np.arange(len(wholes))))


def cut_photos(
    photos: Iterable[tuple[str, UInt8[np.ndarray, "height width 3"]]], per_picture: int | None = None
) -> Iterator[CutPicture]:
    """Photos with the corners of the patches in their middle, of at most `per_picture` patches each."""
    for _, pixels in photos:
        yield pixels, middle_corners(*pixels.shape[:2])[:per_picture]


def main() -> None:
    """Command line; see the module's docstring."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--photos", type=Path, required=True)
    parser.add_argument("--split", choices=get_args(Split), default="test")
    parser.add_argument("--out", type=Path, required=True, help="safetensors file")
    parser.add_argument("--limit", type=int, help="photos, at most")
    parser.add_argument("--per-picture", type=int, help="patches of a photo, at most")
    parser.add_argument("--device", default="cpu")
    arguments = parser.parse_args()
    network = PictureFeatures(arguments.device)
    photos = islice(read_photos(arguments.photos, arguments.split), arguments.limit)
    sample = sample_pictures(cut_photos(photos, arguments.per_picture), network)
    sample.save(arguments.out)
    print(f"{sample.pictures} photos, {len(sample.patches.owners)} patches: {arguments.out}")


if __name__ == "__main__":
    main()
