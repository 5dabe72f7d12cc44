# SPDX-License-Identifier: GPL-3.0-or-later
"""What a message of the backend means to the session. Pure, without bpy."""

from __future__ import annotations

from ..protocol import (
    Error,
    ErrorCode,
    Finished,
    JobState,
    Lost,
    MakeRealError,
    Progress,
    Refused,
    Status,
    Welcome,
)
from . import events as ev


def event_of(message: object) -> ev.Event | None:
    """What a message of the backend means to the session."""
    match message:
        case Welcome(device=device):
            return ev.Welcomed(device)
        case Refused(code=code, versions=versions):
            spoken = f"the backend speaks versions {versions[0]} to {versions[1]}"
            return ev.BackendFailed(MakeRealError(code, spoken))
        case Lost(detail=detail, code=ErrorCode.KEY_REFUSED):
            return ev.BackendFailed(MakeRealError(ErrorCode.KEY_REFUSED, detail))
        case Lost(detail=detail):
            return ev.ConnectionLost(detail)
        case Status(job_id=job_id, state=JobState.QUEUED, position=position):
            return ev.JobQueued(job_id, position)
        case Status(job_id=job_id, state=JobState.FAILED, error=code, detail=detail):
            return ev.JobEnded(job_id, MakeRealError(code or ErrorCode.INTERNAL, detail))
        case Status(job_id=job_id, state=JobState.DELIVERED):
            # To the current job this can only mean that its result was taken elsewhere; later ones ignore it.
            return ev.JobEnded(job_id, MakeRealError(ErrorCode.JOB_UNKNOWN))
        case Status(job_id=job_id, state=JobState.CANCELLED):
            return ev.JobEnded(job_id, None)
        case Progress(job_id=job_id, stage=stage, step=step, steps=steps, fraction=fraction):
            return ev.JobProgressed(job_id, stage.value, step, steps, fraction)
        case Finished(job_id=job_id):
            return ev.JobFinished(job_id)
        case Error(code=code, detail=detail, job_id=job_id):
            problem = MakeRealError(code, detail)
            return ev.JobEnded(job_id, problem) if job_id else ev.Failed(problem)
    return None
