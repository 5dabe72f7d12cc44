# SPDX-License-Identifier: GPL-3.0-or-later
"""Processes: one instance a folder, an end when it is time, and a child that does not outlive its parent."""

from __future__ import annotations

import ctypes
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from types import FrameType

from protocol import ErrorCode, MakeRealError, is_alive


class AlreadyRunningError(Exception):
    """Another instance holds the folder."""


class InstanceLock:
    """Held by one process at a time; the system releases it when the process ends, however it ends.

    Args:
        path: The lock file, made when missing and never removed: removing one is a race.

    Raises:
        AlreadyRunningError: Another process holds it.
        OSError: The file cannot be made.
    """

    def __init__(self, path: Path) -> None:
        self._descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
        try:
            if sys.platform == "win32":
                import msvcrt

                msvcrt.locking(self._descriptor, msvcrt.LK_NBLCK, 1)
            else:
                import fcntl

                fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            os.close(self._descriptor)
            raise AlreadyRunningError(str(path)) from error

    def release(self) -> None:
        """Let another process have it."""
        os.close(self._descriptor)


def stop_condition(parent_pid: int | None) -> Callable[[], bool]:
    """Becomes true after SIGTERM, SIGINT or the end of the parent.

    A signal is noted, not raised: an exception that comes up while ZeroMQ frees a frame is lost.

    Raises:
        MakeRealError: BACKEND_START_FAILED when there is no such parent.
    """
    signals: list[int] = []

    def on_signal(number: int, _frame: FrameType | None) -> None:
        signals.append(number)

    signal.signal(signal.SIGTERM, on_signal)
    signal.signal(signal.SIGINT, on_signal)
    if parent_pid is not None and not is_alive(parent_pid):
        raise MakeRealError(ErrorCode.BACKEND_START_FAILED, f"there is no parent process {parent_pid}")
    return lambda: bool(signals) or (parent_pid is not None and not is_alive(parent_pid))


def die_with_parent(parent_pid: int) -> None:
    """Let the kernel end this process when its parent ends; Linux only.

    Elsewhere the end of the pipe must do, which a thread stuck in native code can miss.
    """
    if sys.platform != "linux":
        return
    pr_set_pdeathsig = 1
    ctypes.CDLL(None, use_errno=True).prctl(pr_set_pdeathsig, signal.SIGKILL)
    # The parent may have ended before the call.
    if os.getppid() != parent_pid:
        os._exit(1)
