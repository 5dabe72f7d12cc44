# SPDX-License-Identifier: GPL-3.0-or-later
"""From results to a row of the benchmark: every column with the interval that resampling the pictures gives.

    python -m backend.evaluation.scores --renders DIR --results DIR [DIR ...] [--photos DIR --split tune]

scores folders of pictures, each named as the render that it was made from, and prints one line a folder.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float

from backend.training.splits import Split

from .features import PictureFeatures
from .generate import FIDELITY_COLUMNS, measure_fidelity, read_subject
from .kid import REPLICATES, Reference, draw_weights, seed_shares
from .patches import garment_corners
from .pictures import Render, UnusableFolderError, find_renders, read_photos, read_rgb
from .samples import PHOTOS, PictureSample, cut_photos, sample_pictures
from .vote import PhotoVote

COVERED = (2.5, 97.5)
"""Percentiles between which a bootstrap interval lies."""


@dataclass(frozen=True)
class Run:
    """The results of one method at one random seed, of the same renders in the same order.

    Args:
        sample: Their features.
        fidelity: `FIDELITY_COLUMNS`, one number a picture.
    """

    sample: PictureSample
    fidelity: dict[str, Float[np.ndarray, " pictures"]]


@dataclass(frozen=True)
class Column:
    """One figure of one method.

    Args:
        value: The estimate.
        replicates: The same figure of each bootstrap draw; draw i is the same for every method.
    """

    value: float
    replicates: Float[np.ndarray, " replicates"]

    @property
    def interval(self) -> tuple[float, float]:
        """The 95 % interval."""
        low, high = np.percentile(self.replicates, COVERED)
        return float(low), float(high)


class Scorer:
    """Scores the results of any method against the same photos, with the same draws.

    Args:
        photos: Features of the held-out photos.
        vote: The render-or-photo classifier.
        replicates: Draws of the bootstrap.
    """

    def __init__(self, photos: PictureSample, vote: PhotoVote, replicates: int = REPLICATES) -> None:
        self._patches = Reference(photos.patches, replicates)
        self._wholes = Reference(photos.wholes, replicates)
        self._vote = vote
        self._replicates = replicates

    def score(self, runs: Sequence[Run]) -> dict[str, Column]:
        """Every column of a method from its runs, one a random seed."""
        distances = self._patches.distances([run.sample.patches for run in runs])
        columns = {"kid_patch": Column(float(distances[0]), distances[1:])}
        distances = self._wholes.distances([run.sample.wholes for run in runs])
        columns["kid_image"] = Column(float(distances[0]), distances[1:])
        columns["photo_vote"] = self.mean([self._picture_votes(run.sample) for run in runs])
        for name in FIDELITY_COLUMNS:
            columns[name] = self.mean([run.fidelity[name] for run in runs])
        return columns

    def mean(self, runs: Sequence[Float[np.ndarray, " pictures"]]) -> Column:
        """Mean over pictures and seeds of one number a picture."""
        values = np.stack(runs)
        pictures = np.arange(values.shape[1])
        drawn = draw_weights(pictures, self._replicates, np.random.default_rng([0, 2]), fewest=1)
        weights = np.concatenate([np.ones((1, len(pictures))), drawn]) / len(pictures)
        means = (seed_shares(len(runs), self._replicates, 0) * (weights @ values.T)).sum(1)
        return Column(float(means[0]), means[1:])

    def _picture_votes(self, sample: PictureSample) -> Float[np.ndarray, " pictures"]:
        """Mean vote of each picture that has patches."""
        votes = self._vote.votes(sample.patches)
        counts = np.bincount(sample.patches.owners)
        return (np.bincount(sample.patches.owners, votes) / np.maximum(counts, 1))[counts > 0]


def sample_results(renders: Sequence[Render], folder: Path, network: PictureFeatures) -> PictureSample:
    """Features of the results in a folder, cut where each render's garment is.

    Raises:
        UnusableFolderError: A result is missing.
    """
    missing = [render.name for render in renders if not (folder / f"{render.name}.png").is_file()]
    if missing:
        raise UnusableFolderError(
            f"{folder} lacks {len(missing)} of {len(renders)} results, {missing[0]}.png first"
        )
    return sample_pictures(
        ((read_rgb(folder / f"{render.name}.png"), garment_corners(render.coverage())) for render in renders),
        network,
    )


def measure_results(renders: Sequence[Render], folder: Path) -> dict[str, Float[np.ndarray, " pictures"]]:
    """The fidelity columns of the results in a folder."""
    measured = [
        measure_fidelity(read_subject(render), read_rgb(folder / f"{render.name}.png")) for render in renders
    ]
    return {name: np.array([figures[name] for figures in measured]) for name in FIDELITY_COLUMNS}


def to_row(method: str, columns: Mapping[str, Column]) -> dict[str, Any]:
    """A method's line of the JSON: each column with its `_low` and `_high`."""
    row: dict[str, Any] = {"method": method}
    for name, column in columns.items():
        low, high = column.interval
        row |= {name: column.value, f"{name}_low": low, f"{name}_high": high}
    return row


def load_photos(photos: Path | None, split: Split, network: PictureFeatures) -> PictureSample:
    """Features of the photos in a folder, or in a file of them; without either, of those the repository carries.

    Args:
        split: The side whose senders' photos are taken from a folder with senders.
    """
    if photos is not None and photos.is_dir():
        return sample_pictures(cut_photos(read_photos(photos, split)), network)
    return PictureSample.load(photos or PHOTOS)


def main() -> None:
    """Command line; see the module's docstring."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--renders", type=Path, required=True, help="NAME.png with NAME.mask.png")
    parser.add_argument("--results", type=Path, required=True, nargs="+", help="folders with NAME.png")
    parser.add_argument("--photos", type=Path, help="folder of photos, or file of their features")
    parser.add_argument("--split", choices=("tune", "test"), default="test", help="side of a folder")
    parser.add_argument("--limit", type=int, help="renders, at most")
    parser.add_argument("--device", default="cpu")
    arguments = parser.parse_args()
    network = PictureFeatures(arguments.device)
    scorer = Scorer(load_photos(arguments.photos, arguments.split, network), PhotoVote.load())
    renders = find_renders(arguments.renders, arguments.limit)
    for folder in arguments.results:
        run = Run(sample_results(renders, folder, network), measure_results(renders, folder))
        print(json.dumps(to_row(folder.name, scorer.score([run]))), flush=True)


if __name__ == "__main__":
    main()
