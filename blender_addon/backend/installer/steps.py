# SPDX-License-Identifier: GPL-3.0-or-later
"""The steps of the installation: each is done once, and again when what it was made from has changed."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import time
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TextIO

from facts import (
    ARCHIVE_FORMAT,
    FOREIGN_VARIABLES,
    MEGABYTE,
    POLL_S,
    PYTHON,
    PYTHON_BYTES,
    TITLES,
    TORCH_BACKENDS,
    UV_BYTES,
    UV_SHA256,
    UV_VERSION,
    CancelledError,
    ProblemError,
    digest,
    gigabytes,
    platform_name,
    program_in,
    read_content,
)


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
