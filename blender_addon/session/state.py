# SPDX-License-Identifier: GPL-3.0-or-later
"""The extension's state: a pure function `(state, event) -> (state, effects)`; no bpy, no sockets, no clocks.

    not_installed --.                              .-> busy --.
    stopped --------+-> starting -> (loading ->) ready <------+
         ^              ^    |           |         |          |
         |              |    v           '---------+----------+--> lost -> (back where it was, or starting)
         '--------------+-- failed, stopped, gone (started again once, if a job waits)

The conductor turns what happens into events and carries the effects out; the panel draws from the state.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from enum import StrEnum

from ..protocol import ErrorCode, MakeRealError
from .events import (
    Acknowledge,
    AnotherChosen,
    BackendFailed,
    BackendGone,
    BackendLooked,
    BackendMissing,
    CancelClicked,
    CancelJob,
    CloseClient,
    Collected,
    ConnectionLost,
    ConnectionSeen,
    Effect,
    Event,
    Failed,
    FindBackend,
    ForgetJob,
    JobEnded,
    JobFinished,
    JobProgressed,
    JobQueued,
    OpenClient,
    Rendered,
    ResultStored,
    StartClicked,
    StopBackend,
    StopClicked,
    StoreResult,
    StoringHeld,
    Submit,
    TranslateClicked,
    Welcomed,
    WorkerRests,
)


class Phase(StrEnum):
    """How things stand with the backend."""

    NOT_INSTALLED = "not_installed"
    STOPPED = "stopped"
    STARTING = "starting"
    LOADING = "loading"
    """Connected; the backend is still loading its model or its libraries."""
    READY = "ready"
    BUSY = "busy"
    LOST = "lost"
    """Was connected; the client tries again."""


OF_THE_RENDER = (ErrorCode.NO_RENDER, ErrorCode.NO_MASK_PASSES, ErrorCode.MASK_SIZE, ErrorCode.EMPTY_MASK)
"""Problems that the next render may have mended."""
STORING = "storing"
"""Stage of a job whose result is here and is being taken home."""
CONNECTED = (Phase.LOADING, Phase.READY, Phase.BUSY)


@dataclass(frozen=True)
class Job:
    """The picture that was asked for.

    Args:
        job_id: UUID of the protocol.
        label: What the artist calls it: scene and frame.
        collected: The render was read; until then nothing can be sent.
        remarks: Sentences on what is missing although the picture can be made.
        sent: Given to the client that is open now.
        restarts: Starts of the backend that this job has outlived.
        cancelling: Cancel was clicked; the backend's answer is awaited.
        stage: Stage that the backend works on, empty before the first.
        step: Complete steps of the stage.
        steps: Steps of the stage.
        fraction: Of the whole job, 0..1.
        position: Jobs before it in the backend's queue.
        held_by: What the finished picture waits for, in words.
    """

    job_id: str
    label: str
    collected: bool = False
    remarks: tuple[str, ...] = ()
    sent: bool = False
    restarts: int = 0
    cancelling: bool = False
    stage: str = ""
    step: int = 0
    steps: int = 0
    fraction: float = 0.0
    position: int = 0
    held_by: str = ""


@dataclass(frozen=True)
class Session:
    """Everything that the panel shows.

    Args:
        device: Device that the backend computes on, in its words; empty until known.
        problem: What went wrong last, until the next click.
        why_lost: Why the backend is out of reach, while it is.
        is_resting: The backend has given the device's memory back, until the next picture.
    """

    phase: Phase = Phase.STOPPED
    device: str = ""
    job: Job | None = None
    problem: MakeRealError | None = None
    why_lost: str = ""
    is_resting: bool = False


Outcome = tuple[Session, tuple[Effect, ...]]


def can_translate(state: Session) -> bool:
    """Whether a click on Make Real would be taken."""
    return state.job is None


def is_bound(state: Session) -> bool:
    """Whether the job belongs to the backend that it was sent to, whichever the artist chooses meanwhile.

    One that cannot be reached has no claim on it.
    """
    return state.job is not None and (state.phase in CONNECTED or state.job.stage == STORING)


def advance(state: Session, event: Event) -> Outcome:
    """The next state, and what must be done. An event that makes no sense in a state changes nothing."""
    handler: Callable[[Session, Event], Outcome] = _HANDLERS[type(event)]
    return handler(state, event)


def _forget(state: Session) -> tuple[Effect, ...]:
    return (ForgetJob(state.job.job_id),) if state.job else ()


def _is_current(state: Session, job_id: str) -> bool:
    return state.job is not None and state.job.job_id == job_id


def _resting(state: Session) -> Phase:
    """Where a connected backend is when it has no job."""
    return Phase.READY if state.device else Phase.LOADING


def _start_clicked(state: Session, event: StartClicked) -> Outcome:
    if state.phase in (Phase.NOT_INSTALLED, Phase.STOPPED):
        return replace(state, phase=Phase.STARTING, problem=None), (FindBackend(),)
    return state, ()


def _stop_clicked(state: Session, event: StopClicked) -> Outcome:
    return Session(), (*_forget(state), CloseClient(), StopBackend())


def _another_chosen(state: Session, event: AnotherChosen) -> Outcome:
    left = Session(problem=state.problem)
    if state.job is None:
        return left, (CloseClient(), StopBackend())
    # The backend that it was sent to is out of reach: the next one gets it.
    job = replace(_begun_again(state.job), sent=False)
    if not job.collected:
        return replace(left, job=job), (CloseClient(), StopBackend())
    return replace(left, phase=Phase.STARTING, job=job), (CloseClient(), StopBackend(), FindBackend())


def _begun_again(job: Job) -> Job:
    return replace(job, stage="", step=0, steps=0, fraction=0.0, position=0)


def _translate_clicked(state: Session, event: TranslateClicked) -> Outcome:
    if not can_translate(state):
        return state, ()
    return replace(state, job=Job(event.job_id, event.label), problem=None, is_resting=False), ()


def _collected(state: Session, event: Collected) -> Outcome:
    if not _is_current(state, event.job_id):
        return state, ()
    job = replace(state.job, collected=True, remarks=event.remarks)
    if state.phase in (Phase.NOT_INSTALLED, Phase.STOPPED):
        return replace(state, phase=Phase.STARTING, job=job), (FindBackend(),)
    if state.phase in CONNECTED:
        return replace(state, phase=Phase.BUSY, job=replace(job, sent=True)), (Submit(job.job_id),)
    return replace(state, job=job), ()


def _cancel_clicked(state: Session, event: CancelClicked) -> Outcome:
    if state.job is None or state.job.cancelling:
        return state, ()
    if state.phase is Phase.BUSY:
        return replace(state, job=replace(state.job, cancelling=True)), (CancelJob(state.job.job_id),)
    told = (CancelJob(state.job.job_id),) if state.job.sent else ()
    return replace(state, job=None), (*told, *_forget(state))


def _backend_missing(state: Session, event: BackendMissing) -> Outcome:
    return Session(Phase.NOT_INSTALLED, problem=event.problem), _forget(state)


def _backend_failed(state: Session, event: BackendFailed) -> Outcome:
    return _give_up(state, event.problem)


def _give_up(state: Session, problem: MakeRealError) -> Outcome:
    return Session(Phase.STOPPED, problem=problem), (*_forget(state), CloseClient(), StopBackend())


def _backend_gone(state: Session, event: BackendGone) -> Outcome:
    if state.phase in (Phase.NOT_INSTALLED, Phase.STOPPED):
        return state, ()
    if state.phase is Phase.STARTING:
        return _give_up(state, event.problem)
    if state.job and not state.job.cancelling and state.job.restarts == 0:
        # The client follows the backend's next start by itself, and takes up the job where it was.
        job = replace(_begun_again(state.job), restarts=1)
        return replace(state, phase=Phase.STARTING, device="", job=job), (FindBackend(),)
    return _give_up(state, MakeRealError(ErrorCode.BACKEND_LOST, event.problem.detail))


def _connection_seen(state: Session, event: ConnectionSeen) -> Outcome:
    return (state, (OpenClient(),)) if state.phase is Phase.STARTING else (state, ())


def _welcomed(state: Session, event: Welcomed) -> Outcome:
    if state.phase in (Phase.NOT_INSTALLED, Phase.STOPPED):
        return state, ()
    state = replace(state, device=event.device, why_lost="")
    if state.job is None or not state.job.collected:
        return replace(state, phase=_resting(state)), ()
    if state.job.sent:
        return replace(state, phase=Phase.BUSY), ()
    job = replace(state.job, sent=True)
    return replace(state, phase=Phase.BUSY, job=job), (Submit(job.job_id),)


def _connection_lost(state: Session, event: ConnectionLost) -> Outcome:
    if state.phase not in CONNECTED:
        return state, ()
    if state.job and state.job.cancelling:
        # The client remembers the cancellation; the artist need not wait for the answer.
        return replace(state, phase=Phase.LOST, why_lost=event.why, job=None), _forget(state)
    return replace(state, phase=Phase.LOST, why_lost=event.why), ()


def _job_queued(state: Session, event: JobQueued) -> Outcome:
    if not _is_current(state, event.job_id):
        return state, ()
    return replace(state, job=replace(state.job, position=event.position)), ()


def _job_progressed(state: Session, event: JobProgressed) -> Outcome:
    if not _is_current(state, event.job_id):
        return state, ()
    progress = {"stage": event.stage, "step": event.step, "steps": event.steps, "fraction": event.fraction}
    return replace(state, job=replace(state.job, position=0, **progress)), ()


def _job_finished(state: Session, event: JobFinished) -> Outcome:
    if not _is_current(state, event.job_id):
        return state, ()
    job = replace(state.job, stage=STORING, step=0, steps=0, fraction=1.0)
    return replace(state, job=job), (StoreResult(event.job_id),)


def _storing_held(state: Session, event: StoringHeld) -> Outcome:
    if not _is_current(state, event.job_id):
        return state, ()
    return replace(state, job=replace(state.job, held_by=event.held_by)), ()


def _result_stored(state: Session, event: ResultStored) -> Outcome:
    if not _is_current(state, event.job_id):
        return state, ()
    ended = _without_job(replace(state, problem=event.problem))
    return ended, (Acknowledge(event.job_id), ForgetJob(event.job_id))


def _job_ended(state: Session, event: JobEnded) -> Outcome:
    if not _is_current(state, event.job_id):
        return state, ()
    return _without_job(replace(state, problem=event.problem)), (ForgetJob(event.job_id),)


def _without_job(state: Session) -> Session:
    phase = _resting(state) if state.phase is Phase.BUSY else state.phase
    return replace(state, phase=phase, job=None)


def _backend_looked(state: Session, event: BackendLooked) -> Outcome:
    if state.phase not in (Phase.NOT_INSTALLED, Phase.STOPPED):
        return state, ()
    return replace(state, phase=Phase.STOPPED if event.is_there else Phase.NOT_INSTALLED), ()


def _worker_rests(state: Session, event: WorkerRests) -> Outcome:
    return (replace(state, is_resting=event.rests), ()) if state.phase is Phase.READY else (state, ())


def _rendered(state: Session, event: Rendered) -> Outcome:
    is_past = state.problem is not None and state.problem.code in OF_THE_RENDER
    return (replace(state, problem=None) if is_past else state), ()


def _failed(state: Session, event: Failed) -> Outcome:
    return replace(state, problem=event.problem), ()


_HANDLERS: dict[type, Callable] = {
    StartClicked: _start_clicked,
    StopClicked: _stop_clicked,
    AnotherChosen: _another_chosen,
    TranslateClicked: _translate_clicked,
    Collected: _collected,
    CancelClicked: _cancel_clicked,
    BackendMissing: _backend_missing,
    BackendFailed: _backend_failed,
    BackendGone: _backend_gone,
    ConnectionSeen: _connection_seen,
    Welcomed: _welcomed,
    ConnectionLost: _connection_lost,
    JobQueued: _job_queued,
    JobProgressed: _job_progressed,
    JobFinished: _job_finished,
    StoringHeld: _storing_held,
    ResultStored: _result_stored,
    JobEnded: _job_ended,
    Rendered: _rendered,
    Failed: _failed,
    BackendLooked: _backend_looked,
    WorkerRests: _worker_rests,
}
