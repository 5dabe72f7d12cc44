# SPDX-License-Identifier: GPL-3.0-or-later
"""Progress, cancellation and the time spent in each stage of a translation."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeAlias

from protocol.errors import ErrorCode, MakeRealError
from protocol.messages import Stage

OnProgress: TypeAlias = Callable[[Stage, int, int], None]
"""Called with (stage, complete steps of the stage, steps of the stage)."""

IsCancelled: TypeAlias = Callable[[], bool]


class Cancelled(MakeRealError):  # noqa: N818
    """The caller's `is_cancelled` said yes; nothing was produced."""

    def __init__(self) -> None:
        super().__init__(ErrorCode.CANCELLED)


class Progress:
    """Tells the caller of each step, asks it before each step whether to go on, and times the stages.

    Args:
        on_progress: Called at the start of a stage with step 0, and after each step.
        is_cancelled: Asked before each step; the work between two questions is one network pass.
    """

    def __init__(self, on_progress: OnProgress, is_cancelled: IsCancelled) -> None:
        self._on_progress = on_progress
        self._is_cancelled = is_cancelled
        self.seconds: dict[str, float] = {}

    def check(self) -> None:
        """Go on, or raise `Cancelled`."""
        if self._is_cancelled():
            raise Cancelled

    @contextmanager
    def stage(self, stage: Stage, steps: int) -> Iterator[Callable[[], None]]:
        """A stage of `steps` steps; call the yielded function after each of them."""
        done = 0

        def advance() -> None:
            nonlocal done
            done += 1
            self._on_progress(stage, done, steps)
            self.check()

        start = time.perf_counter()
        self._on_progress(stage, 0, steps)
        self.check()
        yield advance
        self.seconds[stage.value] = time.perf_counter() - start
