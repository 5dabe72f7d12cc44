# SPDX-License-Identifier: GPL-3.0-or-later
"""The processes that measure one case each, and the turns that they take on the devices."""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import IO, Any, cast

GRACE_S = 2.0
"""For a stopped process to be gone; its thread may wait for a turn."""

Take = Callable[[dict[str, Any]], None]


class Devices:
    """Who has which device to itself."""

    def __init__(self, names: Sequence[str]) -> None:
        self.names = tuple(names)
        self._locks = {name: threading.Lock() for name in names}

    @contextmanager
    def all(self) -> Iterator[None]:
        """Within, every device is the caller's alone."""
        with ExitStack() as stack:
            for lock in self._locks.values():
                stack.enter_context(lock)
            yield

    def lock(self, name: str) -> threading.Lock:
        """One device's lock."""
        return self._locks[name]


class CaseProcess:
    """A running `backend.speed.case`.

    Args:
        arguments: Of the program.
        device: The one that it measures on.
        devices: Gives it its turns.
        take: Called with each line that is no turn, in a thread.
    """

    def __init__(self, arguments: Sequence[str], device: str, devices: Devices, take: Take) -> None:
        command = [sys.executable, "-m", "backend.speed.case", "--device", device, *arguments]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self._lock = devices.lock(device)
        self._take = take
        self._title = " ".join(arguments)
        self._thread = threading.Thread(target=self._listen, daemon=True)
        self._thread.start()

    @property
    def is_running(self) -> bool:
        """Whether it has not ended."""
        return self._thread.is_alive()

    def wait(self, seconds: float | None = None) -> None:
        """Wait until it has ended, or until so much time has passed."""
        self._thread.join(seconds)

    def stop(self) -> None:
        """End it; what it measured so far is kept."""
        if self._thread.is_alive():
            self._take({"log": f"stopped, out of time: {self._title}"})
            self._process.kill()
            self._thread.join(GRACE_S)

    def _listen(self) -> None:
        stdin, stdout = (cast("IO[str]", pipe) for pipe in (self._process.stdin, self._process.stdout))
        has_turn = False
        for line in stdout:
            if not line.startswith("{"):
                continue
            told = json.loads(line)
            match told.get("turn"):
                case None:
                    self._take(told)
                case "take":
                    self._lock.acquire()
                    has_turn = True
                    with contextlib.suppress(OSError):
                        stdin.write("go\n")
                        stdin.flush()
                case _:
                    has_turn = False
                    self._lock.release()
        if has_turn:
            self._lock.release()
        if status := self._process.wait():
            self._take({"log": f"ended with status {status}: {self._title}"})
        stdin.close()
        stdout.close()
