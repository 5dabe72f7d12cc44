# SPDX-License-Identifier: GPL-3.0-or-later
"""What the panel says about the session: one true line and the one button that helps. Pure, without bpy."""

from __future__ import annotations

from dataclasses import dataclass

from ..protocol import EXPLANATIONS, ErrorCode
from .state import Job, Phase, Session

STAGES = {
    "": "Sending the picture",
    "loading": "Loading the model",
    "encoding": "Looking at the render",
    "inverting": "Inverting",
    "denoising": "Denoising",
    "decoding": "Developing the picture",
    "writing": "Writing the picture",
    "storing": "Storing the picture",
}
"""Stage of the protocol -> words; `storing` is the extension's own."""

HELPING_OPERATORS = {
    ErrorCode.BACKEND_NOT_FOUND: "make_real.open_preferences",
    ErrorCode.BACKEND_START_FAILED: "make_real.open_log",
    ErrorCode.WORKER_CRASHED: "make_real.open_log",
    ErrorCode.INTERNAL: "make_real.open_log",
    ErrorCode.NO_MASK_PASSES: "make_real.enable_passes",
}
"""The button beside a problem, where clicking Make Real again is not what helps."""


@dataclass(frozen=True)
class StatusLine:
    """What to draw.

    Args:
        text: The state in words.
        fraction: Of the job, 0..1; None without a job.
        operator: Identifier of the button's operator.
        problem: Sentence and remedy of what went wrong last, one line each, or what the picture that is worked on
            lacks; empty when nothing did.
    """

    text: str
    fraction: float | None
    operator: str
    problem: tuple[str, ...] = ()


def status_line(session: Session) -> StatusLine:
    """The line and the button for a state."""
    if session.job is not None:
        text = _job_text(session.phase, session.job)
        return StatusLine(text, session.job.fraction, "make_real.cancel", session.job.remarks)
    problem: tuple[str, ...] = ()
    operator = "make_real.translate"
    if session.problem is not None:
        explanation = EXPLANATIONS[session.problem.code]
        problem = tuple(filter(None, (explanation.sentence, session.problem.detail, explanation.remedy)))
        operator = HELPING_OPERATORS.get(session.problem.code, operator)
    return StatusLine(_rest_text(session), None, operator, problem)


def _job_text(phase: Phase, job: Job) -> str:
    if job.cancelling:
        return "Cancelling"
    if not job.collected:
        return "Reading the render"
    if phase is Phase.STARTING:
        return "Starting the backend again" if job.restarts else "Starting the backend"
    if phase is Phase.LOST:
        return "Waiting for the backend"
    if job.position:
        return f"Waiting for {job.position} other picture{'s' if job.position > 1 else ''}"
    words = STAGES.get(job.stage, job.stage)
    return f"{words}, step {job.step} of {job.steps}" if job.steps > 1 else words


def _rest_text(session: Session) -> str:
    match session.phase:
        case Phase.NOT_INSTALLED:
            return "No backend found"
        case Phase.STOPPED:
            return "Ready; the backend starts with the first picture"
        case Phase.STARTING:
            return "Starting the backend"
        case Phase.LOADING:
            return "The backend is getting ready"
        case Phase.LOST:
            return "Waiting for the backend"
        case _:
            return f"Ready on {session.device}"
