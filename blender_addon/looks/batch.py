# SPDX-License-Identifier: GPL-3.0-or-later
"""Makes the pictures of a grid one after the other, from a render that was collected once, and their sheet.

The next picture is asked for in the same moment in which the one before is stored, so the backend meets the same
render again while it still remembers what it knows of it. A failure or Cancel ends the batch; what was made by
then stays.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from .. import holding
from ..history import places, thumbnails
from ..picture import files, png, results
from ..protocol import Finished, PlaneName
from ..session import pump
from ..session.work import Collecting, Storing, Ticket
from ..tickets import Collected, Reading
from .variants import Cell

CELL_PIXELS = 640
"""Longest side of a picture in a sheet."""
GAP_PIXELS = 16
FOLDER = "sheets"


@dataclass
class Batch:
    """A grid that is being made.

    Args:
        reading: Reads the render, for the first picture.
        scene: Name of its scene.
        cells: The grid, row by row.
        columns: Pictures in a row.
        collected: The render, once it was read.
        started: Cells that were asked for.
        pictures: Small versions of those that were stored.
    """

    reading: Reading
    scene: str
    cells: list[Cell]
    columns: int
    collected: Collected | None = None
    started: int = 0
    pictures: list[np.ndarray] = field(default_factory=list)

    def label(self) -> str:
        """What the artist calls the next job."""
        return f"{self.scene}, {self.cells[self.started].words}"

    def collecting(self) -> Collecting:
        """The job of the next cell."""
        self.started += 1
        if self.collected is None:
            self.collected = yield from self.reading
        return self._ticket(self.cells[self.started - 1])

    def _ticket(self, cell: Cell) -> Ticket:
        ticket = self.collected.ticket(cell.request, cell.words)

        def store(finished: Finished) -> Storing:
            problem = yield from ticket.store(finished)
            small = yield from thumbnails.shrink(finished.planes[PlaneName.IMAGE], CELL_PIXELS)
            self.pictures.append(small)
            if len(self.pictures) == len(self.cells) > 1:
                yield from self._write_sheet()
            return problem

        return replace(ticket, store=store)

    def _write_sheet(self) -> Iterator[str | None]:
        target = self.collected.target
        path = _claim(places.follow(target.folder) / FOLDER)
        told = [{"cell": cell.words, "request": cell.request.to_map()} for cell in self.cells]
        texts = {
            "make_real_variants": json.dumps({"columns": self.columns, "cells": told}),
            **png.MACHINE_MADE,
        }
        picture = thumbnails.sheet(self.pictures, self.columns, GAP_PIXELS)
        yield
        yield from files.write(path, png.encode(picture, texts))
        yield from holding.until_free()
        scene = results.scene_of(target)
        if scene is not None:
            results.open_picture(scene, path, f"Make Real Sheet {path.name[:4]}")


def _claim(folder: Path) -> Path:
    """A new file's name, `0001_sheet.png` and so on.

    Raises:
        MakeRealError: DISK_FULL, naming the folder.
    """
    number = 1
    try:
        folder.mkdir(parents=True, exist_ok=True)
        while True:
            path = folder / f"{number:04}_sheet.png"
            try:
                path.touch(exist_ok=False)
                return path
            except FileExistsError:
                number += 1
    except OSError as error:
        raise files.unwritable(folder, error) from error


_batch: Batch | None = None


def running() -> Batch | None:
    """The batch that is being made."""
    return _batch


def start(batch: Batch) -> None:
    """Begin with the first picture."""
    global _batch
    _batch = batch
    _next()
    pump.wake()


def _next() -> None:
    pump.conductor().translate(_batch.collecting(), _batch.label())


def _on_session_change() -> None:
    global _batch
    if _batch is None or pump.session().job is not None:
        return
    if 0 < len(_batch.pictures) == _batch.started < len(_batch.cells):
        _next()
    else:
        _batch = None


def register() -> None:
    """Listen to the session."""
    pump.listeners.append(_on_session_change)


def unregister() -> None:
    """Listen no more."""
    global _batch
    pump.listeners.remove(_on_session_change)
    _batch = None
