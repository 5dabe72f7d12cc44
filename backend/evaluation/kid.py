# SPDX-License-Identifier: GPL-3.0-or-later
"""Kernel Inception Distance (Binkowski et al., arXiv 1801.01401) of samples that come from pictures.

    KID(X, Y) = E k(x, x') + E k(y, y') - 2 E k(x, y)          k(x, y) = (<x, y> / d + 1)^3

An unbiased estimate leaves out the pairs of a sample with itself. Patches of one picture are no independent
samples either, so here all pairs within one picture are left out. The same formula with whole weights gives a
bootstrap replicate: a picture drawn twice is one picture of weight two, never a pair with itself.

KID is a distance of distributions and is known only as well as these are: the interval resamples pictures and then
their patches, on both sides. All methods are scored on the same draws, so that two of them can be compared.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

REPLICATES = 500
SCALE = 1000.0
"""KID is told in thousandths."""


@dataclass(frozen=True)
class Sample:
    """Features and the picture that each row was cut from.

    Args:
        features: One row a patch, or a whole picture.
        owners: Number of the picture of each row, 0..pictures - 1, ascending.
    """

    features: Float[np.ndarray, "rows channels"]
    owners: Int[np.ndarray, " rows"]


def kernel(
    x: Float[np.ndarray, "n channels"], y: Float[np.ndarray, "m channels"]
) -> Float[np.ndarray, "n m"]:
    """The cubic polynomial kernel of KID, in float64."""
    product: Float[np.ndarray, "n m"] = x.astype(np.float64) @ y.astype(np.float64).T
    similarity: Float[np.ndarray, "n m"] = (product / x.shape[1] + 1) ** 3
    return similarity


def draw_weights(
    owners: Int[np.ndarray, " rows"], replicates: int, rng: np.random.Generator, fewest: int = 2
) -> Float[np.ndarray, "replicates rows"]:
    """How often each row occurs when pictures, and then rows within each, are drawn with replacement.

    Args:
        fewest: Different pictures in a draw; one with less is drawn again. KID needs a pair.

    Raises:
        ValueError: There are fewer pictures.
    """
    pictures, rows_of = np.unique(owners, return_counts=True)
    if len(pictures) < fewest:
        raise ValueError(
            f"fewer than {fewest} pictures have patches of cloth; a benchmark needs more renders"
        )
    weights = np.zeros((replicates, len(owners)))
    shares = np.full(len(pictures), 1 / len(pictures))
    drawn = rng.multinomial(len(pictures), shares, size=replicates)
    while (alone := (drawn > 0).sum(1) < fewest).any():
        drawn[alone] = rng.multinomial(len(pictures), shares, size=int(alone.sum()))
    start = 0
    for picture, rows in enumerate(rows_of):
        weights[:, start : start + rows] = rng.multinomial(drawn[:, picture] * rows, np.full(rows, 1 / rows))
        start += rows
    return weights


class Reference:
    """The photos' side of KID, computed once for all methods.

    Args:
        photos: Features of the held-out photos.
        replicates: Draws of the bootstrap.
        seed: Of the draws.
    """

    def __init__(self, photos: Sample, replicates: int = REPLICATES, seed: int = 0) -> None:
        self._photos = photos
        ones = np.ones((1, len(photos.owners)))
        drawn = draw_weights(photos.owners, replicates, np.random.default_rng([seed, 1]))
        self._weights = np.concatenate([ones, drawn])
        self._within = _within(photos, self._weights)
        self._replicates, self._seed = replicates, seed

    def distances(self, runs: Sequence[Sample]) -> Float[np.ndarray, " replicates_and_one"]:
        """KID x 1000 of results to the photos: the estimate, then the bootstrap's replicates.

        Args:
            runs: The results of each random seed, of the same pictures and patches. Their KIDs are averaged; a
                replicate also draws its seeds.
        """
        owners = runs[0].owners
        rng = np.random.default_rng([self._seed, 2])
        weights = np.concatenate([np.ones((1, len(owners))), draw_weights(owners, self._replicates, rng)])
        shares = seed_shares(len(runs), self._replicates, self._seed)
        total = np.zeros(len(weights))
        for run, share in zip(runs, shares.T, strict=True):
            across = kernel(run.features, self._photos.features)
            cross = ((weights @ across) * self._weights).sum(1)
            cross /= weights.sum(1) * self._weights.sum(1)
            total += share * (_within(run, weights) + self._within - 2 * cross)
        return SCALE * total


def seed_shares(seeds: int, replicates: int, seed: int) -> Float[np.ndarray, "replicates_and_one seeds"]:
    """Share of each random seed in the estimate (row 0: equal) and in each replicate."""
    drawn = np.random.default_rng([seed, 3]).multinomial(seeds, np.full(seeds, 1 / seeds), size=replicates)
    return np.concatenate([np.full((1, seeds), 1 / seeds), drawn / seeds])


def _within(
    sample: Sample, weights: Float[np.ndarray, "replicates rows"]
) -> Float[np.ndarray, " replicates"]:
    """Weighted mean of k over the pairs of rows from different pictures."""
    pairs = kernel(sample.features, sample.features)
    pairs[sample.owners[:, None] == sample.owners] = 0
    same = np.zeros(len(weights))
    for picture in np.unique(sample.owners):
        same += weights[:, sample.owners == picture].sum(1) ** 2
    mean: Float[np.ndarray, " replicates"] = ((weights @ pairs) * weights).sum(1) / (
        weights.sum(1) ** 2 - same
    )
    return mean
