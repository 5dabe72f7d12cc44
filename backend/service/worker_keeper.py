# SPDX-License-Identifier: GPL-3.0-or-later
"""Keeps a worker running: starts it, starts it again when it dies, and gives up when that leads nowhere."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import zmq

from protocol import (
    Cancel,
    Error,
    ErrorCode,
    JobState,
    MakeRealError,
    Message,
    Pong,
    Status,
    Submit,
    WorkerState,
)

from .channel import read_message
from .worker_process import WorkerProcess

RESTART_PAUSES_S = (0.0, 1.0, 2.0, 4.0)
"""Before each new start after a death. One death more, no job having come to an end, and it stays stopped. A worker
that was killed because it did not heed a cancel has not died of itself, and is started again at once.
"""
CANCEL_GRACE_S = 20.0
"""Seconds in which a worker must heed a cancel before it is killed; a step of a large picture takes a few."""

HANG_S = {"cuda": 300.0, "cpu": 1800.0}
"""Seconds without a report in which a worker with a job is taken to hang, by the kind of its device. The longest
silence of one at work is loading a model, or one pass over a large picture on a slow CPU.
"""

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Ended:
    """The worker ended.

    Args:
        job_id: The job that it was running, or empty.
        detail: How it ended, in words.
    """

    job_id: str
    detail: str


class WorkerKeeper:
    """The one worker, over all its starts. Poll `inbox`; when readable, take `reports`.

    Args:
        context: Context for the socket between threads.
        command: The worker program with its options.
        number: Tells this worker's socket from another one's.
    """

    def __init__(
        self, context: zmq.Context[zmq.Socket[bytes]], command: Sequence[str], number: int = 0
    ) -> None:
        self._context = context
        self._command = command
        self._endpoint = f"inproc://worker-reports-{number}"
        self._heard_at = 0.0
        self._process: WorkerProcess | None = None
        self._starts = 0
        self._deaths = 0
        self._start_at: float | None = 0.0
        self._kill_at: float | None = None
        self._is_killed_for_cancel = False
        self._is_ready = False
        self._refusal: Error | None = None
        self.job_id = ""
        self.device = ""
        self.devices: tuple[str, ...] = ()
        self._is_resting = False
        self.stopped_for: MakeRealError | None = None
        self.inbox = context.socket(zmq.PULL)
        self.inbox.bind(self._endpoint)

    @property
    def state(self) -> WorkerState:
        """What the worker is doing."""
        if self.stopped_for or self._is_resting:
            return WorkerState.STOPPED
        if not self._is_ready:
            return WorkerState.STARTING
        return WorkerState.BUSY if self.job_id else WorkerState.IDLE

    def run(self, job: Submit) -> None:
        """Give an idle worker a job."""
        assert self._process is not None
        self.job_id = job.job_id
        self._heard_at = time.monotonic()
        self._process.send(job)

    def cancel(self, job_id: str) -> None:
        """Ask the worker to stop its job; killed by `tick` if it does not within CANCEL_GRACE_S."""
        if self._process is not None and self.job_id == job_id:
            self._kill_at = time.monotonic() + CANCEL_GRACE_S
            self._process.send(Cancel(job_id))

    def rest(self) -> None:
        """End a worker without a job until `revive`: only the end of a process gives all its memory back."""
        if self.job_id or self.stopped_for or self._is_resting:
            return
        log.info("the worker is ended to free the device's memory")
        self._is_resting = True
        self._is_ready = False
        self._start_at = None
        if self._process is not None:
            self._process.close()
            self._process = None

    def revive(self) -> None:
        """Start again after a rest, or after the worker was given up: somebody may have mended the cause."""
        if self.stopped_for or self._is_resting:
            self.stopped_for = None
            self._is_resting = False
            self._deaths = 0
            self._start_at = 0.0

    def tick(self) -> None:
        """Do what is due: start the worker, or kill one that hangs or does not heed a cancel. Call twice a second."""
        now = time.monotonic()
        patience = HANG_S["cuda" if self.device.startswith("cuda") else "cpu"]
        if self.job_id and now > self._heard_at + patience and self._process is not None:
            log.warning("the worker did not move for %g s and is killed", patience)
            self._heard_at = now
            self._process.kill()
        if self._kill_at is not None and now > self._kill_at and self._process is not None:
            log.warning("the worker did not heed a cancel for %g s and is killed", CANCEL_GRACE_S)
            self._kill_at = None
            self._is_killed_for_cancel = True
            self._process.kill()
        if self._start_at is not None and now >= self._start_at:
            self._start_at = None
            self._is_killed_for_cancel = False
            self._starts += 1
            try:
                self._process = WorkerProcess(self._command, self._context, self._endpoint, self._starts)
                log.info("worker started, process %d", self._process.pid)
            except OSError as error:
                self.stopped_for = MakeRealError(
                    ErrorCode.INSTALLATION_BROKEN, f"{self._command[0]}: {error.strerror}"
                )

    def reports(self) -> Iterator[Message | Ended]:
        """Everything that the worker reported since, without waiting."""
        while self.inbox.poll(0):
            number, header = self.inbox.recv_multipart()
            if self._process is None or int(number) != self._process.number:
                continue
            if not header:
                yield self._on_end()
                continue
            try:
                yield self._on_report(read_message(header))
            except MakeRealError as error:
                log.error("the worker reported nonsense and is killed: %s", error.detail)
                self._process.kill()

    def close(self) -> None:
        """End the worker and wait until it is gone."""
        if self._process is not None:
            self._process.close()
            self._process = None
        self.inbox.close(linger=0)

    def _on_report(self, report: Message) -> Message:
        self._heard_at = time.monotonic()
        match report:
            case Pong():
                self._is_ready = True
                self.device = report.device
                self.devices = report.devices
            case Status() if report.state is not JobState.RUNNING:
                self.job_id = ""
                self._deaths = 0
                self._kill_at = None
            case Error():
                self._refusal = report
            case _:
                pass
        return report

    def _on_end(self) -> Ended:
        assert self._process is not None
        status = self._process.collect()
        detail = f"signal {-status}" if status < 0 else f"exit status {status}"
        log.warning("the worker ended: %s", detail)
        ended = Ended(self.job_id, detail)
        self._process = None
        self._is_ready = False
        self._kill_at = None
        self.job_id = ""
        if self._refusal is not None:
            self.stopped_for = MakeRealError(self._refusal.code, self._refusal.detail)
            self._refusal = None
        elif self._is_killed_for_cancel:
            # Artists who change their minds say nothing about the worker: it is not given up for that.
            self._start_at = time.monotonic()
        else:
            self._plan_start_after_death(detail)
        return ended

    def _plan_start_after_death(self, detail: str) -> None:
        """Start again after a pause, or give up after too many deaths in a row."""
        self._deaths += 1
        if self._deaths > len(RESTART_PAUSES_S):
            self.stopped_for = MakeRealError(
                ErrorCode.WORKER_CRASHED, f"{detail}, {self._deaths} times in a row"
            )
        else:
            self._start_at = time.monotonic() + RESTART_PAUSES_S[self._deaths - 1]
