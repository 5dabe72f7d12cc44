# SPDX-License-Identifier: GPL-3.0-or-later
"""What a job has Blender's own thread do: first its render is collected, and in the end its result is stored. What the
latter can do without the result is begun in between, while the backend computes.

All is done a slice at a time. Nothing here knows Blender: where a picture goes to is the ticket's own affair.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from dataclasses import dataclass, field

import numpy as np

from .. import pace
from ..protocol import Finished, MakeRealError, PlaneName, TranslationRequest
from . import events as ev

Storing = Generator[str | None, None, MakeRealError | None]
"""Takes a result home, a few milliseconds of work at a time; returns what could not be done although the picture is
safe, raises MakeRealError when it is not. A pause in which it cannot go on says what it waits for."""

Preparing = Generator[None, None, None]
"""Does what of storing needs no result, a few milliseconds of work at a time."""


@dataclass(frozen=True)
class Ticket:
    """A picture that was collected.

    Args:
        store: Begins to take the result home.
        preparing: May be begun before that; `store` goes on with it.
        remarks: Sentences on what is missing although the picture can be made.
    """

    request: TranslationRequest
    planes: dict[PlaneName, np.ndarray] = field(repr=False)
    store: Callable[[Finished], Storing]
    preparing: Preparing = field(repr=False)
    remarks: tuple[str, ...] = ()


Collecting = Generator[None, None, Ticket]
"""Reads a render that was saved, a few milliseconds of work at a time. Between two steps the artist may undo, or open
another file: it holds nothing of Blender's data. Raises MakeRealError."""

Steps = Generator[str | None, None, ev.Event | None]
"""Any of them, and what it has brought about."""


class Work:
    """The current job's work, if it has any."""

    def __init__(self) -> None:
        self.ticket: Ticket | None = None
        """The picture, once it was collected."""
        self.finished: Finished | None = None
        """The result, once it is here."""
        self._job_id = ""
        self._steps: Steps | None = None
        self._held_by = ""

    @property
    def is_waiting(self) -> bool:
        """Whether there is something to be done."""
        return self._steps is not None

    @property
    def is_held(self) -> bool:
        """Whether that could not go on when it was last tried."""
        return bool(self._held_by)

    def collect(self, job_id: str, collecting: Collecting) -> None:
        """Begin with a job."""
        self._job_id, self._steps = job_id, self._collect(collecting)

    def _collect(self, collecting: Collecting) -> Steps:
        self.ticket = yield from collecting
        return ev.Collected(self._job_id, self.ticket.remarks)

    def store(self) -> None:
        """Take the result home."""
        self._steps = self._store()

    def _store(self) -> Steps:
        problem = yield from self.ticket.store(self.finished)
        # A large picture's memory goes back to the system in milliseconds: one picture after the other.
        yield from pace.next_tick()
        self.finished = None
        yield from pace.next_tick()
        self.ticket = None
        return ev.ResultStored(self._job_id, problem)

    def step(self) -> ev.Event | None:
        """Do one slice; what it has brought about, if anything."""
        try:
            held_by = pace.step(self._steps) or ""
        except StopIteration as end:
            # The backend starts or computes next; meanwhile there is time.
            self._steps = self.ticket.preparing if isinstance(end.value, ev.Collected) else None
            return end.value
        except MakeRealError as problem:
            self._steps = None
            return ev.JobEnded(self._job_id, problem)
        if held_by != self._held_by:
            self._held_by = held_by
            return ev.StoringHeld(self._job_id, held_by)
        return None

    def give_up(self) -> None:
        """Forget the job, and leave nothing half done."""
        if self._steps:
            self._steps.close()
        self._steps = self.ticket = self.finished = None
        self._held_by = ""
