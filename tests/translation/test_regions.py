# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import numpy as np
import torch
from direct_walk import walk_latents
from garment_samples import picture

from backend.translation import Translator
from backend.translation.picture import read_picture
from backend.translation.regions import Regions, divide
from backend.translation.schedule import low_noise_walk
from protocol.planes import PlaneName
from protocol.request import TranslationRequest


def regions_of(translator: Translator, request: TranslationRequest, protected: bool = False) -> Regions:
    """A picture whose left half is garment and whose top quarter may be protected."""
    garment = np.zeros((128, 128), np.uint8)
    garment[:, :64] = 255
    planes = {PlaneName.IMAGE: picture(128, 128), PlaneName.GARMENT: garment}
    if protected:
        planes[PlaneName.PROTECTED] = (
            np.where(np.arange(128)[:, None] < 32, 255, 0).repeat(128, 1).astype(np.uint8)
        )
    return divide(read_picture(planes), request, translator.model)


def test_each_region_starts_at_its_own_node(translators: dict[str, Translator]) -> None:
    regions = regions_of(
        translators["sd15"], TranslationRequest(steps=50, garment_strength=0.2, rest_strength=0.6)
    )
    assert regions.steps == 30 and regions.garment_steps == 10
    assert (regions.start[..., :8] == 10).all() and (regions.start[..., 8:] == 30).all()
    assert (regions.coverage == 1).all()


def test_protected_and_strength_zero_stay_out(translators: dict[str, Translator]) -> None:
    regions = regions_of(translators["sd15"], TranslationRequest(rest_strength=0.0), protected=True)
    assert (regions.coverage[32:, :64] == 1).all()
    assert (regions.coverage[:32] == 0).all() and (regions.coverage[:, 64:] == 0).all()
    assert (regions.start[..., :4, :] == 0).all() and (regions.start[..., 8:] == 0).all()


def test_a_soft_edge_starts_in_between(translators: dict[str, Translator]) -> None:
    garment = np.linspace(0, 255, 128).astype(np.uint8)[None].repeat(128, 0)
    planes = {PlaneName.IMAGE: picture(128, 128), PlaneName.GARMENT: garment}
    request = TranslationRequest(steps=50, garment_strength=0.6, rest_strength=0.0)
    starts = divide(read_picture(planes), request, translators["sd15"].model).start[0, 0, 0]
    assert (starts.diff() >= 0).all() and starts[0] == 0 and starts[-1] >= 28


def halves(left: float, right: float) -> np.ndarray:
    """(128, 128) of 0..1, in uint16."""
    return np.rint(np.repeat([[left, right]], 64, axis=1).repeat(128, axis=0) * 65535).astype(np.uint16)


def test_the_strength_plane_scales_every_region(translators: dict[str, Translator]) -> None:
    """0.5 of 14 steps in one half of the garment; what is left with less than a step keeps its bytes."""
    planes = {
        PlaneName.IMAGE: picture(128, 128),
        PlaneName.STRENGTH: halves(0.5, 1.0),
    }
    request = TranslationRequest(steps=50, garment_strength=0.28, rest_strength=0.0)
    regions = divide(read_picture(planes), request, translators["sd15"].model)
    assert (regions.start[..., :8] == 7).all() and (regions.start[..., 8:] == 14).all()
    assert regions.steps == regions.garment_steps == 14 and (regions.coverage == 1).all()
    planes[PlaneName.STRENGTH] = halves(0.05, 0.0)
    regions = divide(read_picture(planes), request, translators["sd15"].model)
    assert not regions.coverage.any() and not regions.start.any()
    planes = {**planes, PlaneName.GARMENT: halves(1.0, 0.0), PlaneName.STRENGTH: halves(1.0, 0.5)}
    request = TranslationRequest(steps=50, garment_strength=0.2, rest_strength=0.4)
    regions = divide(read_picture(planes), request, translators["sd15"].model)
    assert (regions.start == 10).all() and (regions.coverage == 1).all()


def test_free_moves_with_the_garment_and_is_not_held(translators: dict[str, Translator]) -> None:
    planes = {
        PlaneName.IMAGE: picture(128, 128),
        PlaneName.GARMENT: halves(0.5, 0.0),
        PlaneName.FREE: halves(0.5, 1.0),
    }
    request = TranslationRequest(steps=50, garment_strength=0.2, rest_strength=0.0)
    regions = divide(read_picture(planes), request, translators["sd15"].model)
    assert (regions.start == 10).all() and (regions.coverage == 1).all()
    assert (regions.garment[..., 8:] == 0).all(), "the texture lock follows the garment alone"


@torch.inference_mode()
def test_latents_stay_on_the_trajectory_until_their_node(translators: dict[str, Translator]) -> None:
    """Cells that never start end as the render's latents, bit for bit, beside cells that are translated."""
    translator = translators["sd15"]
    request = TranslationRequest(steps=10, garment_strength=0.5, rest_strength=0.0)
    regions = regions_of(translator, request)
    latents = torch.randn(1, 4, 16, 16, generator=torch.Generator().manual_seed(0))
    assert low_noise_walk(translator.model.alphas_cumprod, 10, regions.steps).steps == 5
    result = walk_latents(translator, request, latents, regions.start, regions.garment, regions.garment_steps)
    assert torch.equal(result[..., 8:], latents[..., 8:])
    assert (result[..., :8] - latents[..., :8]).abs().min() > 0
