# SPDX-License-Identifier: GPL-3.0-or-later
"""How finely long work is cut, so that a slice of it is short on a slow machine too.

Every long work is a generator that pauses after each slice. It knows how much makes a slice of about half a millisecond
on the machine that it was measured on, and asks `fit` how much of that it may do here and now; `step` finds that out.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Generator, Iterator
from typing import TypeVar

LONG_S = 0.0015
"""A slice that took longer makes the next ones smaller."""
FINEST = 1.0 / 16.0
RECOVERY = 1.02
"""Growth after each slice that was short."""
NEWEST = 0.1
"""Weight of the newest slice in what a slice usually takes."""
UNUSUAL = 4.0
"""Times as long as usual, which few slices take."""
SHORTEST_S = 0.0006
"""A slice that is usually shorter still may take this times `UNUSUAL`: what a cold cache or another program costs does
not shrink with the slice. In a virtual machine one of some thousand slices takes 2 ms longer, whatever it does."""

# Time that the system gives to other programs is not this work's; but Windows counts a thread's own in steps of 16 ms.
_now = time.perf_counter if sys.platform == "win32" else time.thread_time
T = TypeVar("T")

_share = 1.0
_usual = LONG_S
_is_tick_over = False


def fit(amount: int) -> int:
    """How much of an amount may be done in one slice; at least 1."""
    return max(1, int(amount * _share))


def slices(count: int, at_once: int) -> Iterator[slice]:
    """Everything from 0 to `count`, as much of `at_once` at a time as fits."""
    start = 0
    while start < count:
        end = min(start + fit(at_once), count)
        yield slice(start, end)
        start = end


def next_tick() -> Iterator[None]:
    """Pause until the next tick, for what takes milliseconds and cannot be cut."""
    global _is_tick_over
    _is_tick_over = True
    yield


def at_once(work: Generator[None, None, T]) -> T:
    """What a work returns, done without a pause."""
    while True:
        try:
            next(work)
        except StopIteration as end:
            return end.value


def step(work: Iterator[T]) -> T:
    """Do one slice of a work, and learn from the time that it took; returns what it says at its pause.

    Raises:
        StopIteration: The work is done.
    """
    global _share, _usual, _is_tick_over
    _is_tick_over = False
    start = _now()
    try:
        return next(work)
    finally:
        spent = _now() - start
        _share = max(FINEST, _share / 2.0) if spent > LONG_S else min(1.0, _share * RECOVERY)
        # One that cannot be cut tells nothing about the next ones.
        _usual += NEWEST * (min(spent, 2.0 * LONG_S) - _usual)


def has_room(until: float) -> bool:
    """Whether one more slice will probably be done by then, and does not need a tick of its own.

    Args:
        until: Of `time.perf_counter`.
    """
    return not _is_tick_over and time.perf_counter() + UNUSUAL * max(_usual, SHORTEST_S) < until
