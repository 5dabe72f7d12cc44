# SPDX-License-Identifier: GPL-3.0-or-later
"""How far each optimisation's picture is from the plain one: eager, in float32, alone, under the full plan."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from backend.translation import Translator
from backend.translation.autoencoder import Autoencoder
from backend.translation.model import Model
from backend.translation.plans import PLANS
from protocol import PlaneName

from .measure import REQUEST, Case, Turn, picture
from .models import make_model

COUNT = 2
"""Pictures that are compared where none are given."""

Planes = dict[PlaneName, np.ndarray]


def compare(case: Case, files: Sequence[Path], turn: Turn) -> Iterator[dict[str, Any]]:
    """Figures of each optimisation over all pictures: `optimisation`, and `mean` and `max` difference in 1/255.

    Args:
        files: Pictures of one size; without any, pictures of the case's size are made up.
    """
    pictures = [_read(file) for file in files] or [_made_up(case, seed) for seed in range(COUNT)]
    model = make_model(case.model, case.device, torch.float16 if case.is_cuda else torch.float32)
    plain = _in_float32(model)
    with turn():
        torch.backends.cudnn.allow_tf32 = False
        plain_images = _images(Translator(plain), pictures)
        del plain
        torch.backends.cudnn.allow_tf32 = True

    def figure(name: str, images: Sequence[np.ndarray]) -> dict[str, Any]:
        pairs = zip(images, plain_images, strict=True)
        apart = 255 * np.abs(np.stack([a.astype(np.float64) - b for a, b in pairs]))
        return {
            "optimisation": name,
            "mean": round(float(apart.mean()), 3),
            "max": round(float(apart.max()), 2),
        }

    translator = Translator(model)
    kernels = ("eager", "compiled") if case.is_cuda else ("eager",)
    for kind in kernels:
        if kind == "compiled":
            while translator.prepare():
                pass
        with turn():
            translator = _forgetful(translator)
            yield figure(f"{kind}, {model.unet.dtype}".replace("torch.", ""), _images(translator, pictures))
            yield figure(f"{kind}, a reused inversion", _images(translator, pictures))
            batch = translator.translate_batch(REQUEST, pictures)
            yield figure(
                f"{batch[0].recipe['kernels']}, a batch of {len(pictures)}", [each.image for each in batch]
            )
    for plan in PLANS[1:]:
        with turn():
            yield figure(f"eager, {plan.name}", _images(Translator(model, plan), pictures))


def _images(translator: Translator, pictures: Sequence[Planes]) -> list[np.ndarray]:
    return [translator.translate(REQUEST, planes).image for planes in pictures]


def _forgetful(translator: Translator) -> Translator:
    """The same without what it kept of pictures."""
    translator._sources.clear()
    return translator


def _read(file: Path) -> Planes:
    return {PlaneName.IMAGE: np.asarray(Image.open(file).convert("RGB"), np.float32) / 255}


def _made_up(case: Case, seed: int) -> Planes:
    planes = picture(case, seed)
    return {**planes, PlaneName.IMAGE: planes[PlaneName.IMAGE].astype(np.float32) / 255}


def _in_float32(model: Model) -> Model:
    """A copy of the model in float32, with the same numbers."""
    empty, negative = (
        None if text is None else text.to(model.device, torch.float32)
        for text in (model.empty, model.negative)
    )
    assert empty is not None
    coder = Autoencoder(_copied(model.autoencoder.module))
    return replace(model, unet=_copied(model.unet), autoencoder=coder, empty=empty, negative=negative)


def _copied(module: Any) -> Any:
    copy = type(module).from_config(module.config)
    copy.load_state_dict(module.state_dict())
    device = next(module.parameters()).device
    return copy.to(device, torch.float32, memory_format=torch.channels_last).eval().requires_grad_(False)
