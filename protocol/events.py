# SPDX-License-Identifier: GPL-3.0-or-later
"""What `Client.poll` returns: messages of the supervisor, and two events that the client makes itself."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from .errors import ErrorCode
from .messages import Error, Progress, Refused, Result, Status, Welcome
from .planes import PlaneName

if TYPE_CHECKING:
    from numpy.typing import NDArray


@dataclass(frozen=True)
class Finished:
    """A job's result arrived whole. Its arrays are read-only; `Client.let_go` gives their memory back."""

    job_id: str
    planes: dict[PlaneName, NDArray[Any]]
    result: Result


@dataclass(frozen=True)
class Lost:
    """The supervisor is out of reach; told once an outage, a `Welcome` ends it.

    Args:
        detail: Why, as far as it is known.
        code: BACKEND_LOST; KEY_REFUSED when only another connection file will help.
    """

    detail: str
    code: ErrorCode = ErrorCode.BACKEND_LOST


Event = Welcome | Refused | Status | Progress | Error | Finished | Lost
