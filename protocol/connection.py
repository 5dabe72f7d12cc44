# SPDX-License-Identifier: GPL-3.0-or-later
"""The connection file: where a running supervisor is, and the keys to talk to it.

The supervisor writes it when it is ready to accept and removes it at exit. Whoever can read the file can talk
to the supervisor, so its folder is 0700 and the file 0600, and a file that anybody else can read is refused.
On Windows the user profile's access rules stand in for the modes.
"""

from __future__ import annotations

import json
import os
import secrets
import stat
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

from .errors import ErrorCode, MakeRealError
from .schema import Count, Length, Name, Pattern, from_plain, to_plain

FILE_FORMAT = 1
RUNTIME_DIR_VARIABLE = "MAKE_REAL_RUNTIME_DIR"
MAX_FILE_BYTES = 16 * 1024
LOOPBACK = "tcp://127.0.0.1:"

Key = Annotated[bytes, Length(40, 40)]
"""CURVE key, 40 characters of Z85."""


@dataclass(frozen=True)
class Connection:
    """How to reach one start of a supervisor.

    Args:
        endpoint: `tcp://127.0.0.1:PORT`, or `tcp://HOST:PORT` in a file that is made to be copied.
        server_public_key: The supervisor's CURVE key, 40 bytes of Z85.
        client_public_key: The one client key that it admits.
        client_secret_key: The secret half of that.
        pid: Process id of the supervisor.
        epoch: As in `messages.Welcome`.
    """

    endpoint: Annotated[str, Pattern(r"tcp://[A-Za-z0-9.-]{1,253}:[0-9]{1,5}")]
    server_public_key: Key
    client_public_key: Key
    client_secret_key: Key = field(repr=False)
    pid: Count
    epoch: Name


def default_connection_path() -> Path:
    """Path of this user's connection file; the folder is MAKE_REAL_RUNTIME_DIR where that is set."""
    return _runtime_dir() / "connection.json"


def _runtime_dir() -> Path:
    if RUNTIME_DIR_VARIABLE in os.environ:
        return Path(os.environ[RUNTIME_DIR_VARIABLE])
    if sys.platform == "win32" and "LOCALAPPDATA" in os.environ:
        return Path(os.environ["LOCALAPPDATA"]) / "make-real" / "run"
    if "XDG_RUNTIME_DIR" in os.environ:
        return Path(os.environ["XDG_RUNTIME_DIR"]) / "make-real"
    return Path.home() / ".cache" / "make-real" / "run"


def write_connection(path: Path, connection: Connection) -> None:
    """Write the file at once and for this user alone. A reader sees the old file or the new one, no part.

    Raises:
        OSError: if the folder cannot be made or written.
    """
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    path.parent.chmod(0o700)
    content = {"format": FILE_FORMAT, "started": _start_time(connection.pid), **_to_text(connection)}
    part = path.with_name(f"{path.name}.{secrets.token_hex(8)}.part")
    descriptor = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(descriptor, "w", encoding="ascii") as file:
            json.dump(content, file, indent=2)
            file.flush()
            os.fsync(file.fileno())
        part.replace(path)
    except BaseException:
        part.unlink(missing_ok=True)
        raise


def read_connection(path: Path | None = None) -> Connection | None:
    """Read the file; None if there is none or the process that it names is gone.

    Args:
        path: `default_connection_path()` if not given.

    Raises:
        MakeRealError: CONNECTION_FILE_REFUSED if the file belongs to, or can be read by, somebody else, or
            does not hold a connection.
    """
    path = path or default_connection_path()
    text = _read_private(path)
    if text is None:
        return None
    connection, started = _parse(text, str(path))
    if not connection.endpoint.startswith(LOOPBACK):
        raise _refusal(path, "names another machine")
    if not is_alive(connection.pid) or started != _start_time(connection.pid):
        return None
    return connection


def read_remote_connection(path: Path) -> Connection | None:
    """Read a file that was copied from the machine where `make-real serve --listen` runs; None if there is none.

    Raises:
        MakeRealError: CONNECTION_FILE_REFUSED as `read_connection`.
    """
    text = _read_private(path)
    return None if text is None else parse_connection(text, str(path))


def parse_connection(text: bytes, source: str) -> Connection:
    """The connection in a file's content.

    Args:
        text: The file's bytes.
        source: What to call it in an error.

    Raises:
        MakeRealError: CONNECTION_FILE_REFUSED when it does not hold a connection.
    """
    return _parse(text, source)[0]


def _read_private(path: Path) -> bytes | None:
    try:
        # A link could lead to a file that somebody else prepared.
        descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0))
    except FileNotFoundError:
        return None
    except OSError as error:
        raise _refusal(path, f"cannot be opened: {error.strerror}") from error
    try:
        _check_owner(path, os.fstat(descriptor))
        return os.read(descriptor, MAX_FILE_BYTES + 1)
    finally:
        os.close(descriptor)


def remove_connection(path: Path, connection: Connection) -> None:
    """Remove the file if it is still this connection's, and not a later supervisor's."""
    try:
        epoch = json.loads(path.read_bytes())["epoch"]
    except (OSError, ValueError, KeyError, TypeError):
        return
    if epoch == connection.epoch:
        path.unlink(missing_ok=True)


def is_alive(pid: int) -> bool:
    """Whether a process runs; one that has ended and only waits for its parent does not."""
    if sys.platform == "win32":
        return _is_alive_on_windows(pid)
    if pid <= 0:
        return False
    try:
        os.kill(pid, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except PermissionError:
        pass
    fields = _process_fields(pid)
    return fields is None or fields[0] not in ("Z", "X")


def _is_alive_on_windows(pid: int) -> bool:
    import ctypes

    query_limited_information, still_active = 0x1000, 259
    kernel32: Any = getattr(ctypes, "windll").kernel32  # noqa: B009  absent elsewhere, so no plain attribute
    handle = kernel32.OpenProcess(query_limited_information, False, pid)
    if not handle:
        return False
    code = ctypes.c_ulong()
    known = kernel32.GetExitCodeProcess(handle, ctypes.byref(code))
    kernel32.CloseHandle(handle)
    return bool(known) and code.value == still_active


def _start_time(pid: int) -> str:
    """Clock ticks since boot at which a process started, empty where the system does not tell.

    Tells a supervisor from a later process that was given the same id.
    """
    fields = _process_fields(pid)
    return fields[19] if fields else ""


def _process_fields(pid: int) -> list[str] | None:
    """Fields of /proc/PID/stat from the third, the state, on; see proc(5). None if there is no such file."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return None
    # The second field is the program's name in brackets and may itself hold spaces and brackets.
    return text.rpartition(")")[2].split()


def _to_text(connection: Connection) -> dict[str, Any]:
    plain: dict[str, Any] = to_plain(connection)
    return {key: value.decode("ascii") if isinstance(value, bytes) else value for key, value in plain.items()}


def _parse(text: bytes, source: str) -> tuple[Connection, str]:
    try:
        content = json.loads(text)
        if len(text) > MAX_FILE_BYTES or content["format"] != FILE_FORMAT:
            raise _refusal(source, f"is not of format {FILE_FORMAT}")
        for key in content:
            if key.endswith("_key"):
                content[key] = content[key].encode("ascii")
        return from_plain(Connection, content, "connection"), from_plain(str, content["started"], "started")
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise _refusal(source, "is broken") from error
    except MakeRealError as error:
        raise _refusal(source, error.detail) from error


def _check_owner(path: Path, status: os.stat_result) -> None:
    if not stat.S_ISREG(status.st_mode):
        raise _refusal(path, "is not a file")
    if sys.platform == "win32":
        return
    if status.st_uid != os.geteuid():
        raise _refusal(path, "belongs to another user")
    if status.st_mode & 0o077:
        raise _refusal(path, f"has mode {stat.S_IMODE(status.st_mode):04o}, not 0600")


def _refusal(path: Path | str, why: str) -> MakeRealError:
    return MakeRealError(ErrorCode.CONNECTION_FILE_REFUSED, f"{path} {why}")
