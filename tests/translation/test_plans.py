# SPDX-License-Identifier: GPL-3.0-or-later
"""Memory plans: how they are chosen, that they give the same picture, and what happens when memory runs out."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from backend.translation import Translator, pipeline
from backend.translation.attention import TextureControl
from backend.translation.autoencoder import Autoencoder
from backend.translation.batch import Batch
from backend.translation.passes import Passes
from backend.translation.plans import PLANS, Needs, Plan, choose, free_bytes, needs_of
from backend.translation.source import SourceCache
from protocol.errors import ErrorCode, MakeRealError
from protocol.planes import PlaneName
from protocol.request import TranslationRequest

QUICK = TranslationRequest(steps=10, garment_strength=0.3, rest_strength=0.3)
NEEDS = Needs(features=1000, trajectory=10, walk=200, cell=1, cells=6000, network=5000, coder=100)

Planes = dict[PlaneName, np.ndarray]
by_name = pytest.mark.parametrize("plan", PLANS, ids=lambda plan: plan.name)


@pytest.mark.parametrize(
    ("free", "name"),
    [
        (None, "full"),
        (7010, "full"),
        (7009, "tiled autoencoder"),
        (5106, "tiled autoencoder"),
        (5105, "chunked features"),
        (4605, "source recomputed"),
        (4105, "model offload"),
        (0, "model offload"),
    ],
)
def test_the_cheapest_plan_that_fits_is_chosen(free: int | None, name: str) -> None:
    assert choose(NEEDS, free).name == name


def test_needs_count_what_they_should(translators: dict[str, Translator], planes: Planes) -> None:
    """The features' estimate is exact; everything grows with the batch, and features end with the lock."""
    model = translators["sd15"].model
    control = TextureControl(model.unet)

    def needs(request: TranslationRequest, pictures: int) -> Needs:
        return needs_of(Batch.read(request, [planes] * pictures, model), model, control)

    one, two = needs(QUICK, 1), needs(QUICK, 2)
    fresh = Translator(model)
    fresh.translate(QUICK, planes)
    (source,) = fresh._sources._sources.values()
    assert one.features == source.feature_bytes > 0
    assert (two.features, two.walk, two.trajectory) == (2 * one.features, 2 * one.walk, 2 * one.trajectory)
    assert needs(replace(QUICK, texture_lock=0.0), 1).features == 0
    assert all(one.under(a) >= one.under(b) for a, b in pairwise(PLANS))


def test_free_memory_is_told() -> None:
    free = free_bytes(torch.device("cpu"))
    assert free is None or 1 << 20 < free < 1 << 44


def force(monkeypatch: pytest.MonkeyPatch, plan: Plan) -> None:
    monkeypatch.setattr(pipeline, "choose", lambda needs, free: plan)


@by_name
def test_every_plan_gives_the_same_bytes(
    translators: dict[str, Translator], planes: Planes, monkeypatch: pytest.MonkeyPatch, plan: Plan
) -> None:
    """Of a picture that a tile holds; it is not a matter of luck, for features captured twice are equal."""
    expected = Translator(translators["sd15"].model).translate(QUICK, planes)
    force(monkeypatch, plan)
    result = Translator(translators["sd15"].model).translate(QUICK, planes)
    assert expected.recipe["plan"] == "full" and result.recipe["plan"] == plan.name
    assert result.image.tobytes() == expected.image.tobytes()


def test_features_are_kept_as_far_as_the_plan_says(
    translators: dict[str, Translator], planes: Planes, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept = []
    for plan in (PLANS[0], PLANS[2], PLANS[3]):
        force(monkeypatch, plan)
        translator = Translator(translators["sd15"].model)
        translator.translate(TranslationRequest(), planes)  # six steps are walked, five are locked
        (source,) = translator._sources._sources.values()
        kept.append(len(source.features))
    assert kept == [5, 2, 0]


def test_offloading_gives_each_network_its_turn(
    translators: dict[str, Translator], planes: Planes, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = translators["sd15"].model
    away: set[str] = set()
    log: list[tuple[str, frozenset[str]]] = []

    def watch(module: torch.nn.Module, name: str) -> None:
        monkeypatch.setattr(module, "to", lambda device: away.add(name) if device == "cpu" else None)

    watch(model.unet, "network")
    watch(model.autoencoder.module, "autoencoder")
    monkeypatch.setattr(
        "backend.translation.plans._at_work",
        lambda module, model: away.discard("network" if module is model.unet else "autoencoder"),
    )
    for kind, name in (
        (Autoencoder, "encode"),
        (Passes, "source"),
        (Passes, "real"),
        (Autoencoder, "decode"),
    ):
        monkeypatch.setattr(kind, name, logged(getattr(kind, name), name, log, away))
    force(monkeypatch, PLANS[-1])
    Translator(model).translate(QUICK, planes)
    assert set(log) == {
        ("encode", frozenset({"network"})),
        ("source", frozenset({"autoencoder"})),
        ("real", frozenset({"autoencoder"})),
        ("decode", frozenset({"network"})),
    }


def logged(function: Any, name: str, log: list[tuple[str, frozenset[str]]], away: set[str]) -> Any:
    def call(*arguments: Any) -> Any:
        log.append((name, frozenset(away)))
        return function(*arguments)

    return call


STAGES = {
    "reading": (pipeline.Batch, "read"),
    "allocating": (TextureControl, "allocate"),
    "encoding": (Autoencoder, "encode"),
    "inverting": (Passes, "source"),
    "keeping features": (Passes, "captured"),
    "denoising": (Passes, "real"),
    "decoding": (Autoencoder, "decode"),
    "restoring detail": (pipeline, "restore_detail"),
    "keeping for later": (SourceCache, "settle"),
    "composing": (pipeline, "compose"),
    "measuring": (pipeline, "compare"),
}


@pytest.mark.parametrize("stage", STAGES)
@pytest.mark.parametrize("failures", [1, 2])
def test_out_of_memory_at_every_stage(
    translators: dict[str, Translator],
    planes: Planes,
    monkeypatch: pytest.MonkeyPatch,
    stage: str,
    failures: int,
) -> None:
    """Once: the smallest plan does it. Twice: a clear error, and the next picture works."""
    translator = Translator(translators["starter"].model)
    expected = Translator(translators["starter"].model).translate(QUICK, planes).image
    owner, name = STAGES[stage]
    function, left = getattr(owner, name), [failures]

    def scarce(*arguments: Any, **options: Any) -> Any:
        if left[0] > 0:
            left[0] -= 1
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 3 GiB. Of the allocated ...")
        return function(*arguments, **options)

    # The smallest plan keeps no features, so it cannot fail there.
    survives = failures == 1 or stage == "keeping features"
    monkeypatch.setattr(owner, name, scarce)
    if survives:
        result = translator.translate(QUICK, planes)
        assert result.recipe["plan"] == PLANS[-1].name
        assert result.image.tobytes() == expected.tobytes()
    else:
        with pytest.raises(MakeRealError) as caught:
            translator.translate(QUICK, planes)
        assert caught.value.code is ErrorCode.OUT_OF_MEMORY
        assert caught.value.detail == "CUDA out of memory"
        left[0] = 0
        assert translator.translate(QUICK, planes).image.tobytes() == expected.tobytes()


def exhaust_cuda() -> None:
    raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 3 GiB. Of the allocated ...")


def exhaust_host() -> None:
    torch.empty(1 << 60, dtype=torch.uint8)


def exhaust_python() -> None:
    np.empty(1 << 60, np.uint8)


EXHAUSTED = pytest.mark.parametrize(
    ("exhaust", "told"),
    [
        (exhaust_cuda, "CUDA out of memory"),
        (exhaust_host, "can't allocate memory: you tried to allocate 1152921504606846976 bytes"),
        (exhaust_python, "Unable to allocate 1.00 EiB"),
    ],
)


@EXHAUSTED
def test_every_kind_of_memory_that_runs_out_is_known(
    translators: dict[str, Translator],
    planes: Planes,
    monkeypatch: pytest.MonkeyPatch,
    exhaust: Callable[[], None],
    told: str,
) -> None:
    translator, tries = Translator(translators["starter"].model), []

    def scarce(*arguments: Any) -> None:
        tries.append(arguments)
        exhaust()

    monkeypatch.setattr(Passes, "source", scarce)
    with pytest.raises(MakeRealError) as caught:
        translator.translate(QUICK, planes)
    assert len(tries) == 2, "the smallest plan was tried"
    assert caught.value.code is ErrorCode.OUT_OF_MEMORY
    assert caught.value.detail.startswith(told)


@EXHAUSTED
def test_a_model_that_does_not_fit_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, exhaust: Callable[[], None], told: str
) -> None:
    monkeypatch.setattr(pipeline, "load_model", lambda *_: exhaust())
    with pytest.raises(MakeRealError) as caught:
        Translator.load(tmp_path)
    assert caught.value.code is ErrorCode.OUT_OF_MEMORY
    assert caught.value.detail.startswith(told)


def test_another_error_is_not_taken_for_a_lack_of_memory(
    translators: dict[str, Translator], planes: Planes, monkeypatch: pytest.MonkeyPatch
) -> None:
    tries = []

    def fail(*arguments: Any) -> None:
        tries.append(arguments)
        raise RuntimeError("CUDA error: an illegal memory access was encountered")

    monkeypatch.setattr(Passes, "source", fail)
    with pytest.raises(RuntimeError, match="illegal memory access"):
        Translator(translators["starter"].model).translate(QUICK, planes)
    assert len(tries) == 1
