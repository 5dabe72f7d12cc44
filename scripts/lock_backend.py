# SPDX-License-Identifier: GPL-3.0-or-later
"""Write the lock files from which the extension installs the backend (`blender_addon/backend/locks/`).

    python scripts/lock_backend.py [--find-links FOLDER]

Needs `uv` on the search path. Every package is pinned with the digests of all its files, for every platform.

packages.lock    everything but PyTorch and what comes with it
torch-cuda.lock  PyTorch as the public registry has it: on Linux with CUDA and its libraries. On Windows that
                 build has no CUDA; there the version is pinned and uv takes PyTorch's own CUDA build of it
torch-cpu.lock   PyTorch without CUDA; its Linux build must be reachable, or lie in FOLDER
"""

from __future__ import annotations

import argparse
import hashlib
import re
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
LOCKS = ROOT / "blender_addon" / "backend" / "locks"
PYTHON = "3.11"
CUDA_ONLY = re.compile(r"(nvidia-|cuda-|triton==)")
HEADER = "# Written by scripts/lock_backend.py; do not edit.\n"


def main() -> int:
    """Resolve once, and split."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--find-links", type=Path, help="folder with PyTorch's CPU build for Linux")
    folder = parser.parse_args().find_links
    entries = compiled(ROOT / "pyproject.toml")
    torch = next(entry for entry in entries if entry.startswith("torch=="))
    cuda = [entry for entry in entries if CUDA_ONLY.match(entry)]
    packages = [entry for entry in entries if entry is not torch and entry not in cuda]
    write("packages.lock", packages)
    elsewhere = marked(torch, "sys_platform != 'linux'")
    write("torch-cpu.lock", [cpu_build(version_of(torch), folder), elsewhere])
    on_windows = f"torch=={version_of(torch)} ; sys_platform == 'win32'\n"
    write("torch-cuda.lock", [marked(torch, "sys_platform != 'win32'"), on_windows, *cuda])
    return 0


def compiled(source: Path, *options: str) -> list[str]:
    """Requirements with their digests, one entry a package, as uv resolves them for every platform."""
    command = ["uv", "pip", "compile", str(source), "--universal", "--python-version", PYTHON]
    command += ["--generate-hashes", "--no-header", "--no-annotate", "--quiet", *options]
    text = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    return re.findall(r"^[A-Za-z0-9].*?\n(?=[A-Za-z0-9]|\Z)", text, re.MULTILINE | re.DOTALL)


def cpu_build(version: str, folder: Path | None) -> str:
    """PyTorch's CPU build for Linux: from the folder where one is given, else as uv finds it."""
    wanted = f"torch=={version}+cpu ; sys_platform == 'linux'"
    if folder is None:
        with tempfile.NamedTemporaryFile("w", suffix=".in") as file:
            file.write(wanted)
            file.flush()
            found = compiled(Path(file.name), "--torch-backend", "cpu", "--no-deps")
        return found[0]
    wheels = sorted(folder.glob(f"torch-{version}+cpu-*linux*.whl"))
    if not wheels:
        raise SystemExit(f"{folder} holds no torch-{version}+cpu wheel for Linux")
    digests = (hashlib.sha256(wheel.read_bytes()).hexdigest() for wheel in wheels)
    return " \\\n".join((wanted, *(f"    --hash=sha256:{digest}" for digest in digests))) + "\n"


def version_of(entry: str) -> str:
    """The pinned version of an entry without a local label."""
    return re.match(r"torch==([0-9.]+)", entry)[1]


def marked(entry: str, marker: str) -> str:
    """An entry without a marker, for some platforms only."""
    first, _, digests = entry.partition(" \\\n")
    return f"{first} ; {marker} \\\n{digests}"


def write(name: str, entries: list[str]) -> None:
    """Write a lock file."""
    (LOCKS / name).write_text(HEADER + "".join(entries), encoding="utf-8")
    print(f"{LOCKS / name}: {len(entries)} packages")


if __name__ == "__main__":
    sys.exit(main())
