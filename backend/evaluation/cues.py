# SPDX-License-Identifier: GPL-3.0-or-later
"""What do KID and the photo vote go by? Simple changes to renders and photos, none of which makes or unmakes a photo.

    python -m backend.evaluation.cues --photos DIR --renders DIR

A cue that a translation may give without touching the garment (softness, noise, exposure) shows in the renders' rows;
what is left of a photo's vote when all that a translation may change was taken from it, in the photos' rows. Photos are
of the tune senders, renders of the tune garments: nothing that is reported elsewhere, and nothing that the classifier
learnt.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TypeAlias

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from backend.adaptation.rendered_look import look_rendered, smooth
from backend.training.splits import is_tune_garment
from backend.translation.filters import gaussian_blur

from .features import PictureFeatures
from .kid import Reference, Sample
from .patches import garment_corners
from .photographing import photograph
from .pictures import find_renders, read_photos, to_tensor
from .samples import CutPicture, cut_photos, sample_patches
from .vote import PhotoVote

PER_SENDER = 6
Change: TypeAlias = Callable[[Float[Tensor, "1 3 height width"], torch.Generator], Tensor]


def _sharpen(image: Tensor, amount: float) -> Tensor:
    return image + amount * (image - gaussian_blur(image, 1.0))


def _erase(image: Tensor, radius: int, variance: float) -> Tensor:
    return smooth(image, radius, torch.full((1, 1, 1, 1), variance))


def _desaturate(image: Tensor, kept: float) -> Tensor:
    grey = image.mean(1, keepdim=True)
    return grey + kept * (image - grey)


def _photograph(image: Tensor) -> Tensor:
    pixels = photograph(_to_pixels(image))
    return to_tensor(pixels)[None].float() / 255


RENDERS: Mapping[str, Change] = {
    "as rendered": lambda image, draws: image,
    "softened by 0.7 px": lambda image, draws: gaussian_blur(image, 0.7),
    "noise of 3/255": lambda image, draws: image + torch.randn(image.shape, generator=draws) * 3 / 255,
    "a quarter brighter": lambda image, draws: 1.25 * image,
    "gamma 0.8": lambda image, draws: image**0.8,
    "a fifth more contrast": lambda image, draws: image.mean() + 1.2 * (image - image.mean()),
    "two fifths less saturated": lambda image, draws: _desaturate(image, 0.6),
    "as a phone stores it (`photographed`)": lambda image, draws: _photograph(image),
}
PHOTOS: Mapping[str, Change] = {
    "as photographed": lambda image, draws: image,
    "sharpened": lambda image, draws: _sharpen(image, 1.5),
    "the rendered look of the training": look_rendered,
    "cloth erased, edges kept (radius 8), sharpened": lambda image, draws: _sharpen(
        _erase(image, 8, 0.02), 0.5
    ),
    "cloth, folds and shading erased, edges kept (radius 16)": lambda image, draws: _erase(image, 16, 0.05),
}


def measure(
    pictures: Sequence[CutPicture],
    changes: Mapping[str, Change],
    others: Sample,
    network: PictureFeatures,
) -> list[tuple[str, float, float]]:
    """Photo vote, and KID x 1000 to the other domain, of the pictures after each change."""
    vote, reference = PhotoVote.load(), Reference(others, replicates=0)
    rows = []
    for name, change in changes.items():
        draws = torch.Generator().manual_seed(0)
        changed = [
            (_to_pixels(change(to_tensor(pixels)[None].float() / 255, draws)), corners)
            for pixels, corners in pictures
        ]
        sample = sample_patches(changed, network)
        rows.append((name, float(vote.votes(sample).mean()), float(reference.distances([sample])[0])))
    return rows


def _to_pixels(image: Tensor) -> np.ndarray:
    return (255 * image[0].clamp(0, 1)).round().byte().permute(1, 2, 0).numpy()


def main() -> None:
    """Command line; see the module's docstring."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--photos", type=Path, required=True, help="folder with train.csv and its tar shards")
    parser.add_argument("--renders", type=Path, required=True, help="training renders with renders.csv")
    parser.add_argument("--device", default="cpu")
    arguments = parser.parse_args()
    network = PictureFeatures(arguments.device)
    photos = list(cut_photos(read_photos(arguments.photos, "tune", PER_SENDER)))
    renders = [
        (render.pixels(), garment_corners(render.coverage()))
        for render in find_renders(arguments.renders)
        if is_tune_garment(render.garment)
    ]
    print(f"| {len(renders)} renders | photo vote | KID to photos |\n| --- | --- | --- |")
    for name, vote, distance in measure(renders, RENDERS, sample_patches(photos, network), network):
        print(f"| {name} | {vote:.3f} | {distance:.1f} |", flush=True)
    print(f"\n| {len(photos)} photos | photo vote | KID to renders |\n| --- | --- | --- |")
    for name, vote, distance in measure(photos, PHOTOS, sample_patches(renders, network), network):
        print(f"| {name} | {vote:.3f} | {distance:.1f} |", flush=True)


if __name__ == "__main__":
    main()
