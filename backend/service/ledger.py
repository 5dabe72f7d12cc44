# SPDX-License-Identifier: GPL-3.0-or-later
"""The ledger: every change of a job in one place, in the order that loses nothing: journal, files, hints."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass

from protocol import ErrorCode, JobState, Status

from .jobs import Event, Job, advance
from .journal import Journal
from .results import Results
from .spool import Spool

DELIVERED_KEPT_S = 24 * 3600.0
"""Seconds that the picture of an ended job stays on the disk for a person to find."""
UNDELIVERED_KEPT_S = 30 * 24 * 3600.0

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Stores:
    """What a data folder holds."""

    journal: Journal
    spool: Spool
    results: Results


class Ledger:
    """Jobs and their files.

    Args:
        stores: Where they are kept.
        on_change: Told every job after a change.
    """

    def __init__(self, stores: Stores, on_change: Callable[[Job], None]) -> None:
        self.journal, self.spool, self.results = stores.journal, stores.spool, stores.results
        self._on_change = on_change

    def change(self, job: Job, event: Event, error: ErrorCode | None = None, detail: str = "") -> Job:
        """Let an event happen to a job.

        Raises:
            MakeRealError: DISK_FULL when the journal cannot be written; then nothing has happened.
        """
        job = advance(job, event, error, detail)
        self.journal.save(job)
        log.info("job %s %r %s %s", job.job_id, job.label, job.state, job.error or "")
        if job.state in (JobState.DELIVERED, JobState.FAILED, JobState.CANCELLED):
            self.spool.discard(job.job_id)
        if job.state is JobState.CANCELLED:
            self.results.discard(job.job_id)
        if job.state is JobState.DELIVERED:
            self.results.discard_delivered_pixels(job.job_id)
            self._forget_old()
        self._on_change(job)
        return job

    def status(self, job: Job) -> Status:
        """The message that tells where a job is."""
        position = self.journal.position(job) if job.state is JobState.QUEUED else 0
        return Status(job.job_id, job.state, position, job.error, job.detail)

    def recover(self) -> None:
        """Bring the data folder in order after whatever ended the supervisor before this one."""
        self.results.discard_partial()
        for job in self.journal.in_state(JobState.RUNNING):
            if self.results.exists(job.job_id):
                self.change(job, Event.FINISHED)
            else:
                self.change(job, Event.LOST, detail="the backend ended while it ran")
        queued = self.journal.in_state(JobState.QUEUED)
        self.spool.discard_all_but({job.job_id for job in queued} | self.journal.unreadable())
        self._forget_old()
        log.info("%d jobs to run, %d to deliver", len(queued), len(self.journal.in_state(JobState.DONE)))

    def release(self) -> None:
        """Leave the job that was running, its worker having ended, as the next start should find it."""
        for job in self.journal.in_state(JobState.RUNNING):
            self.change(job, Event.FINISHED if self.results.exists(job.job_id) else Event.RELEASED)

    def _forget_old(self) -> None:
        """Remove results that were kept long enough, and what is known of their jobs."""
        ended = (JobState.DELIVERED, JobState.FAILED, JobState.CANCELLED)
        old = self.journal.unchanged_since(time.time() - DELIVERED_KEPT_S, *ended)
        for job in [*old, *self.journal.unchanged_since(time.time() - UNDELIVERED_KEPT_S, JobState.DONE)]:
            self.results.discard(job.job_id)
            self.journal.forget(job.job_id)
