# SPDX-License-Identifier: GPL-3.0-or-later
"""Where the backend keeps things on this machine.

    data folder      journal, spooled planes, results, logs, the list of added models
    runtime folder   the connection file; `protocol.connection` owns that one

Both can be moved by an environment variable, which is also how the tests keep to themselves.
"""

from __future__ import annotations

import os
from pathlib import Path

import platformdirs

DATA_DIR_VARIABLE = "MAKE_REAL_DATA_DIR"


def default_data_dir() -> Path:
    """The data folder of this user: `MAKE_REAL_DATA_DIR`, else the platform's place. Not created here."""
    override = os.environ.get(DATA_DIR_VARIABLE)
    return Path(override) if override else Path(platformdirs.user_data_dir("make-real", appauthor=False))


def make_private_dir(path: Path) -> Path:
    """Create a folder, and its parents, that only this user can enter (0700); returns it."""
    path.mkdir(parents=True, exist_ok=True, mode=0o700)
    return path
