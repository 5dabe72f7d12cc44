# SPDX-License-Identifier: GPL-3.0-or-later
"""Rendered-to-real translation (FashionR2R, arXiv 2410.14429), from planes to planes.

`Translator._walk` is the paper's algorithm, top to bottom; each name in it is a module beside this one that
says which equation it implements.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import torch
from jaxtyping import Float, Float32, Shaped
from torch import Tensor

from protocol.errors import ErrorCode, MakeRealError
from protocol.messages import Stage
from protocol.planes import PlaneName
from protocol.request import TranslationRequest

from .attention import TextureControl
from .autoencoder import window_size
from .batch import Batch
from .colour import keep_colour
from .detail import restore_detail
from .fidelity import box_of, compare, drift_warnings, measure, named, peak_memory_bytes
from .grain import hide_grain
from .guidance import guided_noise, hidden_contrast
from .loading import load_model
from .model import Model
from .passes import Passes
from .picture import compose, to_plane
from .plans import PLANS, Plan, autoencoder_at_work, choose, free_bytes, needs_of, network_at_work
from .progress import IsCancelled, OnProgress, Progress
from .recipe import plane_digest, write_recipe
from .schedule import ddim, mean_noise
from .shortage import is_shortage, what_ran_out
from .source import Source, SourceCache, source_key
from .variation import random_noise, vary
from .windows import Window, evaluate

SHAPES = 2
"""Sizes of windows whose memory and recordings are kept."""

Planes = Mapping[PlaneName, np.ndarray[Any, Any]]
Finished: TypeAlias = tuple[Shaped[Tensor, "height width channels"], Float32[Tensor, " figures"]]
"""A picture's elements and the figures of its report, on the device."""


@dataclass(frozen=True)
class Translation:
    """A finished translation.

    Args:
        image: Same shape and element type as the image plane.
        report: The figures of `fidelity.measure`, and `peak_memory_bytes` where the system tells it.
        seconds: Time in each stage, by the stage's name; of the whole batch.
        recipe: What reproduces the image (`recipe.write_recipe`), the memory `plan` and the `kernels` that made
            it, how many steps of the inversion were `reused` from an earlier look, the figures of
            `fidelity.measure` as `fidelity`, and `warnings`, sentences on what is wrong with the result.
    """

    image: np.ndarray[Any, Any]
    report: dict[str, float]
    seconds: dict[str, float]
    recipe: dict[str, Any]


class Translator:
    """A loaded model that translates pictures.

    The same request and planes give the same bytes on the same device with the same number of threads, under
    the same plan and kernels; whether an earlier look was reused changes nothing.

    Args:
        model: The loaded model.
        plan: Used instead of the one that fits into the free memory.
    """

    def __init__(self, model: Model, plan: Plan | None = None) -> None:
        self.model = model
        self._wanted_plan = plan
        self._control = TextureControl(model.unet)
        self._passes: OrderedDict[tuple[int, int, int], Passes] = OrderedDict()
        self._sources = SourceCache.for_device(model.device)

    @classmethod
    def load(cls, model_dir: Path, device: str = "cpu", domain_dir: Path | None = None) -> Translator:
        """Load a model.

        Args:
            model_dir: Stable-Diffusion-format directory.
            device: `cpu`, `cuda` or `cuda:n`.
            domain_dir: The domain to use; None: the model's own, in its `domain/`, if there is one.

        Raises:
            MakeRealError: MODEL_NOT_FOUND, MODEL_BROKEN or OUT_OF_MEMORY.
        """
        try:
            return cls(load_model(model_dir, device, domain_dir))
        except (RuntimeError, MemoryError) as error:
            if not is_shortage(error):
                raise
            raise MakeRealError(ErrorCode.OUT_OF_MEMORY, what_ran_out(error)) from error

    def translate(
        self,
        request: TranslationRequest,
        planes: Planes,
        *,
        on_progress: OnProgress = lambda stage, step, steps: None,
        is_cancelled: IsCancelled = lambda: False,
    ) -> Translation:
        """Translate one picture; see `translate_batch`."""
        (translation,) = self.translate_batch(
            request, [planes], on_progress=on_progress, is_cancelled=is_cancelled
        )
        return translation

    @torch.inference_mode()
    def translate_batch(
        self,
        request: TranslationRequest,
        batch: Sequence[Planes],
        *,
        on_progress: OnProgress = lambda stage, step, steps: None,
        is_cancelled: IsCancelled = lambda: False,
    ) -> list[Translation]:
        """Translate pictures of one size in the same passes of the network.

        Args:
            request: Its `model` is the caller's business: this translator has one.
            batch: Of each picture, `image` and optionally the others of `PlaneName`.
            on_progress: Called with (stage, complete steps, steps) as a stage starts and after its steps.
            is_cancelled: Asked before every pass of the network.

        Raises:
            Cancelled: `is_cancelled` said yes.
            MakeRealError: INVALID_REQUEST naming the plane, EMPTY_MASK, or OUT_OF_MEMORY when the smallest
                plan does not fit either.
        """
        progress = Progress(on_progress, is_cancelled, self.model.device)
        for smallest in (False, True):
            try:
                return self._translate(request, batch, smallest, progress)
            except (RuntimeError, MemoryError) as error:
                if not is_shortage(error):
                    raise
                detail = what_ran_out(error)
            # Only here, after the handler has let go of the failed frames, is their memory free.
            self._passes.clear()
            self._sources.clear()
            torch.cuda.empty_cache()
        raise MakeRealError(ErrorCode.OUT_OF_MEMORY, detail)

    @torch.inference_mode()
    def prepare(self) -> bool:
        """Do one part of what makes later translations of the sizes seen so far faster; seconds to a minute.

        Returns:
            Whether something is left to do. On the CPU there is never anything.
        """
        waiting = [passes for passes in self._passes.values() if passes.waiting]
        if self.model.device.type != "cuda" or not waiting:
            return False
        with _repeatable(), self._control:
            waiting[-1].prepare()
        return any(passes.waiting for passes in waiting)

    def _translate(
        self, request: TranslationRequest, batch: Sequence[Planes], smallest: bool, progress: Progress
    ) -> list[Translation]:
        """Translate under the plan that fits, or under the smallest."""
        if self.model.device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(self.model.device)
        # To hash a picture takes milliseconds, and the host waits for the device while it reads it.
        with ThreadPoolExecutor() as pool:
            hashing = [
                {name: pool.submit(plane_digest, plane) for name, plane in planes.items()} for planes in batch
            ]
            work = Batch.read(request, batch, self.model)
        recipes = [
            write_recipe(request, self.model, {name: each.result() for name, each in digests.items()})
            for digests in hashing
        ]
        if work.moves:
            with _repeatable():
                finished, how = self._render_to_real(work, *self._plan(work, smallest), recipes, progress)
            for recipe in recipes:
                recipe.update(how)
            images = [
                (to_plane(elements, picture.pixels.dtype), named(figures))
                for picture, (elements, figures) in zip(work.pictures, finished, strict=True)
            ]
        else:
            images = [
                (picture.pixels.copy(), measure(picture.seen, picture.seen, picture.garment))
                for picture in work.pictures
            ]
        translations = []
        for (image, report), recipe in zip(images, recipes, strict=True):
            recipe["fidelity"] = dict(report)
            if (peak := peak_memory_bytes(self.model.device)) is not None:
                report["peak_memory_bytes"] = float(peak)
            recipe["warnings"] = self._warnings(request, report)
            translations.append(Translation(image, report, progress.seconds, recipe))
        return translations

    def _plan(self, work: Batch, smallest: bool) -> tuple[Plan, int]:
        """The plan that fits into what is free, and the bytes of captured features that it keeps.

        What is kept of other pictures makes room for this one.
        """
        needs = needs_of(work, self.model, self._control)
        fitting = choose(needs, free_bytes(self.model.device))
        if fitting is not PLANS[0]:
            self._sources.make_room()
            fitting = choose(needs, free_bytes(self.model.device))
        plan = PLANS[-1] if smallest else self._wanted_plan or fitting
        return plan, int(plan.features * needs.features)

    def _render_to_real(
        self,
        work: Batch,
        plan: Plan,
        feature_bytes: int,
        recipes: Sequence[dict[str, Any]],
        progress: Progress,
    ) -> tuple[list[Finished], dict[str, Any]]:
        """The results, and what recipes say about how they were made."""
        request = work.request
        passes = self._passes_for(work, plan)
        fast = passes.begin(window_size(work.box.height, work.box.width, plan.area))
        how: dict[str, Any] = {"plan": plan.name, "kernels": "compiled" if fast else "eager"}
        source = self._sources.open(
            source_key(
                model=recipes[0]["model"],
                device=recipes[0]["device"],
                pictures=[recipe["planes"][PlaneName.IMAGE.value] for recipe in recipes],
                box=work.box.corners,
                steps=request.steps,
                area=plan.area,
                kernels=how["kernels"],
            )
        )
        how["reused"] = len(source.noise)
        renders, garments = work.renders(), work.garments()
        boxes = [box_of(picture.garment) for picture in work.pictures]
        with progress.stage(Stage.ENCODING, 1) as done, autoencoder_at_work(self.model, plan) as autoencoder:
            if not source.latents:
                latents = torch.cat([autoencoder.encode(render, plan.area, fast) for render in renders])
                source.latents.append(latents.to(self.model.latents_dtype))
            done()
        with network_at_work(self.model, plan):
            latents = self._walk(work, source, passes, feature_bytes, progress)
        steps = 2 * len(work.pictures)
        with (
            progress.stage(Stage.DECODING, steps) as done,
            autoencoder_at_work(self.model, plan) as autoencoder,
        ):
            round_trips = [] if source.round_trip is None else list(source.round_trip.split(1))
            finished = []
            # Picture by picture up to the report, and without waiting: a CUDA device decodes while the host hands
            # it the thousand small operations of the filters, which would else take longer than the work in them.
            for number, (picture, render, garment) in enumerate(
                zip(work.pictures, renders, garments, strict=True)
            ):
                output = autoencoder.decode(latents[number, None], plan.area, fast)
                if source.round_trip is None:
                    round_trips.append(autoencoder.decode(source.latents[0][number, None], plan.area, fast))
                done()
                restored = restore_detail(output, round_trips[number], render, request.detail)
                # Apart, so that no colour of the garment bleeds into the backdrop's, nor the other way. New light is
                # for the cloth: on a plain backdrop it is a cloud, and around the garment a halo.
                restored = keep_colour(restored, render, garment)
                restored = hide_grain(restored, render, request.texture_lock * garment)
                restored = keep_colour(restored, render, 1 - garment, light=True)
                elements, seen = compose(picture, work.paste(picture, restored), work.coverage[number])
                finished.append((elements, compare(picture.seen, seen, picture.garment, boxes[number])))
                done()
            if source.round_trip is None:
                source.round_trip = torch.cat(round_trips)
        self._sources.settle(device_bytes=0 if plan.offload else None)
        return finished, how

    def _walk(
        self, work: Batch, source: Source, passes: Passes, feature_bytes: int, progress: Progress
    ) -> Float[Tensor, "pictures channels rows columns"]:
        """Realistic image generation (the paper's Algorithm 1): invert, then denoise under control.

        Args:
            source: What is known of the render; at least z_0.
            feature_bytes: Captured features are kept up to this size; what was not kept is captured again.
        """
        request, model, start = work.request, self.model, work.start
        n, t, a = work.walk.steps, work.walk.timesteps, work.walk.alphas
        windows, texture = work.windows, work.texture_lock(self._control)
        z, noise = source.latents, source.noise
        hidden = hidden_contrast(z[0])

        def captured_noise(i: int, j: int, window: Window) -> Tensor:
            progress.check()
            predicted = passes.source(window.cut(z[i]), t[i])
            if texture.holds(i) and source.feature_bytes + passes.feature_bytes <= feature_bytes:
                source.keep(i, j, passes.captured())
            return predicted

        def real_noise(i: int, j: int, window: Window) -> Tensor:
            progress.check()
            if not texture.holds(i):
                passes.unlock()
            elif (i, j) in source.features:
                passes.lock(texture.gates[j], source.features[i, j])
            else:
                captured_noise(i, j, window)
                passes.lock(texture.gates[j])
            real = partial(passes.real, window.cut(x), t[i])
            return guided_noise(real, model, request.guidance_scale, window.cut(hidden))

        with self._control:
            # DDIM inversion, from low noise to high: z_i is left with eps(z_i, t_i). The last node is
            # evaluated too: the denoising starts there, and needs its noise and its queries and keys.
            known = min(len(noise), n + 1)
            with progress.stage(Stage.INVERTING, n + 1, known) as done:
                for i in range(known, n + 1):
                    if i == len(z):
                        step = noise[i - 1]
                        if i > 1:
                            step = mean_noise(noise[i - 2], step, (a[i - 2], a[i - 1], a[i]))
                        z.append(ddim(z[i - 1], step, a[i - 1], a[i]))
                    noise.append(evaluate(partial(captured_noise, i), windows))
                    done()

            # Guided denoising, from high noise to low, as the difference to the inverted trajectory: the step
            # is linear, so the inversion's own error cancels, and without guidance the render comes back.
            x = z[n]
            pull: Tensor | None = None
            with progress.stage(Stage.DENOISING, n) as done:
                for i in range(n, 0, -1):
                    if request.variation > 0:
                        random = random_noise(request.seed, x)
                        x = torch.where(start == i, vary(x, noise[i], random, request.variation, a[i]), x)
                    before, pull = pull, evaluate(partial(real_noise, i), windows) - noise[i]
                    step = pull
                    if before is not None:
                        step = mean_noise(before, pull, (a[i + 1], a[i], a[i - 1]))
                    change = ddim(x - z[i], step, a[i], a[i - 1])
                    x = torch.where(start >= i, z[i - 1] + change, z[i - 1])
                    done()
        return x

    def _passes_for(self, work: Batch, plan: Plan) -> Passes:
        """Passes of the batch's shape; recordings know where the weights lie, so offloading forgets them."""
        shape = (len(work.pictures), work.windows[0].height, work.windows[0].width)
        if plan.offload:
            self._passes.clear()
            return Passes(self.model, self._control, *shape)
        if shape not in self._passes:
            while len(self._passes) >= SHAPES:
                self._passes.popitem(last=False)
            self._passes[shape] = Passes(self.model, self._control, *shape)
        self._passes.move_to_end(shape)
        return self._passes[shape]

    def _warnings(self, request: TranslationRequest, report: dict[str, float]) -> list[str]:
        warnings = drift_warnings(report)
        if self.model.negative is None and request.guidance_scale != 1:
            warnings.append(f"the model {self.model.name} has no domain, so guidance had no effect")
        return warnings


def _repeatable() -> AbstractContextManager[None]:
    """Kernels chosen by timing would differ from run to run, and with them the bytes."""
    cudnn = torch.backends.cudnn
    return cudnn.flags(enabled=True, benchmark=False, deterministic=True, allow_tf32=cudnn.allow_tf32)
