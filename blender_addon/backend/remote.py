# SPDX-License-Identifier: GPL-3.0-or-later
"""A backend on another machine: this Blender keeps a private copy of its connection file."""

from __future__ import annotations

import os
import re
from pathlib import Path

from ..protocol import ErrorCode, MakeRealError, parse_connection, read_remote_connection


def take(content: bytes, source: str, path: Path) -> str:
    """Check a connection file's content and keep it for this user alone.

    Args:
        content: What the backend wrote.
        source: Where it comes from, for an error.
        path: Where to keep it.

    Returns:
        `HOST:PORT`.

    Raises:
        MakeRealError: CONNECTION_FILE_REFUSED when it holds no connection, DISK_FULL when it cannot be kept.
    """
    connection = parse_connection(content, source)
    try:
        path.unlink(missing_ok=True)
        with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
            file.write(content)
    except OSError as error:
        raise MakeRealError(ErrorCode.DISK_FULL, f"{path}: {error.strerror}") from error
    return _address(connection.endpoint)


def address(path: Path) -> str:
    """`HOST:PORT` of the kept connection; empty when there is none that could be used."""
    try:
        connection = read_remote_connection(path)
    except MakeRealError:
        return ""
    return _address(connection.endpoint) if connection else ""


def _address(endpoint: str) -> str:
    return re.sub(r"^tcp://", "", endpoint)
