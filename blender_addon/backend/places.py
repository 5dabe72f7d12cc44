# SPDX-License-Identifier: GPL-3.0-or-later
"""Where the extension keeps things on this machine."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import bpy

from ..compat import EXTENSION


def user_folder() -> Path:
    """The extension's own folder in this Blender's settings; it outlives updates of the extension."""
    return Path(bpy.utils.extension_path_user(EXTENSION, create=True))


def log_path() -> Path:
    """File that the backend's words go to."""
    return user_folder() / "backend.log"


def remote_connection_path() -> Path:
    """This Blender's private copy of a remote backend's connection file."""
    return user_folder() / "remote-connection.json"


def default_home() -> Path:
    """Where a backend is installed: outside Blender, since gigabytes need not exist once a version of it."""
    if sys.platform == "win32":
        base = Path(os.environ.get("LOCALAPPDATA", Path.home() / "AppData" / "Local"))
    elif sys.platform == "darwin":
        base = Path.home() / "Library" / "Application Support"
    else:
        base = Path(os.environ.get("XDG_DATA_HOME", Path.home() / ".local" / "share"))
    return base / "make-real" / "backend"
