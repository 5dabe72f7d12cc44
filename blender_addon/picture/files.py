# SPDX-License-Identifier: GPL-3.0-or-later
"""Files of a result: numbered, never overwritten, complete or absent."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import bpy

from .. import pace
from ..protocol import ErrorCode, MakeRealError

UNSAFE_BYTES = 1 << 20
"""Written before the system is asked to bring it to the disk."""
FREED_AT_ONCE = 8 << 20
"""Bytes given back between two pauses; about half a millisecond."""

Piece = bytes | tuple[int, bytes]
"""The next bytes of a file; or others, of the same number, for a place in it that was written already."""


@dataclass(frozen=True)
class ResultPaths:
    """Where one result's files are, `<folder>/<number>_<what>`."""

    folder: Path
    number: int

    def _named(self, what: str) -> Path:
        return self.folder / f"{self.number:04}_{what}"

    @property
    def display(self) -> Path:
        """16-bit PNG, what the artist sees."""
        return self._named("display.png")

    @property
    def linear(self) -> Path:
        """Float EXR, scene-linear, for the compositor."""
        return self._named("linear.exr")

    @property
    def mask(self) -> Path:
        """16-bit grey PNG, the garment's coverage."""
        return self._named("mask.png")

    @property
    def thumbnail(self) -> Path:
        """Small 16-bit PNG for the history."""
        return self._named("thumbnail.png")

    @property
    def recipe(self) -> Path:
        """JSON: what reproduces the picture, and the figures about it."""
        return self._named("recipe.json")


def every_file(paths: ResultPaths) -> tuple[Path, ...]:
    """The files that a result may have."""
    return paths.display, paths.linear, paths.mask, paths.thumbnail, paths.recipe


def reserve(folder: Path, newest: int) -> ResultPaths:
    """Claim the next number of a folder, also against another Blender that claims one at this moment.

    Args:
        newest: The highest number given so far, though its files be deleted: a number stands for one result for ever.

    Raises:
        MakeRealError: DISK_FULL, naming the folder.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        taken = [int(match[1]) for path in folder.iterdir() if (match := re.match(r"(\d{4,})_", path.name))]
        paths = ResultPaths(folder, max([newest, *taken]) + 1)
        while True:
            try:
                paths.recipe.touch(exist_ok=False)
                return paths
            except FileExistsError:
                paths = ResultPaths(folder, paths.number + 1)
    except OSError as error:
        raise unwritable(folder, error) from error


def write(path: Path, pieces: Iterable[Piece]) -> Iterator[None]:
    """Write a file piece by piece, pausing after each; it appears under its name when it is safe on the disk.

    Raises:
        MakeRealError: DISK_FULL, naming the file.
    """
    part = path.with_name(f"{path.name}.part")
    try:
        with part.open("wb") as file:
            begun = 0
            for piece in pieces:
                _put(file, piece)
                if file.tell() - begun > UNSAFE_BYTES:
                    begun = _begin_saving(file, begun)
                yield
            file.flush()
            os.fsync(file.fileno())
            yield
        part.replace(path)
    except OSError as error:
        raise unwritable(path, error) from error
    finally:
        part.unlink(missing_ok=True)
    yield


def _put(file: BinaryIO, piece: Piece) -> None:
    if isinstance(piece, bytes):
        file.write(piece)
        return
    place, data = piece
    file.seek(place)
    file.write(data)
    file.seek(0, os.SEEK_END)


def _begin_saving(file: BinaryIO, begun: int) -> int:
    """Have the system bring what was written to the disk now, so that the last `fsync` has little to wait for.

    Returns:
        The file's size.
    """
    file.flush()
    size = file.tell()
    if hasattr(os, "posix_fadvise"):
        # Linux begins with it and does not wait.
        os.posix_fadvise(file.fileno(), begun, size - begun, os.POSIX_FADV_DONTNEED)
    else:
        os.fsync(file.fileno())
    return size


def write_for_now(path: Path, pieces: Iterable[Piece]) -> Iterator[None]:
    """Write a file that is needed for moments, piece by piece, pausing after each.

    Raises:
        MakeRealError: DISK_FULL, naming the file.
    """
    try:
        with path.open("wb") as file:
            for piece in pieces:
                _put(file, piece)
                yield
    except OSError as error:
        raise unwritable(path, error) from error


def shrink(path: Path) -> Iterator[None]:
    """Give a file's space back, piece by piece, before it is deleted: at once, a gigabyte takes a tenth of a second."""
    size = path.stat().st_size
    while size > 0:
        size = max(0, size - pace.fit(FREED_AT_ONCE))
        os.truncate(path, size)
        yield


def blender_path(path: Path) -> str:
    """The path as a blend file should remember it: relative to itself once it was saved, so both can be moved."""
    return bpy.path.relpath(str(path)) if bpy.data.filepath else str(path)


def unwritable(path: Path, error: OSError) -> MakeRealError:
    """The error of a file that the system would not let us write."""
    return MakeRealError(ErrorCode.DISK_FULL, f"{path}: {error.strerror or error}")
