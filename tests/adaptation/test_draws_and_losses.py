# SPDX-License-Identifier: GPL-3.0-or-later
"""Draws, losses, and what a stage keeps of itself."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from accelerate import Accelerator
from accelerate.optimizer import AcceleratedOptimizer
from torch import nn

from backend.adaptation.bank import Bank
from backend.adaptation.bridge import BRIDGE_END, noisy_pair
from backend.adaptation.denoising import Batch, Denoiser
from backend.adaptation.draws import draw_timesteps, generator, shuffled
from backend.adaptation.losses import LossLog, Row
from backend.adaptation.negative import initial_vectors
from backend.adaptation.positive import positive_loss
from backend.adaptation.settings import Pace, Settings
from backend.adaptation.stage import Checkpoint, Stage, learning_rate
from backend.translation.guidance import REFERENCE_CONTRAST
from backend.translation.text import (
    Conditioning,
    TextEncoder,
    domain_conditioning,
    empty_conditioning,
    load_text_encoders,
)
from protocol import ErrorCode, MakeRealError

CPU = torch.device("cpu")
ALPHAS = torch.linspace(0.999, 0.01, 1000)


def test_every_crop_is_seen_once_before_any_is_seen_twice() -> None:
    order = torch.cat([shuffled(10, 4, number, 5) for number in range(5)]).tolist()
    assert sorted(order[:10]) == sorted(order[10:]) == list(range(10))
    assert order[:10] != order[10:]
    assert order[:4] != shuffled(10, 4, 0, 6).tolist()


def test_draws_depend_on_their_keys_alone() -> None:
    one, same, other = (torch.randn(4, generator=generator(CPU, 3, key)) for key in (1, 1, 2))
    assert torch.equal(one, same)
    assert not torch.equal(one, other)


def test_most_timesteps_lie_where_translation_happens() -> None:
    timesteps = draw_timesteps(20_000, 1000, torch.Generator().manual_seed(0))
    assert float((timesteps < 520).float().mean()) == pytest.approx(0.8 + 0.2 * 0.52, abs=0.01)
    assert timesteps.min() >= 1 and timesteps.max() <= 999


def denoiser(unet: Callable[..., Any], prediction: str = "epsilon") -> Denoiser:
    return Denoiser(unet, Accelerator(cpu=True, mixed_precision="no"), ALPHAS, prediction)


@pytest.mark.parametrize("prediction", ["epsilon", "v_prediction"])
def test_the_loss_is_zero_for_the_network_that_knows(prediction: str) -> None:
    """A crop without a bridge, with one at its beginning, and with one beyond its end."""
    clean, noise, look = torch.randn(3, 3, 4, 8, 8)
    look[0] = clean[0]
    timesteps = torch.tensor([300, 1, 900])
    noisy, told = noisy_pair(clean, look, noise, timesteps, ALPHAS)
    alpha = ALPHAS[timesteps].view(-1, 1, 1, 1)
    # What both of a network's predictions say about the clean latent.
    hidden = torch.cat([clean[:2], look[2:]])
    right = told if prediction == "epsilon" else alpha.sqrt() * told - (1 - alpha).sqrt() * hidden

    def knows(seen: torch.Tensor, *_: Any, **__: Any) -> tuple[torch.Tensor]:
        torch.testing.assert_close(seen, noisy)
        return (right,)

    batch = Batch(clean, look, noise, timesteps, torch.zeros(3, 6), torch.zeros(3, dtype=torch.int64))
    text = Conditioning(torch.zeros(3, 77, 8))
    assert denoiser(knows, prediction).losses(batch, text).max() < 1e-8
    wrong = denoiser(lambda *_, **__: (right + 2,), prediction).losses(batch, text)
    torch.testing.assert_close(wrong, torch.full((3,), 4.0))


def test_a_bridge_goes_from_the_photo_to_its_rendered_look() -> None:
    photo, look, noise = torch.randn(3, 1, 4, 8, 8)
    for timestep, seen in ((0, photo), (BRIDGE_END, look), (900, look)):
        at = torch.tensor([timestep])
        noisy, told = noisy_pair(photo, look, noise, at, ALPHAS)
        clean = (noisy - (1 - ALPHAS[at]).sqrt() * noise) / ALPHAS[at].sqrt()
        assert (clean - seen).abs().max() < 0.06 * (look - photo).abs().max()
        assert torch.equal(told, noise) == (timestep > BRIDGE_END)
    told_of = [noisy_pair(photo, y, noise, torch.tensor([9]), ALPHAS)[1] for y in (look, photo)]
    level = ((1 - ALPHAS[BRIDGE_END]) / ALPHAS[BRIDGE_END]).sqrt()
    torch.testing.assert_close(told_of[0] - told_of[1], (look - photo) / level)


def hears(noisy: torch.Tensor, _t: torch.Tensor, text: torch.Tensor, **_: Any) -> tuple[torch.Tensor]:
    """A network that says what the text says."""
    return (text.mean((1, 2)).view(-1, 1, 1, 1).expand_as(noisy),)


def bank(count: int = 6) -> Bank:
    draws = torch.Generator().manual_seed(0)
    latents = torch.randn(count, 4, 8, 8, generator=draws).half()
    return Bank(latents, latents, torch.zeros(count, 6), torch.ones(count, dtype=torch.int64))


def test_the_gain_brings_the_two_sides_of_guidance_to_the_reference_contrast() -> None:
    empty, negative = Conditioning(torch.zeros(1, 77, 8)), Conditioning(torch.full((1, 77, 8), 0.2))
    gain = denoiser(hears).guidance_gain(bank(), empty, negative, 0, 4)
    assert gain == pytest.approx(REFERENCE_CONTRAST / 0.2, abs=0.01)
    assert denoiser(hears).guidance_gain(bank(), empty, empty, 0, 4) == 100, "bounded where nothing differs"


def test_validation_draws_the_same_noise_each_time() -> None:
    text = Conditioning(torch.zeros(1, 77, 8))
    first, second = (denoiser(hears).validate(bank(), text, 0, at_once) for at_once in (4, 3))
    assert first == pytest.approx(second)
    assert first != denoiser(hears).validate(bank(), text, 1, 4)


@pytest.mark.parametrize(("dropout", "said"), [(0.0, 1.0), (1.0, 0.0)])
def test_a_dropped_caption_is_the_empty_prompt(dropout: float, said: float) -> None:
    heard = []

    def listens(noisy: torch.Tensor, _t: torch.Tensor, text: torch.Tensor, **_: Any) -> tuple[torch.Tensor]:
        heard.append(text.mean((1, 2)))
        return (noisy,)

    captions = Conditioning(torch.stack([torch.zeros(77, 8), torch.ones(77, 8)]))
    settings = Settings(batch=4, caption_dropout=dropout)
    positive_loss(denoiser(listens), bank(), bank(), captions, settings, 0)
    assert heard[0].tolist() == [said] * 4


def test_renders_among_the_photos_keep_their_captions() -> None:
    heard = []

    def listens(noisy: torch.Tensor, _t: torch.Tensor, text: torch.Tensor, **_: Any) -> tuple[torch.Tensor]:
        heard.append(text.mean((1, 2)))
        return (noisy,)

    captions = Conditioning(torch.stack([torch.full((77, 8), value) for value in (0.0, 1.0, 2.0)]))
    renders = replace(bank(), captions=torch.full((len(bank()),), 2))
    settings = Settings(batch=5, caption_dropout=1.0, render_share=0.4)
    positive_loss(denoiser(listens), bank(), renders, captions, settings, 0)
    assert heard[0].tolist() == [0, 0, 0, 2, 2]


@pytest.fixture(scope="module")
def encoders(
    write_tiny: Callable[[str, Path], Path], tmp_path_factory: pytest.TempPathFactory
) -> list[TextEncoder]:
    return load_text_encoders(write_tiny("sdxl", tmp_path_factory.mktemp("text") / "sdxl"))


@pytest.mark.parametrize("vectors", [75, 8])
def test_vectors_begin_as_the_empty_prompt(encoders: list[TextEncoder], vectors: int) -> None:
    begun = initial_vectors(encoders, "", vectors)
    assert {key: tuple(v.shape) for key, v in begun.items()} == dict.fromkeys(begun, (vectors, 32))
    with torch.no_grad():
        hidden = domain_conditioning(encoders, begun).hidden
    torch.testing.assert_close(hidden, empty_conditioning(encoders, zeros=False).hidden)


def test_vectors_can_begin_as_a_prompt_and_are_bounded_by_the_free_slots(encoders: list[TextEncoder]) -> None:
    begun = initial_vectors(encoders, "a a", 1000)
    table = encoders[0].encoder.get_input_embeddings().weight
    assert begun["text_encoder"].shape == (75, 32)
    torch.testing.assert_close(begun["text_encoder"][:3].detach(), table[[0, 0, 2]])


def stage(parameter: nn.Parameter, steps: int = 1000) -> Stage:
    return Stage("positive", {"weight": parameter}, steps, 1, 0.5, lambda _: parameter.sum(), tuple, print)  # type: ignore[arg-type]


def test_a_checkpoint_keeps_the_optimiser_and_the_gradient_scaler(tmp_path: Path) -> None:
    def made() -> tuple[nn.Parameter, AcceleratedOptimizer, Checkpoint]:
        weight = nn.Parameter(torch.ones(3))
        scaler = torch.amp.GradScaler("cpu", growth_interval=2)
        optimizer = AcceleratedOptimizer(torch.optim.AdamW([weight], lr=0.1), scaler=scaler)
        return weight, optimizer, Checkpoint(tmp_path / "kept.safetensors", stage(weight), optimizer)

    def steps(weight: nn.Parameter, optimizer: AcceleratedOptimizer, count: int) -> None:
        for _ in range(count):
            optimizer.scaler.scale((weight**2).sum()).backward()
            optimizer.step()
            optimizer.zero_grad()

    weight, optimizer, checkpoint = made()
    assert checkpoint.restore() == 0
    steps(weight, optimizer, 3)
    checkpoint.write(3)
    again, resumed, from_disk = made()
    assert from_disk.restore() == 3
    assert resumed.scaler.state_dict() == optimizer.scaler.state_dict()
    assert optimizer.scaler.get_scale() == 2 * 65536
    steps(weight, optimizer, 2)
    steps(again, resumed, 2)
    assert torch.equal(again, weight)


def test_a_damaged_checkpoint_is_named(tmp_path: Path) -> None:
    path = tmp_path / "kept.safetensors"
    path.write_bytes(b"no tensors")
    weight = nn.Parameter(torch.ones(3))
    optimizer = AcceleratedOptimizer(torch.optim.AdamW([weight]))
    with pytest.raises(MakeRealError, match=r"kept\.safetensors.* remove it") as caught:
        Checkpoint(path, stage(weight), optimizer).restore()
    assert caught.value.code is ErrorCode.MODEL_BROKEN


def test_the_learning_rate_rises_then_falls_to_a_tenth() -> None:
    of = stage(nn.Parameter(torch.ones(1)))
    rates = [learning_rate(of, step) for step in range(1000)]
    assert rates[0] < 0.01 < 0.4 < max(rates) <= 0.5
    assert rates[-1] == pytest.approx(0.05, rel=0.02)
    assert all(math.isfinite(learning_rate(replace(of, steps=1), step)) for step in (0, 1))


def test_a_resumed_log_forgets_what_comes_again(tmp_path: Path) -> None:
    log = LossLog(tmp_path / "losses.csv")
    log.resume("positive", 0)
    log.write([Row("positive", step, step / 10, 1e-4) for step in (1, 2, 3)])
    log.write([Row("negative", 1, 0.5, 1e-4, 0.25, 0.75)])
    with (tmp_path / "losses.csv").open("a") as file:
        file.write("negative,2,0.")
    log.resume("negative", 0)
    assert (tmp_path / "losses.csv").read_text().splitlines()[1:] == [
        "positive,1,0.1,0.0001,,", "positive,2,0.2,0.0001,,", "positive,3,0.3,0.0001,,"
    ]  # fmt: skip
    log.resume("positive", 1)
    assert len((tmp_path / "losses.csv").read_text().splitlines()) == 2


@pytest.mark.parametrize(
    ("option", "value"),
    [("batch", 0), ("positive_rate", math.nan), ("caption_dropout", 1.5), ("mixed_precision", "int8")],
)
def test_a_setting_out_of_range_is_named(option: str, value: object) -> None:
    with pytest.raises(MakeRealError, match=f"--{option.replace('_', '-')} must be ") as caught:
        Settings(**{option: value})  # type: ignore[arg-type]
    assert caught.value.code is ErrorCode.INVALID_REQUEST
    with pytest.raises(MakeRealError, match="--minutes must be above 0"):
        Pace(minutes=0)
