# SPDX-License-Identifier: GPL-3.0-or-later
"""Files that are there whole or not at all, also after a crash or a power cut."""

from __future__ import annotations

import os
from pathlib import Path


def sync_file(path: Path) -> None:
    """Wait until a file's content is on the disk. Raises OSError."""
    with path.open("r+b") as file:
        os.fsync(file.fileno())


def sync_dir(path: Path) -> None:
    """Wait until a folder's entries are on the disk. Windows keeps no such promise and is left out."""
    if os.name == "nt":
        return
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def write_whole(path: Path, content: bytes) -> None:
    """Replace a file by `content` in one step. Raises OSError, and then leaves the old file as it was."""
    partial = path.with_name(path.name + ".part")
    try:
        partial.write_bytes(content)
        sync_file(partial)
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)
    sync_dir(path.parent)
