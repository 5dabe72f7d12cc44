# SPDX-License-Identifier: GPL-3.0-or-later
"""`make-real serve`: puts the service together, holds it while it is wanted, and takes it down in order."""

from __future__ import annotations

import logging
import logging.handlers
import secrets
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import zmq

from backend.models import installed_models, models_at_hand
from backend.places import make_private_dir
from protocol import ErrorCode, Limits, MakeRealError
from protocol.connection import default_connection_path, remove_connection, write_connection
from protocol.curve import Listener, listen

from .journal import Journal
from .ledger import Stores
from .process import InstanceLock, stop_condition
from .remote import ListenAddress, kept_keys, write_copy
from .results import Results
from .spool import Spool
from .supervisor import Supervisor
from .worker_pool import WorkerPool

WORKER_COMMAND = (sys.executable, "-P", "-m", "backend.service.worker")
ALL_DEVICES = "cuda:all"
COUNT_DEVICES = (sys.executable, "-P", "-c", "import torch; print(torch.cuda.device_count())")
LOG_BYTES = 1024 * 1024
LOG_FILES = 3

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class ServeOptions:
    """What a start of the service may be told.

    Args:
        data_dir: Journal, spool, results and logs.
        device: `auto`, `cpu`, `cuda` or `cuda:<n>`; for a worker each, several with commas or `cuda:all`.
        model_dirs: Model folders beside the installed ones.
        parent_pid: Process that the service must not outlive, or None.
        listen: Where other machines may connect, or None: this machine alone.
    """

    data_dir: Path
    device: str = "auto"
    model_dirs: Sequence[Path] = ()
    parent_pid: int | None = None
    listen: ListenAddress | None = None


def serve(options: ServeOptions, worker_command: Sequence[str] = WORKER_COMMAND) -> None:
    """Serve until SIGTERM, SIGINT or the parent's end.

    Args:
        options: What this start was told.
        worker_command: The worker program.

    Raises:
        AlreadyRunningError: Another service holds the runtime or the data folder.
        MakeRealError: A folder cannot be used, the parent is not there, or a model folder is none.
    """
    connection_path = default_connection_path()
    try:
        make_private_dir(options.data_dir)
        lock = InstanceLock(make_private_dir(connection_path.parent) / "serve.lock")
        start_logging(options.data_dir / "logs")
        stores = Stores(
            Journal(options.data_dir / "journal.sqlite3"),
            Spool(options.data_dir / "spool"),
            Results(options.data_dir / "results"),
        )
    except OSError as error:
        raise MakeRealError(ErrorCode.DISK_FULL, f"{error.filename}: {error.strerror}") from error
    should_stop = stop_condition(options.parent_pid)
    # A wrong model folder is told now, not at the first job.
    installed_models(options.model_dirs, options.data_dir)
    try:
        _run(options, worker_command, connection_path, stores, should_stop)
    finally:
        stores.journal.close()
        lock.release()


def _run(
    options: ServeOptions,
    worker_command: Sequence[str],
    connection_path: Path,
    stores: Stores,
    should_stop: Callable[[], bool],
) -> None:
    context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
    listener = open_listener(context, options)
    devices = worker_devices(options.device)
    pool = WorkerPool(context, [[*worker_command, *worker_options(options, device)] for device in devices])

    def models() -> tuple[str, ...]:
        return tuple(models_at_hand(options.model_dirs, options.data_dir))

    supervisor = Supervisor(listener, stores, pool, models, Limits())
    supervisor.recover()
    if options.listen:
        copy = write_copy(options.data_dir, listener.connection, options.listen)
        log.info("other machines reach it with a copy of %s", copy)
    # Last of all: whoever waits for this file finds everything else in place.
    write_connection(connection_path, listener.connection)
    log.info("ready at %s", listener.connection.endpoint)
    try:
        supervisor.run(should_stop)
    finally:
        remove_connection(connection_path, listener.connection)
        pool.close()
        listener.close()
        context.term()
        log.info("stopped")


def open_listener(context: zmq.Context[zmq.Socket[bytes]], options: ServeOptions) -> Listener:
    """Listen on loopback, and for other machines where that was asked for.

    Raises:
        MakeRealError: BACKEND_START_FAILED when the address is taken or none of this machine.
    """
    epoch = secrets.token_hex(8)
    if options.listen is None:
        return listen(context, epoch)
    address = options.listen.resolve()
    try:
        return listen(context, epoch, kept_keys(options.data_dir), address)
    except zmq.ZMQError as error:
        context.destroy(linger=0)
        raise MakeRealError(ErrorCode.BACKEND_START_FAILED, f"{address}: {error.strerror}") from error


def worker_devices(device: str) -> list[str]:
    """The devices that get a worker each.

    Args:
        device: One, several with commas between them, or `cuda:all`.
    """
    if device != ALL_DEVICES:
        return device.split(",")
    # Asked of another process: this one never loads torch.
    counted = subprocess.run(COUNT_DEVICES, capture_output=True, text=True, check=False).stdout.strip()
    # Where there is none, the worker says so.
    return [f"cuda:{number}" for number in range(max(int(counted or 0), 1))]


def worker_options(options: ServeOptions, device: str) -> list[str]:
    """A worker's command line for a start's options."""
    arguments = ["--data-dir", str(options.data_dir), "--device", device]
    for folder in options.model_dirs:
        arguments += ["--model-dir", str(folder)]
    return arguments


def start_logging(folder: Path) -> None:
    """Log to standard error and to a file that is cut at LOG_BYTES and kept LOG_FILES times."""
    rotating = logging.handlers.RotatingFileHandler(
        make_private_dir(folder) / "serve.log", maxBytes=LOG_BYTES, backupCount=LOG_FILES, encoding="utf-8"
    )
    logging.basicConfig(
        level=logging.INFO,
        format="%(asctime)s %(levelname)s %(message)s",
        handlers=[rotating, logging.StreamHandler()],
    )
