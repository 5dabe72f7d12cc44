# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import numpy as np
import pytest
from noise_samples import normal_sample

from backend.evaluation.kid import Sample
from backend.evaluation.vote import PhotoVote, train_vote


def domains(shift: float, seed: int) -> tuple[Sample, Sample]:
    return normal_sample(150, 2, shift=shift, seed=seed), normal_sample(100, 2, shift=-shift, seed=seed + 1)


def test_the_vote_tells_the_domains_apart_and_knows_how_well() -> None:
    vote = train_vote(*domains(0.3, 1), *domains(0.3, 3))
    photos, renders = (vote.votes(sample) for sample in domains(0.3, 5))
    assert photos.mean() > 0.6 > 0.4 > renders.mean()
    sure = np.concatenate([photos > 0.7, renders < 0.3])
    votes = np.concatenate([photos, 1 - renders])
    called = np.concatenate([photos, renders]) > 0.5
    right = called == np.concatenate([np.ones(len(photos), bool), np.zeros(len(renders), bool)])
    claimed = np.maximum(votes, 1 - votes)
    assert sure.any() and right.mean() == pytest.approx(claimed.mean(), abs=0.06)


def test_calibration_tempers_a_classifier_that_learnt_by_heart() -> None:
    """Without any difference between the domains the calibrated vote must say so."""
    vote = train_vote(*domains(0.0, 1), *domains(0.0, 3))
    photos, renders = (vote.votes(sample) for sample in domains(0.0, 5))
    assert photos.mean() == pytest.approx(0.5, abs=0.08)
    assert renders.mean() == pytest.approx(0.5, abs=0.08)


def test_a_vote_is_kept_in_a_file(tmp_path) -> None:
    vote = PhotoVote(np.arange(8.0), -0.25)
    vote.save(tmp_path / "vote.safetensors")
    sample = normal_sample(3, 1)
    np.testing.assert_allclose(
        PhotoVote.load(tmp_path / "vote.safetensors").votes(sample), vote.votes(sample)
    )
