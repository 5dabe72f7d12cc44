# SPDX-License-Identifier: GPL-3.0-or-later
"""The clients' half of the supervisor: every message of theirs is answered here, and what they are owed is sent."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from importlib.metadata import PackageNotFoundError, version

from protocol import (
    PROTOCOL_VERSION,
    Acknowledge,
    Cancel,
    Credit,
    ErrorCode,
    Hello,
    JobState,
    Limits,
    MakeRealError,
    Message,
    Ping,
    Planes,
    Pong,
    Query,
    Refused,
    Release,
    Result,
    Status,
    Submit,
    Welcome,
)
from protocol.limits import check_planes

from .front import Front, Letter
from .intake import Intake
from .jobs import Event, Job, content_digest, is_ended, may
from .ledger import Ledger, Stores
from .worker_pool import WorkerPool

PROBE_S = 2.0
"""Between looks whether the clients are still there whose planes are expected."""

log = logging.getLogger(__name__)


class Reception:
    """Answers clients.

    Args:
        epoch: Of this start of the service.
        front: The clients.
        stores: Jobs, planes and results of this data folder.
        pool: The workers.
        models: Names of the installed models, asked for at every handshake and submission.
        limits: What is accepted.

    Attributes:
        ledger: The jobs, whose changes the clients are told.
    """

    def __init__(
        self,
        epoch: str,
        front: Front,
        stores: Stores,
        pool: WorkerPool,
        models: Callable[[], tuple[str, ...]],
        limits: Limits,
    ) -> None:
        self._epoch = epoch
        self._front = front
        self.ledger = Ledger(stores, self._tell_change)
        self._journal = stores.journal
        self._pool = pool
        self._models = models
        self._limits = limits
        self._intake = Intake(limits.max_job_bytes)
        self._probe_at = 0.0

    def answer(self, letter: Letter) -> None:
        """Do what a client asks for, or tell it why not."""
        try:
            self._handle(letter)
        except MakeRealError as error:
            job_id = error.job_id or getattr(letter.message, "job_id", "")
            self._front.refuse(letter.client, MakeRealError(error.code, error.detail, job_id))

    def _handle(self, letter: Letter) -> None:
        client, message = letter.client, letter.message
        match message:
            case Hello():
                self._front.send(client, self._greet(message))
            case Ping():
                self._front.send(client, self._pong())
            case Release():
                self._release(client)
            case Submit():
                self._submit(client, message)
            case Planes():
                self._receive(message, letter.buffers[0])
            case Query():
                self._answer_query(client, message.job_id)
            case Cancel():
                self._cancel(client, message.job_id)
            case Acknowledge():
                self._acknowledge(client, message.job_id)
            case _:
                raise MakeRealError(ErrorCode.UNSUPPORTED_MESSAGE, type(message).__name__.lower())

    def _greet(self, hello: Hello) -> Message:
        low, high = hello.versions
        log.info("%r says hello", hello.client)
        if not low <= PROTOCOL_VERSION <= high:
            return Refused(ErrorCode.UNSUPPORTED_VERSION, (PROTOCOL_VERSION, PROTOCOL_VERSION))
        return Welcome(
            PROTOCOL_VERSION, self._epoch, server_name(), self._pool.device, self._models(), self._limits
        )

    def _pong(self) -> Pong:
        pool = self._pool
        reason = pool.stopped_for
        code, detail = (reason.code, reason.detail) if reason else (None, "")
        return Pong(self._epoch, pool.state, pool.device, pool.devices, code, detail)

    def _release(self, client: bytes) -> None:
        """Let the worker rest, unless a picture waits for it or is on its way."""
        if not len(self._intake) and self._journal.unfinished_count() == 0:
            self._pool.rest()
        self._front.send(client, self._pong())

    def _submit(self, client: bytes, submit: Submit) -> None:
        known = self._find(submit.job_id)
        if known is None:
            self._accept(client, submit)
        elif known.content_digest != content_digest(submit.request, submit.planes):
            raise MakeRealError(ErrorCode.JOB_CONFLICT, submit.job_id, submit.job_id)
        elif known.state is JobState.ACCEPTED and not self._intake.has_credit(submit.job_id, client):
            self._intake.add(known, client)
        self._tell(client, submit.job_id)
        if self._intake.has_credit(submit.job_id, client):
            # A repetition: what has arrived stays. The credit is told again, since it may be what got lost.
            self._front.send(client, Credit(submit.job_id))

    def _accept(self, client: bytes, submit: Submit) -> None:
        check_planes(submit.planes, self._limits)
        if len(self._intake) + self._journal.unfinished_count() >= self._limits.max_jobs:
            raise MakeRealError(ErrorCode.LIMIT_EXCEEDED, f"{self._limits.max_jobs} unfinished jobs")
        models = self._models()
        if submit.request.model not in models:
            raise MakeRealError(
                ErrorCode.MODEL_NOT_FOUND, f"{submit.request.model!r} is not among {', '.join(models)}"
            )
        self.ledger.spool.check_room(submit.planes)
        self._intake.add(Job(submit.job_id, submit.request, submit.planes, submit.label), client)
        # It gets ready while the planes travel.
        self._pool.revive()

    def _receive(self, chunk: Planes, buffer: memoryview) -> None:
        job = self._intake.find(chunk.job_id)
        if job is None:
            if self._journal.find(chunk.job_id) is None:
                raise MakeRealError(ErrorCode.JOB_UNKNOWN, chunk.job_id, chunk.job_id)
            # What was on its way when the job was cancelled or failed.
            return
        try:
            arrays = self._intake.receive(chunk, buffer)
            if arrays is None:
                return
            self.ledger.spool.write(job.job_id, arrays)
        except MakeRealError as error:
            self._intake.remove(job.job_id)
            self.ledger.change(job, Event.FAILED, error.code, error.detail)
        else:
            self._intake.remove(job.job_id)
            self.ledger.change(job, Event.PLANES_RECEIVED)

    def _cancel(self, client: bytes, job_id: str) -> None:
        job = self._find(job_id)
        if job is None or not may(job, Event.CANCELLED):
            self._tell(client, job_id)
            return
        self._intake.remove(job_id)
        self._pool.cancel(job_id)
        self._front.listen(client, job_id)
        self.ledger.change(job, Event.CANCELLED)

    def _acknowledge(self, client: bytes, job_id: str) -> None:
        job = self._find(job_id)
        if job is None or not may(job, Event.ACKNOWLEDGED):
            self._tell(client, job_id)
            return
        self._front.listen(client, job_id)
        self.ledger.change(job, Event.ACKNOWLEDGED)

    def _answer_query(self, client: bytes, job_id: str) -> None:
        job = self._find(job_id)
        if job is None or job.state is not JobState.DONE:
            self._tell(client, job_id)
            return
        self._front.listen(client, job_id)
        self._front.owe(client, job_id)

    def _tell(self, client: bytes, job_id: str) -> None:
        """Send a client the state of a job, and keep it informed from now on."""
        job = self._find(job_id)
        if job is None:
            self._front.send(client, Status(job_id, JobState.UNKNOWN))
            return
        self._front.send(client, self.ledger.status(job))
        if not is_ended(job):
            self._front.listen(client, job_id)

    def _find(self, job_id: str) -> Job | None:
        return self._intake.find(job_id) or self._journal.find(job_id)

    def _tell_change(self, job: Job) -> None:
        """Send the listeners of a job its new state."""
        if job.state is not JobState.DONE:
            # The result itself tells that one.
            self._front.notify(job.job_id, self.ledger.status(job))
        if is_ended(job):
            self._front.close_job(job.job_id)

    def grant(self) -> None:
        """Let clients send the planes that there is room for."""
        for entry in self._intake.grant():
            self._front.send(entry.client, Credit(entry.job.job_id))

    def deliver(self) -> None:
        """Send results that are owed, as far as their clients have room."""
        for client, job_id in self._front.next_owed():
            job = self._journal.find(job_id)
            if job is None or job.state is not JobState.DONE:
                self._front.settle(client, job_id, was_sent=False)
                continue
            try:
                outcome, content = self.ledger.results.read(job_id)
                result = Result(job_id, (outcome.plane,), outcome.recipe, outcome.report, outcome.seconds)
                if not self._front.send(client, result, [content]):
                    continue
            except MakeRealError as error:
                self.ledger.change(job, Event.FAILED, error.code, error.detail)
                continue
            self._front.settle(client, job_id, was_sent=True)

    def probe(self) -> None:
        """Notice clients that went away while their planes are expected."""
        if time.monotonic() >= self._probe_at:
            self._probe_at = time.monotonic() + PROBE_S
            for client in self._intake.clients():
                self._front.send(client, self._pong())
        for client in self._front.take_gone():
            self._intake.forget_client(client)


def server_name() -> str:
    """Name and version of the backend."""
    try:
        return f"make-real {version('make-real')}"
    except PackageNotFoundError:
        return "make-real, not installed as a package"
