# SPDX-License-Identifier: GPL-3.0-or-later
"""A `make-real serve` for the extension's tests: the real protocol over real sockets, without a model.

It inverts pictures, or makes them darker. `MAKE_REAL_SCRIPT` names the fault that it shall have,
`MAKE_REAL_SCRIPT_DIR` a folder in which it counts its starts.
"""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "tests" / "protocol")]

from scripted_server import ScriptedServer  # noqa: E402

from backend.service.process import stop_condition  # noqa: E402
from protocol import (  # noqa: E402
    Acknowledge,
    Cancel,
    ErrorCode,
    Hello,
    JobState,
    MakeRealError,
    PlaneName,
    Planes,
    Pong,
    Progress,
    Release,
    Stage,
    Status,
    WorkerState,
    default_connection_path,
    remove_connection,
    write_connection,
)

STEPS = 5
STEADY_STEPS = 300
"""Long enough for somebody to do something meanwhile."""
FAILURE = (ErrorCode.OUT_OF_MEMORY, "needs 12 GB")
DEADLY = {"die_loading_once": (Hello,), "die_uploading_once": (Planes,)}
"""Messages that the first start does not survive."""


def main() -> int:
    """Serve until terminated or until the parent is gone."""
    script = os.environ.get("MAKE_REAL_SCRIPT", "invert")
    counter = Path(os.environ["MAKE_REAL_SCRIPT_DIR"]) / "starts.txt"
    with counter.open("a") as file:
        file.write(" ".join(sys.argv[1:]) + "\n")
    starts = len(counter.read_text().splitlines())
    if script == "die_starting_once" and starts == 1:
        die()
    if script == "silent_once" and starts == 1:
        time.sleep(600)
    if script == "no_start":
        problem = MakeRealError(ErrorCode.MODEL_NOT_FOUND, "nowhere")
        print(f"make-real: error: {problem.message} [{problem.code}]")
        return 65
    if script == "crash_at_start":
        print("something broke")
        return 1
    has_parent = "--parent-pid" in sys.argv
    should_stop = stop_condition(int(sys.argv[sys.argv.index("--parent-pid") + 1]) if has_parent else None)
    silent_to = DEADLY.get(script, ()) if starts == 1 else ()
    server = ScriptedServer(epoch=f"start {starts}", silent_to=silent_to)
    path = default_connection_path()
    write_connection(path, server.connection)
    try:
        serve(server, script, starts, should_stop)
    finally:
        remove_connection(path, server.connection)
        server.close()
    return 0


def serve(server: ScriptedServer, script: str, starts: int, should_stop: Callable[[], bool]) -> None:
    """Translate every job that has all its planes, until it is time to end."""
    done: set[str] = set()
    while not should_stop():
        server.pump()
        for job_id in server.received.keys() - done:
            done.add(job_id)
            translate(server, job_id, script, starts, should_stop)
        for message in server.heard_of(Acknowledge):
            (Path(os.environ["MAKE_REAL_SCRIPT_DIR"]) / f"acknowledged_{message.job_id}").touch()
        if server.heard_of(Release):
            server.heard.clear()
            server.send(Pong(server.epoch, WorkerState.STOPPED, "cpu"))
            (Path(os.environ["MAKE_REAL_SCRIPT_DIR"]) / "released").touch()
        if starts == 1 and any(server.heard_of(kind) for kind in DEADLY.get(script, ())):
            die()
        time.sleep(0.002)


def translate(
    server: ScriptedServer, job_id: str, script: str, starts: int, should_stop: Callable[[], bool]
) -> None:
    """Send progress, then the negative of the picture, or what the script says instead."""
    server.states[job_id] = JobState.RUNNING
    is_slow = script == "slow" or (script == "slow_once" and len(server.received) == 1)
    steps = 100_000 if is_slow else STEADY_STEPS if script == "steady" else STEPS
    for step in range(steps):
        server.send(Progress(job_id, Stage.DENOISING, step + 1, steps, (step + 1) / (steps + 1)))
        if step == 1 and (script == "die" or (script == "die_once" and starts == 1)):
            die()
        server.pump()
        if should_stop() or any(message.job_id == job_id for message in server.heard_of(Cancel)):
            return
        time.sleep(0.005)
    if script == "fail" or (script == "fail_once" and len(server.received) == 1):
        code, detail = FAILURE
        server.states[job_id] = JobState.FAILED
        server.send(Status(job_id, JobState.FAILED, 0, code, detail))
        return
    image = server.received[job_id][PlaneName.IMAGE].copy()
    image[..., :3] = image[..., :3] // 2 + 8000 if script == "darken" else 65535 - image[..., :3]
    server.finish(job_id, {PlaneName.IMAGE: image})
    if script == "die_storing_once" and starts == 1:
        die()


def die() -> None:
    """As a crash or the system's killer does it."""
    os.kill(os.getpid(), signal.SIGKILL)


if __name__ == "__main__":
    sys.exit(main())
