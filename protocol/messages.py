# SPDX-License-Identifier: GPL-3.0-or-later
"""The messages of protocol 1, each a frozen dataclass. `README.md` beside this file is the specification.

    client                                supervisor
      Hello                       ->
                                  <-      Welcome | Refused
      Submit (no pixels)          ->
                                  <-      Credit (send them now) | Status (already known) | Error
      Planes + buffers            ->
                                  <-      Status(queued), Status(running), Progress ..., Result + buffers
      Acknowledge                 ->
                                  <-      Status(delivered)
      Cancel | Query              ->
                                  <-      Status | Error

Events (`Progress`, unasked `Status`) are hints; the answer to `Query` is the truth. Every message about a job
carries the client-made `job_id`, a UUID's 32 hexadecimal digits. Repeating a message is harmless.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from .errors import ErrorCode
from .planes import PlaneSpec
from .request import TranslationRequest

PROTOCOL_VERSION = 1


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


@dataclass(frozen=True)
class Limits:
    """What the supervisor accepts; told in `Welcome`, checked before sending and after receiving. Since 1.0.

    Args:
        max_side: Pixels along the longer side.
        max_pixels: Pixels of the picture.
        max_planes: Planes of one job.
        max_job_bytes: Bytes of all planes of one job.
        max_header_bytes: Bytes of a message header.
        max_jobs: Unfinished jobs of one client.
    """

    max_side: int = 16384
    max_pixels: int = 64 * 1024 * 1024
    max_planes: int = 16
    max_job_bytes: int = 1024 * 1024 * 1024
    max_header_bytes: int = 64 * 1024
    max_jobs: int = 10_000


@dataclass(frozen=True)
class Hello:
    """First message of a client. Since 1.0.

    Args:
        versions: Lowest and highest protocol version that the client speaks.
        client: Name and version of the program, for the log.
    """

    versions: tuple[int, int]
    client: str


@dataclass(frozen=True)
class Welcome:
    """The supervisor takes the client. Since 1.0.

    Args:
        version: The protocol version that both will speak.
        epoch: Changes with every start of the supervisor; a change tells the client to query its jobs.
        server: Name and version of the backend.
        device: Device in words, for example `cpu` or `cuda:0 NVIDIA H100`; empty while the worker still starts.
        models: Names that a request may give.
        limits: What the supervisor accepts.
    """

    version: int
    epoch: str
    server: str
    device: str
    models: tuple[str, ...]
    limits: Limits


@dataclass(frozen=True)
class Refused:
    """The supervisor does not take the client. Since 1.0.

    Args:
        code: Why.
        versions: Lowest and highest protocol version that the supervisor speaks.
    """

    code: ErrorCode
    versions: tuple[int, int]


@dataclass(frozen=True)
class Submit:
    """Announce a job. Repeatable: same id and content gives the current state, other content a conflict. Since 1.0.

    Args:
        job_id: Client-made UUID, 32 hexadecimal digits.
        request: What decides the picture.
        planes: The planes that will follow, in this order.
        label: What the artist calls it (scene, frame), for logs and file metadata; at most 255 characters.
    """

    job_id: str
    request: TranslationRequest
    planes: tuple[PlaneSpec, ...]
    label: str = ""


@dataclass(frozen=True)
class Credit:
    """The supervisor has room: send the job's planes now. Since 1.0."""

    job_id: str


@dataclass(frozen=True)
class Planes:
    """The job's pixels; the buffers follow as message parts in the order of `Submit.planes`. Since 1.0."""

    job_id: str


@dataclass(frozen=True)
class Status:
    """State of a job: answer to `Query`, `Cancel` and a repeated `Submit`, and a hint at every change. Since 1.0.

    Args:
        state: Where the job is.
        position: Jobs before it in the queue; 0 unless queued.
        error: Why it failed, else None.
        detail: Detail of the error.
    """

    job_id: str
    state: JobState
    position: int = 0
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

    job_id: str
    stage: Stage
    step: int
    steps: int
    fraction: float


@dataclass(frozen=True)
class Result:
    """The finished picture; the buffers follow as message parts. Sent when it is on disk. Since 1.0.

    Args:
        planes: The result's planes; `image` has the shape and dtype of the one sent.
        recipe: Request, model digest, device, versions, plane digests: what reproduces the picture. Plain maps,
            lists, strings and numbers.
        report: Figures about the result (`ssim_garment`, `delta_e_garment`, `alignment_px`, `peak_memory_bytes`).
        seconds: Seconds by stage, the keys being `Stage` values.
    """

    job_id: str
    planes: tuple[PlaneSpec, ...]
    recipe: dict[str, Any]
    report: dict[str, float]
    seconds: dict[str, float]


@dataclass(frozen=True)
class Acknowledge:
    """The client has the result; the supervisor may forget it. Since 1.0."""

    job_id: str


@dataclass(frozen=True)
class Cancel:
    """Stop a job, wherever it is; answered by its `Status`. Since 1.0."""

    job_id: str


@dataclass(frozen=True)
class Query:
    """Ask for the truth about a job: answered by `Status`, or by `Result` when it is done. Since 1.0."""

    job_id: str


@dataclass(frozen=True)
class Ping:
    """The client is there and asks whether the process is. Since 1.0."""


@dataclass(frozen=True)
class Pong:
    """Process status, the answer to `Ping`. Since 1.0.

    Args:
        epoch: As in `Welcome`.
        worker: `starting`, `idle`, `busy` or `stopped`.
        device: As in `Welcome`.
    """

    epoch: str
    worker: str
    device: str


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
    job_id: str = ""


Message = (
    Hello | Welcome | Refused | Submit | Credit | Planes | Status | Progress | Result
    | Acknowledge | Cancel | Query | Ping | Pong | Error
)  # fmt: skip
