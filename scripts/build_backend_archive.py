# SPDX-License-Identifier: GPL-3.0-or-later
"""Build a backend archive: what *Install Backend* installs from. Written to `dist/`.

    python scripts/build_backend_archive.py                   our wheel and uv; the rest is downloaded at installation
    python scripts/build_backend_archive.py --complete cpu    with every package: installs without a network

A complete archive serves the platform, and the Python version, that it was made on.
"""

from __future__ import annotations

import argparse
import json
import runpy
import subprocess
import sys
import tempfile
import tomllib
import zipfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
DIST = ROOT / "dist"
BACKEND = ROOT / "blender_addon" / "backend"
LOCKS = BACKEND / "locks"
FACTS = runpy.run_path(str(BACKEND / "installer" / "facts.py"))
UV_TAGS = {
    "linux-x64": "manylinux_2_17_x86_64",
    "macos-arm64": "macosx_11_0_arm64",
    "windows-x64": "win_amd64",
}


def main() -> int:
    """Collect the wheels, and print the archive's path."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    here = FACTS["platform_name"]()
    parser.add_argument("--platform", choices=tuple(UV_TAGS), default=here)
    parser.add_argument("--complete", choices=("cpu", "cuda"), help="add every package, for this device")
    options = parser.parse_args()
    if options.complete and options.platform != here:
        parser.error(f"a complete archive for {options.platform} is made on such a machine")
    version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    with tempfile.TemporaryDirectory() as folder:
        wheels = Path(folder)
        pip("wheel", "--no-deps", "--wheel-dir", folder, str(ROOT))
        download_uv(options.platform, wheels)
        if options.complete:
            for lock in (f"torch-{options.complete}", "packages"):
                # pip checks every digest of a file that has any.
                pip("download", "--no-deps", "--dest", folder, "-r", str(LOCKS / f"{lock}.lock"))
        label = f"-{options.complete}-complete" if options.complete else ""
        archive = DIST / f"make-real-backend-{version}-{options.platform}{label}.zip"
        write_archive(archive, sorted(wheels.glob("*.whl")), version, options.platform, options.complete)
    print(archive)
    return 0


def pip(*arguments: str) -> None:
    """Run pip as it is set up on this machine."""
    subprocess.run([sys.executable, "-m", "pip", "--quiet", *arguments], check=True)


def download_uv(platform: str, folder: Path) -> None:
    """Download the pinned uv for a platform; the installer checks its digest again."""
    requirement = f"uv=={FACTS['UV_VERSION']} --hash=sha256:{FACTS['UV_SHA256'][platform]}"
    with tempfile.NamedTemporaryFile("w", suffix=".txt") as file:
        file.write(requirement)
        file.flush()
        tags = ["--platform", UV_TAGS[platform], "--only-binary", ":all:"]
        pip("download", "--no-deps", *tags, "--dest", str(folder), "-r", file.name)


def write_archive(path: Path, wheels: list[Path], version: str, platform: str, complete: str | None) -> None:
    """Write the wheels and the table that the installer checks them against."""
    files = {
        wheel.name: {"bytes": wheel.stat().st_size, "sha256": FACTS["digest"](wheel)} for wheel in wheels
    }
    content = {
        "format": FACTS["ARCHIVE_FORMAT"],
        "version": version,
        "platform": platform,
        "complete_for": complete,
        "files": files,
    }
    path.parent.mkdir(exist_ok=True)
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as archive:
        archive.writestr("archive.json", json.dumps(content, indent=2))
        for wheel in wheels:
            archive.write(wheel, f"wheels/{wheel.name}")


if __name__ == "__main__":
    sys.exit(main())
