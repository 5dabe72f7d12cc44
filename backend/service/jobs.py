# SPDX-License-Identifier: GPL-3.0-or-later
"""What may become of a job: states and transitions as data, no input or output.

    accepted --planes_received--> queued --started--> running --finished--> done --acknowledged--> delivered
                                    ^                   |
                                    +----- released ----+   the supervisor was told to stop, not its fault
                                    +------- lost ------+   its process died; at the second time: failed

`failed` and `cancelled` are reached from every state before `delivered`.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import StrEnum

from protocol import ErrorCode, JobState, PlaneSpec, Stage, TranslationRequest

MAX_ATTEMPTS = 2
"""Times a job is started before a death of its process is the job's failure."""


class Event(StrEnum):
    """What happens to a job."""

    PLANES_RECEIVED = "planes_received"
    STARTED = "started"
    FINISHED = "finished"
    ACKNOWLEDGED = "acknowledged"
    LOST = "lost"
    RELEASED = "released"
    FAILED = "failed"
    CANCELLED = "cancelled"


TRANSITIONS: dict[tuple[JobState, Event], JobState] = {
    (JobState.ACCEPTED, Event.PLANES_RECEIVED): JobState.QUEUED,
    (JobState.QUEUED, Event.STARTED): JobState.RUNNING,
    (JobState.RUNNING, Event.FINISHED): JobState.DONE,
    (JobState.RUNNING, Event.LOST): JobState.QUEUED,
    (JobState.RUNNING, Event.RELEASED): JobState.QUEUED,
    (JobState.DONE, Event.ACKNOWLEDGED): JobState.DELIVERED,
    (JobState.ACCEPTED, Event.FAILED): JobState.FAILED,
    (JobState.QUEUED, Event.FAILED): JobState.FAILED,
    (JobState.RUNNING, Event.FAILED): JobState.FAILED,
    (JobState.DONE, Event.FAILED): JobState.FAILED,
    (JobState.ACCEPTED, Event.CANCELLED): JobState.CANCELLED,
    (JobState.QUEUED, Event.CANCELLED): JobState.CANCELLED,
    (JobState.RUNNING, Event.CANCELLED): JobState.CANCELLED,
    (JobState.DONE, Event.CANCELLED): JobState.CANCELLED,
}
"""(state, event) -> next state; what is not here cannot happen."""

STAGE_SHARES: dict[Stage, float] = {
    Stage.LOADING: 0.05,
    Stage.ENCODING: 0.05,
    Stage.INVERTING: 0.35,
    Stage.DENOISING: 0.45,
    Stage.DECODING: 0.08,
    Stage.WRITING: 0.02,
}
"""Part of a job's time that a stage takes, roughly; in the order of the stages."""


@dataclass(frozen=True)
class Job:
    """A job at one moment.

    Args:
        job_id: 32 hexadecimal digits.
        request: What decides the picture.
        planes: The planes that belong to it.
        label: The artist's name for it.
        state: Where it is.
        attempts: Times that it was started; counted before the start, so that a crash is not forgotten.
        error: Why it failed, else None.
        detail: Detail of the error.
    """

    job_id: str
    request: TranslationRequest
    planes: tuple[PlaneSpec, ...]
    label: str = ""
    state: JobState = JobState.ACCEPTED
    attempts: int = 0
    error: ErrorCode | None = None
    detail: str = ""

    @property
    def byte_length(self) -> int:
        """Bytes of all its planes."""
        return sum(plane.byte_length for plane in self.planes)

    @property
    def content_digest(self) -> bytes:
        """16 bytes that two submissions share exactly when they ask for the same picture."""
        return content_digest(self.request, self.planes)


def content_digest(request: TranslationRequest, planes: Sequence[PlaneSpec]) -> bytes:
    """BLAKE2b over the request and the planes' descriptions, which hold the pixels' own digests."""
    content = [
        sorted(request.to_map().items()),
        [[plane.name, plane.dtype, list(plane.shape), plane.digest.hex()] for plane in planes],
    ]
    return hashlib.blake2b(json.dumps(content).encode(), digest_size=16).digest()


def may(job: Job, event: Event) -> bool:
    """Whether the event can happen to the job in its state."""
    return (job.state, event) in TRANSITIONS


def is_ended(job: Job) -> bool:
    """Whether nothing can happen to the job any more."""
    return not any(may(job, event) for event in Event)


def advance(job: Job, event: Event, error: ErrorCode | None = None, detail: str = "") -> Job:
    """The job after an event.

    Raises:
        ValueError: The event cannot happen in the job's state.
    """
    if not may(job, event):
        raise ValueError(f"{event} cannot happen to a job that is {job.state}")
    if event is Event.LOST and job.attempts >= MAX_ATTEMPTS:
        return replace(job, state=JobState.FAILED, error=ErrorCode.WORKER_CRASHED, detail=detail)
    attempts = job.attempts + {Event.STARTED: 1, Event.RELEASED: -1}.get(event, 0)
    return replace(job, state=TRANSITIONS[job.state, event], attempts=attempts, error=error, detail=detail)


def fraction_done(stage: Stage, step: int, steps: int) -> float:
    """Part of the whole job that is complete, 0..1, when `step` of `steps` of a stage are; never falls."""
    before = 0.0
    for each, share in STAGE_SHARES.items():
        if each is stage:
            return before + share * (step / steps if steps else 0.0)
        before += share
    raise ValueError(f"{stage} is no stage")
