# SPDX-License-Identifier: GPL-3.0-or-later
"""What an installation is: versions, places, the archive's table of contents, and how it may fail."""

from __future__ import annotations

import hashlib
import json
import os
import platform
import re
import zipfile
from pathlib import Path

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


def platform_name() -> str:
    """This kind of machine in the words of Blender's extension manifests, such as `linux-x64`."""
    system = {"Linux": "linux", "Windows": "windows", "Darwin": "macos"}.get(platform.system(), "unknown")
    machine = platform.machine().lower()
    return f"{system}-{ {'x86_64': 'x64', 'amd64': 'x64', 'aarch64': 'arm64'}.get(machine, machine) }"


def program_in(home: Path) -> Path:
    """Where the installed program is."""
    name = "Scripts/make-real.exe" if os.name == "nt" else "bin/make-real"
    return home / "env" / name


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


def digest(path: Path) -> str:
    """SHA-256 of a file. Raises OSError."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def gigabytes(amount: int) -> str:
    """An amount of bytes for a person."""
    return f"{amount / 1e9:.1f} GB"
