# SPDX-License-Identifier: GPL-3.0-or-later
"""The backend's process: find the program, start it, see it end. Nothing here waits."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from ..protocol import EXPLANATIONS, ErrorCode, MakeRealError
from .installer.facts import program_in

PROGRAM = "make-real"
PROGRAM_VARIABLE = "MAKE_REAL_PROGRAM"
EXIT_ALREADY_RUNNING = 75
"""Exit status of a `make-real serve` that found another one running (EX_TEMPFAIL of sysexits.h)."""
LOG_TAIL_BYTES = 4096
DETAIL_CHARACTERS = 300


@dataclass(frozen=True)
class Launch:
    """How the backend shall be started.

    Args:
        program: Path from the preferences, empty to look for it.
        home: Folder in which *Install Backend* installs it.
        remote: Connection file of a backend on another machine, which is not started; None for one on this.
        device: `auto`, `cpu`, `cuda` or `cuda:1`.
        model_folder: Folder with more models, or empty.
        outlives_blender: Whether it goes on when Blender quits.
        log: File for everything that it prints.
    """

    program: str
    home: Path
    remote: Path | None
    device: str
    model_folder: str
    outlives_blender: bool
    log: Path


@dataclass(frozen=True)
class Ending:
    """How a backend ended.

    Args:
        problem: What it said about that in its last line; BACKEND_START_FAILED when it said nothing known.
        found_another: It made room for a backend that runs already.
    """

    problem: MakeRealError
    found_another: bool


def find_program(preferred: str, home: Path) -> Path:
    """The make-real program: the preferences' path, else the environment's, else the installed one, else the one
    on the search path.

    Raises:
        MakeRealError: BACKEND_NOT_FOUND, naming the place that was looked at.
    """
    for place, path in (("preferences", preferred), (PROGRAM_VARIABLE, os.environ.get(PROGRAM_VARIABLE, ""))):
        if path:
            found = shutil.which(str(Path(path).expanduser()))
            if found is None:
                raise MakeRealError(ErrorCode.BACKEND_NOT_FOUND, f"{place}: {path} is no program")
            return Path(found)
    found = shutil.which(str(program_in(home))) or shutil.which(PROGRAM)
    if found is None:
        raise MakeRealError(ErrorCode.BACKEND_NOT_FOUND, f"neither in {home} nor on the search path")
    return Path(found)


class BackendProcess:
    """One started `make-real serve`.

    Args:
        launch: How to start it.

    Raises:
        MakeRealError: BACKEND_NOT_FOUND when there is no program, BACKEND_START_FAILED when the system
            refuses to run it.
    """

    def __init__(self, launch: Launch) -> None:
        self._launch = launch
        command = [str(find_program(launch.program, launch.home)), "serve", "--device", launch.device]
        if launch.model_folder:
            command += ["--model-dir", launch.model_folder]
        if not launch.outlives_blender:
            command += ["--parent-pid", str(os.getpid())]
        try:
            launch.log.parent.mkdir(parents=True, exist_ok=True)
            with launch.log.open("wb") as log:
                self._process = subprocess.Popen(
                    command, stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT, **detached()
                )
        except OSError as error:
            raise MakeRealError(ErrorCode.BACKEND_START_FAILED, f"{command[0]}: {error.strerror}") from error

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._process.pid

    def ended(self) -> Ending | None:
        """How it ended, None while it runs."""
        status = self._process.poll()
        if status is None:
            return None
        last_line = self._last_line()
        problem = told_problem(last_line)
        if problem is None:
            how = f"exit status {status}" if status >= 0 else f"signal {-status}"
            detail = f"{how}: {last_line}" if last_line else how
            unknown = MakeRealError(ErrorCode.BACKEND_START_FAILED, detail)
            return Ending(unknown, found_another=status == EXIT_ALREADY_RUNNING)
        return Ending(problem, found_another=False)

    def _last_line(self) -> str:
        try:
            tail = self._launch.log.read_bytes()[-LOG_TAIL_BYTES:].decode("utf-8", "replace")
        except OSError:
            return ""
        lines = [line.strip() for line in tail.splitlines() if line.strip()]
        return lines[-1][:DETAIL_CHARACTERS] if lines else ""

    def stop(self) -> None:
        """Ask it to end; it ends its worker and removes its connection file by itself."""
        if self._process.poll() is None:
            self._process.terminate()

    def quit(self) -> None:
        """Blender quits: end it, unless it shall outlive Blender."""
        if not self._launch.outlives_blender:
            self.stop()
        # Popen warns about a process that was never waited for; this one is the system's from here on.
        self._process.returncode = self._process.returncode or 0


def told_problem(line: str) -> MakeRealError | None:
    """The error that a line of `make-real` tells: `make-real: error: SENTENCE (DETAIL). REMEDY [CODE]`."""
    match = re.search(r"error: (.*) \[(\w+)\]$", line)
    if match is None or match[2] not in list(ErrorCode):
        return None
    code = ErrorCode(match[2])
    explanation = EXPLANATIONS[code]
    text = match[1].removesuffix(explanation.remedy).strip()
    detail = text.removeprefix(explanation.sentence.removesuffix(".")).strip(" .")
    return MakeRealError(code, detail.removeprefix("(").removesuffix(")"))


def detached() -> dict[str, int | bool]:
    """How a process is started beside Blender: Ctrl-C in the terminal must not reach it, no console may open."""
    if sys.platform == "win32":
        return {"creationflags": subprocess.CREATE_NO_WINDOW | subprocess.CREATE_NEW_PROCESS_GROUP}
    return {"start_new_session": True}
