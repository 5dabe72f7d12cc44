# SPDX-License-Identifier: GPL-3.0-or-later
"""A stage of training that can be killed at any moment and goes on from its last checkpoint, bit for bit.

Everything that a step draws follows from the seed and the step's number (`draws`), so a checkpoint is the
parameters, the optimiser's state and the number of steps, in one safetensors file that is replaced whole.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from accelerate import Accelerator
from accelerate.optimizer import AcceleratedOptimizer
from jaxtyping import Float
from torch import Tensor, nn

from protocol import ErrorCode, MakeRealError

from .losses import LossLog, Row
from .settings import Pace
from .tensors import read_tensors, write_tensors

WARM_UP_STEPS = 100
LAST_RATE = 0.1
MAX_GRADIENT_NORM = 1.0
SCALER_NUMBERS = {"scale": float, "_growth_tracker": int}
"""What changes in a gradient scaler's state, and as what it is kept."""


class UnfinishedError(Exception):
    """The time is over before the training; the text says how far it came."""


@dataclass(frozen=True)
class Stage:
    """One training: positive or negative.

    Args:
        name: `positive` or `negative`.
        parameters: What is trained, float32, by name.
        steps: Optimiser steps.
        accumulate: Batches of one step.
        learning_rate: Its greatest value.
        loss: Mean loss of a batch, by the batch's number.
        validate: Losses on held-out photos and renders.
        sample: Writes a sample sheet.
    """

    name: str
    parameters: dict[str, nn.Parameter]
    steps: int
    accumulate: int
    learning_rate: float
    loss: Callable[[int], Float[Tensor, ""]]
    validate: Callable[[], tuple[float, float]]
    sample: Callable[[Path], None]


@dataclass(frozen=True)
class Course:
    """Where a stage keeps what it writes, and how it goes about it.

    Args:
        folder: Checkpoints, `losses.csv` and sample sheets.
        pace: How often they are written.
        is_over: Whether the time for this run is over.
        report: Called with the stage's name, its complete steps, its steps in all, and a line of text
            whenever there is something to tell.
    """

    folder: Path
    pace: Pace
    is_over: Callable[[], bool]
    report: Callable[[str, int, int, str], None]


def train(stage: Stage, course: Course, accelerator: Accelerator) -> None:
    """Minimise a stage's loss with AdamW; afterwards its parameters are the trained ones.

    Raises:
        UnfinishedError: The time is over; a checkpoint was written.
        MakeRealError: MODEL_BROKEN for a damaged checkpoint; INVALID_REQUEST when the loss is no number any
            more.
        OSError: Something cannot be written.
    """
    parameters = list(stage.parameters.values())
    fused = parameters[0].device.type == "cuda"
    optimizer = accelerator.prepare_optimizer(torch.optim.AdamW(parameters, weight_decay=0.0, fused=fused))
    checkpoint = Checkpoint(course.folder / f"{stage.name}-checkpoint.safetensors", stage, optimizer)
    log = LossLog(course.folder / "losses.csv")
    done = checkpoint.restore()
    log.resume(stage.name, done)
    fresh: list[tuple[float, Tensor]] = []
    while done < stage.steps:
        rate = learning_rate(stage, done)
        fresh.append((rate, _step(stage, done, rate, optimizer, accelerator)))
        done += 1
        stopping = course.is_over()
        if done % course.pace.sample_every == 0 or done == stage.steps:
            stage.sample(course.folder / "samples" / f"{stage.name}-{done:06d}.png")
        if done % course.pace.checkpoint_every == 0 or done == stage.steps or stopping:
            line = _write_losses(stage, done, fresh, log)
            fresh.clear()
            checkpoint.write(done)
            course.report(stage.name, done, stage.steps, line)
        else:
            course.report(stage.name, done, stage.steps, "")
        if stopping and done < stage.steps:
            raise UnfinishedError(f"{stage.name} step {done} of {stage.steps}")


def learning_rate(stage: Stage, step: int) -> float:
    """Rises over WARM_UP_STEPS, or a tenth of a short stage, then falls linearly to LAST_RATE of it."""
    warm_up = min(WARM_UP_STEPS, max(1, stage.steps // 10))
    return stage.learning_rate * min(1, (step + 1) / warm_up) * (1 - (1 - LAST_RATE) * step / stage.steps)


def _step(
    stage: Stage, step: int, rate: float, optimizer: AcceleratedOptimizer, accelerator: Accelerator
) -> Tensor:
    """One step of the optimiser; returns the loss before it."""
    for group in optimizer.param_groups:
        group["lr"] = rate
    total = torch.zeros((), device=accelerator.device)
    for part in range(stage.accumulate):
        loss = stage.loss(step * stage.accumulate + part) / stage.accumulate
        accelerator.backward(loss)
        total = total + loss.detach()
    accelerator.clip_grad_norm_(stage.parameters.values(), MAX_GRADIENT_NORM)
    optimizer.step()
    # Gradients may live in the memory of a captured graph, which the next step writes over.
    optimizer.zero_grad(set_to_none=True)
    return total


def _write_losses(stage: Stage, done: int, fresh: list[tuple[float, Tensor]], log: LossLog) -> str:
    """Log the steps since the last checkpoint, the last of them with a validation; returns a line about it."""
    losses = torch.stack([loss for _, loss in fresh]).tolist()
    if not math.isfinite(sum(losses)):
        raise MakeRealError(
            ErrorCode.INVALID_REQUEST,
            f"the loss is no number any more near {stage.name} step {done}; give a smaller"
            f" --{stage.name}-rate than {stage.learning_rate:g}, and another --out",
        )
    first = done - len(fresh) + 1
    rows = [
        Row(stage.name, first + index, loss, rate)
        for index, (loss, (rate, _)) in enumerate(zip(losses, fresh, strict=True))
    ]
    photos, renders = stage.validate()
    rows[-1] = Row(stage.name, done, losses[-1], fresh[-1][0], photos, renders)
    log.write(rows)
    mean = sum(losses) / len(losses)
    return (
        f"{stage.name} {done}/{stage.steps}: loss {mean:.4f},"
        f" held-out photos {photos:.4f}, held-out renders {renders:.4f}"
    )


class Checkpoint:
    """A stage's state on disk.

    Args:
        path: The file.
        stage: Whose parameters are kept.
        optimizer: Whose state is kept, and that of its gradient scaler in float16.
    """

    def __init__(self, path: Path, stage: Stage, optimizer: AcceleratedOptimizer) -> None:
        self._path = path
        self._parameters = stage.parameters
        self._optimizer = optimizer

    def write(self, done: int) -> None:
        """Replace the file by the state after `done` steps. Raises OSError."""
        state = self._optimizer.state_dict()["state"]
        tensors: dict[str, Tensor] = {
            f"parameter.{name}": parameter for name, parameter in self._parameters.items()
        }
        for index, values in state.items():
            tensors |= {f"optimizer.{index}.{key}": value for key, value in values.items()}
        if (scaler := self._optimizer.scaler) is not None:
            numbers = scaler.state_dict()
            tensors |= {f"scaler.{key}": torch.tensor(float(numbers[key])) for key in SCALER_NUMBERS}
        write_tensors(self._path, {**tensors, "done": torch.tensor(done)})

    def restore(self) -> int:
        """Take the state over; returns the number of complete steps, 0 when there is no file.

        Raises:
            MakeRealError: MODEL_BROKEN when the file is damaged.
        """
        if not self._path.exists():
            return 0
        tensors = read_tensors(self._path)
        with torch.no_grad():
            for name, parameter in self._parameters.items():
                parameter.copy_(tensors[f"parameter.{name}"])
        state: dict[int, dict[str, Tensor]] = {}
        for name, tensor in tensors.items():
            if name.startswith("optimizer."):
                _, index, key = name.split(".")
                state.setdefault(int(index), {})[key] = tensor
        groups = self._optimizer.state_dict()["param_groups"]
        self._optimizer.load_state_dict({"state": state, "param_groups": groups})
        if (scaler := self._optimizer.scaler) is not None:
            kept = {key: kind(tensors[f"scaler.{key}"]) for key, kind in SCALER_NUMBERS.items()}
            scaler.load_state_dict({**scaler.state_dict(), **kept})
        return int(tensors["done"])
