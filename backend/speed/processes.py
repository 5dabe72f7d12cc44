# SPDX-License-Identifier: GPL-3.0-or-later
"""The processes that measure one case each, and the turns that they take. Pausing needs a POSIX system."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import IO, Any, cast

GRACE_S = 2.0
"""For a stopped process to be gone; its thread may wait for a turn."""

SETTLE_S = 0.2
"""For what the paused ones had given to a device to be done."""

Take = Callable[[dict[str, Any]], None]


class Turns:
    """Who is being timed. Meanwhile the others are paused, on the host too, for they would take time from it."""

    def __init__(self) -> None:
        self._free = threading.Condition()
        self._taken = False
        self._waiting: list[int] = []
        self._groups: set[int] = set()

    def join(self, group: int) -> None:
        """A process group takes part; it may be paused from now on."""
        with self._free:
            self._free.wait_for(lambda: not self._taken)
            self._groups.add(group)

    def leave(self, group: int) -> None:
        """It has ended."""
        with self._free:
            self._groups.discard(group)

    @contextmanager
    def alone(self, *groups: int, rank: int = 0) -> Iterator[None]:
        """Within, these process groups are alone. Of those that wait, the one of the lowest rank is next."""
        with self._free:
            self._waiting.append(rank)
            self._free.wait_for(lambda: not self._taken and rank == min(self._waiting))
            self._waiting.remove(rank)
            self._taken = True
            others = self._groups - set(groups)
        self._signal(others, "SIGSTOP")
        time.sleep(SETTLE_S)
        try:
            yield
        finally:
            self._signal(others, "SIGCONT")
            with self._free:
                self._taken = False
                self._free.notify_all()

    def _signal(self, groups: set[int], name: str) -> None:
        for group in groups:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(group, getattr(signal, name))


class CaseProcess:
    """A running `backend.speed.case`.

    Args:
        arguments: Of the program.
        turns: Gives it its turns.
        take: Called with each line that is no turn, in a thread.
        rank: Among those that wait for a turn; the lowest is next.
    """

    def __init__(self, arguments: Sequence[str], turns: Turns, take: Take, rank: int = 0) -> None:
        command = [sys.executable, "-m", "backend.speed.case", *arguments]
        # A group of its own: its compiler's processes are paused with it.
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, process_group=0
        )
        self._turns = turns
        self._take = take
        self._rank = rank
        self._title = " ".join(arguments)
        self._stopped = False
        turns.join(self._process.pid)
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
            self._stopped = True
            self._process.kill()
            self._thread.join(GRACE_S)

    def _heard(self, line: str) -> str | None:
        """What a line says of turns; all else in it is passed on."""
        told = json.loads(line) if line.startswith("{") else {}
        turn: str | None = told.pop("turn", None)
        if told:
            self._take(told)
        return turn

    def _listen(self) -> None:
        stdin, stdout = (cast("IO[str]", pipe) for pipe in (self._process.stdin, self._process.stdout))
        for line in stdout:
            if self._heard(line) == "take":
                with self._turns.alone(self._process.pid, rank=self._rank):
                    with contextlib.suppress(OSError):
                        stdin.write("go\n")
                        stdin.flush()
                    # It says that it is done, or ends.
                    while (line := stdout.readline()) and self._heard(line) != "give":
                        pass
        status = self._process.wait()
        self._turns.leave(self._process.pid)
        if status:
            reason = "stopped, out of time" if self._stopped else f"ended with status {status}"
            self._take({"log": f"{reason}: {self._title}"})
        with contextlib.suppress(OSError):
            stdin.close()
        stdout.close()
