# SPDX-License-Identifier: GPL-3.0-or-later
"""What the panel says about the backend: one true line, its one button, and the button that mends a problem.

Pure, without bpy.
"""

from __future__ import annotations

from dataclasses import dataclass

from ..backend.installation import Progress
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

BUTTONS = {
    Phase.NOT_INSTALLED: "make_real.install_backend",
    Phase.STOPPED: "make_real.start_backend",
    Phase.STARTING: "make_real.stop_backend",
    Phase.LOADING: "make_real.stop_backend",
    Phase.READY: "make_real.stop_backend",
    Phase.BUSY: "make_real.cancel",
    Phase.LOST: "make_real.stop_backend",
}
"""The state line's button; while there is a job it is Cancel, while something is installed Cancel Installation."""

LOCAL_WORDS = {
    Phase.NOT_INSTALLED: "No backend is installed",
    Phase.STOPPED: "Stopped; it starts with the first picture",
    Phase.STARTING: "Starting the backend",
}
REMOTE_WORDS = {
    Phase.NOT_INSTALLED: "No connection file was chosen",
    Phase.STOPPED: "Not connected; the first picture connects",
    Phase.STARTING: "Connecting to the backend",
}
"""The same phases of a backend on another machine, which is not installed or started from here."""

FIXES = {
    ErrorCode.CONNECTION_FILE_REFUSED: "make_real.open_preferences",
    ErrorCode.BACKEND_NOT_FOUND: "make_real.open_preferences",
    ErrorCode.BACKEND_START_FAILED: "make_real.open_log",
    ErrorCode.BACKEND_START_TIMEOUT: "make_real.open_log",
    ErrorCode.BACKEND_LOST: "make_real.translate",
    ErrorCode.KEY_REFUSED: "make_real.open_preferences",
    ErrorCode.INSTALL_FAILED: "make_real.repair_backend",
    ErrorCode.INSTALL_NO_SPACE: "make_real.open_preferences",
    ErrorCode.INSTALL_ARCHIVE_REFUSED: "make_real.install_backend",
    ErrorCode.INSTALL_UNSUPPORTED: "make_real.open_preferences",
    ErrorCode.ONLINE_ACCESS_OFF: "make_real.install_backend",
    ErrorCode.INSTALLATION_BROKEN: "make_real.repair_backend",
    ErrorCode.DIGEST_MISMATCH: "make_real.translate",
    ErrorCode.JOB_CONFLICT: "make_real.translate",
    ErrorCode.JOB_UNKNOWN: "make_real.translate",
    ErrorCode.CANCELLED: "make_real.translate",
    ErrorCode.WORKER_CRASHED: "make_real.open_log",
    ErrorCode.INTERNAL: "make_real.copy_diagnostics",
    ErrorCode.MALFORMED_MESSAGE: "make_real.copy_diagnostics",
    ErrorCode.DISK_FULL: "make_real.translate",
    ErrorCode.NO_RENDER: "render.render",
    ErrorCode.NO_MASK_PASSES: "make_real.enable_passes",
}
"""The button that mends a problem, where one can; the others need a change of the scene, the files or a program."""


@dataclass(frozen=True)
class StatusLine:
    """What to draw.

    Args:
        text: The state in words.
        fraction: Of the job or the installation, 0..1; None without one.
        button: Identifier of the state's operator.
        problem: Sentence, detail and remedy of what went wrong last, one line each, or what
            the picture that is worked on lacks; empty when nothing did.
        fix: Identifier of the operator that mends the problem, or empty.
    """

    text: str
    fraction: float | None
    button: str
    problem: tuple[str, ...] = ()
    fix: str = ""


def status_line(session: Session, installing: Progress | None = None, is_remote: bool = False) -> StatusLine:
    """The line and the buttons for a state.

    Args:
        session: How things stand with the backend.
        installing: How far its installation is; None while there is none.
        is_remote: Whether the backend is on another machine.
    """
    words = REMOTE_WORDS if is_remote else LOCAL_WORDS
    if session.job is not None:
        text = _job_text(session.phase, session.job, words)
        return StatusLine(text, session.job.fraction, "make_real.cancel", session.job.remarks)
    if installing is not None:
        fraction = max(0, installing.step - 1) / installing.steps
        return StatusLine(_installing_text(installing), fraction, "make_real.cancel_installation")
    problem: tuple[str, ...] = ()
    fix = ""
    if session.problem is not None:
        explanation = EXPLANATIONS[session.problem.code]
        problem = tuple(filter(None, (explanation.sentence, session.problem.detail, explanation.remedy)))
        fix = FIXES.get(session.problem.code, "")
    button = BUTTONS[session.phase]
    if is_remote and session.phase is Phase.NOT_INSTALLED:
        button = "make_real.choose_connection"
    return StatusLine(_rest_text(session, words), None, button, problem, fix)


def _installing_text(progress: Progress) -> str:
    return f"{progress.title} ({progress.step}/{progress.steps})"


def _job_text(phase: Phase, job: Job, words: dict[Phase, str]) -> str:
    if job.cancelling:
        return "Cancelling"
    if not job.collected:
        return "Reading the render"
    if phase is Phase.STARTING:
        return f"{words[phase]} again" if job.restarts else words[phase]
    if phase is Phase.LOST:
        return "Waiting for the backend"
    if job.position:
        return f"Waiting for {job.position} other picture{'s' if job.position > 1 else ''}"
    if job.held_by:
        return f"Finished; waiting for {job.held_by} to end"
    stage = STAGES.get(job.stage, job.stage)
    # The one that is at work: the job counts those that are complete.
    return f"{stage}, step {min(job.step + 1, job.steps)} of {job.steps}" if job.steps > 1 else stage


def _rest_text(session: Session, words: dict[Phase, str]) -> str:
    match session.phase:
        case Phase.NOT_INSTALLED | Phase.STOPPED | Phase.STARTING:
            return words[session.phase]
        case Phase.LOADING:
            return "The backend is getting ready"
        case Phase.LOST:
            return f"Lost ({session.why_lost}); trying again" if session.why_lost else "Lost; trying again"
        case _:
            memory = "; its memory is free" if session.is_resting else ""
            return f"Ready on {session.device}{memory}"
