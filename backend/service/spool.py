# SPDX-License-Identifier: GPL-3.0-or-later
"""The spool: a job's planes as raw files, one a plane, from their receipt until the job has ended.

They let a job run again after the worker or the supervisor died, without asking Blender to render again. They
are not forced to the disk: after a power cut the artist's session is gone too, and a plane that came back
damaged is caught by its digest.
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from backend.places import make_private_dir
from protocol import ErrorCode, MakeRealError, PlaneName, PlaneSpec, planes

HEADROOM_BYTES = 256 * 1024 * 1024
"""Space that a job leaves free on the disk."""


class Spool:
    """Planes under `folder/<job_id>/<plane name>.plane`."""

    def __init__(self, folder: Path) -> None:
        self.folder = make_private_dir(folder)

    def check_room(self, specs: Sequence[PlaneSpec]) -> None:
        """Make sure that the disk takes a job: its planes, its result twice (raw and PNG), and some headroom.

        Raises:
            MakeRealError: DISK_FULL, naming folder, need and space.
        """
        image_bytes = sum(spec.byte_length for spec in specs if spec.name is PlaneName.IMAGE)
        needed = sum(spec.byte_length for spec in specs) + 3 * image_bytes + HEADROOM_BYTES
        free = shutil.disk_usage(self.folder).free
        if free < needed:
            raise MakeRealError(
                ErrorCode.DISK_FULL,
                f"{self.folder} has {free // 2**20} MiB free and the job needs {needed // 2**20} MiB",
            )

    def write(self, job_id: str, arrays: Mapping[PlaneName, np.ndarray]) -> None:
        """Write a job's planes. Raises MakeRealError (DISK_FULL), and then leaves nothing behind."""
        folder = self.folder / job_id
        try:
            folder.mkdir(exist_ok=True)
            for name, array in arrays.items():
                (folder / f"{name}.plane").write_bytes(planes.raw_bytes(name, array))
        except OSError as error:
            self.discard(job_id)
            raise MakeRealError(ErrorCode.DISK_FULL, f"{folder}: {error.strerror}", job_id) from error

    def read(self, job_id: str, specs: Sequence[PlaneSpec]) -> Mapping[PlaneName, np.ndarray]:
        """Read a job's planes back, read-only, their digests checked.

        Raises:
            MakeRealError: DIGEST_MISMATCH when a file changed, INTERNAL when one is missing.
        """
        arrays = {}
        for spec in specs:
            path = self.folder / job_id / f"{spec.name}.plane"
            try:
                content = memoryview(path.read_bytes())
            except OSError as error:
                raise MakeRealError(ErrorCode.INTERNAL, f"{path}: {error.strerror}") from error
            planes.check_digest(spec, content)
            arrays[spec.name] = planes.view(spec, content)
        return arrays

    def discard(self, job_id: str) -> None:
        """Remove a job's planes, if there are any."""
        shutil.rmtree(self.folder / job_id, ignore_errors=True)

    def discard_all_but(self, job_ids: set[str]) -> None:
        """Remove the planes of every other job: leftovers of a crash."""
        for entry in self.folder.iterdir():
            if entry.name not in job_ids:
                shutil.rmtree(entry, ignore_errors=True)
