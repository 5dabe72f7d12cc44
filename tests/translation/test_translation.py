# SPDX-License-Identifier: GPL-3.0-or-later
"""The whole translation on tiny models that are loaded from folders."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from garment_samples import box_mask, picture

from backend.translation import Cancelled, Translator, pipeline
from backend.translation.batch import Batch
from backend.translation.fidelity import drift_warnings
from backend.translation.plans import PLANS, Plan
from protocol.errors import ErrorCode, MakeRealError
from protocol.messages import Stage
from protocol.planes import PlaneName
from protocol.request import TranslationRequest

IMAGE, GARMENT, PROTECTED = PlaneName.IMAGE, PlaneName.GARMENT, PlaneName.PROTECTED
QUICK = TranslationRequest(
    steps=10, garment_strength=0.3, rest_strength=0.3
)  # three steps are walked, everywhere
QUICK_GARMENT = replace(QUICK, rest_strength=0.0)

Planes = dict[PlaneName, np.ndarray]


@pytest.mark.parametrize("family", ["sd15", "sdxl", "starter"])
def test_every_family_translates(translators: dict[str, Translator], planes: Planes, family: str) -> None:
    result = translators[family].translate(QUICK, planes)
    assert result.image.shape == planes[IMAGE].shape and result.image.dtype == planes[IMAGE].dtype
    assert not np.array_equal(result.image, planes[IMAGE])
    assert set(result.report) >= {"ssim_garment", "delta_e_garment", "highpass_garment", "alignment_px"}
    assert all(np.isfinite(value) for value in result.report.values())
    assert list(result.seconds) == ["encoding", "inverting", "denoising", "decoding"]


@pytest.mark.parametrize(("height", "width"), [(333, 517), (512, 512)])
def test_any_size_comes_back(translators: dict[str, Translator], height: int, width: int) -> None:
    planes = {IMAGE: picture(height, width), GARMENT: box_mask(height, width)}
    result = translators["starter"].translate(replace(QUICK, steps=4), planes)
    assert result.image.shape == (height, width, 3)
    assert result.report["alignment_px"] < 0.25


@pytest.mark.slow
def test_full_hd_in_and_out(translators: dict[str, Translator]) -> None:
    """By windows: 1920x1080 is far above the tiny model's native area."""
    planes = {IMAGE: picture(1080, 1920), GARMENT: box_mask(1080, 1920)}
    big = Translator(replace(translators["starter"].model, native_area=64 * 48))
    result = big.translate(TranslationRequest(steps=4), planes)
    assert result.image.shape == (1080, 1920, 3)
    assert result.report["alignment_px"] < 0.25
    assert not np.array_equal(result.image, planes[IMAGE])


def test_strength_zero_returns_the_bytes_without_the_network(
    translators: dict[str, Translator], planes: Planes
) -> None:
    steps = []
    request = TranslationRequest(garment_strength=0.0, rest_strength=0.0)
    result = translators["sd15"].translate(request, planes, on_progress=lambda *step: steps.append(step))
    assert result.image.tobytes() == planes[IMAGE].tobytes()
    assert steps == []
    assert result.report["ssim_garment"] == pytest.approx(1)


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float16", "float32"])
def test_protected_and_untranslated_pixels_come_back_bit_for_bit(
    translators: dict[str, Translator], planes: Planes, dtype: str
) -> None:
    scale = {"uint8": 255, "uint16": 65535}.get(dtype, 1)
    image = (planes[IMAGE] / 255 * scale).astype(dtype)
    protected = np.zeros((128, 96), np.uint8)
    protected[40:60, 30:60] = 255
    given = {IMAGE: image, GARMENT: planes[GARMENT], PROTECTED: protected}
    result = translators["starter"].translate(replace(QUICK, rest_strength=0.0), given).image
    kept = (protected == 255) | (planes[GARMENT] == 0)
    assert result[kept].tobytes() == image[kept].tobytes()
    assert (result[~kept] != image[~kept]).any()


def test_a_part_with_strength_zero_comes_back_bit_for_bit_and_a_weaker_one_moves_less(
    translators: dict[str, Translator], planes: Planes
) -> None:
    image, height = planes[IMAGE], planes[IMAGE].shape[0]
    whole = translators["starter"].translate(QUICK, {IMAGE: image}).image
    factor = np.ones(image.shape[:2], np.float32)
    factor[: height // 2] = 0.0
    result = translators["starter"].translate(QUICK, {IMAGE: image, PlaneName.STRENGTH: factor}).image
    assert result[: height // 2].tobytes() == image[: height // 2].tobytes()
    factor[: height // 2] = 0.5
    result = translators["starter"].translate(QUICK, {IMAGE: image, PlaneName.STRENGTH: factor}).image

    def change(picture: np.ndarray, rows: slice) -> float:
        return float(np.abs(picture[rows].astype(float) - image[rows]).mean())

    # Away from the border between the halves, where the network's view reaches over.
    far = slice(0, height // 4)
    assert 0 < change(result, far) < change(whole, far)


def test_alpha_and_transparent_pixels_stay(translators: dict[str, Translator], planes: Planes) -> None:
    image = np.dstack([planes[IMAGE], planes[GARMENT]])
    result = translators["starter"].translate(QUICK, {IMAGE: image, GARMENT: planes[GARMENT]}).image
    assert np.array_equal(result[..., 3], image[..., 3])
    assert np.array_equal(result[image[..., 3] == 0], image[image[..., 3] == 0])
    assert not np.array_equal(result, image)


@pytest.mark.parametrize("threads", [1, pytest.param(2, marks=pytest.mark.slow)])
def test_equal_requests_give_equal_bytes(translators: dict[str, Translator], threads: int) -> None:
    planes = {IMAGE: picture(64, 64)}
    torch.set_num_threads(threads)
    try:
        first, second = (Translator(translators["starter"].model).translate(QUICK, planes) for _ in range(2))
    finally:
        torch.set_num_threads(1)
    assert first.image.tobytes() == second.image.tobytes()
    assert first.recipe == second.recipe
    other = translators["starter"].translate(replace(QUICK, guidance_scale=3.0), planes)
    assert other.image.tobytes() != first.image.tobytes()


def test_the_recipe_reproduces(translators: dict[str, Translator], planes: Planes) -> None:
    recipe = translators["sd15"].translate(QUICK, planes).recipe
    assert TranslationRequest(**recipe["request"]) == QUICK
    assert recipe["model"] == {
        "name": "sd15",
        "digest": translators["sd15"].model.digest,
        "domain": "rendered garments",
        "guidance_gain": 1.0,
    }
    assert recipe["planes"].keys() == {"image", "garment"}
    assert (recipe["plan"], recipe["kernels"]) == ("full", "eager")
    assert recipe["fidelity"].keys() == {
        "ssim_garment",
        "delta_e_garment",
        "colour_garment",
        "highpass_garment",
        "alignment_px",
    }
    assert recipe["warnings"] == drift_warnings(recipe["fidelity"])


@pytest.mark.parametrize(
    ("stage", "step"),
    [
        (Stage.ENCODING, 0),
        (Stage.INVERTING, 0),
        (Stage.INVERTING, 2),
        (Stage.DENOISING, 1),
        (Stage.DENOISING, 3),
        (Stage.DECODING, 1),
    ],
)
def test_cancel_anywhere_then_the_next_job_works(
    translators: dict[str, Translator], planes: Planes, stage: Stage, step: int
) -> None:
    translator = Translator(translators["starter"].model)
    processors = dict(translator.model.unet.attn_processors)
    seen: list[tuple[Stage, int, int]] = []

    def is_cancelled() -> bool:
        return bool(seen) and seen[-1][:2] == (stage, step)

    with pytest.raises(Cancelled) as caught:
        translator.translate(QUICK, planes, on_progress=lambda *a: seen.append(a), is_cancelled=is_cancelled)
    assert caught.value.code is ErrorCode.CANCELLED
    assert seen[-1][:2] == (stage, step), "nothing was done after the cancel"
    assert translator.model.unet.attn_processors == processors
    assert translator.translate(QUICK, planes).image.shape == planes[IMAGE].shape


def test_progress_counts_every_step(translators: dict[str, Translator], planes: Planes) -> None:
    seen: list[tuple[Stage, int, int]] = []
    fresh = Translator(translators["starter"].model)
    fresh.translate(QUICK, planes, on_progress=lambda *a: seen.append(a))
    expected = [(Stage.ENCODING, 1), (Stage.INVERTING, 4), (Stage.DENOISING, 3), (Stage.DECODING, 2)]
    assert seen == [(stage, step, steps) for stage, steps in expected for step in range(steps + 1)]


def test_the_default_takes_seven_passes_and_six_guided_ones(
    translators: dict[str, Translator], planes: Planes
) -> None:
    batches: list[int] = []
    unet = translators["sd15"].model.unet
    handle = unet.register_forward_pre_hook(lambda _module, arguments: batches.append(len(arguments[0])))
    Translator(translators["sd15"].model).translate(TranslationRequest(), planes)
    handle.remove()
    assert batches == [1] * 7 + [2] * 6


def test_texture_lock_acts_inside_the_garment(translators: dict[str, Translator], planes: Planes) -> None:
    """Lock on against lock off: the garment differs, and differs more than what lies outside of it."""
    given = {IMAGE: planes[IMAGE].astype(np.float32) / 255, GARMENT: planes[GARMENT]}
    locked, free = (
        translators["sd15"].translate(replace(QUICK, texture_lock=lock, detail=0.0), given).image
        for lock in (1.0, 0.0)
    )
    difference = np.abs(locked - free).sum(-1)
    inside, outside = planes[GARMENT] == 255, planes[GARMENT] == 0
    assert difference[inside].mean() > 1e-3
    assert difference[inside].mean() > difference[outside].mean()


def test_texture_steps_zero_is_no_attention_control(
    translators: dict[str, Translator], planes: Planes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pipeline, "hide_grain", lambda output, render, lock: output)
    none = translators["starter"].translate(replace(QUICK, texture_steps=0.0), planes)
    free = translators["starter"].translate(replace(QUICK, texture_lock=0.0), planes)
    assert none.image.tobytes() == free.image.tobytes()


def test_texture_lock_keeps_grain_faint_without_attention_control(
    translators: dict[str, Translator], planes: Planes
) -> None:
    results = (
        translators["sd15"].translate(replace(QUICK, texture_steps=0.0, texture_lock=lock), planes)
        for lock in (0.0, 0.5, 1.0)
    )
    free, held, firmly_held = (result.report["ssim_garment"] for result in results)
    assert free < held < firmly_held


@pytest.mark.parametrize("plan", [PLANS[0], PLANS[2], PLANS[3]], ids=lambda plan: plan.name)
def test_each_window_uses_its_own_features(
    translators: dict[str, Translator], planes: Planes, monkeypatch: pytest.MonkeyPatch, plan: Plan
) -> None:
    """Unguided, with texture locked, the render comes back: with another window's or step's features it would not."""
    monkeypatch.setattr(pipeline, "choose", lambda needs, free: plan)
    cut = Translator(replace(translators["sd15"].model, native_area=8 * 8))
    result = cut.translate(replace(QUICK, guidance_scale=1.0, detail=1.0), {IMAGE: planes[IMAGE]})
    assert np.abs(result.image.astype(int) - planes[IMAGE]).max() <= 1


def test_of_a_large_picture_the_box_of_what_moves_is_translated(translators: dict[str, Translator]) -> None:
    """The box is cut with context and on the grid; beyond it the bytes stay, inside it the picture changes."""
    small = Translator(replace(translators["starter"].model, native_area=16 * 16))
    image, mask = picture(512, 384), np.zeros((512, 384), np.uint8)
    mask[300:340, 200:250] = 255
    batch = Batch.read(QUICK_GARMENT, [{IMAGE: image, GARMENT: mask}], small.model)
    assert batch.box.corners == (16, 16, 64, 48) and len(batch.windows) > 1
    bold = replace(QUICK_GARMENT, variation=1.0)
    result = small.translate(bold, {IMAGE: image, GARMENT: mask}).image
    assert np.array_equal(result[mask == 0], image[mask == 0])
    assert not np.array_equal(result[mask > 0], image[mask > 0])
    whole = Batch.read(QUICK, [{IMAGE: image, GARMENT: mask}], translators["starter"].model)
    assert whole.box.corners == (0, 0, 64, 48), "what fits into the network is taken whole"


def test_a_batch_gives_each_picture_as_if_alone(translators: dict[str, Translator], planes: Planes) -> None:
    """Unguided: a random network makes much of the rounding of a larger batch. See also `test_attention`."""
    other = {IMAGE: planes[IMAGE][::-1].copy(), GARMENT: np.full((128, 96), 255, np.uint8)}
    translator, request = translators["sd15"], replace(QUICK, guidance_scale=1.0)
    together = translator.translate_batch(request, [planes, other])
    for given, result in zip((planes, other), together, strict=True):
        alone = Translator(translator.model).translate(request, given)
        assert np.abs(result.image.astype(int) - alone.image).max() <= 1
        assert result.recipe["planes"] == alone.recipe["planes"]
    with pytest.raises(MakeRealError) as caught:
        translator.translate_batch(request, [planes, {IMAGE: picture(64, 64)}])
    assert caught.value.code is ErrorCode.INVALID_REQUEST


def test_a_model_without_a_domain_says_that_guidance_has_no_effect(
    translators: dict[str, Translator], planes: Planes
) -> None:
    bare = Translator(replace(translators["sd15"].model, negative=None, domain=None))
    crisp = replace(QUICK, detail=1.0)
    [warning] = bare.translate(crisp, planes).recipe["warnings"]
    assert "no domain" in warning
    assert bare.translate(replace(crisp, guidance_scale=1.0), planes).recipe["warnings"] == []
