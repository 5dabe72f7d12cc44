# SPDX-License-Identifier: GPL-3.0-or-later
"""A history on the disk: one JSON object a line, each an event, only ever appended. Pure, without bpy.

    history    format, id                           the first line
    made       number, collected, scene, ...        a result; the fields of `Entry`
    rated      number, rating
    noted      number, notes
    removed    number                               no longer listed; its files are another matter
    rendered   time, scene, frame, looks            the scene was rendered again, and looks different

Appending is what makes it safe: nothing that was written is ever written again, so a crash can harm the last
line alone, and a reader passes over a line that is no JSON. Two Blenders append in turn, under the system's
file lock, which ends with the process that holds it.
"""

from __future__ import annotations

import errno
import json
import os
import sys
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, fields, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, BinaryIO

from .fingerprint import differ

FORMAT = 1
FILE = "history.jsonl"
LOCK_PATIENCE_S = 2.0
LOCK_INTERVAL_S = 0.01
MAX_RATING = 5

Event = dict[str, Any]
Box = tuple[int, int, int, int]
"""Left, top, right, bottom, in pixels."""


@dataclass(frozen=True)
class Entry:
    """One result.

    Args:
        number: Of its files, unique in the history.
        collected: When the render was taken, as `now` gives it.
        scene, frame, blend_file: What was rendered.
        request: Fields of the `TranslationRequest`.
        render: Key of the kept render (`kept_renders`).
        looks: Fingerprint of the render's display picture (`fingerprint`).
        picture: Digest of the result's picture, hexadecimal.
        device: What it was computed on, in words.
        model_digest: Which weights the model's name stood for.
        garment_box: Left, top, right, bottom of the garment in pixels, top row first; None without a mask.
        view: Fields of the `View` that the render was seen under.
        report, warnings, seconds: What the backend says about it; seconds in all.
        cell: Where it stands in its sheet of variants, in words; empty outside one.
        reproduces: Number of the entry that it was made again from, else None.
        identical: Whether it came out the same, byte for byte; None unless `reproduces`.
        rating: 0..5.
        notes: The artist's own words.
    """

    number: int
    collected: str
    scene: str
    frame: int
    blend_file: str
    request: Mapping[str, Any]
    render: str
    looks: str
    picture: str
    device: str = ""
    model_digest: str = ""
    garment_box: Box | None = None
    view: Mapping[str, Any] = field(default_factory=dict)
    report: Mapping[str, float] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()
    seconds: float = 0.0
    cell: str = ""
    reproduces: int | None = None
    identical: bool | None = None
    rating: int = 0
    notes: str = ""

    def made(self) -> Event:
        """The event that stands for it."""
        return {"event": "made", **asdict(self)}


@dataclass(frozen=True)
class History:
    """What a history's file says.

    Args:
        history: Its id; empty when there is no file.
        entries: By number, in the order in which they were made.
        renders: Scene and frame -> time and fingerprint of the newest render known.
        unreadable: Lines that could not be read.
        newest: The highest number ever given, though its result be removed; 0 before the first.
    """

    history: str = ""
    entries: Mapping[int, Entry] = field(default_factory=dict)
    renders: Mapping[tuple[str, int], tuple[str, str]] = field(default_factory=dict)
    unreadable: int = 0
    newest: int = 0

    def is_out_of_date(self, entry: Entry) -> bool:
        """Whether the same frame was rendered again since, and looks different now."""
        newest = self.renders.get((entry.scene, entry.frame))
        return newest is not None and differ(newest[1], entry.looks)


def now() -> str:
    """This moment in UTC; later moments are greater as strings."""
    return datetime.now(UTC).isoformat(timespec="milliseconds")


def rated(number: int, rating: int) -> Event:
    """The artist's opinion, 0..5."""
    return {"event": "rated", "number": number, "rating": max(0, min(rating, MAX_RATING))}


def noted(number: int, notes: str) -> Event:
    """The artist's own words."""
    return {"event": "noted", "number": number, "notes": notes}


def removed(number: int) -> Event:
    """Take an entry off the list."""
    return {"event": "removed", "number": number}


def rendered(scene: str, frame: int, looks: str) -> Event:
    """The scene's frame now looks like this."""
    return {"event": "rendered", "time": now(), "scene": scene, "frame": frame, "looks": looks}


# Reading


def read(folder: Path) -> History:
    """Read a history; an empty one when there is none. What was read of it before is remembered, so that a result that
    is added to many costs no more than the first.

    Raises:
        OSError: The file cannot be read.
        ValueError: A later release wrote it.
    """
    try:
        with (folder / FILE).open("rb") as file:
            reader = _known.get(folder)
            if reader is None or not reader.continues(file):
                file.seek(0)
                reader = _Reader(os.fstat(file.fileno()))
            reader.take_all(file.read())
    except (FileNotFoundError, NotADirectoryError):
        _known.pop(folder, None)
        return History()
    # What a crash has cut off is read again with what is written behind it.
    if reader.is_whole:
        _known[folder] = reader
    else:
        _known.pop(folder, None)
    entries = {number: reader.entries[number] for number in sorted(reader.entries)}
    return History(reader.history, entries, dict(reader.renders), reader.unreadable, reader.newest)


def read_id(folder: Path) -> str:
    """A history's id from its first lines; empty when there is none."""
    try:
        with (folder / FILE).open("rb") as file:
            head = file.readline()
    except OSError:
        return ""
    try:
        return str(json.loads(head)["history"])
    except (ValueError, KeyError, TypeError):
        return read(folder).history


_known: dict[Path, _Reader] = {}


class _Reader:
    """Takes a file's lines one by one.

    Args:
        file: Which file it is.
    """

    def __init__(self, file: os.stat_result) -> None:
        self.is_whole = True
        """Whether the last line has its end."""
        self._file = file
        self._size = 0
        self._last = b""
        self.history = ""
        self.entries: dict[int, Entry] = {}
        self.renders: dict[tuple[str, int], tuple[str, str]] = {}
        self.unreadable = 0
        self.newest = 0
        self._handlers: dict[str, Callable[[Event], None]] = {
            "history": self._header,
            "made": self._made,
            "rated": lambda event: self._change(event, rating=int(event["rating"])),
            "noted": lambda event: self._change(event, notes=str(event["notes"])),
            "removed": lambda event: self.entries.pop(event["number"], None),
            "rendered": lambda event: self._rendered(event["time"], event),
        }

    def continues(self, file: BinaryIO) -> bool:
        """Whether an open file is the one that was read, with more behind it or not; leaves it at what is new."""
        if not os.path.samestat(self._file, os.fstat(file.fileno())):
            return False
        # An append that failed was taken back, and another one may stand in its place.
        file.seek(self._size - len(self._last))
        return file.read(len(self._last)) == self._last

    def take_all(self, data: bytes) -> None:
        """Read on.

        Raises:
            ValueError: A later release wrote it.
        """
        lines = data.split(b"\n")
        for line in filter(None, lines):
            self._take(line)
        self._size += len(data)
        self.is_whole = not lines[-1]
        self._last = b"\n".join(lines[-2:]) or self._last

    def _take(self, line: bytes) -> None:
        try:
            event = json.loads(line)
            handle = self._handlers.get(event["event"])
        except (ValueError, KeyError, TypeError):
            self.unreadable += 1
            return
        # An event that this release does not know is one that it can do without.
        if handle:
            try:
                handle(event)
            except (KeyError, TypeError):
                self.unreadable += 1

    def _header(self, event: Event) -> None:
        if event["format"] > FORMAT:
            raise ValueError("a later release of Make Real wrote this history: update the extension")
        # Only the first counts: no line can take another history's place.
        self.history = self.history or str(event["history"])

    def _made(self, event: Event) -> None:
        known = {entry_field.name for entry_field in fields(Entry)}
        values = {name: value for name, value in event.items() if name in known}
        box = values.get("garment_box")
        values["garment_box"] = tuple(box) if box else None
        values["warnings"] = tuple(values.get("warnings", ()))
        entry = Entry(**values)
        self.entries[entry.number] = entry
        self.newest = max(self.newest, entry.number)
        if entry.reproduces is None:
            self._rendered(entry.collected, event)

    def _rendered(self, when: str, event: Event) -> None:
        key = (event["scene"], event["frame"])
        if key not in self.renders or self.renders[key][0] <= when:
            self.renders[key] = (when, event["looks"])

    def _change(self, event: Event, **values: Any) -> None:
        entry = self.entries.get(event["number"])
        if entry is not None:
            self.entries[entry.number] = replace(entry, **values)


# Writing


def append(folder: Path, *events: Event) -> None:
    """Add events to a folder's history, beginning one where there is none. All are added, or none.

    Raises:
        OSError: The disk is full, the folder cannot be written to, or another program holds the file.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / FILE).open("ab", buffering=0) as file, _locked(file):
        size = file.seek(0, os.SEEK_END)
        begin = () if size else ({"event": "history", "format": FORMAT, "history": uuid.uuid4().hex},)
        lines = [json.dumps(event, ensure_ascii=False, default=str) for event in (*begin, *events)]
        # A line that a crash cut off must not swallow the next one.
        separator = "\n" if size and not _ends_with_newline(folder / FILE) else ""
        data = (separator + "".join(line + "\n" for line in lines)).encode("utf-8")
        try:
            if file.write(data) != len(data):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            os.fsync(file.fileno())
        except OSError:
            file.truncate(size)
            raise


def _ends_with_newline(path: Path) -> bool:
    with path.open("rb") as file:
        file.seek(-1, os.SEEK_END)
        return file.read(1) == b"\n"


@contextmanager
def _locked(file: BinaryIO) -> Iterator[None]:
    """Hold the system's lock on a file."""
    deadline = time.monotonic() + LOCK_PATIENCE_S
    while not _try_lock(file):
        if time.monotonic() > deadline:
            raise OSError(errno.EAGAIN, "another program holds this file")
        time.sleep(LOCK_INTERVAL_S)
    try:
        yield
    finally:
        _unlock(file)


if sys.platform == "win32":
    import msvcrt

    # Windows keeps others from reading what is locked, so a byte is locked that is never written.
    LOCKED_BYTE = 1 << 30

    def _try_lock(file: BinaryIO) -> bool:
        file.seek(LOCKED_BYTE)
        try:
            msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)
        except OSError:
            return False
        return True

    def _unlock(file: BinaryIO) -> None:
        file.seek(LOCKED_BYTE)
        msvcrt.locking(file.fileno(), msvcrt.LK_UNLCK, 1)

else:
    import fcntl

    def _try_lock(file: BinaryIO) -> bool:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True

    def _unlock(file: BinaryIO) -> None:
        fcntl.flock(file, fcntl.LOCK_UN)
