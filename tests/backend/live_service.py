# SPDX-License-Identifier: GPL-3.0-or-later
"""A real `make-real serve` process with a scripted worker, and clients for it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import save_file

from protocol import (
    Client,
    Connection,
    Event,
    Finished,
    JobState,
    PlaneName,
    Status,
    TranslationRequest,
    read_connection,
)

REPOSITORY = Path(__file__).parents[2]
MODEL = "tiny"
REQUEST = TranslationRequest(model=MODEL)
WAIT_S = 120.0


def wait_for(condition: Callable[[], Any], what: str, seconds: float = WAIT_S) -> Any:
    """The condition's first true value."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if value := condition():
            return value
        time.sleep(0.01)
    raise AssertionError(f"no {what} within {seconds} s")


class Service:
    """One data folder, one runtime folder, and the `serve` processes that are started on them."""

    def __init__(self, folder: Path) -> None:
        self.data_dir = folder / "data"
        self.runtime_dir = folder / "run"
        self.connection_path = self.runtime_dir / "connection.json"
        self.models_dir = folder / "models"
        self.script_path = folder / "script.json"
        self.processes: list[subprocess.Popen[bytes]] = []
        self.clients: list[Client] = []
        self.script()

    def script(self, step_s: float = 0.01, **others: Any) -> None:
        """Tell the scripted worker what to do; see `fake_worker`."""
        self.script_path.write_text(json.dumps({"step_s": step_s, **others}))

    @property
    def environment(self) -> dict[str, str]:
        return {
            **os.environ,
            "MAKE_REAL_DATA_DIR": str(self.data_dir),
            "MAKE_REAL_RUNTIME_DIR": str(self.runtime_dir),
            "FAKE_SCRIPT": str(self.script_path),
        }

    def command(self, *options: str, program: str = "tests.backend.fake_serve") -> list[str]:
        return [sys.executable, "-m", program, "serve", "--model-dir", str(self.models_dir), *options]

    def start(self, *options: str, program: str = "tests.backend.fake_serve") -> Connection:
        """Start `make-real serve` and wait until it can be reached."""
        command = self.command(*options, program=program)
        log = (self.data_dir.parent / f"serve-{len(self.processes)}.log").open("wb")
        with log:
            process = subprocess.Popen(command, env=self.environment, cwd=REPOSITORY, stderr=log)
        self.processes.append(process)
        wait_for(lambda: process.poll() is not None or self.connection(), "connection file")
        connection = self.connection()
        assert connection, Path(log.name).read_text()
        return connection

    def connection(self) -> Connection | None:
        return read_connection(self.connection_path)

    @property
    def process(self) -> subprocess.Popen[bytes]:
        return self.processes[-1]

    def stop(self, number: int = signal.SIGTERM) -> int:
        """Stop the running process and return its exit status."""
        self.process.send_signal(number)
        return self.process.wait(WAIT_S)

    def client(self, name: str = "test") -> Client:
        client = Client(read_connection(self.connection_path), name, find=self.connection)
        self.clients.append(client)
        return client

    def result_folder(self, job_id: str) -> Path:
        return self.data_dir / "results" / job_id

    def close(self) -> None:
        for client in self.clients:
            client.close()
        for process in self.processes:
            process.kill()
            process.wait()


def write_model(folder: Path) -> Path:
    """A folder in Stable Diffusion's layout whose weights are a number each."""
    for part in ("unet", "vae", "text_encoder", "tokenizer", "scheduler"):
        (folder / part).mkdir(parents=True)
        (folder / part / "config.json").write_text("{}")
    (folder / "model_index.json").write_text("{}")
    (folder / "scheduler" / "scheduler_config.json").write_text("{}")
    for part in ("unet", "vae", "text_encoder"):
        save_file({"weight": np.zeros(4, np.float32)}, folder / part / "model.safetensors")
    return folder


def picture(height: int = 16, width: int = 12, dtype: Any = np.uint8, channels: int = 3) -> np.ndarray:
    """Noise, the same every time."""
    generator = np.random.default_rng(7)
    if np.dtype(dtype).kind == "f":
        return generator.random((height, width, channels)).astype(dtype)
    return generator.integers(0, np.iinfo(dtype).max, (height, width, channels), dtype, endpoint=True)


def planes_of(image: np.ndarray) -> dict[PlaneName, np.ndarray]:
    return {PlaneName.IMAGE: image, PlaneName.GARMENT: np.full(image.shape[:2], 255, np.uint8)}


def events_until(
    client: Client, is_last: Callable[[Event], bool], what: str, seconds: float = WAIT_S
) -> list[Event]:
    """Every event up to the one that is asked for."""
    events: list[Event] = []

    def found() -> bool:
        events.extend(client.poll())
        return any(is_last(event) for event in events)

    try:
        wait_for(found, what)
    except AssertionError as error:
        raise AssertionError(f"{error}; events: {events}") from None
    return events


def finish(client: Client, job_id: str) -> Finished:
    """Wait for a job's result."""
    events = events_until(
        client,
        lambda event: (
            getattr(event, "job_id", None) == job_id and (isinstance(event, Finished) or is_end(event))
        ),
        "end of the job",
    )
    assert isinstance(events[-1], Finished), events
    return events[-1]


def end(client: Client, job_id: str) -> Status:
    """Wait for the end of a job that gets no result."""
    events = events_until(
        client, lambda event: getattr(event, "job_id", None) == job_id and is_end(event), "end of the job"
    )
    return next(event for event in events if is_end(event))


def is_end(event: Event) -> bool:
    return isinstance(event, Status) and event.state in (JobState.FAILED, JobState.CANCELLED)
