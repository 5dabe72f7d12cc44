# SPDX-License-Identifier: GPL-3.0-or-later
"""Timing of one model and size: the released procedure, ours, a variant of a look, and batches."""

from __future__ import annotations

import gc
import math
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch

from backend.translation import Translation, Translator
from backend.translation.autoencoder import WHOLE_AREA, window_size
from backend.translation.batch import Batch
from backend.translation.fidelity import peak_memory_bytes
from backend.translation.model import Model
from backend.translation.plans import PLANS, Plan
from backend.translation.schedule import count_steps
from protocol import PlaneName, TranslationRequest

from .models import count_flops, make_model
from .released import PASSES, translate_as_released

REQUEST = TranslationRequest()
"""The default: as deep as the paper's setting."""
GUIDED = count_steps(REQUEST.garment_strength, REQUEST.steps)
OURS = GUIDED + 1 + 2 * GUIDED
VARIANT = 2 * GUIDED
HELD = count_steps(REQUEST.texture_steps, GUIDED)
"""Guided steps that need what the inversion captured."""
SMALL_PLAN = PLANS[3]
"""The plan for a small memory that is measured too."""
SMALL_BYTES = 4_000_000_000
"""The memory that it gets, the driver's own part aside; what does not fit fails."""
LONG_S = 6.0
"""A figure takes no further picture when its pictures have taken so long."""
CODINGS = {"released": 1.0, "ours": 1.6, "variant": 0.7}
"""Ways through the autoencoder, in units of there and back: decoding is about 0.7 of that."""


@dataclass(frozen=True)
class Case:
    """What is measured.

    Args:
        model: `starter`, `sd15` or `sdxl`.
        device: `cpu` or `cuda:<n>`.
        width, height: Of the picture, in pixels.
        batch: Pictures in the same passes.
        repeats: Pictures that a figure is the median of.
    """

    model: str
    device: str
    width: int
    height: int
    batch: int = 1
    repeats: int = 3

    @property
    def is_cuda(self) -> bool:
        """Whether there are fast kernels to prepare and 16 bits to compute in."""
        return self.device.startswith("cuda")


@dataclass(frozen=True)
class Figure:
    """A row of the table, as `docs/performance.json` holds it."""

    device: str
    gpus: int
    model: str
    width: int
    height: int
    batch: int
    method: str
    seconds_per_image: float
    peak_gib: float | None
    unet_passes: int
    tflops: float
    note: str = ""


Log = Callable[[str], None]
Turn = Callable[[], AbstractContextManager[None]]
"""Within, the device is this measurement's alone."""


def measure_ours(case: Case, log: Log, turn: Turn, plan: Plan | None = None) -> Iterator[Figure]:
    """Measure our methods; each figure is given as soon as it is known.

    Args:
        plan: A memory plan to keep to.
    """
    model = make_model(case.model, case.device, torch.float16 if case.is_cuda else torch.float32)
    translator, flops = Translator(model, plan), Flops(model, case)
    again = 0 if plan is None else round(HELD * (1 - plan.features))

    def figure(method: str, passes: int, *requests: TranslationRequest) -> Figure:
        with turn():
            seconds, peak, note = timed(translator, case, *requests or (REQUEST,))
        return flops.figure(method, case.batch, seconds, peak, note, passes + again)

    with turn():
        cold = translate_timed(translator, case, REQUEST, seed=0)
        translator._sources.clear()
    log(f"first picture {cold[0]:.2f} s, of it {_told(cold[1].seconds)}")
    yield figure("eager", OURS)
    if case.is_cuda:
        start = time.perf_counter()
        while translator.prepare():
            pass
        log(f"fast path prepared in {time.perf_counter() - start:.1f} s")
        yield figure("compiled", OURS)
    # The picture stays, the look changes.
    looks = [replace(REQUEST, guidance_scale=2.0 + n) for n in range(case.repeats + 1)]
    yield figure("variant", VARIANT, *looks)


def measure_small(case: Case, log: Log, turn: Turn) -> Iterator[Figure]:
    """Measure our methods under the plan for a small memory, with no more than that."""
    if case.is_cuda:
        whole = torch.cuda.get_device_properties(case.device).total_memory
        torch.cuda.set_per_process_memory_fraction(SMALL_BYTES / whole, case.device)
    return measure_ours(case, log, turn, SMALL_PLAN)


def measure_start(case: Case, log: Log, turn: Turn) -> Iterator[Figure]:
    """Tell how long a start takes whose kernels are in the compiler's cache; nothing else is at work meanwhile."""
    with turn():
        start = time.perf_counter()
        model = make_model(case.model, case.device, torch.float16 if case.is_cuda else torch.float32)
        translator = Translator(model)
        log(f"warm start: model made in {time.perf_counter() - start:.1f} s")
        log(f"warm start: first picture {translate_timed(translator, case, REQUEST, seed=0)[0]:.2f} s")
        start = time.perf_counter()
        while translator.prepare():
            pass
        log(f"warm start: fast path prepared in {time.perf_counter() - start:.1f} s")
    yield from ()


def measure_released(case: Case, log: Log, turn: Turn) -> Iterator[Figure]:
    """Measure the released procedure, in 16 bits and as shipped."""
    for method, dtype in (("released_fp16", torch.float16), ("released_fp32", torch.float32)):
        torch.cuda.empty_cache()
        model = make_model(case.model, case.device, dtype)
        flops = Flops(model, case)
        if flops.cells > 1.5 * model.native_area:
            log(f"{method}: left out, it takes no picture of this size in one piece")
            return
        image = torch.rand(1, 3, case.height, case.width, device=case.device)
        with turn():
            try:
                translate_as_released(model, image)
                torch.cuda.reset_peak_memory_stats()
                start = time.perf_counter()
                translate_as_released(model, image)
                torch.cuda.synchronize()
                seconds = time.perf_counter() - start
            except torch.OutOfMemoryError as error:
                log(f"{method}: {error}")
                return
        yield flops.figure(method, 1, seconds, peak_gib(case), "", PASSES)
        del model
        gc.collect()


class Flops:
    """Turns times into figures of a case."""

    def __init__(self, model: Model, case: Case) -> None:
        self._case = case
        rows, columns = case.height // model.autoencoder.factor, case.width // model.autoencoder.factor
        self.cells = rows * columns
        # What is translated of a large picture passes in windows, whose attention does not see each other.
        work = Batch.read(REQUEST, [picture(case, 0)], model)
        passed = work.windows[0]
        coded = window_size(work.box.height, work.box.width, WHOLE_AREA)
        self._pass = len(work.windows) * count_flops(model, passed.height, passed.width)[0]
        self._coding = count_flops(model, *coded)[1] * work.box.height * work.box.width / math.prod(coded)

    def figure(
        self, method: str, batch: int, seconds: float, peak: float | None, note: str, passes: int
    ) -> Figure:
        """A row; `seconds` is a picture's part of the batch's time."""
        coding = CODINGS.get(method.partition("_")[0], CODINGS["ours"])
        work = passes * self._pass + coding * self._coding
        name = torch.cuda.get_device_name(self._case.device) if self._case.is_cuda else "cpu"
        case = self._case
        return Figure(
            name,
            int(case.is_cuda),
            case.model,
            case.width,
            case.height,
            batch,
            method,
            round(seconds, 4),
            None if peak is None else round(peak, 2),
            passes,
            round(work / seconds / 1e12, 3),
            note,
        )


def picture(case: Case, seed: int) -> dict[PlaneName, np.ndarray]:
    """A picture of smooth colours and fine threads, and its garment: the middle half of its width."""
    generator = np.random.default_rng(seed)
    rows, columns = np.mgrid[: case.height, : case.width]
    waves = [np.sin(rows / p + generator.random() * 6) * np.cos(columns / p) for p in (37.0, 61.0, 89.0)]
    threads = 0.1 * np.sin(columns * 1.3) * np.sin(rows * 1.1)
    image = (0.5 + 0.3 * np.stack(waves, -1) + threads[..., None]).clip(0, 1)
    garment = np.zeros((case.height, case.width), np.uint8)
    garment[:, case.width // 4 : case.width * 3 // 4] = 255
    return {PlaneName.IMAGE: (image * 255).astype(np.uint8), PlaneName.GARMENT: garment}


def translate_timed(
    translator: Translator, case: Case, request: TranslationRequest, seed: int
) -> tuple[float, Translation]:
    """Seconds a picture from planes to planes, report and recipe included, and the first translation."""
    pictures = [picture(case, 1000 * seed + n) for n in range(case.batch)]
    start = time.perf_counter()
    translations = translator.translate_batch(request, pictures)
    return (time.perf_counter() - start) / case.batch, translations[0]


def timed(
    translator: Translator, case: Case, *requests: TranslationRequest
) -> tuple[float, float | None, str]:
    """Median seconds, peak memory, and where the median's time went.

    One request is put to a new picture each time, with nothing kept of the one before; several are put to one
    picture, the first of them untimed. Long ones are repeated less often.
    """
    if case.is_cuda:
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()
    looks = requests[1:]
    if looks:
        translate_timed(translator, case, requests[0], 0)
    runs: list[tuple[float, Translation]] = []
    for number in range(case.repeats):
        if sum(run[0] for run in runs) * case.batch > LONG_S:
            break
        if looks:
            runs.append(translate_timed(translator, case, looks[number], 0))
        else:
            translator._sources.clear()
            runs.append(translate_timed(translator, case, requests[0], 1 + number))
    seconds, translation = sorted(runs, key=lambda run: run[0])[len(runs) // 2]
    parts = {stage: value / case.batch for stage, value in translation.seconds.items()}
    peak = peak_gib(case)
    translator._sources.clear()
    return seconds, peak, f"{translation.recipe['plan']}; {_told(parts)}"


def _told(seconds: dict[str, float]) -> str:
    return ", ".join(f"{stage} {value:.3f}" for stage, value in seconds.items())


def peak_gib(case: Case) -> float | None:
    """GiB held at most since the last reset; on the CPU since the start of the process."""
    if case.is_cuda:
        # Reserved: what recorded passes use counts as free after their recording.
        return torch.cuda.max_memory_reserved(case.device) / 2**30
    peak = peak_memory_bytes(torch.device(case.device))
    return None if peak is None else peak / 2**30


def say(text: str) -> None:
    """Progress for whoever waits; the table is the result."""
    print(text, file=sys.stderr, flush=True)


def as_row(figure: Figure) -> dict[str, Any]:
    """Plain map of a figure, without an empty note."""
    return {key: value for key, value in vars(figure).items() if value != ""}
