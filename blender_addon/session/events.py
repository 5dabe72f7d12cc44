# SPDX-License-Identifier: GPL-3.0-or-later
"""What may happen to the session (events), and what it may want done (effects)."""

from __future__ import annotations

from dataclasses import dataclass

from ..protocol import MakeRealError

# Events


@dataclass(frozen=True)
class StartClicked:
    """Start the backend without a picture."""


@dataclass(frozen=True)
class StopClicked:
    """Stop the backend, and the job with it."""


@dataclass(frozen=True)
class AnotherChosen:
    """The artist has chosen another backend than the one that is connected, or was."""


@dataclass(frozen=True)
class TranslateClicked:
    """A picture shall be translated; the render was saved, and is to be read."""

    job_id: str
    label: str


@dataclass(frozen=True)
class Collected:
    """The render was read, and can be sent.

    Args:
        remarks: Sentences on what is missing although the picture can be made.
    """

    job_id: str
    remarks: tuple[str, ...] = ()


@dataclass(frozen=True)
class CancelClicked:
    """Stop the job."""


@dataclass(frozen=True)
class BackendMissing:
    """No program to start was found, or it is not one."""

    problem: MakeRealError


@dataclass(frozen=True)
class BackendFailed:
    """The backend could not be started, or refused us: trying again would not help."""

    problem: MakeRealError


@dataclass(frozen=True)
class BackendGone:
    """The backend's process is gone.

    Args:
        problem: Why, as far as it is known.
    """

    problem: MakeRealError


@dataclass(frozen=True)
class ConnectionSeen:
    """A backend can be connected to."""


@dataclass(frozen=True)
class Welcomed:
    """The backend has taken the client."""

    device: str


@dataclass(frozen=True)
class BackendLooked:
    """It was looked whether there is a backend to start or to connect to."""

    is_there: bool


@dataclass(frozen=True)
class WorkerRests:
    """Whether the backend has given the device's memory back, until the next picture."""

    rests: bool


@dataclass(frozen=True)
class ConnectionLost:
    """The backend does not answer; the client goes on trying.

    Args:
        why: As far as it is known.
    """

    why: str = ""


@dataclass(frozen=True)
class JobQueued:
    """The job waits in the backend's queue."""

    job_id: str
    position: int


@dataclass(frozen=True)
class JobProgressed:
    """Work watermark of the job."""

    job_id: str
    stage: str
    step: int
    steps: int
    fraction: float


@dataclass(frozen=True)
class JobFinished:
    """The result has arrived and must be stored."""

    job_id: str


@dataclass(frozen=True)
class StoringHeld:
    """The result is on disk, and cannot be shown just now, or can again.

    Args:
        held_by: What hinders it, in words; empty when nothing does any more.
    """

    job_id: str
    held_by: str


@dataclass(frozen=True)
class ResultStored:
    """The result is on disk and shown.

    Args:
        problem: What could not be done with it, although the picture is there.
    """

    job_id: str
    problem: MakeRealError | None = None


@dataclass(frozen=True)
class JobEnded:
    """The job ended without a result: it failed (problem) or was cancelled (None)."""

    job_id: str
    problem: MakeRealError | None


@dataclass(frozen=True)
class Rendered:
    """Blender has finished a render."""


@dataclass(frozen=True)
class Failed:
    """Something failed before a job existed, for example saving the render."""

    problem: MakeRealError


Event = (
    StartClicked | StopClicked | AnotherChosen | TranslateClicked | Collected | CancelClicked | BackendMissing
    | BackendFailed | BackendGone | ConnectionSeen | Welcomed | ConnectionLost | JobQueued | JobProgressed
    | JobFinished | StoringHeld | ResultStored | JobEnded | Rendered | Failed | BackendLooked | WorkerRests
)  # fmt: skip


# Effects


@dataclass(frozen=True)
class FindBackend:
    """See to it that a backend runs: the one that runs already, or a new one."""


@dataclass(frozen=True)
class StopBackend:
    """End the backend if it was started here."""


@dataclass(frozen=True)
class OpenClient:
    """Connect to the backend that was seen."""


@dataclass(frozen=True)
class CloseClient:
    """Close the client's sockets."""


@dataclass(frozen=True)
class Submit:
    """Give the job to the client."""

    job_id: str


@dataclass(frozen=True)
class CancelJob:
    """Ask the backend to stop the job."""

    job_id: str


@dataclass(frozen=True)
class StoreResult:
    """Write the result to disk and show it."""

    job_id: str


@dataclass(frozen=True)
class Acknowledge:
    """Tell the backend that the result is safe."""

    job_id: str


@dataclass(frozen=True)
class ForgetJob:
    """Free the job's pixels."""

    job_id: str


Effect = (
    FindBackend | StopBackend | OpenClient | CloseClient | Submit | CancelJob | StoreResult | Acknowledge
    | ForgetJob
)  # fmt: skip
