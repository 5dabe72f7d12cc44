# SPDX-License-Identifier: GPL-3.0-or-later
"""The translation's own walk on given latents, without pictures around it."""

from __future__ import annotations

import torch
from torch import Tensor

from backend.translation import Translator
from backend.translation.batch import WHOLE_TOLERANCE, Batch
from backend.translation.passes import Passes
from backend.translation.progress import Progress
from backend.translation.schedule import low_noise_walk
from backend.translation.source import Source
from backend.translation.windows import Window, cover
from protocol.request import TranslationRequest

EVERYTHING = 1 << 40


@torch.inference_mode()
def walk_latents(
    translator: Translator,
    request: TranslationRequest,
    latents: Tensor,
    start: Tensor,
    garment: Tensor,
    garment_steps: int,
    feature_bytes: int = EVERYTHING,
    source: Source | None = None,
) -> Tensor:
    """What becomes of latents whose cells start at the nodes `start`."""
    model, (rows, columns) = translator.model, latents.shape[-2:]
    work = Batch(
        request=request,
        pictures=[],
        coverage=[],
        box=Window(0, 0, rows, columns),
        start=start,
        garment=garment,
        garment_steps=garment_steps,
        walk=low_noise_walk(model.alphas_cumprod, request.steps, int(start.max())),
        windows=cover(rows, columns, model.native_area, WHOLE_TOLERANCE, model.latent_multiple),
        pixel_multiple=model.pixel_multiple,
        factor=model.autoencoder.factor,
    )
    window = work.windows[0]
    passes = Passes(model, translator._control, len(latents), window.height, window.width)
    progress = Progress(lambda *_: None, lambda: False)
    return translator._walk(work, source or Source(latents=[latents]), passes, feature_bytes, progress)
