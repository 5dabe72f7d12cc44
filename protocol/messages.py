# SPDX-License-Identifier: GPL-3.0-or-later
"""The messages of protocol 1, each a frozen dataclass. `README.md` beside this file is the specification.

    client                                supervisor
      Hello                       ->
                                  <-      Welcome | Refused
      Submit (no pixels)          ->
                                  <-      Credit (send them now) | Status (already known) | Error
      Planes + one buffer, ...    ->
                                  <-      Status(queued), Status(running), Progress ..., Result + buffers
      Acknowledge                 ->
                                  <-      Status(delivered)
      Cancel | Query              ->
                                  <-      Status | Error
      Ping | Release              ->
                                  <-      Pong

Events (`Progress`, unasked `Status`) are hints; the answer to `Query` is the truth. Every message about a job
carries the client-made `job_id`, a UUID's 32 hexadecimal digits. Repeating a message is harmless.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Annotated, Any

from .errors import ErrorCode, MakeRealError
from .limits import Limits
from .planes import PlaneName, PlaneSpec
from .request import TranslationRequest
from .schema import Count, Fraction, JobId, Label, Length, MaybeJobId, Name, Version

PROTOCOL_VERSION = 1

PlaneSpecs = Annotated[tuple[PlaneSpec, ...], Length(1, 16)]


class JobState(StrEnum):
    """Where a job is. `done` means: on disk. Since 1.0."""

    UNKNOWN = "unknown"
    ACCEPTED = "accepted"
    """Submitted; waits for its planes."""
    QUEUED = "queued"
    RUNNING = "running"
    DONE = "done"
    """The result is on disk and was not acknowledged yet."""
    DELIVERED = "delivered"
    FAILED = "failed"
    CANCELLED = "cancelled"


class Stage(StrEnum):
    """What a running job is doing. Since 1.0."""

    LOADING = "loading"
    ENCODING = "encoding"
    INVERTING = "inverting"
    DENOISING = "denoising"
    DECODING = "decoding"
    WRITING = "writing"


class WorkerState(StrEnum):
    """What the process that computes pictures is doing. Since 1.0."""

    STARTING = "starting"
    IDLE = "idle"
    BUSY = "busy"
    STOPPED = "stopped"


@dataclass(frozen=True)
class Hello:
    """First message of a client. Since 1.0.

    Args:
        versions: Lowest and highest protocol version that the client speaks.
        client: Name and version of the program, for the log.
    """

    versions: tuple[Version, Version]
    client: Name


@dataclass(frozen=True)
class Welcome:
    """The supervisor takes the client. Since 1.0.

    Args:
        version: The protocol version that both will speak.
        epoch: Changes with every start of the supervisor; a change tells the client to query its jobs.
        server: Name and version of the backend.
        device: Device in words, for example `cpu` or `cuda:0 NVIDIA H100`; empty while the worker starts.
        models: Names that a request may give.
        limits: What the supervisor accepts.
    """

    version: Version
    epoch: Name
    server: Name
    device: Label
    models: tuple[Name, ...]
    limits: Limits


@dataclass(frozen=True)
class Refused:
    """The supervisor does not take the client. Since 1.0.

    Args:
        code: Why.
        versions: Lowest and highest protocol version that the supervisor speaks.
    """

    code: ErrorCode
    versions: tuple[Version, Version]


@dataclass(frozen=True)
class Submit:
    """Announce a job. Repeatable: same id and content gives the state, other content a conflict. Since 1.0.

    Args:
        job_id: Client-made UUID, 32 hexadecimal digits.
        request: What decides the picture.
        planes: The planes that will follow, in this order.
        label: What the artist calls it (scene, frame), for logs and file metadata; at most 255 characters.
    """

    job_id: JobId
    request: TranslationRequest
    planes: PlaneSpecs
    label: Label = ""


@dataclass(frozen=True)
class Credit:
    """The supervisor has room: send the job's planes now. Since 1.0."""

    job_id: JobId


@dataclass(frozen=True)
class Planes:
    """A chunk of a job's pixels; its bytes follow as the one message part. Since 1.0.

    The planes come in the order of `Submit.planes`, each from its first byte up; the first plane's chunk at
    offset 0 begins anew. Chunks keep the link free for `Cancel` and `Ping`, and a sender's calls short.

    Args:
        job_id: The job.
        plane: The plane that the bytes belong to.
        offset: Bytes of the plane that came before.
    """

    job_id: JobId
    plane: PlaneName
    offset: Count


@dataclass(frozen=True)
class Status:
    """State of a job: answer to `Query`, `Cancel` and a repeated `Submit`, a hint at a change. Since 1.0.

    Args:
        state: Where the job is.
        position: Jobs before it in the queue; 0 unless queued.
        error: Why it failed, else None.
        detail: Detail of the error.
    """

    job_id: JobId
    state: JobState
    position: Count = 0
    error: ErrorCode | None = None
    detail: str = ""


@dataclass(frozen=True)
class Progress:
    """Work watermark of the running job, sent at every step. Since 1.0.

    Args:
        stage: What it is doing.
        step: Steps of this stage that are complete.
        steps: Steps of this stage in all.
        fraction: Of the whole job, 0..1; below 1 until the result is on disk.
    """

    job_id: JobId
    stage: Stage
    step: Count
    steps: Count
    fraction: Fraction


@dataclass(frozen=True)
class Result:
    """The finished picture; the buffers follow as message parts. Sent when it is on disk. Since 1.0.

    Args:
        planes: The result's planes; `image` has the shape and dtype of the one sent.
        recipe: Request, model digest, device, versions, plane digests: what reproduces the picture. Plain
            maps, lists, strings and numbers.
        report: Figures about the result: `ssim_garment`, `delta_e_garment`, `colour_garment`, `alignment_px`,
            `peak_memory_bytes`.
        seconds: Seconds by stage, the keys being `Stage` values.
    """

    job_id: JobId
    planes: PlaneSpecs
    recipe: dict[str, Any]
    report: dict[str, float]
    seconds: dict[str, float]


@dataclass(frozen=True)
class Acknowledge:
    """The client has the result; the supervisor may forget it. Since 1.0."""

    job_id: JobId


@dataclass(frozen=True)
class Cancel:
    """Stop a job, wherever it is; answered by its `Status`. Since 1.0."""

    job_id: JobId


@dataclass(frozen=True)
class Query:
    """Ask for the truth about a job: answered by `Status`, or by `Result` when it is done. Since 1.0."""

    job_id: JobId


@dataclass(frozen=True)
class Ping:
    """The client is there and asks whether the process is. Since 1.0."""


@dataclass(frozen=True)
class Pong:
    """Process status, the answer to `Ping`. Since 1.0.

    Args:
        epoch: As in `Welcome`.
        worker: What the process that computes pictures is doing.
        device: As in `Welcome`.
        devices: Every device that the backend could compute on, in words. Since 1.1.
        error: Why the worker was given up, else None. Since 1.1.
        detail: Detail of the error. Since 1.1.
    """

    epoch: Name
    worker: WorkerState
    device: Label
    devices: tuple[Label, ...] = ()
    error: ErrorCode | None = None
    detail: str = ""


@dataclass(frozen=True)
class Release:
    """Free the device's memory for others: the worker ends, if it has no job, until the next one. Since 1.1.

    Answered by `Pong`, whose `worker` is `stopped` when it was done.
    """


@dataclass(frozen=True)
class Error:
    """A message was refused; the connection lives on. Since 1.0.

    Args:
        code: Why.
        detail: What only this occurrence knows.
        job_id: The job that it concerns, or empty.
    """

    code: ErrorCode
    detail: str = ""
    job_id: MaybeJobId = ""

    @classmethod
    def of(cls, error: MakeRealError) -> Error:
        """The message that tells the peer about an error."""
        return cls(error.code, error.detail, error.job_id)


Message = (
    Hello | Welcome | Refused | Submit | Credit | Planes | Status | Progress | Result
    | Acknowledge | Cancel | Query | Ping | Pong | Release | Error
)  # fmt: skip
