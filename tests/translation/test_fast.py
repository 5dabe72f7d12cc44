# SPDX-License-Identifier: GPL-3.0-or-later
"""What the fast path is made of and when it is used; here a recording calls the network instead of replaying it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor

from backend.translation import Cancelled, Translator, autoencoder, passes
from backend.translation.plans import PLANS
from protocol.messages import Stage
from protocol.planes import PlaneName
from protocol.request import TranslationRequest

LOOK = TranslationRequest(steps=20, garment_strength=0.3)  # six steps

Planes = dict[PlaneName, np.ndarray]


@pytest.fixture
def translator(translators: dict[str, Translator]) -> Translator:
    model = translators["sd15"].model
    return Translator(replace(model, autoencoder=autoencoder.Autoencoder(model.autoencoder.module)))


@pytest.fixture
def replays(translator: Translator, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What was done fast, in order: `pass` for a replay, the function's name for a compiled one."""
    log: list[str] = []
    layers = translator._control._processors

    def record(
        run: Callable[[Tensor, Tensor], Tensor], latents: Tensor, beside: object
    ) -> Callable[[Tensor, int], Tensor]:
        recorded = [(layer.mode, layer.memory) for layer in layers]

        def replay(latents: Tensor, timestep: int) -> Tensor:
            log.append("pass")
            for layer, (mode, memory) in zip(layers, recorded, strict=True):
                layer.mode, layer.memory = mode, memory
            return run(latents, torch.tensor(timestep))

        run(latents, torch.tensor(0))
        return replay

    def compiled(function: Callable[[Tensor], Tensor]) -> Callable[[Tensor], Tensor]:
        def call(plane: Tensor) -> Tensor:
            log.append(function.__name__)
            return function(plane)

        return call

    monkeypatch.setattr(passes, "record", record)
    monkeypatch.setattr(autoencoder, "compiled", compiled)
    return log


@torch.inference_mode()
def prepare(translator: Translator) -> int:
    """What `Translator.prepare` does on CUDA; returns the number of parts."""
    parts = 0
    with translator._control:
        for each in translator._passes.values():
            while each.waiting:
                each.prepare()
                parts += 1
    return parts


def test_all_of_a_picture_is_fast_or_nothing(
    translator: Translator, planes: Planes, replays: list[str]
) -> None:
    expected = translator.translate(LOOK, planes)
    (shape,) = translator._passes.values()
    with torch.inference_mode():
        for part in ("guided pass", "source pass", "autoencoder"):
            replays.clear()
            assert translator.translate(LOOK, planes).recipe["kernels"] == "eager", f"before the {part}"
            assert not replays
            with translator._control:
                shape.prepare()
    replays.clear()
    result = translator.translate(LOOK, planes)
    assert result.recipe["kernels"] == "compiled" and result.recipe["reused"] == 0
    assert replays == ["_encode", *["pass"] * 13, "_decode", "_decode"]
    assert result.image.tobytes() == expected.image.tobytes()
    replays.clear()
    assert translator.translate(LOOK, planes).recipe["reused"] == 7, "of its own inversion"
    assert replays == [*["pass"] * 6, "_decode"]


def test_each_size_and_batch_is_prepared_for_itself(
    translator: Translator, planes: Planes, replays: list[str]
) -> None:
    translator.translate(LOOK, planes)
    assert prepare(translator) == 3
    assert {each.recipe["kernels"] for each in translator.translate_batch(LOOK, [planes] * 2)} == {"eager"}
    assert prepare(translator) == 2, "the autoencoder sees one picture after the other"
    assert {each.recipe["kernels"] for each in translator.translate_batch(LOOK, [planes] * 2)} == {"compiled"}


def test_a_cancel_among_replays_leaves_the_next_picture_whole(
    translator: Translator, planes: Planes, replays: list[str]
) -> None:
    expected = translator.translate(LOOK, planes)
    prepare(translator)
    for stage, step in ((Stage.INVERTING, 3), (Stage.DENOISING, 4)):
        translator._sources.clear()
        replays.clear()
        seen: list[tuple[Stage, int, int]] = []
        with pytest.raises(Cancelled):
            translator.translate(
                LOOK,
                planes,
                on_progress=lambda *told, seen=seen: seen.append(told),
                is_cancelled=lambda stage=stage, step=step, seen=seen: (
                    seen[-1:] and seen[-1][:2] == (stage, step)
                ),
            )
        assert replays.count("pass") == step + (7 if stage is Stage.DENOISING else 0)
        result = translator.translate(LOOK, planes)
        assert result.recipe["kernels"] == "compiled"
        assert result.image.tobytes() == expected.image.tobytes()


def test_an_offloading_plan_leaves_nothing_to_prepare(
    translator: Translator, planes: Planes, replays: list[str]
) -> None:
    """A recording knows where the weights lie."""
    offloading = Translator(translator.model, PLANS[-1])
    offloading.translate(LOOK, planes)
    assert prepare(offloading) == 0
    assert offloading.translate(LOOK, planes).recipe["kernels"] == "eager"
