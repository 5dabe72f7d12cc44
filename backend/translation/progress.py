# SPDX-License-Identifier: GPL-3.0-or-later
"""Progress, cancellation and the time spent in each stage of a translation."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeAlias

import torch

from protocol.errors import ErrorCode, MakeRealError
from protocol.messages import Stage

OnProgress: TypeAlias = Callable[[Stage, int, int], None]
"""Called with (stage, complete steps of the stage, steps of the stage)."""

IsCancelled: TypeAlias = Callable[[], bool]


WATERMARK_S = 10.0
"""Seconds without a step after which the last one is told again: a step of a large picture takes many passes."""
AHEAD = 1
"""Steps that the host may have given to a CUDA device beyond the one that it works on."""

CPU = torch.device("cpu")

Stamp: TypeAlias = float | torch.cuda.Event


class Cancelled(MakeRealError):  # noqa: N818
    """The caller's `is_cancelled` said yes; nothing was produced."""

    def __init__(self) -> None:
        super().__init__(ErrorCode.CANCELLED)


class Pace:
    """Keeps the host close to a CUDA device, so that progress is true and a cancel heeded at once.

    The device always has the next step at hand, so it never waits.
    """

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._events: deque[torch.cuda.Event] = deque()

    def step(self) -> None:
        """A step was handed over: wait until no more than AHEAD are unfinished."""
        if self._device.type != "cuda":
            return
        event = torch.cuda.Event()
        event.record(torch.cuda.current_stream(self._device))
        self._events.append(event)
        if len(self._events) > AHEAD:
            self._events.popleft().synchronize()

    def stamp(self) -> Stamp:
        """A moment in the device's work: when all that was handed over until now is done."""
        if self._device.type != "cuda":
            return time.perf_counter()
        event = torch.cuda.Event(enable_timing=True)
        event.record(torch.cuda.current_stream(self._device))
        return event


class Progress:
    """Tells the caller of each step, asks it before each step whether to go on, and times the stages.

    Args:
        on_progress: Called at the start of a stage with step 0, and after each step.
        is_cancelled: Asked before each step; the work between two questions is one network pass.
        device: Where the work is done.
    """

    def __init__(
        self, on_progress: OnProgress, is_cancelled: IsCancelled, device: torch.device = CPU
    ) -> None:
        self._pace = Pace(device)
        self._on_progress = on_progress
        self._told: tuple[Stage, int, int] | None = None
        self._told_at = 0.0
        self._is_cancelled = is_cancelled
        self._stages: dict[str, tuple[Stamp, Stamp]] = {}

    @property
    def seconds(self) -> dict[str, float]:
        """Time that the device spent in each complete stage; waits for it."""
        return {stage: _between(*stamps) for stage, stamps in self._stages.items()}

    def check(self) -> None:
        """Go on, or raise `Cancelled`; says again where the work is when that was long ago."""
        if self._told is not None and time.monotonic() > self._told_at + WATERMARK_S:
            self._tell(*self._told)
        if self._is_cancelled():
            raise Cancelled

    def _tell(self, stage: Stage, done: int, steps: int) -> None:
        self._told, self._told_at = (stage, done, steps), time.monotonic()
        self._on_progress(stage, done, steps)

    @contextmanager
    def stage(self, stage: Stage, steps: int, done: int = 0) -> Iterator[Callable[[], None]]:
        """A stage of `steps` steps, `done` of them complete; call the yielded function after each other."""

        def advance() -> None:
            nonlocal done
            done += 1
            self._pace.step()
            self._tell(stage, done, steps)
            self.check()

        start = self._pace.stamp()
        self._tell(stage, done, steps)
        self.check()
        yield advance
        self._stages[stage.value] = start, self._pace.stamp()


def _between(start: Any, end: Any) -> float:
    """Seconds from one stamp to the next of its kind."""
    if isinstance(start, torch.cuda.Event):
        end.synchronize()
        return float(start.elapsed_time(end)) / 1000
    return float(end - start)
