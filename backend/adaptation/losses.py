# SPDX-License-Identifier: GPL-3.0-or-later
"""`losses.csv`: one row a step, as an unbroken run would have written it."""

from __future__ import annotations

import csv
import io
from dataclasses import astuple, dataclass, fields
from pathlib import Path

from backend import files


@dataclass(frozen=True)
class Row:
    """One step.

    Args:
        stage: `positive` or `negative`.
        step: Complete steps of the stage.
        loss: Of this step's crops, before the step.
        learning_rate: Of this step.
        photos: Validation loss on held-out photos, where it was measured.
        renders: The same on held-out renders.
    """

    stage: str
    step: int
    loss: float
    learning_rate: float
    photos: float | None = None
    renders: float | None = None


class LossLog:
    """The file, and what a resumed run does to it.

    Args:
        path: Made when missing.
    """

    def __init__(self, path: Path) -> None:
        self._path = path

    def resume(self, stage: str, step: int) -> None:
        """Forget what an interrupted run wrote about `stage` after `step`."""
        rows = []
        if self._path.exists():
            with self._path.open(newline="", encoding="utf-8") as file:
                # The last line may be cut short.
                rows = [row for row in list(csv.reader(file))[1:] if len(row) == len(fields(Row))]
        kept = [row for row in rows if row[0] != stage or int(row[1]) <= step]
        text = io.StringIO()
        csv.writer(text).writerows([[field.name for field in fields(Row)], *kept])
        files.write_whole(self._path, text.getvalue().encode())

    def write(self, rows: list[Row]) -> None:
        """Add rows."""
        with self._path.open("a", newline="", encoding="utf-8") as file:
            csv.writer(file).writerows(astuple(row) for row in rows)
