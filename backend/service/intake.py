# SPDX-License-Identifier: GPL-3.0-or-later
"""The intake: jobs that are accepted and wait for their planes.

Planes arrive in memory, so a job may send them only against a credit, and the bytes of all credits together
are bounded. A job whose client goes away is forgotten; the client submits it again when it is back.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from protocol import ErrorCode, MakeRealError, PlaneName, Planes
from protocol.planes import PlaneIntake

from .jobs import Job


@dataclass
class Entry:
    """An accepted job.

    Args:
        job: The job.
        client: Routing identity of the client that sends its planes.
        planes: What has arrived, once it has credit.
    """

    job: Job
    client: bytes
    planes: PlaneIntake | None = None


class Intake:
    """Accepted jobs in the order of their submission.

    Args:
        credit_bytes: Bytes of planes that may be on their way at a time. One job may always be.
    """

    def __init__(self, credit_bytes: int) -> None:
        self._credit_bytes = credit_bytes
        self._entries: dict[str, Entry] = {}

    def __len__(self) -> int:
        return len(self._entries)

    def add(self, job: Job, client: bytes) -> None:
        """Take a job in, or let another link of its client carry on with it: without credit, from the start."""
        self._entries[job.job_id] = Entry(job, client)

    def has_credit(self, job_id: str, client: bytes) -> bool:
        """Whether this client may send the job's planes now."""
        entry = self._entries.get(job_id)
        return entry is not None and entry.client == client and entry.planes is not None

    def find(self, job_id: str) -> Job | None:
        """An accepted job, or None."""
        entry = self._entries.get(job_id)
        return entry.job if entry else None

    def remove(self, job_id: str) -> None:
        """Let a job go."""
        self._entries.pop(job_id, None)

    def clients(self) -> set[bytes]:
        """The clients that planes are expected from."""
        return {entry.client for entry in self._entries.values()}

    def forget_client(self, client: bytes) -> None:
        """Let the jobs of a client go that went away."""
        for job_id in [job_id for job_id, entry in self._entries.items() if entry.client == client]:
            del self._entries[job_id]

    def grant(self) -> list[Entry]:
        """Give credit to the jobs that there is room for now, and return them."""
        on_the_way = sum(entry.job.byte_length for entry in self._entries.values() if entry.planes)
        granted = []
        for entry in self._entries.values():
            if entry.planes:
                continue
            if on_the_way and on_the_way + entry.job.byte_length > self._credit_bytes:
                break
            on_the_way += entry.job.byte_length
            entry.planes = PlaneIntake(entry.job.planes)
            granted.append(entry)
        return granted

    def receive(self, chunk: Planes, buffer: memoryview) -> Mapping[PlaneName, np.ndarray] | None:
        """Take a chunk; the planes when they are complete, else None.

        Raises:
            MakeRealError: JOB_UNKNOWN for a job without credit; MALFORMED_MESSAGE or DIGEST_MISMATCH.
        """
        entry = self._entries.get(chunk.job_id)
        if entry is None or entry.planes is None:
            raise MakeRealError(ErrorCode.JOB_UNKNOWN, "planes of a job that has no credit", chunk.job_id)
        return entry.planes.planes() if entry.planes.add(chunk, buffer) else None
