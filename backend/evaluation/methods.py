# SPDX-License-Identifier: GPL-3.0-or-later
"""The rows of the benchmark: every method from renders and their masks to pictures of the same size."""

from __future__ import annotations

import json
import shutil
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import torch
from jaxtyping import Float32, UInt8

from backend.translation import Translator
from backend.translation.loading import weights_digest
from backend.translation.schedule import Walk, count_steps, leading_walk
from backend.translation.sizes import pad_to_multiple
from backend.translation.text import Conditioning, load_text_encoders
from protocol.planes import PlaneName
from protocol.request import TranslationRequest

from .baselines import RELEASED_STEPS, RELEASED_STRENGTH, Latents, plug_and_play, released, sdedit
from .photographing import photograph

WANTED, UNWANTED = "a photo", "a render"
"""Plug-and-play's style prompts."""


@dataclass(frozen=True)
class Subject:
    """What a method gets.

    Args:
        pixels: The render, display-referred.
        coverage: Of the garment, 0..1.
    """

    pixels: UInt8[np.ndarray, "height width 3"]
    coverage: Float32[np.ndarray, "height width"]


@dataclass(frozen=True)
class Outcome:
    """A method's picture and its share of the seconds of its batch, without reading, measuring and writing."""

    pixels: UInt8[np.ndarray, "height width 3"]
    seconds: float


class Bench:
    """A model and what the methods need of it, loaded when first needed.

    Args:
        folder: SD-format directory with a domain.
        device: `cpu`, `cuda` or `cuda:n`.
        steps: Of ours, over the whole schedule.
        rival_steps: DDIM steps of the others, over the whole schedule.
    """

    def __init__(
        self,
        folder: Path,
        device: str,
        steps: int = TranslationRequest.steps,
        rival_steps: int = RELEASED_STEPS,
    ) -> None:
        self._folder, self._device = folder, device
        self.steps, self.rival_steps = steps, rival_steps

    @cached_property
    def device_name(self) -> str:
        """The device in words."""
        if self._device.startswith("cuda"):
            return torch.cuda.get_device_name(self._device)
        return f"CPU, {torch.get_num_threads()} threads"

    @cached_property
    def digest(self) -> str:
        """Identifies the weights."""
        return weights_digest(self._folder)

    @cached_property
    def translator(self) -> Translator:
        """The model as it is."""
        return Translator.load(self._folder, self._device)

    @cached_property
    def without_positive(self) -> Translator:
        """The same network without the LoRA that was fine-tuned on photos; the negative embedding stays.

        Raises:
            ValueError: The domain has no LoRA, so that there is no other network.
        """
        description = json.loads((self._folder / "domain" / "domain.json").read_text(encoding="utf-8"))
        if not description["unet_lora"]:
            raise ValueError(f"{self._folder / 'domain'} has no LoRA: its model itself was fine-tuned")
        with tempfile.TemporaryDirectory() as folder:
            domain, embedding = Path(folder), description["negative_embedding"]
            shutil.copy(self._folder / "domain" / embedding, domain)
            (domain / "domain.json").write_text(
                json.dumps({**description, "unet_lora": None}), encoding="utf-8"
            )
            return Translator.load(self._folder, self._device, domain)

    @cached_property
    def without_negative(self) -> Translator:
        """The same network without the negative embedding, so without guidance."""
        return Translator(replace(self.translator.model, negative=None))

    @cached_property
    def style_prompts(self) -> tuple[Conditioning, Conditioning]:
        """Conditioning of `WANTED` and `UNWANTED`."""
        encoders = load_text_encoders(self._folder)
        model = self.translator.model
        first, second = (
            prompt_conditioning(encoders, text).to(model.device, model.unet.dtype)
            for text in (WANTED, UNWANTED)
        )
        return first, second

    def walk(self, strength: float) -> Walk:
        """The part of the rivals' schedule that a strength, 0..1, covers."""
        walked = count_steps(strength, self.rival_steps)
        return leading_walk(self.translator.model.alphas_cumprod, self.rival_steps, walked)


@torch.inference_mode()
def prompt_conditioning(encoders: Any, text: str) -> Conditioning:
    """Conditioning of a prompt: its tokens' own embeddings, encoded as a translation's are."""
    outputs = []
    for encoder in encoders:
        tokens = encoder.tokenizer(text, add_special_tokens=False).input_ids
        outputs.append(encoder.encode(encoder.encoder.get_input_embeddings()(torch.tensor(tokens))))
    if len(outputs) == 1:
        return Conditioning(outputs[0].last_hidden_state)
    return Conditioning(torch.cat([o.hidden_states[-2] for o in outputs], dim=-1), outputs[-1].text_embeds)


Run: TypeAlias = Callable[[Bench, Sequence[Subject], float, int], list[Outcome]]


@dataclass(frozen=True)
class Method:
    """A row of the benchmark.

    Args:
        run: From (bench, subjects of one size, strength, seed) to their outcomes.
        random: Whether the seed matters.
        swept: Whether its curve over the strength is drawn.
        strength: Of its row, where it is a procedure with a strength of its own; None: everyone's.
    """

    run: Run
    random: bool = False
    swept: bool = False
    strength: float | None = None


def _nothing(_bench: Bench, subjects: Sequence[Subject], _strength: float, _seed: int) -> list[Outcome]:
    return [Outcome(subject.pixels, 0.0) for subject in subjects]


def _photographed(_bench: Bench, subjects: Sequence[Subject], _strength: float, _seed: int) -> list[Outcome]:
    return [Outcome(photograph(subject.pixels), 0.0) for subject in subjects]


def _latents(change: Callable[[Bench, Latents, Walk, int], Latents]) -> Run:
    """A method that changes the latents of the whole pictures."""

    @torch.inference_mode()
    def run(bench: Bench, subjects: Sequence[Subject], strength: float, seed: int) -> list[Outcome]:
        model = bench.translator.model
        start = time.perf_counter()
        height, width = subjects[0].coverage.shape
        latents = []
        for subject in subjects:
            pixels = torch.from_numpy(subject.pixels.astype(np.float32) / 255).to(model.device)
            render = pad_to_multiple(pixels.movedim(-1, 0)[None], model.pixel_multiple)
            latents.append(model.autoencoder.encode(render).to(model.latents_dtype))
        changed = change(bench, torch.cat(latents), bench.walk(strength), seed)
        images = [
            model.autoencoder.decode(each)[0, :, :height, :width].permute(1, 2, 0).cpu().numpy()
            for each in changed.split(1)
        ]
        seconds = (time.perf_counter() - start) / len(subjects)
        return [Outcome(np.rint(image * 255).astype(np.uint8), seconds) for image in images]

    return run


def _ours(
    translator: Callable[[Bench], Translator] = lambda bench: bench.translator,
    masked: bool = True,
    **changes: float,
) -> Run:
    """Ours at its defaults, but for the strength and what is changed."""

    def run(bench: Bench, subjects: Sequence[Subject], strength: float, _seed: int) -> list[Outcome]:
        request = TranslationRequest(steps=bench.steps, garment_strength=strength, **changes)  # type: ignore[arg-type]
        batch: list[dict[PlaneName, np.ndarray]] = [{PlaneName.IMAGE: subject.pixels} for subject in subjects]
        if masked:
            for planes, subject in zip(batch, subjects, strict=True):
                planes[PlaneName.GARMENT] = subject.coverage
        # A translator remembers the renders that it has seen; every method is to start from nothing.
        translations = Translator(translator(bench).model).translate_batch(request, batch)
        return [Outcome(each.image, sum(each.seconds.values()) / len(batch)) for each in translations]

    return run


METHODS: dict[str, Method] = {
    "no_op": Method(_nothing),
    "round_trip": Method(_latents(lambda bench, latents, walk, seed: latents)),
    "sdedit": Method(
        _latents(lambda bench, latents, walk, seed: sdedit(bench.translator.model, latents, walk, seed)),
        random=True,
        swept=True,
    ),
    "plug_and_play": Method(
        _latents(
            lambda bench, latents, walk, seed: plug_and_play(
                bench.translator.model, latents, walk, *bench.style_prompts
            )
        )
    ),
    "released": Method(
        _latents(
            lambda bench, latents, walk, seed: released(
                bench.translator.model, latents, walk, descending=True
            )
        ),
        swept=True,
        strength=RELEASED_STRENGTH,
    ),
    "released_inversion_fixed": Method(
        _latents(
            lambda bench, latents, walk, seed: released(
                bench.translator.model, latents, walk, descending=False
            )
        ),
        strength=RELEASED_STRENGTH,
    ),
    "ours": Method(_ours(), swept=True),
    "ours_no_positive": Method(_ours(lambda bench: bench.without_positive)),
    "ours_no_negative": Method(_ours(lambda bench: bench.without_negative)),
    "ours_no_tac": Method(_ours(texture_steps=0.0)),
    "ours_no_mask": Method(_ours(masked=False)),
    "ours_no_detail": Method(_ours(detail=0.0)),
}
"""By the names of the benchmark, in the order of its table."""

CONTROLS = {"photographed": Method(_photographed)}
"""What is no method but says what a figure is worth; told apart from the rows."""
