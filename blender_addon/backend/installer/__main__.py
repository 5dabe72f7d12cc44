# SPDX-License-Identifier: GPL-3.0-or-later
"""Installs the backend into an environment of its own. Run as a process beside Blender; imports nothing of ours.

    python -I installer install --home FOLDER --locks FOLDER --version 0.1.0 --torch cpu [--archive FILE]
    python -I installer remove --home FOLDER

Everything is below the home folder: `wheels/` (what the archive brought), `uv/`, `python/` (where uv had to bring
one), `cache/` (uv's; hard links, not copies), `env/`, `steps/` (what each complete step was made from) and
`install.log`, which is written as it happens; its lines `step 3/7 TITLE` tell the progress, its last line the end:
`done`, `cancelled`, or `error: DETAIL [CODE]`. A file `stop` in the home folder cancels.
"""

from __future__ import annotations

import argparse
import contextlib
import errno
import os
import shutil
import sys
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TextIO

# Python puts the folder that it runs on its path.
from facts import EXIT_BUSY, CancelledError, ProblemError
from steps import Installer

FOLDERS = ("wheels", "uv", "python", "cache", "env", "steps")


def main() -> None:
    """What the command line says."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("action", choices=("install", "remove"))
    parser.add_argument("--home", type=Path, required=True)
    parser.add_argument("--locks", type=Path)
    parser.add_argument("--version")
    parser.add_argument("--torch", choices=("cpu", "cuda"))
    parser.add_argument("--archive", type=Path)
    options = parser.parse_args()
    options.home.mkdir(parents=True, exist_ok=True)
    with alone(options.home) as is_alone:
        if not is_alone:
            sys.exit(EXIT_BUSY)
        with (options.home / "install.log").open("w", encoding="utf-8") as log:
            end = told_end(lambda: act(options, log), log)
            print(end, file=log)
    sys.exit(end != "done")


def act(options: argparse.Namespace, log: TextIO) -> None:
    """Do what the command line says. Raises ProblemError, CancelledError, OSError."""
    if options.action == "remove":
        print("step 1/1 Removing the backend", file=log, flush=True)
        remove(options.home)
    else:
        installer = Installer(options.home, options.locks, options.version, options.torch, log)
        installer.install(options.archive)


def told_end(action: Callable[[], None], log: TextIO) -> str:
    """Do it, and say in the log's last line how that ended."""
    try:
        action()
    except CancelledError:
        return "cancelled"
    except ProblemError as problem:
        return f"error: {problem} [{problem.code}]"
    except OSError as error:
        is_full = error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
        code = "install_no_space" if is_full else "install_failed"
        return f"error: {error.filename or ''}: {error.strerror or error} [{code}]"
    except Exception as error:
        # The last line is all that the extension reads; what is above it is for support.
        traceback.print_exc(file=log)
        return f"error: {type(error).__name__}: {error} [install_failed]"
    return "done"


@contextlib.contextmanager
def alone(home: Path) -> Iterator[bool]:
    """Hold the home folder, so that two Blenders do not install at once; yields whether it could be had."""
    with (home / "lock").open("a") as file:
        try:
            if os.name == "nt":
                import msvcrt

                msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)
            else:
                import fcntl

                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            yield False
        else:
            yield True


def remove(home: Path) -> None:
    """Take an installation away, and nothing else that may be in its folder. Raises OSError."""
    for name in FOLDERS:
        if (home / name).exists():
            shutil.rmtree(home / name)
    (home / "archive.json").unlink(missing_ok=True)


if __name__ == "__main__":
    main()
