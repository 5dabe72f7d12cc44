# SPDX-License-Identifier: GPL-3.0-or-later
"""The simple changes are what they are called, and are measured on the pictures as they are."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from noise_samples import normal_sample

from backend.evaluation.cues import PHOTOS, RENDERS, measure
from backend.evaluation.features import PictureFeatures
from backend.evaluation.patches import middle_corners
from backend.evaluation.samples import sample_patches
from backend.evaluation.vote import PhotoVote


def checked_cloth(seed: int) -> np.ndarray:
    """Two plain halves, each with a fine weave."""
    rng = np.random.default_rng(seed)
    picture = np.full((256, 192, 3), 100.0)
    picture[:, 96:] = 160.0
    return (picture + rng.normal(0, 6, picture.shape)).astype(np.uint8)


@pytest.mark.parametrize("changes", [RENDERS, PHOTOS])
def test_every_change_but_the_first_changes_a_picture_and_none_its_size(changes) -> None:
    image = torch.from_numpy(checked_cloth(0)).permute(2, 0, 1)[None] / 255
    first, *others = [change(image, torch.Generator().manual_seed(0)) for change in changes.values()]
    assert torch.equal(first, image)
    for changed in others:
        assert changed.shape == image.shape
        assert (changed - image).abs().max() > 2 / 255


def test_erased_cloth_keeps_its_edges() -> None:
    image = torch.from_numpy(checked_cloth(0)).permute(2, 0, 1)[None] / 255
    *_, erase = PHOTOS.values()
    erased = erase(image, torch.Generator())
    assert erased[..., :64].std() < image[..., :64].std() / 4
    assert erased[..., 128:].mean() - erased[..., :64].mean() > 0.8 * 60 / 255


@pytest.mark.slow
def test_what_is_measured_is_the_vote_of_the_changed_pictures() -> None:
    network = PictureFeatures()
    pictures = [(checked_cloth(seed), middle_corners(256, 192)) for seed in range(3)]
    darker = {"as it is": lambda image, draws: image, "black": lambda image, draws: 0 * image}
    others = normal_sample(20, 1, channels=1280)
    rows = measure(pictures, darker, others, network)
    plain = PhotoVote.load().votes(sample_patches(pictures, network)).mean()
    assert [name for name, _, _ in rows] == list(darker)
    assert rows[0][1] == pytest.approx(plain)
    assert rows[1][1] != pytest.approx(plain)
