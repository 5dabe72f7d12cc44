# SPDX-License-Identifier: GPL-3.0-or-later
"""KID against its formula, and its intervals against what they promise."""

from __future__ import annotations

import numpy as np
import pytest
from noise_samples import normal_sample

from backend.evaluation.kid import SCALE, Reference, Sample, draw_weights, kernel


def written_out(x: Sample, y: Sample) -> float:
    """The definition, pair by pair; pairs within one picture left out."""

    def k(a: np.ndarray, b: np.ndarray) -> float:
        return float((a @ b / len(a) + 1) ** 3)

    def within(s: Sample) -> float:
        pairs = [
            k(a, b)
            for i, a in enumerate(s.features)
            for j, b in enumerate(s.features)
            if s.owners[i] != s.owners[j]
        ]
        return float(np.mean(pairs))

    across = float(np.mean([k(a, b) for a in x.features for b in y.features]))
    return SCALE * (within(x) + within(y) - 2 * across)


def test_the_kernel_is_the_cubic_polynomial() -> None:
    x = np.array([[1.0, 2.0, 3.0]])
    assert kernel(x, x)[0, 0] == pytest.approx((14 / 3 + 1) ** 3)


def test_kid_is_its_definition() -> None:
    x, y = normal_sample(5, 2, shift=0.4, seed=1), normal_sample(6, 3, seed=2)
    assert Reference(y, replicates=2).distances([x])[0] == pytest.approx(written_out(x, y))


def test_a_replicate_is_the_definition_of_what_was_drawn() -> None:
    """Drawn twice, a picture is two equal pictures but for the pairs between them."""
    y = normal_sample(6, 2, seed=2)
    weights = draw_weights(y.owners, 1, np.random.default_rng([0, 1]))[0].astype(int)
    drawn = Sample(np.repeat(y.features, weights, axis=0), np.repeat(y.owners, weights))
    x = normal_sample(1, 1)
    x = Sample(np.concatenate([x.features] * 2), np.array([0, 1]))
    assert Reference(y, replicates=1).distances([x])[1] == pytest.approx(written_out(x, drawn))


def test_samples_of_one_distribution_are_at_no_distance_on_average() -> None:
    photos = normal_sample(80, 2, seed=100)
    kids = [Reference(photos, 1).distances([normal_sample(40, 2, seed=seed)])[0] for seed in range(20)]
    shifted = Reference(photos, 1).distances([normal_sample(40, 2, shift=0.5, seed=0)])[0]
    assert abs(np.mean(kids)) < 3 * np.std(kids)
    assert shifted > 10 * np.std(kids)


def test_kid_grows_with_the_shift() -> None:
    reference = Reference(normal_sample(60, 2, seed=100), 1)
    kids = [reference.distances([normal_sample(40, 2, shift=s, seed=3)])[0] for s in (0.2, 0.4, 0.8)]
    assert kids == sorted(kids)


def test_the_interval_holds_the_truth_as_often_as_it_says() -> None:
    photos = normal_sample(4000, 1, seed=100)
    few = Sample(photos.features[:150], photos.owners[:150])
    reference, wide = Reference(few, 200), Reference(photos, 1)
    truth = np.mean([wide.distances([normal_sample(300, 2, shift=0.3, seed=s)])[0] for s in range(3)])
    held = 0
    for seed in range(20):
        low, high = np.percentile(
            reference.distances([normal_sample(40, 2, shift=0.3, seed=10 + seed)])[1:], (2.5, 97.5)
        )
        held += low <= truth <= high
    assert held >= 16


def test_seeds_are_averaged_and_drawn() -> None:
    reference = Reference(normal_sample(30, 2, seed=100), 50)
    runs = [normal_sample(10, 2, shift=shift, seed=5) for shift in (0.2, 0.6)]
    both = reference.distances(runs)
    alone = [reference.distances([run]) for run in runs]
    assert both[0] == pytest.approx((alone[0][0] + alone[1][0]) / 2)
    assert {round(float(share), 6) for share in (both - alone[1]) / (alone[0] - alone[1])} == {0.0, 0.5, 1.0}


def test_pictures_are_drawn_whole_and_rows_within_them() -> None:
    owners = np.repeat(np.arange(4), 3)
    weights = draw_weights(owners, 500, np.random.default_rng(0))
    per_picture = weights.reshape(500, 4, 3).sum(2)
    assert (weights.sum(1) == 12).all()
    assert (per_picture % 3 == 0).all()
    assert weights.mean() == pytest.approx(1, abs=0.05)
