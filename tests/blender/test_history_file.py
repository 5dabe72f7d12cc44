# SPDX-License-Identifier: GPL-3.0-or-later
"""The history's file: appended to by several processes, cut off by crashes, read by other releases."""

from __future__ import annotations

import base64
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from conftest import MODULE, drained

WRITER = """
import sys, bpy, addon_utils
addon_utils.enable({module!r}, default_set=True)
from {module}.history import index
from pathlib import Path
for number in range({count}):
    index.append(Path({folder!r}), index.noted({first} + number, "x" * 3000))
"""


@pytest.fixture
def index(addon: Callable) -> ModuleType:
    return addon("history.index")


def print_of(looks: str) -> str:
    """A fingerprint of one cell."""
    return base64.b64encode(bytes([60 * ord(looks[0]) % 251])).decode()


def entry(index: ModuleType, number: int, collected: str = "2026-01-01T10:00:00", looks: str = "a", **more):
    return index.Entry(
        number=number, collected=collected, scene="Scene", frame=1, blend_file="shoot.blend",
        request={"model": "starter"}, render=looks * 2, looks=print_of(looks), picture="p", **more,
    )  # fmt: skip


def test_what_was_written_is_read(index: ModuleType, tmp_path: Path) -> None:
    folder = tmp_path / "new" / "Scene"
    first = entry(index, 1, garment_box=(1, 2, 3, 4), warnings=("shifted",), report={"ssim_garment": 0.9})
    index.append(folder, first.made())
    identity = index.read_id(folder)
    index.append(folder, entry(index, 2).made(), index.rated(1, 9), index.noted(1, "größer\nüber"))
    index.append(folder, index.removed(2))
    history = index.read(folder)
    assert (
        history.history == identity == json.loads((folder / index.FILE).read_text().split("\n")[0])["history"]
    )
    assert list(history.entries) == [1]
    assert history.entries[1].rating == index.MAX_RATING
    assert history.entries[1].notes == "größer\nüber"
    assert history.entries[1].garment_box == (1, 2, 3, 4)
    assert history.unreadable == 0


def test_no_history(index: ModuleType, tmp_path: Path) -> None:
    assert index.read(tmp_path) == index.History()
    assert index.read_id(tmp_path / "nowhere") == ""


def test_a_line_cut_off_by_a_crash_costs_that_line_alone(index: ModuleType, tmp_path: Path) -> None:
    index.append(tmp_path, entry(index, 1).made(), entry(index, 2).made())
    path = tmp_path / index.FILE
    path.write_bytes(path.read_bytes()[:-40])
    assert list(index.read(tmp_path).entries) == [1]
    index.append(tmp_path, entry(index, 3).made())
    history = index.read(tmp_path)
    assert list(history.entries) == [1, 3]
    assert history.unreadable == 1


@pytest.mark.parametrize(
    "line",
    [b"[1]", b'"text"', b"{}", b"\xff\xfe", b'{"event":"made"}', b'{"event":"rated","number":1}', b"null"],
)
def test_bad_lines_are_counted_and_passed_over(index: ModuleType, tmp_path: Path, line: bytes) -> None:
    index.append(tmp_path, entry(index, 1).made())
    with (tmp_path / index.FILE).open("ab") as file:
        file.write(line + b"\n")
    index.append(tmp_path, index.rated(1, 3))
    history = index.read(tmp_path)
    assert history.entries[1].rating == 3
    assert history.unreadable == 1


def test_later_releases(index: ModuleType, tmp_path: Path) -> None:
    index.append(tmp_path, entry(index, 1).made() | {"invented_later": 1}, {"event": "invented", "number": 1})
    assert index.read(tmp_path).unreadable == 0
    (tmp_path / index.FILE).write_text('{"event": "history", "format": 2, "history": "x"}\n')
    with pytest.raises(ValueError, match="update the extension"):
        index.read(tmp_path)


def test_out_of_date(index: ModuleType, tmp_path: Path) -> None:
    index.append(tmp_path, entry(index, 1, "2026-01-01T10:00", "a").made())
    assert not index.read(tmp_path).is_out_of_date(index.read(tmp_path).entries[1])
    index.append(tmp_path, {**index.rendered("Scene", 1, print_of("b")), "time": "2026-01-01T10:02"})
    # Collected before the light was changed, finished after it.
    index.append(tmp_path, entry(index, 2, "2026-01-01T10:01", "a").made())
    index.append(tmp_path, entry(index, 3, "2026-01-01T10:03", "b").made())
    # Made again from the old render: no news about the scene.
    index.append(tmp_path, entry(index, 4, "2026-01-01T10:04", "a", reproduces=1, identical=True).made())
    index.append(tmp_path, {**index.rendered("Scene", 2, print_of("c")), "time": "2026-01-01T10:05"})
    history = index.read(tmp_path)
    assert [history.is_out_of_date(made) for made in history.entries.values()] == [True, True, False, True]


def test_two_blenders_at_once(index: ModuleType, tmp_path: Path) -> None:
    count, firsts = 150, (1000, 2000, 3000)
    folder = str(tmp_path)
    writers = [
        subprocess.Popen(
            [sys.executable, "-c", WRITER.format(module=MODULE, folder=folder, first=first, count=count)],
        )
        for first in firsts
    ]
    assert [writer.wait(60) for writer in writers] == [0, 0, 0]
    lines = [json.loads(line) for line in (tmp_path / index.FILE).read_text().splitlines()]
    assert [line["event"] for line in lines].count("history") == 1, "they agreed who begins"
    written = sorted(line["number"] for line in lines if line["event"] == "noted")
    assert written == sorted(first + number for first in firsts for number in range(count))


def test_a_program_that_holds_the_file_for_ever(
    index: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(index, "LOCK_PATIENCE_S", 0.1)
    index.append(tmp_path, entry(index, 1).made())
    refusal = pytest.raises(OSError, match="another program holds")
    with (tmp_path / index.FILE).open("ab", buffering=0) as file, index._locked(file), refusal:
        index.append(tmp_path, entry(index, 2).made())
    index.append(tmp_path, entry(index, 3).made())
    assert list(index.read(tmp_path).entries) == [1, 3]


def test_only_what_is_new_is_read(index: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    index.append(tmp_path, *(entry(index, number).made() for number in range(1, 200)))
    before = index.read(tmp_path)
    index.append(tmp_path, entry(index, 200).made(), index.rated(7, 3))
    parsed: list[bytes] = []
    loads = json.loads
    monkeypatch.setattr(index.json, "loads", lambda line: (parsed.append(line), loads(line))[1])
    after = index.read(tmp_path)
    assert len(parsed) == 2
    assert list(after.entries) == list(range(1, 201))
    assert (before.entries[7].rating, after.entries[7].rating) == (0, 3)
    assert 200 not in before.entries and after.entries[8] is before.entries[8]
    assert index.read(tmp_path) == after and len(parsed) == 2


def test_another_file_in_its_place_is_read_from_its_beginning(index: ModuleType, tmp_path: Path) -> None:
    path = tmp_path / index.FILE
    index.append(tmp_path, entry(index, 1).made(), entry(index, 2).made())
    assert list(index.read(tmp_path).entries) == [1, 2]
    whole = path.read_bytes()
    with path.open("r+b") as file:
        file.truncate(whole.rindex(b"\n", 0, -1) + 1)
    assert list(index.read(tmp_path).entries) == [1]
    # Longer than before, in the same file, but not the same words.
    index.append(tmp_path, entry(index, 3).made(), entry(index, 4, notes="x" * 1000).made())
    assert list(index.read(tmp_path).entries) == [1, 3, 4]
    copy = tmp_path / "copy"
    copy.write_bytes(whole)
    copy.replace(path)
    assert list(index.read(tmp_path).entries) == [1, 2]
    path.unlink()
    assert index.read(tmp_path) == index.History()


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no limit of a file's size")
def test_a_full_disk_leaves_the_file_as_it_was(index: ModuleType, tmp_path: Path) -> None:
    import resource

    index.append(tmp_path, entry(index, 1).made())
    path = tmp_path / index.FILE
    before = path.read_bytes()
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (len(before) + 50, limits[1]))
    try:
        with pytest.raises(OSError):
            index.append(tmp_path, entry(index, 2).made())
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert path.read_bytes() == before
    index.append(tmp_path, entry(index, 2).made())
    assert list(index.read(tmp_path).entries) == [1, 2]


def test_fingerprint(addon: Callable) -> None:
    fingerprint = addon("history.fingerprint")

    def taken(picture: np.ndarray) -> str:
        return drained(fingerprint.take(picture))

    random = np.random.default_rng(1)
    picture = random.integers(10000, 50000, (101, 70, 3), dtype=np.uint16)
    one = taken(picture)
    rounded = (picture & 0xFFE0) + 16
    assert not fingerprint.differ(one, taken(rounded)), "another file's rounding"
    brighter = (picture * 1.02).astype(np.uint16)
    assert fingerprint.differ(one, taken(brighter)), "a change of the light"
    button = picture.copy()
    button[40:43, 30:32] = 0
    assert fingerprint.differ(one, taken(button)), "a small thing"
    assert fingerprint.differ(one, taken(picture[:30]))
    assert not fingerprint.differ(one, one)
    tiny = random.integers(0, 65535, (3, 2, 4), dtype=np.uint16)
    exact = np.frombuffer(base64.b64decode(taken(tiny)), np.uint8)
    assert np.array_equal(exact, np.rint(tiny.reshape(-1) / 257.0))
