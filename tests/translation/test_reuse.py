# SPDX-License-Identifier: GPL-3.0-or-later
"""Reuse across looks: never where it would be wrong, and then with the bytes of a fresh translation."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pytest
import torch

from backend.translation import Cancelled, Translator
from backend.translation.source import Source, SourceCache
from protocol.messages import Stage
from protocol.planes import PlaneName
from protocol.request import TranslationRequest

LOOK = TranslationRequest(steps=20, garment_strength=0.3)  # six steps
NODES = 7

Planes = dict[PlaneName, np.ndarray]


@pytest.fixture
def translator(translators: dict[str, Translator]) -> Translator:
    """One that has not seen anything yet."""
    return Translator(translators["sd15"].model)


@pytest.fixture
def batches(translator: Translator) -> Iterator[list[int]]:
    """Batch size of each pass of the network from here on."""
    sizes: list[int] = []
    unet = translator.model.unet
    handle = unet.register_forward_pre_hook(lambda _module, arguments: sizes.append(len(arguments[0])))
    yield sizes
    handle.remove()


@pytest.mark.parametrize(
    ("change", "steps"),
    [
        ({"guidance_scale": 3.0}, 6),
        ({"texture_lock": 0.5}, 6),
        ({"texture_lock": 0.0}, 6),
        ({"texture_steps": 0.4}, 6),
        ({"detail": 0.3}, 6),
        ({"seed": 4, "variation": 0.5}, 6),
        ({"garment_strength": 0.2}, 4),
        ({"rest_strength": 0.1}, 6),
    ],
    ids=str,
)
def test_another_look_runs_the_guided_steps_alone(
    translator: Translator, planes: Planes, batches: list[int], change: dict[str, float], steps: int
) -> None:
    look = replace(LOOK, **change)  # type: ignore[arg-type]
    fresh = Translator(translator.model).translate(look, planes)
    first = translator.translate(LOOK, planes)
    batches.clear()
    again = translator.translate(look, planes)
    assert batches == [2] * steps
    assert first.recipe["reused"] == fresh.recipe["reused"] == 0 and again.recipe["reused"] == NODES
    assert again.image.tobytes() == fresh.image.tobytes()


@pytest.mark.parametrize(
    ("change", "inverted", "captured_again"),
    [({"garment_strength": 0.5}, 4, 0), ({"texture_steps": 1.0}, 0, 1)],
    ids=str,
)
def test_a_look_that_needs_more_adds_what_is_missing(
    translator: Translator,
    planes: Planes,
    batches: list[int],
    change: dict[str, float],
    inverted: int,
    captured_again: int,
) -> None:
    """A deeper inversion goes on where the first ended; a node that was free is captured when it is held."""
    look = replace(LOOK, **change)  # type: ignore[arg-type]
    translator.translate(LOOK, planes)
    batches.clear()
    result = translator.translate(look, planes)
    assert batches.count(1) == inverted + captured_again
    batches.clear()
    assert translator.translate(look, planes).image.tobytes() == result.image.tobytes()
    assert batches.count(1) == 0, "now it is known"
    assert result.image.tobytes() == Translator(translator.model).translate(look, planes).image.tobytes()


def test_another_picture_is_never_taken_for_this_one(translator: Translator, planes: Planes) -> None:
    translator.translate(LOOK, planes)
    image = planes[PlaneName.IMAGE].copy()
    image[5, 7, 1] ^= 1
    other = {**planes, PlaneName.IMAGE: image}
    assert translator.translate(LOOK, other).recipe["reused"] == 0
    wider = {**planes, PlaneName.IMAGE: planes[PlaneName.IMAGE].astype(np.uint16) * 257}
    assert translator.translate(LOOK, wider).recipe["reused"] == 0
    assert translator.translate(replace(LOOK, steps=21), planes).recipe["reused"] == 0
    assert translator.translate(LOOK, planes).recipe["reused"] == NODES


def test_another_model_domain_or_thread_count_is_never_taken_for_this_one(
    translator: Translator, planes: Planes
) -> None:
    translator.translate(LOOK, planes)
    for change in ({"digest": "0" * 32}, {"domain": "another"}):
        other = Translator(replace(translator.model, **change))
        other._sources = translator._sources
        assert other.translate(LOOK, planes).recipe["reused"] == 0
    torch.set_num_threads(2)
    try:
        assert translator.translate(LOOK, planes).recipe["reused"] == 0
    finally:
        torch.set_num_threads(1)


def test_a_cancelled_inversion_is_gone_on_with(
    translator: Translator, planes: Planes, batches: list[int]
) -> None:
    seen: list[tuple[Stage, int, int]] = []
    with pytest.raises(Cancelled):
        translator.translate(
            LOOK,
            planes,
            on_progress=lambda *step: seen.append(step),
            is_cancelled=lambda: seen[-1:] == [(Stage.INVERTING, 3, NODES)],
        )
    batches.clear()
    result = translator.translate(LOOK, planes)
    assert batches.count(1) == NODES - 3 and result.recipe["reused"] == 3
    assert result.image.tobytes() == Translator(translator.model).translate(LOOK, planes).image.tobytes()


def filled(cache: SourceCache, sizes: dict[str, int]) -> None:
    for key, size in sizes.items():
        cache.open(key).latents.append(torch.zeros(size, dtype=torch.uint8))


def test_what_was_used_longest_ago_goes_first() -> None:
    cache = SourceCache(torch.device("cpu"), 100, 0)
    filled(cache, {"a": 40, "b": 40, "c": 40})
    cache.open("a")
    cache.settle()
    assert [len(cache.open(key).latents) for key in ("a", "c", "b")] == [1, 1, 0]
    filled(cache, {"large": 101})
    cache.settle()
    assert not cache.open("large").latents, "larger than everything that may be kept"


def test_the_device_first_then_the_host(monkeypatch: pytest.MonkeyPatch) -> None:
    """`meta` stands in for a device; nothing can be copied back from it, so moves make new tensors."""
    device, host = torch.device("meta"), torch.device("cpu")

    def move(kept: Source, to: torch.device) -> None:
        kept.latents = [torch.zeros_like(tensor, device=to) for tensor in kept.latents]

    monkeypatch.setattr(Source, "move", move)
    cache = SourceCache(device, 50, 90)
    for key in "abcd":
        cache.open(key).latents.append(torch.zeros(40, dtype=torch.uint8, device=device))
    cache.settle()
    places = {key: kept.latents[0].device for key, kept in cache._sources.items()}
    assert places == {"b": host, "c": host, "d": device}
    assert cache.open("c").is_on(device)
    cache.make_room()
    assert all(kept.is_on(host) for kept in cache._sources.values())


def test_an_older_picture_is_kept_without_its_features(
    translator: Translator, planes: Planes, batches: list[int]
) -> None:
    """They are captured again where they are needed; the inversion is not."""
    first = translator.translate(LOOK, planes)
    (kept,) = translator._sources._sources.values()
    translator._sources._limits = {translator.model.device: kept.byte_length - kept.feature_bytes}
    translator._sources.settle()
    assert list(translator._sources._sources.values()) == [kept] and not kept.features
    batches.clear()
    again = translator.translate(LOOK, planes)
    assert again.recipe["reused"] == NODES and batches == [1, 2] * 5 + [2], "the sixth step is not held"
    assert again.image.tobytes() == first.image.tobytes()


def test_bytes_are_counted_whole(translator: Translator, planes: Planes) -> None:
    translator.translate(LOOK, planes)
    (kept,) = translator._sources._sources.values()
    tensors = [*kept.latents, *kept.noise, kept.round_trip]
    tensors += [tensor for features in kept.features.values() for pair in features for tensor in pair]
    assert kept.byte_length == sum(tensor.numel() * tensor.element_size() for tensor in tensors)
