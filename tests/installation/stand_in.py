# SPDX-License-Identifier: GPL-3.0-or-later
"""A backend archive of a few kilobytes, with the real uv: its `make-real` is the scripted one, its PyTorch empty.

Everything that installs is real; what is installed is small. Standard library only: Blender's tests use it too.
"""

from __future__ import annotations

import json
import runpy
import shutil
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PROGRAM = ROOT / "blender_addon" / "backend" / "installer"
FACTS = runpy.run_path(str(PROGRAM / "facts.py"))
HERE = FACTS["platform_name"]()
UV_CACHE = ROOT / ".build" / "uv"
VERSION = "0.1.0"
DOCTOR_ONLY = "def main():\n    print('Everything is in order.')\n"


def uv_wheel() -> Path:
    """The pinned uv for this machine, downloaded once, also when two suites begin at once."""
    name = f"uv-{FACTS['UV_VERSION']}-*.whl"
    if not any(UV_CACHE.glob(name)):
        UV_CACHE.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=UV_CACHE) as folder:
            command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--dest", folder]
            subprocess.run([*command, f"uv=={FACTS['UV_VERSION']}"], check=True)
            wheel = next(Path(folder).glob(name))
            wheel.replace(UV_CACHE / wheel.name)
    return next(UV_CACHE.glob(name))


def make_wheel(folder: Path, name: str, version: str, code: str, program: str = "") -> Path:
    """A wheel with one module, and a program that calls its `main`."""
    path = folder / f"{name}-{version}-py3-none-any.whl"
    info = f"{name}-{version}.dist-info"
    files = {
        f"{name}.py": code,
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n",
        f"{info}/WHEEL": "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        **({f"{info}/entry_points.txt": f"[console_scripts]\n{program} = {name}:main\n"} if program else {}),
    }
    records = [f"{file},," for file in (*files, f"{info}/RECORD")]
    with zipfile.ZipFile(path, "w") as wheel:
        for file, text in {**files, f"{info}/RECORD": "\n".join(records) + "\n"}.items():
            wheel.writestr(file, text)
    return path


class StandIn:
    """Lock files and an archive in a folder.

    Args:
        folder: Where to make them.
        code: The module `make_real`; its `main` is the program.
    """

    def __init__(self, folder: Path, code: str = DOCTOR_ONLY) -> None:
        self.locks = folder / "locks"
        self.locks.mkdir(parents=True)
        self._wheels = folder / "stand-in wheels"
        self._wheels.mkdir()
        shutil.copy(uv_wheel(), self._wheels)
        make_wheel(self._wheels, "make_real", VERSION, code, "make-real")
        self.lock("torch-cpu", make_wheel(self._wheels, "torch", "2.13.0", "version = 'none'\n"))
        self.lock("packages", make_wheel(self._wheels, "leaflet", "1.0", "leaf = 1\n"))
        self.sizes(1000)
        self.archive = folder / "make-real-backend.zip"
        self.pack()

    def lock(self, name: str, wheel: Path, digest: str = "") -> None:
        """Write a lock file that wants one wheel."""
        package, version = wheel.name.split("-")[:2]
        digest = digest or FACTS["digest"](wheel)
        (self.locks / f"{name}.lock").write_text(f"{package}=={version} --hash=sha256:{digest}\n")

    def sizes(self, amount: int) -> None:
        """Say that each step needs so many bytes."""
        names = ("torch-cpu", "torch-cuda", "packages")
        (self.locks / "sizes.json").write_text(json.dumps(dict.fromkeys(names, amount)))

    def pack(self, **other: object) -> None:
        """Write the archive; `other` replaces entries of its table of contents."""
        wheels = sorted(self._wheels.glob("*.whl"))
        files = {
            wheel.name: {"bytes": wheel.stat().st_size, "sha256": FACTS["digest"](wheel)} for wheel in wheels
        }
        content = {"format": 1, "version": VERSION, "platform": HERE, "complete_for": "cpu", "files": files}
        with zipfile.ZipFile(self.archive, "w") as archive:
            archive.writestr("archive.json", json.dumps({**content, **other}))
            for wheel in wheels:
                archive.write(wheel, f"wheels/{wheel.name}")

    def rewrite(self, code: str) -> None:
        """Another make-real in the archive."""
        make_wheel(self._wheels, "make_real", VERSION, code, "make-real")
        self.pack()
