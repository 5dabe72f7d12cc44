# SPDX-License-Identifier: GPL-3.0-or-later
"""Render or photo? A classifier's vote on patches of cloth.

    python -m backend.evaluation.vote --photos DIR --renders DIR --out FILE

Logistic regression on the features of `features`: trained on photos of the training senders and renders of training
garments, calibrated (Platt, 1999) on photos of the tuning senders and renders of other training garments, and
reported on test photos and held-out renders, which neither has seen.

A phone's softness and JPEG blocks would be an easy and a worthless cue, so half of the renders are given the same
(`photographing`). The classifier is a second opinion beside KID: it looks only along the one
direction that tells the two domains apart best, which a method could learn to please.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float
from safetensors.numpy import load_file, save_file

from backend.training.splits import is_tune_garment

from .features import PictureFeatures
from .kid import Sample
from .patches import garment_corners
from .photographing import photograph
from .pictures import find_renders, read_photos
from .samples import REFERENCE, CutPicture, cut_photos, sample_patches

PHOTO_VOTE = REFERENCE / "photo_vote.safetensors"
PER_SENDER = 12
"""Photos of one sender, at most, so that no home decides what a photo is."""
REGULARISATION = 0.01
"""scikit-learn's C, on features of unit variance: far fewer patches than would fix 1280 weights."""


@dataclass(frozen=True)
class PhotoVote:
    """Probability that cloth was photographed, p = sigmoid(slope * (weights . features + bias) + offset).

    Args:
        weights: Of the features as they are; the bias is in `offset`.
        offset: Logit of a patch without features.
    """

    weights: Float[np.ndarray, " channels"]
    offset: float

    def votes(self, patches: Sample) -> Float[np.ndarray, " rows"]:
        """Probability of each patch, 0..1."""
        logits = patches.features.astype(np.float64) @ self.weights + self.offset
        votes: Float[np.ndarray, " rows"] = 1 / (1 + np.exp(-logits))
        return votes

    def save(self, path: Path) -> None:
        """Write a safetensors file."""
        path.parent.mkdir(parents=True, exist_ok=True)
        save_file({"weights": self.weights, "offset": np.array([self.offset])}, path)

    @classmethod
    def load(cls, path: Path = PHOTO_VOTE) -> PhotoVote:
        """Read what `save` wrote; by default the classifier that the repository carries."""
        tensors = load_file(path)
        return cls(tensors["weights"], float(tensors["offset"][0]))


def train_vote(photos: Sample, renders: Sample, tune_photos: Sample, tune_renders: Sample) -> PhotoVote:
    """Fit on the first two, calibrate on the last two; both sides count alike however many there are."""
    from sklearn.linear_model import LogisticRegression

    def stacked(a: Sample, b: Sample) -> tuple[Float[np.ndarray, "rows channels"], list[int]]:
        features = np.concatenate([a.features, b.features]).astype(np.float64)
        return features, [1] * len(a.features) + [0] * len(b.features)

    features, labels = stacked(photos, renders)
    mean, deviation = features.mean(0), features.std(0) + 1e-6
    fitted = LogisticRegression(C=REGULARISATION, class_weight="balanced", max_iter=1000)
    fitted.fit((features - mean) / deviation, labels)
    weights = fitted.coef_[0] / deviation
    bias = float(fitted.intercept_[0] - weights @ mean)
    features, labels = stacked(tune_photos, tune_renders)
    platt = LogisticRegression(C=np.inf, class_weight="balanced")
    platt.fit((features @ weights + bias)[:, None], labels)
    slope = float(platt.coef_[0, 0])
    return PhotoVote(slope * weights, slope * bias + float(platt.intercept_[0]))


def _training_renders(folder: Path, tune: bool) -> Iterator[CutPicture]:
    """Renders of tuning or of other garments, every second one as a phone would have stored it."""
    renders = [render for render in find_renders(folder) if is_tune_garment(render.garment) == tune]
    for number, render in enumerate(renders):
        pixels = render.pixels()
        if number % 2:
            pixels = photograph(pixels)
        yield pixels, garment_corners(render.coverage())


def main() -> None:
    """Command line; see the module's docstring."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--photos", type=Path, required=True, help="folder with train.csv and its tar shards")
    parser.add_argument("--renders", type=Path, required=True, help="training renders with renders.csv")
    parser.add_argument("--out", type=Path, default=PHOTO_VOTE)
    parser.add_argument("--device", default="cpu")
    arguments = parser.parse_args()
    network = PictureFeatures(arguments.device)
    vote = train_vote(
        sample_patches(cut_photos(read_photos(arguments.photos, "train", PER_SENDER)), network),
        sample_patches(_training_renders(arguments.renders, tune=False), network),
        tune_photos := sample_patches(cut_photos(read_photos(arguments.photos, "tune", PER_SENDER)), network),
        tune_renders := sample_patches(_training_renders(arguments.renders, tune=True), network),
    )
    vote.save(arguments.out)
    for name, sample in (("photos", tune_photos), ("renders", tune_renders)):
        votes = vote.votes(sample)
        print(f"tuning {name}: vote {votes.mean():.3f}, called photo {(votes > 0.5).mean():.3f}")


if __name__ == "__main__":
    main()
