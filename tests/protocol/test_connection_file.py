# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import dataclasses
import json
import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from protocol import (
    Connection,
    ErrorCode,
    MakeRealError,
    default_connection_path,
    is_alive,
    read_connection,
    read_remote_connection,
    remove_connection,
    write_connection,
)

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="file modes are POSIX's")

HERE = Connection("tcp://127.0.0.1:4711", b"S" * 40, b"P" * 40, b"C" * 40, os.getpid(), "e1")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "runtime" / "connection.json"


def refusal(path: Path) -> str:
    with pytest.raises(MakeRealError) as caught:
        read_connection(path)
    assert caught.value.code is ErrorCode.CONNECTION_FILE_REFUSED
    assert str(path) in caught.value.detail
    return caught.value.detail


def test_what_is_written_is_read(path: Path) -> None:
    write_connection(path, HERE)
    assert read_connection(path) == HERE


@pytest.mark.parametrize("umask", [0o000, 0o077])
def test_only_this_user_can_read_it_whatever_the_umask(path: Path, umask: int) -> None:
    before = os.umask(umask)
    try:
        write_connection(path, HERE)
    finally:
        os.umask(before)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700


def test_a_folder_that_was_open_is_closed(path: Path) -> None:
    path.parent.mkdir(mode=0o755)
    write_connection(path, HERE)
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700


def test_a_later_one_replaces_it_and_leaves_nothing_behind(path: Path) -> None:
    write_connection(path, HERE)
    write_connection(path, dataclasses.replace(HERE, epoch="e2"))
    later = read_connection(path)
    assert later is not None
    assert later.epoch == "e2"
    assert list(path.parent.iterdir()) == [path]


def test_the_secret_is_not_in_a_log(path: Path) -> None:
    assert "C" * 40 not in repr(HERE)


def test_no_file_is_no_connection(path: Path) -> None:
    assert read_connection(path) is None


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660])
def test_a_file_that_others_can_reach_is_refused(path: Path, mode: int) -> None:
    write_connection(path, HERE)
    path.chmod(mode)
    assert f"{mode:04o}" in refusal(path)


def test_a_link_is_refused(path: Path) -> None:
    write_connection(path, HERE)
    link = path.with_name("link.json")
    link.symlink_to(path)
    refusal(link)


def test_a_folder_or_a_pipe_is_refused(path: Path) -> None:
    path.mkdir(parents=True)
    refusal(path)
    pipe = path / "pipe"
    os.mkfifo(pipe, 0o600)
    refusal(pipe)


def test_another_users_file_is_refused(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_connection(path, HERE)
    monkeypatch.setattr(os, "geteuid", lambda: os.getuid() + 1)
    assert "another user" in refusal(path)


@pytest.mark.parametrize(
    "change",
    [
        {"endpoint": "tcp://10.0.0.1:80"},
        {"endpoint": "tcp://127.0.0.1:80/../x"},
        {"endpoint": "ipc:///tmp/x"},
        {"server_public_key": "short"},
        {"client_secret_key": 5},
        {"server_public_key": "\u00e9" * 40},
        {"pid": -1},
        {"pid": "1"},
        {"format": 2},
        {"epoch": ""},
    ],
    ids=str,
)
def test_a_file_with_a_wrong_field_is_refused(path: Path, change: dict[str, object]) -> None:
    write_connection(path, HERE)
    path.write_text(json.dumps({**json.loads(path.read_text()), **change}))
    refusal(path)


@pytest.mark.parametrize(
    "content", [b"", b"{", b"[]", b"null", b"\xff\xfe", b"[" * 100_000, b'{"format": 1}']
)
def test_a_broken_file_is_refused(path: Path, content: bytes) -> None:
    write_connection(path, HERE)
    path.write_bytes(content)
    refusal(path)


def test_a_file_whose_process_is_gone_is_stale(path: Path) -> None:
    process = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    write_connection(path, dataclasses.replace(HERE, pid=process.pid))
    assert read_connection(path) is not None
    assert is_alive(process.pid)
    process.kill()
    os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
    # Dead, but its parent did not ask yet: a zombie still has its id.
    assert not is_alive(process.pid)
    assert read_connection(path) is None
    process.communicate()
    assert not is_alive(process.pid)
    assert read_connection(path) is None


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="start times are told by /proc")
def test_a_process_that_was_given_the_same_id_later_is_not_the_supervisor(path: Path) -> None:
    write_connection(path, HERE)
    content = json.loads(path.read_text())
    assert int(content["started"]) > 0
    path.write_text(json.dumps({**content, "started": "1"}))
    assert read_connection(path) is None


def test_only_ones_own_file_is_removed(path: Path) -> None:
    write_connection(path, HERE)
    remove_connection(path, dataclasses.replace(HERE, epoch="e0"))
    assert path.exists()
    remove_connection(path, HERE)
    assert not path.exists()
    remove_connection(path, HERE)


def test_the_folder_can_be_chosen(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("MAKE_REAL_RUNTIME_DIR", str(tmp_path))
    assert default_connection_path() == tmp_path / "connection.json"
    assert read_connection() is None
    write_connection(default_connection_path(), HERE)
    assert read_connection() == HERE


def test_a_file_that_leads_to_another_machine_is_for_those_who_ask_for_one(path: Path) -> None:
    elsewhere = dataclasses.replace(HERE, endpoint="tcp://render-box.studio:47110")
    write_connection(path, elsewhere)
    assert "names another machine" in refusal(path)
    assert read_remote_connection(path) == elsewhere
    path.chmod(0o644)
    with pytest.raises(MakeRealError, match="0644"):
        read_remote_connection(path)


def test_a_copys_process_is_not_looked_for_here(path: Path) -> None:
    write_connection(path, dataclasses.replace(HERE, pid=2**22 + 1))
    assert read_connection(path) is None
    assert read_remote_connection(path) is not None
    assert read_remote_connection(path.with_name("none.json")) is None
