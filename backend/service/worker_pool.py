# SPDX-License-Identifier: GPL-3.0-or-later
"""The workers, one a device, as the supervisor sees them: who is idle, who has which job."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import chain

import zmq

from protocol import MakeRealError, Message, PlaneName, Submit, WorkerState

from .worker_keeper import Ended, WorkerKeeper

WORDS_LIMIT = 255
"""Characters of the devices in words."""


class WorkerPool:
    """All workers over all their starts. Poll `inboxes`; when one is readable, take `reports`.

    Args:
        context: Context for the sockets between threads.
        commands: The worker program with its options, once for each device.
    """

    def __init__(self, context: zmq.Context[zmq.Socket[bytes]], commands: Sequence[Sequence[str]]) -> None:
        self._keepers = [WorkerKeeper(context, command, number) for number, command in enumerate(commands)]
        self._last: dict[int, tuple[str, bytes]] = {}
        self.inboxes = [keeper.inbox for keeper in self._keepers]

    @property
    def state(self) -> WorkerState:
        """What the busiest worker is doing."""
        states = {keeper.state for keeper in self._keepers}
        order = (WorkerState.BUSY, WorkerState.IDLE, WorkerState.STARTING, WorkerState.STOPPED)
        return next(state for state in order if state in states)

    @property
    def has_idle(self) -> bool:
        """Whether a worker waits for a job."""
        return any(keeper.state is WorkerState.IDLE for keeper in self._keepers)

    @property
    def device(self) -> str:
        """The devices at work, in words."""
        return ", ".join(keeper.device for keeper in self._keepers if keeper.device)[:WORDS_LIMIT]

    @property
    def devices(self) -> tuple[str, ...]:
        """Every device that there is, in words."""
        return max((keeper.devices for keeper in self._keepers), key=len)

    @property
    def stopped_for(self) -> MakeRealError | None:
        """Why nothing can be computed: every worker was given up."""
        reasons = [keeper.stopped_for for keeper in self._keepers]
        return reasons[0] if all(reasons) else None

    def run(self, job: Submit) -> None:
        """Give an idle worker a job: the one that had this picture last, for it knows its inversion."""
        picture = next(plane.digest for plane in job.planes if plane.name is PlaneName.IMAGE)
        about = (job.request.model, picture)
        idle = [n for n, keeper in enumerate(self._keepers) if keeper.state is WorkerState.IDLE]
        chosen = next((n for n in idle if self._last.get(n) == about), idle[0])
        self._last[chosen] = about
        self._keepers[chosen].run(job)

    def cancel(self, job_id: str) -> None:
        """Ask whoever has the job to stop it."""
        for keeper in self._keepers:
            keeper.cancel(job_id)

    def rest(self) -> None:
        """End the workers, unless one has a job, until `revive`."""
        for keeper in self._keepers:
            keeper.rest()

    def revive(self) -> None:
        """Start again those that rest or were given up."""
        for keeper in self._keepers:
            keeper.revive()

    def tick(self) -> None:
        """Do what is due; call twice a second."""
        for keeper in self._keepers:
            keeper.tick()

    def reports(self) -> Iterator[Message | Ended]:
        """Everything that the workers reported since, without waiting."""
        return chain.from_iterable(keeper.reports() for keeper in self._keepers)

    def close(self) -> None:
        """End all workers and wait until they are gone."""
        for keeper in self._keepers:
            keeper.close()
