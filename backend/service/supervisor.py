# SPDX-License-Identifier: GPL-3.0-or-later
"""The supervisor: answers clients, journals jobs, feeds the workers. One thread, one loop, no torch.

The order that keeps a finished picture from being lost: the worker forces the result to the disk; the journal
says `done`; the client is told; the client acknowledges; only then may the pixels go.
"""

from __future__ import annotations

from collections.abc import Callable

import zmq

from protocol import ErrorCode, JobState, Limits, Message, Progress, Status, Submit
from protocol.curve import Listener

from .front import Front
from .jobs import Event
from .ledger import Stores
from .reception import Reception
from .worker_keeper import Ended
from .worker_pool import WorkerPool

TICK_MS = 500


class Supervisor:
    """Serves the clients of one listener until told to stop.

    Args:
        listener: The listening socket, with its gate and its connection.
        stores: Jobs, planes and results of this data folder.
        pool: The workers.
        models: Names of the installed models, asked for at every handshake and submission.
        limits: What is accepted.
    """

    def __init__(
        self,
        listener: Listener,
        stores: Stores,
        pool: WorkerPool,
        models: Callable[[], tuple[str, ...]],
        limits: Limits,
    ) -> None:
        self._front = Front(listener, limits)
        self._reception = Reception(listener.connection.epoch, self._front, stores, pool, models, limits)
        self._ledger = self._reception.ledger
        self._journal = stores.journal
        self._pool = pool
        self._poller = zmq.Poller()
        for socket in (listener.router, listener.gate.socket, *pool.inboxes):
            self._poller.register(socket, zmq.POLLIN)

    def recover(self) -> None:
        """Bring the data folder in order; to be called before clients are let in."""
        self._ledger.recover()

    def run(self, should_stop: Callable[[], bool]) -> None:
        """Serve until `should_stop`, asked twice a second; then leave the running job to the next start.

        Raises:
            MakeRealError: DISK_FULL when the journal cannot be written: nothing could be promised any more.
        """
        while not should_stop():
            self._pool.tick()
            self._poller.poll(TICK_MS)
            for letter in self._front.letters():
                self._reception.answer(letter)
            for report in self._pool.reports():
                self._take_report(report)
            self._fail_hopeless()
            self._dispatch()
            self._reception.grant()
            self._reception.deliver()
            self._reception.probe()
        self._pool.close()
        self._ledger.release()

    def _dispatch(self) -> None:
        """Give idle workers the next jobs. The attempt is journaled first: a crash must not hide it."""
        while self._pool.has_idle and (job := self._journal.next_queued()) is not None:
            job = self._ledger.change(job, Event.STARTED)
            self._pool.run(Submit(job.job_id, job.request, job.planes, job.label))

    def _take_report(self, report: Message | Ended) -> None:
        job = self._journal.find(getattr(report, "job_id", ""))
        if job is None or job.state is not JobState.RUNNING:
            # The job was cancelled meanwhile; a result that came too late is not wanted.
            if job is not None and job.state is JobState.CANCELLED:
                self._ledger.results.discard(job.job_id)
            return
        match report:
            case Progress():
                self._front.notify(job.job_id, report)
            case Status(state=JobState.DONE):
                self._ledger.change(job, Event.FINISHED)
                self._front.owe_all(job.job_id)
            case Status():
                self._ledger.change(job, Event.FAILED, report.error or ErrorCode.INTERNAL, report.detail)
            case Ended():
                self._ledger.change(job, Event.LOST, detail=report.detail)
            case _:
                pass

    def _fail_hopeless(self) -> None:
        """Fail what is queued when the worker was given up: it would wait for ever."""
        reason = self._pool.stopped_for
        if reason is None:
            return
        for job in self._journal.in_state(JobState.QUEUED):
            self._ledger.change(job, Event.FAILED, reason.code, reason.detail)
