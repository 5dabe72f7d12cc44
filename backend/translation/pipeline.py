# SPDX-License-Identifier: GPL-3.0-or-later
"""Rendered-to-real translation (FashionR2R, arXiv 2410.14429), from planes to planes.

`Translator._walk` is the paper's algorithm, top to bottom; each name in it is a module beside this one that
says which equation it implements.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Float32
from torch import Tensor

from protocol.errors import ErrorCode, MakeRealError
from protocol.messages import Stage
from protocol.planes import PlaneName
from protocol.request import TranslationRequest

from .attention import TextureControl
from .colour import keep_colour
from .detail import restore_detail
from .fidelity import ALIGNMENT_LIMIT, measure, peak_memory_bytes
from .guidance import guided_noise
from .loading import load_model
from .model import Model
from .picture import Picture, compose, read_picture, see
from .progress import IsCancelled, OnProgress, Progress
from .recipe import write_recipe
from .regions import Regions, divide
from .schedule import count_steps, ddim, low_noise_walk
from .sizes import pad_to_multiple
from .texture import TextureLock, locked_steps
from .variation import random_noise, vary
from .windows import Window, cover, evaluate

WHOLE_TOLERANCE = 1.5
"""Times its native area that the network still takes in one piece."""


@dataclass(frozen=True)
class Translation:
    """A finished translation.

    Args:
        image: Same shape and element type as the image plane.
        report: The figures of `fidelity.measure`, and `peak_memory_bytes` where the system tells it.
        seconds: Time in each stage, by the stage's name.
        recipe: What reproduces the image (`recipe.write_recipe`), the memory `plan` that was used, and
            `warnings`, sentences on what is wrong with the result.
    """

    image: np.ndarray[Any, Any]
    report: dict[str, float]
    seconds: dict[str, float]
    recipe: dict[str, Any]


class Translator:
    """A loaded model that translates pictures, one at a time.

    The same request and planes give the same bytes on the same device with the same number of threads.
    """

    def __init__(self, model: Model) -> None:
        self.model = model

    @classmethod
    def load(cls, model_dir: Path, device: str = "cpu", domain_dir: Path | None = None) -> Translator:
        """Load a model.

        Args:
            model_dir: Stable-Diffusion-format directory.
            device: `cpu`, `cuda` or `cuda:n`.
            domain_dir: The domain to use; None: the model's own, in its `domain/`, if there is one.

        Raises:
            MakeRealError: MODEL_NOT_FOUND or MODEL_BROKEN.
        """
        return cls(load_model(model_dir, device, domain_dir))

    @torch.inference_mode()
    def translate(
        self,
        request: TranslationRequest,
        planes: Mapping[PlaneName, np.ndarray[Any, Any]],
        *,
        on_progress: OnProgress = lambda stage, step, steps: None,
        is_cancelled: IsCancelled = lambda: False,
    ) -> Translation:
        """Translate one picture.

        Args:
            request: Its `model` is the caller's business: this translator has one.
            planes: `image`, and optionally the others of `PlaneName`.
            on_progress: Called with (stage, complete steps, steps) as a stage starts and after its steps.
            is_cancelled: Asked before every pass of the network.

        Raises:
            Cancelled: `is_cancelled` said yes.
            MakeRealError: INVALID_REQUEST naming the plane, EMPTY_MASK, or OUT_OF_MEMORY when the smaller
                plan does not fit either.
        """
        progress = Progress(on_progress, is_cancelled)
        picture = read_picture(planes)
        regions = divide(picture, request, self.model)
        recipe = write_recipe(request, self.model, planes)
        if self.model.device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(self.model.device)
        image = picture.pixels.copy()
        if regions.coverage.any():
            # Kernels chosen by timing would differ from run to run, and with them the bytes.
            with torch.backends.cudnn.flags(enabled=True, benchmark=False, deterministic=True):
                result, recipe["plan"] = self._within_memory(request, picture, regions, progress)
            image = compose(picture, result, regions.coverage)
        report = measure(picture.seen, see(image), picture.garment)
        if (peak := peak_memory_bytes(self.model.device)) is not None:
            report["peak_memory_bytes"] = float(peak)
        recipe["warnings"] = self._warnings(request, report)
        return Translation(image, report, progress.seconds, recipe)

    def _within_memory(
        self, request: TranslationRequest, picture: Picture, regions: Regions, progress: Progress
    ) -> tuple[Float32[np.ndarray, "height width 3"], str]:
        """The result and the plan that fitted: the inversion's features kept, else captured again."""
        for keep_features in (True, False):
            try:
                return self._render_to_real(request, picture, regions, progress, keep_features)
            except torch.OutOfMemoryError as error:
                detail = str(error).split(". ")[0]
            # Only here, after the handler has let go of the failed frames, is their memory free.
            torch.cuda.empty_cache()
        raise MakeRealError(ErrorCode.OUT_OF_MEMORY, detail)

    def _render_to_real(
        self,
        request: TranslationRequest,
        picture: Picture,
        regions: Regions,
        progress: Progress,
        keep_features: bool,
    ) -> tuple[Float32[np.ndarray, "height width 3"], str]:
        autoencoder = self.model.autoencoder
        with progress.stage(Stage.ENCODING, 1) as done:
            render = self._to_tensor(picture.seen)
            render_latents = autoencoder.encode(render)
            done()
        latents, plan = self._walk(request, render_latents, regions, progress, keep_features)
        with progress.stage(Stage.DECODING, 3) as done:
            output = autoencoder.decode(latents)
            done()
            round_trip = autoencoder.decode(render_latents)
            done()
            garment = self._to_tensor(picture.garment[..., None])
            output = restore_detail(output, round_trip, render, garment, request.detail)
            # Apart, so that no colour of the garment bleeds into the backdrop's, nor the other way.
            for region in (garment, 1 - garment):
                output = keep_colour(output, render, region)
            done()
        height, width = picture.garment.shape
        return output[0, :, :height, :width].permute(1, 2, 0).cpu().numpy(), plan

    def _walk(
        self,
        request: TranslationRequest,
        render_latents: Float[Tensor, "1 channels rows columns"],
        regions: Regions,
        progress: Progress,
        keep_features: bool,
    ) -> tuple[Float[Tensor, "1 channels rows columns"], str]:
        """Realistic image generation (the paper's Algorithm 1): invert, then denoise under control."""
        model = self.model
        walk = low_noise_walk(model.alphas_cumprod, request.steps, regions.steps)
        n, t, a = walk.steps, walk.timesteps, walk.alphas
        rows, columns = render_latents.shape[-2:]
        windows = cover(rows, columns, model.native_area, WHOLE_TOLERANCE, model.latent_multiple)
        locked = locked_steps(
            regions.garment_steps, count_steps(request.texture_steps, regions.garment_steps)
        )

        with TextureControl(model.unet) as control:
            texture = TextureLock(
                control, windows, regions.garment, locked, request.texture_lock, keep_features
            )

            def source_noise(i: int, j: int, window: Window) -> Tensor:
                progress.check()
                texture.inverting(i, j)
                return model.predict_noise(window.cut(z[i]), t[i], model.empty)

            def real_noise(i: int, j: int, window: Window) -> Tensor:
                progress.check()
                if texture.recapturing(i):
                    model.predict_noise(window.cut(z[i]), t[i], model.empty)
                texture.denoising(i, j)
                return guided_noise(model, window.cut(x), t[i], request.guidance_scale)

            # DDIM inversion, from low noise to high: z_i is left with eps(z_i, t_i). The last node is
            # evaluated too: the denoising starts there, and needs its noise and its queries and keys.
            z, noise = [render_latents.to(model.latents_dtype)], []
            with progress.stage(Stage.INVERTING, n + 1) as done:
                for i in range(n + 1):
                    noise.append(evaluate(partial(source_noise, i), windows))
                    if i < n:
                        z.append(ddim(z[i], noise[i], a[i], a[i + 1]))
                    done()

            # Guided denoising, from high noise to low, as the difference to the inverted trajectory: the step
            # is linear, so the inversion's own error cancels, and without guidance the render comes back.
            x = z[n]
            random = random_noise(request.seed, x)
            with progress.stage(Stage.DENOISING, n) as done:
                for i in range(n, 0, -1):
                    if request.variation > 0:
                        varied = vary(x, noise[i], random, request.variation, a[i])
                        x = torch.where(regions.start == i, varied, x)
                    real = evaluate(partial(real_noise, i), windows)
                    change = ddim(x - z[i], real - noise[i], a[i], a[i - 1])
                    x = torch.where(regions.start >= i, z[i - 1] + change, z[i - 1])
                    done()
        return x, texture.plan

    def _to_tensor(
        self, plane: Float32[np.ndarray, "height width channels"]
    ) -> Float[Tensor, "1 channels padded_height padded_width"]:
        padded = pad_to_multiple(plane, self.model.pixel_multiple)
        return torch.from_numpy(padded).permute(2, 0, 1)[None].to(self.model.device)

    def _warnings(self, request: TranslationRequest, report: dict[str, float]) -> list[str]:
        warnings = []
        if report["alignment_px"] >= ALIGNMENT_LIMIT:
            warnings.append(f"the garment is displaced by {report['alignment_px']:.2f} pixels")
        if self.model.negative is None and request.guidance_scale != 1:
            warnings.append(f"the model {self.model.name} has no domain, so guidance_scale had no effect")
        return warnings
