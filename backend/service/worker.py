# SPDX-License-Identifier: GPL-3.0-or-later
"""The worker: the disposable process that owns the device and runs one job at a time.

It reads planes from the spool, writes the result to the disk, and only then says that the job is done. An
error of the job leaves it running. A fault of the device ends it: what a process computes after one cannot be
trusted. It also ends with its supervisor.
"""

from __future__ import annotations

import argparse
import logging
import os
import queue
import signal
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

from backend.engine import Engine, TorchEngine
from backend.models import find_model, models_at_hand
from protocol import (
    Cancel,
    Error,
    ErrorCode,
    JobState,
    MakeRealError,
    Message,
    Pong,
    Progress,
    Stage,
    Status,
    Submit,
    WorkerState,
)

from .channel import read_header, read_message, write_message
from .jobs import fraction_done
from .process import die_with_parent
from .results import Results, outcome_of
from .spool import Spool

EXIT_FAULT = 70
PREPARING = ", preparing faster kernels"
"""Said behind the device's name while a job would have to wait for it."""

log = logging.getLogger(__name__)


class Worker:
    """Runs jobs that arrive on a stream and reports on another.

    Args:
        engine: The translation.
        data_dir: The supervisor's data folder.
        model_dirs: Model folders beside the installed ones.
        outgoing: Where reports go.
    """

    def __init__(self, engine: Engine, data_dir: Path, model_dirs: list[Path], outgoing: BinaryIO) -> None:
        self._engine = engine
        self._data_dir = data_dir
        self._model_dirs = model_dirs
        self._spool = Spool(data_dir / "spool")
        self._results = Results(data_dir / "results")
        self._outgoing = outgoing
        self._cancelled: set[str] = set()
        self._prepares = engine.device.startswith("cuda")

    def cancel(self, job_id: str) -> None:
        """Stop a job at its next step, or before it starts. Called from the reading thread."""
        self._cancelled.add(job_id)

    def run(self, job: Submit) -> None:
        """Run a job to its end and report it."""
        try:
            self._translate(job)
            self._report(Status(job.job_id, JobState.DONE))
        except MakeRealError as error:
            state = JobState.CANCELLED if error.code is ErrorCode.CANCELLED else JobState.FAILED
            self._report(Status(job.job_id, state, 0, error.code, error.detail))
        except MemoryError:
            self._report(Status(job.job_id, JobState.FAILED, 0, ErrorCode.OUT_OF_MEMORY))
        except Exception as error:
            log.exception("job %s", job.job_id)
            if is_device_fault(error):
                os._exit(EXIT_FAULT)
            detail = f"{type(error).__name__}: {error}"[:1000]
            self._report(Status(job.job_id, JobState.FAILED, 0, ErrorCode.INTERNAL, detail))
        finally:
            self._cancelled.discard(job.job_id)

    def prepare(self, is_wanted: Callable[[], bool]) -> None:
        """Make later pictures faster, part by part, until all is done or a job came.

        A failure costs the speed alone: pictures are then made without the fast path.
        """
        if not self._prepares:
            return
        self._report(
            Pong("worker", WorkerState.IDLE, f"{self._engine.device}{PREPARING}"[:255], self._engine.devices)
        )
        try:
            while self._engine.prepare() and not is_wanted():
                pass
        except Exception as error:
            log.exception("the fast path could not be prepared; pictures are made without it")
            if is_device_fault(error):
                os._exit(EXIT_FAULT)
            self._prepares = False
        self._report(Pong("worker", WorkerState.IDLE, self._engine.device[:255], self._engine.devices))

    def _translate(self, job: Submit) -> None:
        def on_progress(stage: Stage, step: int, steps: int) -> None:
            self._report(Progress(job.job_id, stage, step, steps, fraction_done(stage, step, steps)))

        def is_cancelled() -> bool:
            return job.job_id in self._cancelled

        planes = self._spool.read(job.job_id, job.planes)
        model = find_model(job.request.model, models_at_hand(self._model_dirs, self._data_dir))
        translation = self._engine.translate(model, job.request, planes, on_progress, is_cancelled)
        on_progress(Stage.WRITING, 0, 1)
        if is_cancelled():
            raise MakeRealError(ErrorCode.CANCELLED)
        outcome = outcome_of(translation.image, translation.recipe, translation.report, translation.seconds)
        self._results.write(job.job_id, job.label, translation.image, outcome)

    def _report(self, message: Message) -> None:
        write_message(self._outgoing, message)


def is_device_fault(error: Exception) -> bool:
    """Whether a device went wrong in a way that only a new process mends; lack of memory is not one."""
    return isinstance(error, RuntimeError) and (
        type(error).__name__ == "AcceleratorError" or "CUDA error" in str(error)
    )


def take_standard_streams() -> tuple[BinaryIO, BinaryIO]:
    """The pipe's two ends, freed from the names under which a library might read or print.

    Whatever is printed from here on, by Python or by native code, goes to standard error.
    """
    incoming = os.fdopen(os.dup(0), "rb")
    outgoing = os.fdopen(os.dup(1), "wb")
    null = os.open(os.devnull, os.O_RDONLY)
    os.dup2(null, 0)
    os.close(null)
    os.dup2(2, 1)
    return incoming, outgoing


def main(make_engine: Callable[[str], Engine] = TorchEngine) -> None:
    """Run a worker until its supervisor goes away.

    Args:
        make_engine: Makes the translation for a device name.
    """
    parser = argparse.ArgumentParser(description="Started by `make-real serve`, never by hand.")
    parser.add_argument("--parent-pid", type=int, required=True)
    parser.add_argument("--data-dir", type=Path, required=True)
    parser.add_argument("--device", default="auto")
    parser.add_argument("--model-dir", type=Path, action="append", default=[])
    options = parser.parse_args()
    die_with_parent(options.parent_pid)
    # Ctrl-C in a terminal reaches the whole group; the supervisor decides what it means.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    incoming, outgoing = take_standard_streams()
    logging.basicConfig(level=logging.INFO, format="worker %(levelname)s %(message)s", stream=sys.stderr)
    try:
        engine = make_engine(options.device)
    except MakeRealError as error:
        write_message(outgoing, Error.of(error))
        sys.exit(EXIT_FAULT)
    worker = Worker(engine, options.data_dir, options.model_dir, outgoing)
    write_message(outgoing, Pong("worker", WorkerState.IDLE, engine.device[:255], engine.devices))
    inbox: queue.SimpleQueue[Submit] = queue.SimpleQueue()
    threading.Thread(target=_listen, args=(incoming, worker, inbox), daemon=True).start()
    while True:
        worker.run(inbox.get())
        # At least one part between two jobs, so that a long queue gets faster too.
        worker.prepare(lambda: not inbox.empty())


def _listen(incoming: BinaryIO, worker: Worker, inbox: queue.SimpleQueue[Submit]) -> None:
    """Take messages while a job runs; end the process when there is nobody left to send one."""
    while header := read_header(incoming):
        message = read_message(header)
        match message:
            case Submit():
                inbox.put(message)
            case Cancel():
                worker.cancel(message.job_id)
            case _:
                log.error("the supervisor sent %s", type(message).__name__)
    os._exit(0)


if __name__ == "__main__":
    main()
