# SPDX-License-Identifier: GPL-3.0-or-later
"""Installs the backend into an environment of its own. Run as a process beside Blender; imports nothing of ours.

    python -I installer.py install --home FOLDER --locks FOLDER --version 0.1.0 --torch cpu [--archive FILE]
    python -I installer.py remove --home FOLDER

Everything is below the home folder: `wheels/` (what the archive brought), `uv/`, `python/` (where uv had to bring
one), `cache/` (uv's; hard links, not copies), `env/`, `steps/` (what each complete step was made from) and
`install.log`, which is written as it happens; its lines `step 3/7 TITLE` tell the progress, its last line the end:
`done`, `cancelled`, or `error: DETAIL [CODE]`. A file `stop` in the home folder cancels.
"""

from __future__ import annotations

import argparse
import contextlib
import errno
import hashlib
import json
import os
import platform
import re
import shutil
import subprocess
import sys
import time
import traceback
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TextIO

PYTHON = "3.11"
UV_VERSION = "0.13.9"
UV_SHA256 = {
    "linux-x64": "d7f459fe4fd247d830351c75686d3996ace3c6f3f728eb0e85a30b7ada0cef19",
    "macos-arm64": "66c512266d633bef48384a1f53003f41f2a8e7b36fe6e7fbfd3e0fd52d96fa63",
    "windows-x64": "6a44b2ed8111d2f60d2b92627c5dccda3f7ed7570b18ce115e569cd68c28246b",
}
"""Platforms with a backend, and the digest of uv's wheel for each. PyTorch has none for macOS on Intel."""
TORCH_BACKENDS = {("linux-x64", "cpu"): "cpu", ("windows-x64", "cuda"): "cu130"}
"""Where the public registry has another build of PyTorch than the one that is wanted, and uv's name for that."""
FOREIGN_VARIABLES = ("PYTHON", "VIRTUAL_ENV", "CONDA_")
"""Set for another environment, these would lead uv and our program astray."""
FOLDERS = ("wheels", "uv", "python", "cache", "env", "steps")
ARCHIVE_FORMAT = 1
WHEEL_NAME = r"[A-Za-z0-9][A-Za-z0-9._+-]*\.whl"
EXIT_BUSY = 75
"""Another installation holds the folder (EX_TEMPFAIL of sysexits.h)."""
POLL_S = 0.1
MEGABYTE = 1_000_000
UV_BYTES = 40 * MEGABYTE
PYTHON_BYTES = 150 * MEGABYTE
TITLES = {
    "unpack": "Unpacking the archive",
    "uv": "Preparing the installer",
    "environment": "Making the environment",
    "torch": "Installing PyTorch",
    "packages": "Installing packages",
    "backend": "Installing the backend",
    "check": "Trying it out",
}


class ProblemError(Exception):
    """Why the installation stopped: an error code of the extension, and what only this occurrence knows."""

    def __init__(self, code: str, detail: str) -> None:
        super().__init__(detail)
        self.code = code


class CancelledError(Exception):
    """The artist changed their mind."""


@dataclass(frozen=True)
class Step:
    """One step of the installation.

    Args:
        name: Of its marker file, and in TITLES.
        made_from: What its outcome depends on; another value makes it run again.
        outcome: What is there afterwards.
        need: Bytes that it writes, about.
        run: Does it; may be repeated.
    """

    name: str
    made_from: str
    outcome: Path
    need: int
    run: Callable[[], None]


def platform_name() -> str:
    """This kind of machine in the words of Blender's extension manifests, such as `linux-x64`."""
    system = {"Linux": "linux", "Windows": "windows", "Darwin": "macos"}.get(platform.system(), "unknown")
    machine = platform.machine().lower()
    return f"{system}-{ {'x86_64': 'x64', 'amd64': 'x64', 'aarch64': 'arm64'}.get(machine, machine) }"


def program_in(home: Path) -> Path:
    """Where the installed program is."""
    name = "Scripts/make-real.exe" if os.name == "nt" else "bin/make-real"
    return home / "env" / name


class Installer:
    """One run of the installation.

    Args:
        home: Folder of the installation.
        locks: Folder with `packages.lock`, `torch-cpu.lock`, `torch-cuda.lock` and `sizes.json`.
        version: Version that the archive must have.
        torch: `cpu` or `cuda`.
        log: Where everything is told.
    """

    def __init__(self, home: Path, locks: Path, version: str, torch: str, log: TextIO) -> None:
        self._home = home
        self._locks = locks
        self._version = version
        self._torch = torch
        self._log = log
        self._wheels = home / "wheels"
        self._uv = home / "uv" / ("uv.exe" if os.name == "nt" else "uv")
        self._python = program_in(home).with_name("python.exe" if os.name == "nt" else "python")
        self._content: dict = {}

    def install(self, archive: Path | None) -> None:
        """Do every step that is not done yet.

        Args:
            archive: The backend archive; None to repair what one was unpacked for before.

        Raises:
            ProblemError, CancelledError, OSError.
        """
        self._content = read_content(archive or self._home / "archive.json")
        self._check_fit()
        steps = self._steps(archive)
        todo = [step for step in steps if not self._is_done(step)]
        if todo:
            # What follows a step that has to be repeated was made from its old outcome.
            todo = steps[steps.index(todo[0]) :]
        elif archive is None:
            # A repair was asked for although all is marked complete; uv's cache keeps this short.
            todo = steps[[step.name for step in steps].index("environment") :]
        self._check_space(sum(step.need for step in todo))
        for step in todo:
            self._marker(step.name).unlink(missing_ok=True)
        for step in todo:
            self._tell(f"step {steps.index(step) + 1}/{len(steps)} {TITLES[step.name]}")
            self._check_stop()
            step.run()
            self._marker(step.name).write_text(step.made_from, encoding="utf-8")

    def _steps(self, archive: Path | None) -> list[Step]:
        sizes = json.loads((self._locks / "sizes.json").read_text(encoding="utf-8"))
        torch_lock, packages = self._locks / f"torch-{self._torch}.lock", self._locks / "packages.lock"
        files = self._content["files"]
        ours = next((name for name in files if name.startswith("make_real-")), None)
        uv = next((name for name in files if name.startswith("uv-")), None)
        if ours is None or uv is None:
            raise ProblemError("install_archive_refused", "it holds no make_real wheel, or no uv")
        env, content = self._home / "env", json.dumps(self._content, sort_keys=True)
        size = sum(file["bytes"] for file in files.values()) if archive else 0

        def unpack() -> None:
            if archive is not None:
                self._unpack(archive)

        return [
            Step("unpack", content, self._home / "archive.json", size, unpack),
            Step("uv", files[uv]["sha256"], self._uv, UV_BYTES, lambda: self._take_uv(uv)),
            Step("environment", PYTHON, self._python, PYTHON_BYTES, self._make_environment),
            Step("torch", digest(torch_lock), env, sizes[torch_lock.stem], lambda: self._install(torch_lock)),
            Step("packages", digest(packages), env, sizes["packages"], lambda: self._install(packages)),
            Step(
                "backend",
                files[ours]["sha256"],
                program_in(self._home),
                2 * files[ours]["bytes"],
                lambda: self._install(self._wheels / ours),
            ),
            Step("check", self._version, env, 0, self._check),
        ]

    # The archive

    def _check_fit(self) -> None:
        if platform_name() not in UV_SHA256:
            raise ProblemError("install_unsupported", platform_name())
        found = tuple(self._content[name] for name in ("format", "version", "platform"))
        wanted = (ARCHIVE_FORMAT, self._version, platform_name())
        if found != wanted:
            raise ProblemError(
                "install_archive_refused", f"format, version and platform are {found}, not {wanted}"
            )
        complete_for = self._content["complete_for"]
        if complete_for not in (None, self._torch):
            raise ProblemError(
                "install_archive_refused", f"it is complete for {complete_for}, not {self._torch}"
            )

    def _unpack(self, archive: Path) -> None:
        shutil.rmtree(self._wheels, ignore_errors=True)
        self._wheels.mkdir(parents=True)
        with zipfile.ZipFile(archive) as source:
            for name, wanted in self._content["files"].items():
                self._check_stop()
                try:
                    with source.open(f"wheels/{name}") as packed, (self._wheels / name).open("wb") as target:
                        shutil.copyfileobj(packed, target, MEGABYTE)
                except (KeyError, zipfile.BadZipFile) as error:
                    raise ProblemError(
                        "install_archive_refused", f"{archive}: {name} is damaged or missing"
                    ) from error
                if digest(self._wheels / name) != wanted["sha256"]:
                    raise ProblemError("install_archive_refused", f"{archive}: {name} is damaged")
        (self._home / "archive.json").write_text(json.dumps(self._content), encoding="utf-8")

    def _take_uv(self, wheel: str) -> None:
        if digest(self._wheels / wheel) != UV_SHA256[platform_name()]:
            raise ProblemError(
                "install_archive_refused", f"{wheel} is not the uv {UV_VERSION} that was expected"
            )
        self._uv.parent.mkdir(exist_ok=True)
        with zipfile.ZipFile(self._wheels / wheel) as source:
            program = next(
                name for name in source.namelist() if name.endswith(f".data/scripts/{self._uv.name}")
            )
            self._uv.write_bytes(source.read(program))
        self._uv.chmod(0o755)

    # uv

    def _make_environment(self) -> None:
        shutil.rmtree(self._home / "env", ignore_errors=True)
        self._run([str(self._uv), "venv", "--no-project", "--python", PYTHON, str(self._home / "env")])

    def _install(self, what: Path) -> None:
        command = [str(self._uv), "pip", "install", "--no-deps", "--reinstall-package", "make-real"]
        command += ["--python", str(self._python)]
        command += ["--find-links", str(self._wheels)]
        if self._content["complete_for"]:
            command += ["--no-index", "--offline"]
        elif what.name.startswith("torch-") and (platform_name(), self._torch) in TORCH_BACKENDS:
            command += ["--torch-backend", TORCH_BACKENDS[platform_name(), self._torch]]
        self._run([*command, *(["--requirement", str(what)] if what.suffix == ".lock" else [str(what)])])

    def _check(self) -> None:
        self._run([str(program_in(self._home)), "doctor", "--data-dir", str(self._home / "steps" / "data")])

    def _run(self, command: list[str]) -> None:
        """Run a program, its words going to the log; ends it when the artist cancels."""
        self._log.flush()
        environment = {
            name: value for name, value in os.environ.items() if not name.startswith(FOREIGN_VARIABLES)
        }
        environment["UV_CACHE_DIR"] = str(self._home / "cache")
        environment["UV_PYTHON_INSTALL_DIR"] = str(self._home / "python")
        environment |= {"UV_NO_PROGRESS": "1", "NO_COLOR": "1"}
        process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=self._log, stderr=self._log, env=environment
        )
        try:
            while process.poll() is None:
                self._check_stop()
                time.sleep(POLL_S)
        finally:
            if process.poll() is None:
                process.kill()
                process.wait()
        if process.returncode:
            program = Path(command[0]).stem
            raise ProblemError("install_failed", f"{program} {command[1]}: {self._last_words()}")

    # The rest

    def _is_done(self, step: Step) -> bool:
        try:
            return (
                step.outcome.exists()
                and self._marker(step.name).read_text(encoding="utf-8") == step.made_from
            )
        except FileNotFoundError:
            return False

    def _marker(self, name: str) -> Path:
        folder = self._home / "steps"
        folder.mkdir(parents=True, exist_ok=True)
        return folder / f"{name}.txt"

    def _check_space(self, need: int) -> None:
        free = shutil.disk_usage(self._home).free
        if free < need:
            raise ProblemError(
                "install_no_space", f"{self._home}: {gigabytes(need)} are needed, {gigabytes(free)} are free"
            )

    def _check_stop(self) -> None:
        if (self._home / "stop").exists():
            raise CancelledError

    def _tell(self, line: str) -> None:
        print(line, file=self._log, flush=True)

    def _last_words(self) -> str:
        text = Path(self._log.name).read_bytes()[-4096:].decode("utf-8", "replace")
        lines = [line.strip() for line in text.splitlines() if line.strip()]
        return lines[-1][:300] if lines else ""


def read_content(source: Path) -> dict:
    """An archive's table of contents: version, platform, and each file's size and digest.

    Args:
        source: The archive, or the `archive.json` of one that was unpacked.

    Raises:
        ProblemError: it is not one.
    """
    try:
        if source.suffix == ".json":
            content = json.loads(source.read_bytes())
        else:
            with zipfile.ZipFile(source) as file:
                content = json.loads(file.read("archive.json"))
        expected = {"format", "version", "platform", "complete_for", "files"}
        if not expected <= content.keys() or not all(map(re.compile(WHEEL_NAME).fullmatch, content["files"])):
            raise ValueError("its table of contents is damaged")
    except (OSError, ValueError, KeyError, TypeError, AttributeError, zipfile.BadZipFile) as error:
        raise ProblemError("install_archive_refused", f"{source}: {error}") from error
    return content


def remove(home: Path) -> None:
    """Take an installation away, and nothing else that may be in its folder. Raises OSError."""
    for name in FOLDERS:
        if (home / name).exists():
            shutil.rmtree(home / name)
    (home / "archive.json").unlink(missing_ok=True)


def digest(path: Path) -> str:
    """SHA-256 of a file. Raises OSError."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def gigabytes(amount: int) -> str:
    """An amount of bytes for a person."""
    return f"{amount / 1e9:.1f} GB"


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


if __name__ == "__main__":
    main()
