# SPDX-License-Identifier: GPL-3.0-or-later
"""Finished pictures on disk. A result is a folder `<job_id>/` with

    result.png    the picture for a person, 16 bits a channel, with its recipe inside
    image.plane   the picture's exact bytes, for delivery in the type that the client sent; gone after it
    recipe.json   what reproduces it, and the figures about it

The folder is written under another name, forced to the disk and renamed: if it is there, it is whole.
"""

from __future__ import annotations

import json
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from backend import files
from backend.places import make_private_dir
from protocol import ErrorCode, MakeRealError, PlaneName, PlaneSpec, planes

from .records import plane_from_record, plane_to_record

FORMAT = 1
PARTIAL_SUFFIX = ".part"
IMAGE_FILE = "image.plane"
PICTURE_FILE = "result.png"
SIDECAR_FILE = "recipe.json"


@dataclass(frozen=True)
class Outcome:
    """What is known about a finished picture, beside its pixels; fields as in `protocol.Result`."""

    plane: PlaneSpec
    recipe: dict[str, Any]
    report: dict[str, float]
    seconds: dict[str, float]


class Results:
    """Results under one folder. The worker writes, the supervisor reads and removes."""

    def __init__(self, folder: Path) -> None:
        self.folder = make_private_dir(folder)

    def write(self, job_id: str, label: str, image: np.ndarray, outcome: Outcome) -> None:
        """Write a result so that it survives the machine when this returns.

        Args:
            image: (height, width, 3 or 4), as `outcome.plane` describes it.

        Raises:
            MakeRealError: DISK_FULL, naming the file; nothing is left behind.
        """
        partial = self.folder / (job_id + PARTIAL_SUFFIX)
        shutil.rmtree(partial, ignore_errors=True)
        try:
            partial.mkdir()
            self._fill(partial, job_id, label, image, outcome)
            self.discard(job_id)
            partial.rename(self.folder / job_id)
            files.sync_dir(self.folder)
        except OSError as error:
            raise MakeRealError(
                ErrorCode.DISK_FULL, f"{error.filename or partial}: {error.strerror or error}"
            ) from error
        finally:
            shutil.rmtree(partial, ignore_errors=True)

    def _fill(self, folder: Path, job_id: str, label: str, image: np.ndarray, outcome: Outcome) -> None:
        # Kept out of the supervisor, which handles no picture formats.
        from backend.pictures import write_display_png

        sidecar = {
            "format": FORMAT,
            "job_id": job_id,
            "label": label,
            "plane": plane_to_record(outcome.plane),
            "recipe": outcome.recipe,
            "report": outcome.report,
            "seconds": outcome.seconds,
        }
        (folder / IMAGE_FILE).write_bytes(np.ascontiguousarray(image).data)
        write_display_png(folder / PICTURE_FILE, image, outcome.recipe)
        (folder / SIDECAR_FILE).write_text(json.dumps(sidecar, indent=2, allow_nan=False), encoding="utf-8")
        for name in (IMAGE_FILE, PICTURE_FILE, SIDECAR_FILE):
            files.sync_file(folder / name)
        files.sync_dir(folder)

    def exists(self, job_id: str) -> bool:
        """Whether the job has a whole result."""
        return (self.folder / job_id).is_dir()

    def read(self, job_id: str) -> tuple[Outcome, memoryview]:
        """A result and its image's bytes, the digest checked.

        Raises:
            MakeRealError: INTERNAL when it is missing or damaged.
        """
        folder = self.folder / job_id
        try:
            sidecar = json.loads((folder / SIDECAR_FILE).read_text(encoding="utf-8"))
            outcome = Outcome(
                plane_from_record(sidecar["plane"]), sidecar["recipe"], sidecar["report"], sidecar["seconds"]
            )
            content = memoryview((folder / IMAGE_FILE).read_bytes())
            planes.check_digest(outcome.plane, content)
        except (OSError, KeyError, TypeError, ValueError, MakeRealError) as error:
            raise MakeRealError(
                ErrorCode.INTERNAL, f"the stored result {folder} is damaged: {error}"
            ) from error
        return outcome, content

    def discard_delivered_pixels(self, job_id: str) -> None:
        """Remove the bytes that were kept for delivery; the picture and its recipe stay."""
        (self.folder / job_id / IMAGE_FILE).unlink(missing_ok=True)

    def discard(self, job_id: str) -> None:
        """Remove a result, if there is one."""
        shutil.rmtree(self.folder / job_id, ignore_errors=True)

    def discard_partial(self) -> None:
        """Remove what a crash left unfinished."""
        for entry in self.folder.glob(f"*{PARTIAL_SUFFIX}"):
            shutil.rmtree(entry, ignore_errors=True)


def outcome_of(
    image: np.ndarray, recipe: dict[str, Any], report: dict[str, float], seconds: dict[str, float]
) -> Outcome:
    """Describe a translated image."""
    return Outcome(planes.describe(PlaneName.IMAGE, image), recipe, report, seconds)
