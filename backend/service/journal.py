# SPDX-License-Identifier: GPL-3.0-or-later
"""The journal: every job on disk, so that neither a crash nor a power cut forgets one.

SQLite with a write-ahead log and `synchronous=FULL`: when `save` returns, the row survives the machine. The
database is held exclusively, so two supervisors cannot share a data folder.
"""

from __future__ import annotations

import json
import logging
import sqlite3
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from protocol import ErrorCode, JobState, MakeRealError, TranslationRequest
from protocol.schema import from_plain

from .jobs import Job
from .process import AlreadyRunningError
from .records import plane_from_record, plane_to_record

SCHEMA_VERSION = 1
SCHEMA = """
CREATE TABLE jobs (
    sequence  INTEGER PRIMARY KEY AUTOINCREMENT,
    job_id    TEXT NOT NULL UNIQUE,
    state     TEXT NOT NULL,
    request   TEXT NOT NULL,
    planes    TEXT NOT NULL,
    label     TEXT NOT NULL,
    attempts  INTEGER NOT NULL,
    error     TEXT,
    detail    TEXT NOT NULL,
    changed   REAL NOT NULL
);
CREATE INDEX jobs_by_state ON jobs (state, sequence);
"""
READABLE = """
CREATE TEMP TABLE unreadable (job_id TEXT PRIMARY KEY);
CREATE TEMP VIEW readable AS SELECT * FROM jobs WHERE job_id NOT IN (SELECT job_id FROM unreadable);
"""
"""Rows that this release cannot read stay as they are, for the release that wrote them; no question sees them."""
COLUMNS = "job_id, request, planes, label, state, attempts, error, detail"

log = logging.getLogger(__name__)


class Journal:
    """Jobs in submission order. Used by one thread. A row that cannot be read is logged at the start and skipped.

    Args:
        path: The database file; made when missing, moved aside when damaged.

    Raises:
        AlreadyRunningError: Another process holds it.
        MakeRealError: INSTALLATION_BROKEN when a newer release wrote it; DISK_FULL when it cannot be written.
    """

    def __init__(self, path: Path) -> None:
        try:
            self._database = _open(path)
        except sqlite3.DatabaseError as error:
            if isinstance(error, sqlite3.OperationalError):
                raise
            aside = path.with_name(f"{path.name}.damaged-{int(time.time())}")
            log.warning("the journal is damaged (%s) and was moved to %s", error, aside)
            path.replace(aside)
            for suffix in ("-wal", "-shm"):
                path.with_name(path.name + suffix).unlink(missing_ok=True)
            self._database = _open(path)

    def close(self) -> None:
        """Release the database."""
        self._database.close()

    def save(self, job: Job) -> None:
        """Write a job's present state; durable on return. Raises MakeRealError (DISK_FULL)."""
        row = (
            job.job_id,
            job.state.value,
            json.dumps(job.request.to_map()),
            json.dumps([plane_to_record(plane) for plane in job.planes]),
            job.label,
            job.attempts,
            job.error and job.error.value,
            job.detail,
            time.time(),
        )
        with _disk_errors():
            self._database.execute(
                "INSERT INTO jobs (job_id, state, request, planes, label, attempts, error, detail, changed)"
                " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)"
                " ON CONFLICT (job_id) DO UPDATE SET state = excluded.state,"
                " request = excluded.request, planes = excluded.planes, label = excluded.label,"
                " attempts = excluded.attempts, error = excluded.error, detail = excluded.detail,"
                " changed = excluded.changed",
                row,
            )
            # Submitted again, a job whose row could not be read has one that can.
            self._database.execute("DELETE FROM unreadable WHERE job_id = ?", (job.job_id,))

    def find(self, job_id: str) -> Job | None:
        """The job with an id, or None."""
        return next(self._select("WHERE job_id = ?", (job_id,)), None)

    def in_state(self, *states: JobState) -> list[Job]:
        """Jobs in any of the states, in submission order."""
        marks = ", ".join("?" * len(states))
        return list(self._select(f"WHERE state IN ({marks}) ORDER BY sequence", states))

    def unreadable(self) -> set[str]:
        """Ids of the jobs whose rows wait for the release that wrote them."""
        with _disk_errors():
            return {job_id for (job_id,) in self._database.execute("SELECT job_id FROM unreadable")}

    def next_queued(self) -> Job | None:
        """The job to run next."""
        return next(self._select("WHERE state = ? ORDER BY sequence LIMIT 1", (JobState.QUEUED,)), None)

    def position(self, job: Job) -> int:
        """Jobs that will run before this queued one."""
        return self._count(
            "state = ? OR (state = ? AND sequence < (SELECT sequence FROM jobs WHERE job_id = ?))",
            (JobState.RUNNING, JobState.QUEUED, job.job_id),
        )

    def unfinished_count(self) -> int:
        """Jobs that are queued or running."""
        return self._count("state IN (?, ?)", (JobState.QUEUED, JobState.RUNNING))

    def forget(self, job_id: str) -> None:
        """Remove a job's row."""
        with _disk_errors():
            self._database.execute("DELETE FROM jobs WHERE job_id = ?", (job_id,))

    def unchanged_since(self, moment: float, *states: JobState) -> list[Job]:
        """Jobs that came into one of the states before a `time.time()`."""
        marks = ", ".join("?" * len(states))
        return list(self._select(f"WHERE state IN ({marks}) AND changed < ?", (*states, moment)))

    def _count(self, condition: str, values: tuple[Any, ...]) -> int:
        (count,) = self._database.execute(
            f"SELECT COUNT(*) FROM readable WHERE {condition}", values
        ).fetchone()
        return int(count)

    def _select(self, clause: str, values: tuple[Any, ...]) -> Iterator[Job]:
        rows = self._database.execute(f"SELECT {COLUMNS} FROM readable {clause}", values)
        return (_job_from_row(row) for row in rows.fetchall())


def _job_from_row(row: tuple[Any, ...]) -> Job:
    """The job of a row of COLUMNS. Raises KeyError, TypeError, ValueError or MakeRealError when it cannot be read."""
    job_id, request, planes, label, state, attempts, error, detail = row
    return Job(
        job_id=job_id,
        request=from_plain(TranslationRequest, json.loads(request), "request"),
        planes=tuple(plane_from_record(record) for record in json.loads(planes)),
        label=label,
        state=JobState(state),
        attempts=attempts,
        error=ErrorCode(error) if error else None,
        detail=detail,
    )


def _open(path: Path) -> sqlite3.Connection:
    database = sqlite3.connect(path, timeout=1.0, isolation_level=None)
    try:
        _prepare(database, path)
    except BaseException as error:
        database.close()
        if isinstance(error, sqlite3.OperationalError):
            if "locked" in str(error):
                raise AlreadyRunningError(str(path)) from error
            raise MakeRealError(ErrorCode.DISK_FULL, f"{path}: {error}") from error
        raise
    return database


def _prepare(database: sqlite3.Connection, path: Path) -> None:
    database.execute("PRAGMA locking_mode = EXCLUSIVE")
    database.execute("PRAGMA journal_mode = WAL")
    database.execute("PRAGMA synchronous = FULL")
    # Takes the exclusive lock now rather than at the first job.
    database.execute("BEGIN EXCLUSIVE")
    (version,) = database.execute("PRAGMA user_version").fetchone()
    if version > SCHEMA_VERSION:
        raise MakeRealError(
            ErrorCode.INSTALLATION_BROKEN,
            f"{path} was written by a newer release; update make-real or remove it",
        )
    if version == 0:
        for statement in SCHEMA.split(";"):
            database.execute(statement)
        database.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")
    database.execute("COMMIT")
    (verdict,) = database.execute("PRAGMA quick_check").fetchone()
    if verdict != "ok":
        raise sqlite3.DatabaseError(verdict)
    _leave_unreadable_out(database)


def _leave_unreadable_out(database: sqlite3.Connection) -> None:
    """Make `readable`: once at the start, for a row in the way of the queue would be met at every turn."""
    for statement in READABLE.split(";"):
        database.execute(statement)
    for row in database.execute(f"SELECT {COLUMNS} FROM jobs").fetchall():
        try:
            _job_from_row(row)
        except (KeyError, TypeError, ValueError, MakeRealError) as error:
            log.warning("the journal's row of job %s cannot be read and is skipped: %s", row[0], error)
            database.execute("INSERT INTO unreadable VALUES (?)", (row[0],))


@contextmanager
def _disk_errors() -> Iterator[None]:
    try:
        yield
    except sqlite3.OperationalError as error:
        raise MakeRealError(ErrorCode.DISK_FULL, f"the journal: {error}") from error
