# SPDX-License-Identifier: GPL-3.0-or-later
"""An installation under way: the installer's process, seen through its log. Nothing here waits."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from ..protocol import ErrorCode, MakeRealError
from .installer import facts
from .process import detached, told_problem

LOCKS = Path(__file__).with_name("locks")
LOG_TAIL_BYTES = 8192


@dataclass(frozen=True)
class Progress:
    """How far an installation is.

    Args:
        title: What it is doing.
        step: Number of the present step.
        steps: Steps in all.
        words: What was told last.
    """

    title: str = "Starting"
    step: int = 0
    steps: int = 1
    words: str = ""


class Installation:
    """The backend's installation in one folder, and the process that changes it.

    Args:
        on_end: Told how a process ended: None when all is well.
    """

    def __init__(self, on_end: Callable[[MakeRealError | None], None]) -> None:
        self._on_end = on_end
        self._process: subprocess.Popen | None = None
        self._home = Path()
        self.progress: Progress | None = None
        """None while nothing is under way."""

    def install(self, home: Path, version: str, torch: str, archive: Path | None) -> None:
        """Start installing, or go on where the last attempt ended.

        Args:
            home: Where to.
            version: The extension's version; the archive must have the same.
            torch: `cpu` or `cuda`.
            archive: A backend archive; None when one was unpacked there before.

        Raises:
            MakeRealError: INSTALL_FAILED, INSTALL_NO_SPACE when the process cannot be started.
        """
        command = ["install", "--locks", str(LOCKS), "--version", version, "--torch", torch]
        self._start(home, [*command, *(["--archive", str(archive)] if archive else [])])

    def remove(self, home: Path) -> None:
        """Start removing. Raises as `install`."""
        self._start(home, ["remove"])

    def cancel(self) -> None:
        """Ask for the end; the installer looks for it ten times a second."""
        if self.progress is not None:
            (self._home / "stop").touch()

    def poll(self) -> None:
        """Read the log; to be called while `progress` is not None."""
        if self._process is None:
            return
        lines = self._log_tail()
        status = self._process.poll()
        if status is None:
            self.progress = told_progress(lines)
            return
        self._process = None
        self.progress = None
        self._on_end(told_end(lines, status))

    def quit(self) -> None:
        """Blender quits: what is complete stays, and the next click goes on from there."""
        self.cancel()
        if self._process is not None:
            # Popen warns about a process that was never waited for; this one is the system's from here on.
            self._process.returncode = 0

    def _start(self, home: Path, arguments: list[str]) -> None:
        if self._process is not None:
            return
        python = [sys.executable, "-I", str(Path(facts.__file__).parent)]
        try:
            home.mkdir(parents=True, exist_ok=True)
            (home / "stop").unlink(missing_ok=True)
            self._process = subprocess.Popen(
                [*python, *arguments, "--home", str(home)],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                **detached(),
            )
        except OSError as error:
            raise MakeRealError(ErrorCode.INSTALL_FAILED, f"{home}: {error.strerror}") from error
        self._home = home
        self.progress = Progress()

    def _log_tail(self) -> list[str]:
        try:
            with (self._home / "install.log").open("rb") as log:
                log.seek(max(0, log.seek(0, os.SEEK_END) - LOG_TAIL_BYTES))
                text = log.read().decode("utf-8", "replace")
        except OSError:
            return []
        return [line.strip() for line in text.splitlines() if line.strip()]


def told_progress(lines: list[str]) -> Progress:
    """Progress as the log tells it."""
    for number in range(len(lines) - 1, -1, -1):
        match = re.fullmatch(r"step (\d+)/(\d+) (.*)", lines[number])
        if match:
            words = lines[-1] if number < len(lines) - 1 else ""
            return Progress(match[3], int(match[1]), int(match[2]), words)
    return Progress()


def told_end(lines: list[str], status: int) -> MakeRealError | None:
    """How an installer ended, by its log's last line; None when all is well, or when it was cancelled."""
    if status == facts.EXIT_BUSY:
        return MakeRealError(ErrorCode.INSTALL_FAILED, "another Blender is installing it just now")
    last = lines[-1] if lines else ""
    if last in ("done", "cancelled"):
        return None
    return told_problem(last) or MakeRealError(ErrorCode.INSTALL_FAILED, last or f"exit status {status}")


def is_complete_archive(archive: Path) -> bool:
    """Whether an archive installs without a network. Raises MakeRealError: INSTALL_ARCHIVE_REFUSED."""
    try:
        return facts.read_content(archive)["complete_for"] is not None
    except facts.ProblemError as problem:
        raise MakeRealError(ErrorCode(problem.code), str(problem)) from problem


def has_archive(home: Path) -> bool:
    """Whether an archive was unpacked there before, so that a repair needs none."""
    return (home / "archive.json").is_file()


def torch_for(choice: str) -> str:
    """`cpu` or `cuda` for the preferences' choice; `auto` looks for NVIDIA's driver."""
    if choice != "auto":
        return choice
    is_there = Path("/proc/driver/nvidia/version").exists() or shutil.which("nvidia-smi") is not None
    return "cuda" if is_there else "cpu"
