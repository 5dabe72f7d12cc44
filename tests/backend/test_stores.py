# SPDX-License-Identifier: GPL-3.0-or-later
"""Journal, spool and results: what is on the disk, and what is there after a fault."""

from __future__ import annotations

import json
import os
import sqlite3
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from live_service import REQUEST, picture

from backend import files
from backend.service.jobs import Event, Job, advance
from backend.service.journal import SCHEMA_VERSION, Journal
from backend.service.ledger import Ledger, Stores
from backend.service.process import AlreadyRunningError, InstanceLock
from backend.service.results import Outcome, Results, outcome_of
from backend.service.spool import Spool
from protocol import ErrorCode, JobState, MakeRealError, PlaneName
from protocol.planes import describe

IMAGE = picture()
SPEC = describe(PlaneName.IMAGE, IMAGE)
JOB = Job("a" * 32, REQUEST, (SPEC,), "look 1", JobState.QUEUED)
RECIPE = {"request": REQUEST.to_map(), "model": {"name": "tiny"}}


def journal_in(folder: Path) -> Journal:
    return Journal(folder / "journal.sqlite3")


def test_a_job_comes_back_from_the_journal_as_it_was(tmp_path: Path) -> None:
    journal = journal_in(tmp_path)
    job = replace(JOB, state=JobState.FAILED, attempts=2, error=ErrorCode.OUT_OF_MEMORY, detail="3 GiB")
    journal.save(job)
    journal.close()
    again = journal_in(tmp_path)
    assert again.find(job.job_id) == job
    assert again.find("b" * 32) is None
    again.close()


def test_the_queue_keeps_the_order_of_submission_over_restarts_of_a_job(tmp_path: Path) -> None:
    journal = journal_in(tmp_path)
    jobs = [replace(JOB, job_id=digit * 32) for digit in "fa0"]
    for job in jobs:
        journal.save(job)
    first = journal.next_queued()
    assert first == jobs[0]
    journal.save(advance(advance(jobs[0], Event.STARTED), Event.LOST))
    assert [job.job_id for job in journal.in_state(JobState.QUEUED)] == [job.job_id for job in jobs]
    assert [journal.position(job) for job in jobs] == [0, 1, 2]
    assert journal.unfinished_count() == 3
    journal.forget(jobs[0].job_id)
    assert journal.next_queued() == jobs[1]
    journal.close()


def test_old_jobs_are_found_by_age_and_state(tmp_path: Path) -> None:
    journal = journal_in(tmp_path)
    journal.save(replace(JOB, state=JobState.DELIVERED))
    later = time.time() + 1
    assert [job.job_id for job in journal.unchanged_since(later, JobState.DELIVERED)] == [JOB.job_id]
    assert not journal.unchanged_since(later, JobState.DONE)
    assert not journal.unchanged_since(later - 10, JobState.DELIVERED)
    journal.close()


def test_a_journal_has_one_owner(tmp_path: Path) -> None:
    journal = journal_in(tmp_path)
    with pytest.raises(AlreadyRunningError):
        journal_in(tmp_path)
    journal.close()
    journal_in(tmp_path).close()


def test_a_journal_of_a_newer_release_is_left_alone(tmp_path: Path) -> None:
    journal_in(tmp_path).close()
    path = tmp_path / "journal.sqlite3"
    database = sqlite3.connect(path)
    database.execute(f"PRAGMA user_version = {SCHEMA_VERSION + 1}")
    database.close()
    content = path.read_bytes()
    with pytest.raises(MakeRealError, match="newer release"):
        journal_in(tmp_path)
    assert path.read_bytes() == content


def test_a_full_disk_is_told_by_the_journal(tmp_path: Path) -> None:
    journal = journal_in(tmp_path)
    (pages,) = journal._database.execute("PRAGMA page_count").fetchone()
    journal._database.execute(f"PRAGMA max_page_count = {pages}")
    with pytest.raises(MakeRealError) as caught:
        for number in range(1000):
            journal.save(replace(JOB, job_id=f"{number:032x}", label="x" * 255))
    assert caught.value.code is ErrorCode.DISK_FULL
    journal.close()


def edit_row(folder: Path, job_id: str, change: str, *values: str) -> None:
    database = sqlite3.connect(folder / "journal.sqlite3")
    database.execute(f"UPDATE jobs SET {change} WHERE job_id = ?", (*values, job_id))
    database.commit()
    database.close()


def test_a_setting_of_a_newer_release_does_not_hide_a_job(tmp_path: Path) -> None:
    journal = journal_in(tmp_path)
    journal.save(JOB)
    journal.close()
    edit_row(tmp_path, JOB.job_id, "request = ?", json.dumps({**REQUEST.to_map(), "glow": 0.5}))
    journal = journal_in(tmp_path)
    assert journal.next_queued() == JOB
    journal.close()


@pytest.mark.parametrize(
    "change",
    [
        """request = '{"steps": -1}'""",
        """request = '{"steps": "many"}'""",
        "request = '{'",
        "planes = '[{}]'",
        "state = 'dreaming'",
        "state = 'failed', error = 'bad_luck'",
    ],
)
def test_a_row_that_cannot_be_read_is_in_nobodys_way(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, change: str
) -> None:
    journal = journal_in(tmp_path)
    other = replace(JOB, job_id="b" * 32)
    journal.save(JOB)
    journal.save(other)
    journal.close()
    edit_row(tmp_path, JOB.job_id, change)
    journal = journal_in(tmp_path)
    assert f"job {JOB.job_id} cannot be read" in caplog.text
    assert journal.find(JOB.job_id) is None
    assert journal.next_queued() == other
    assert journal.in_state(*JobState) == [other]
    assert journal.position(other) == 0
    assert journal.unfinished_count() == 1
    # Its client does not find it, and submits it again.
    journal.save(JOB)
    assert journal.find(JOB.job_id) == JOB
    journal.close()
    journal = journal_in(tmp_path)
    assert journal.next_queued() == JOB
    journal.close()


def test_planes_come_back_from_the_spool_read_only(tmp_path: Path) -> None:
    spool = Spool(tmp_path)
    mask = np.ones(IMAGE.shape[:2], np.float16)
    specs = (SPEC, describe(PlaneName.GARMENT, mask))
    spool.write(JOB.job_id, {PlaneName.IMAGE: IMAGE, PlaneName.GARMENT: mask})
    planes = spool.read(JOB.job_id, specs)
    assert np.array_equal(planes[PlaneName.IMAGE], IMAGE)
    assert planes[PlaneName.GARMENT].dtype == np.float16
    assert not planes[PlaneName.IMAGE].flags.writeable
    spool.discard(JOB.job_id)
    assert not list(tmp_path.iterdir())


def test_a_plane_that_changed_on_the_disk_is_noticed(tmp_path: Path) -> None:
    spool = Spool(tmp_path)
    spool.write(JOB.job_id, {PlaneName.IMAGE: IMAGE})
    (path,) = tmp_path.rglob("*.plane")
    path.write_bytes(bytes(IMAGE.nbytes))
    with pytest.raises(MakeRealError) as caught:
        spool.read(JOB.job_id, (SPEC,))
    assert caught.value.code is ErrorCode.DIGEST_MISMATCH


def test_a_job_that_the_disk_cannot_take_is_refused_with_numbers(tmp_path: Path) -> None:
    huge = replace(SPEC, shape=(2**20, 2**20, 3), byte_length=3 * 2**40)
    with pytest.raises(MakeRealError, match="MiB free") as caught:
        Spool(tmp_path).check_room((huge,))
    assert caught.value.code is ErrorCode.DISK_FULL
    Spool(tmp_path).check_room((SPEC,))


def test_a_result_comes_back_bit_for_bit(tmp_path: Path) -> None:
    results = Results(tmp_path)
    image = picture(dtype=np.float32, channels=4)
    outcome = outcome_of(image, RECIPE, {"ssim_garment": 0.9}, {"inverting": 1.5})
    results.write(JOB.job_id, "look 1", image, outcome)
    read, content = results.read(JOB.job_id)
    assert read == outcome
    assert bytes(content) == image.tobytes()
    results.discard_delivered_pixels(JOB.job_id)
    with pytest.raises(MakeRealError, match=r"image\.plane"):
        results.read(JOB.job_id)


@pytest.mark.parametrize("broken_call", ["fsync", "rename"])
def test_a_result_is_there_whole_or_not_at_all(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, broken_call: str
) -> None:
    results = Results(tmp_path)

    def fail(*_: object) -> None:
        raise OSError(28, "No space left on device", str(tmp_path / "some file"))

    if broken_call == "fsync":
        monkeypatch.setattr(os, "fsync", fail)
    else:
        monkeypatch.setattr(Path, "rename", fail)
    with pytest.raises(MakeRealError, match="some file: No space left on device") as caught:
        results.write(JOB.job_id, "", IMAGE, outcome_of(IMAGE, RECIPE, {}, {}))
    assert caught.value.code is ErrorCode.DISK_FULL
    assert not results.exists(JOB.job_id)
    assert not list(tmp_path.iterdir())


def test_a_report_without_a_number_is_no_result(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="nan"):
        Results(tmp_path).write(
            JOB.job_id, "", IMAGE, outcome_of(IMAGE, RECIPE, {"ssim_garment": float("nan")}, {})
        )
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("damage", ["recipe.json", "image.plane"])
def test_a_damaged_result_is_an_error(tmp_path: Path, damage: str) -> None:
    results = Results(tmp_path)
    results.write(JOB.job_id, "", IMAGE, Outcome(SPEC, {}, {}, {}))
    (tmp_path / JOB.job_id / damage).write_bytes(b"{}")
    with pytest.raises(MakeRealError, match="damaged"):
        results.read(JOB.job_id)


def test_a_file_is_replaced_whole_or_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "models.json"
    files.write_whole(path, b"old")
    monkeypatch.setattr(files, "sync_file", lambda _: (_ for _ in ()).throw(OSError(28, "No space left")))
    with pytest.raises(OSError, match="No space left"):
        files.write_whole(path, b"new")
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_lock_has_one_holder_at_a_time(tmp_path: Path) -> None:
    lock = InstanceLock(tmp_path / "lock")
    with pytest.raises(AlreadyRunningError):
        InstanceLock(tmp_path / "lock")
    lock.release()
    InstanceLock(tmp_path / "lock").release()


def test_ended_jobs_are_forgotten_after_a_day_and_untaken_results_after_a_month(tmp_path: Path) -> None:
    stores = Stores(journal_in(tmp_path), Spool(tmp_path / "spool"), Results(tmp_path / "results"))
    day = 24 * 3600
    ages = {
        "a": (JobState.DELIVERED, 2 * day),
        "b": (JobState.DELIVERED, day // 2),
        "c": (JobState.DONE, 2 * day),
        "d": (JobState.DONE, 31 * day),
        "e": (JobState.QUEUED, 99 * day),
    }
    for digit, (state, age) in ages.items():
        job = replace(JOB, job_id=digit * 32, state=state)
        stores.journal.save(job)
        stores.results.write(job.job_id, "", IMAGE, Outcome(SPEC, {}, {}, {}))
        stores.journal._database.execute(
            "UPDATE jobs SET changed = ? WHERE job_id = ?", (time.time() - age, job.job_id)
        )
    Ledger(stores, lambda _: None).recover()
    kept = {digit for digit in ages if stores.journal.find(digit * 32)}
    assert kept == {"b", "c", "e"}
    assert {path.name[0] for path in (tmp_path / "results").iterdir()} == kept
    stores.journal.close()


def test_the_planes_of_a_row_that_cannot_be_read_wait_with_it(tmp_path: Path) -> None:
    journal, spool = journal_in(tmp_path), Spool(tmp_path / "spool")
    journal.save(JOB)
    journal.close()
    spool.write(JOB.job_id, {PlaneName.IMAGE: IMAGE})
    spool.write("b" * 32, {PlaneName.IMAGE: IMAGE})
    edit_row(tmp_path, JOB.job_id, """request = '{"steps": -1}'""")
    stores = Stores(journal_in(tmp_path), spool, Results(tmp_path / "results"))
    Ledger(stores, lambda _: None).recover()
    assert [entry.name for entry in spool.folder.iterdir()] == [JOB.job_id]
    stores.journal.close()


def test_a_change_that_cannot_be_journaled_has_not_happened(tmp_path: Path) -> None:
    stores = Stores(journal_in(tmp_path), Spool(tmp_path / "spool"), Results(tmp_path / "results"))
    told: list[Job] = []
    ledger = Ledger(stores, told.append)
    job = ledger.change(replace(JOB, state=JobState.ACCEPTED), Event.PLANES_RECEIVED)
    stores.spool.write(job.job_id, {PlaneName.IMAGE: IMAGE})
    stores.journal._database.execute("PRAGMA query_only = 1")
    with pytest.raises(MakeRealError) as caught:
        ledger.change(job, Event.CANCELLED)
    assert caught.value.code is ErrorCode.DISK_FULL
    assert told == [job]
    assert stores.journal.find(job.job_id) == job
    assert np.array_equal(stores.spool.read(job.job_id, (SPEC,))[PlaneName.IMAGE], IMAGE)
    stores.journal.close()
