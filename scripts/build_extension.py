# SPDX-License-Identifier: GPL-3.0-or-later
"""Build the extension: one zip for Blender 4.2 to 5.2 on Linux, Windows and macOS.

    python scripts/build_extension.py [--blender FOLDER]

Stages `blender_addon/` with `protocol/` inside it and the wheels that both need, then runs Blender's own
build and validation, which need a Blender installation or a `bpy` environment but no running Blender. The
same sources give the same bytes.
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
import tempfile
import tomllib
import zipfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
SOURCE = ROOT / "blender_addon"
PROTOCOL = ROOT / "protocol"
WHEEL_CACHE = ROOT / ".build" / "wheels"
DIST = ROOT / "dist"
BPY = ROOT / ".build" / "bpy-5.0"

REQUIREMENTS = ("pyzmq==27.3.0", "msgpack==1.2.4")
PYTHON_VERSIONS = ("3.11", "3.13")
"""Blender 4.2 to 5.0, and 5.1 to 5.2."""
PLATFORMS = (
    ("manylinux_2_28_x86_64",),
    ("win_amd64",),
    ("macosx_11_0_arm64", "macosx_10_15_universal2"),
    ("macosx_10_15_x86_64", "macosx_10_15_universal2"),
)
"""Platform tags of one platform, any of which will do."""
WHEELS_EXPECTED = 14
"""Each of 2 packages, 2 Pythons and 4 platforms; pyzmq's macOS wheels serve both processors."""
ZIP_TIME = (1980, 1, 1, 0, 0, 0)


def main() -> int:
    """Build, validate, and print the zip's path."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--blender", type=Path, default=BPY, help="folder of a Blender or bpy environment")
    arguments = parser.parse_args()
    tool = find_tool(arguments.blender)
    wheels = download_wheels()
    DIST.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        stage = Path(folder) / "make_real"
        version = stage_sources(stage, wheels)
        built = Path(folder) / "built.zip"
        run_tool(tool, "build", "--source-dir", str(stage), "--output-filepath", str(built))
        package = DIST / f"make_real-{version}.zip"
        normalise(built, package)
    run_tool(tool, "validate", str(package))
    print(package)
    return 0


def find_tool(blender: Path) -> Path:
    """Blender's extension tool inside an installation or environment."""
    for path in sorted(blender.rglob("bl_pkg/cli/blender_ext.py")):
        return path
    raise SystemExit(f"{blender} holds no Blender 4.2 or later (bl_pkg/cli/blender_ext.py)")


def download_wheels() -> list[Path]:
    """Every wheel for every Python and platform, from the cache where it is complete."""
    marker = WHEEL_CACHE / "complete.txt"
    wanted = "\n".join(REQUIREMENTS)
    if not marker.exists() or marker.read_text() != wanted:
        shutil.rmtree(WHEEL_CACHE, ignore_errors=True)
        WHEEL_CACHE.mkdir(parents=True)
        for version in PYTHON_VERSIONS:
            for tags in PLATFORMS:
                _download(version, tags)
        marker.write_text(wanted)
    wheels = sorted(WHEEL_CACHE.glob("*.whl"))
    if len(wheels) != WHEELS_EXPECTED:
        count = f"{len(wheels)} wheels, not {WHEELS_EXPECTED}"
        raise SystemExit(f"{WHEEL_CACHE} holds {count}; delete it and try again")
    return wheels


def _download(version: str, tags: tuple[str, ...]) -> None:
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--only-binary", ":all:"]
    command += ["--implementation", "cp", "--python-version", version, "--dest", str(WHEEL_CACHE)]
    for tag in tags:
        command += ["--platform", tag]
    subprocess.run([*command, *REQUIREMENTS], check=True)


def stage_sources(stage: Path, wheels: list[Path]) -> str:
    """Copy what the zip shall hold; returns the extension's version."""
    ignore = shutil.ignore_patterns("__pycache__", "protocol", "*.zip")
    shutil.copytree(SOURCE, stage, ignore=ignore)
    shutil.copytree(PROTOCOL, stage / "protocol", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "LICENSE", stage / "LICENSE")
    (stage / "wheels").mkdir()
    for wheel in wheels:
        shutil.copy(wheel, stage / "wheels" / wheel.name)
    manifest = stage / "blender_manifest.toml"
    names = "".join(f'  "./wheels/{wheel.name}",\n' for wheel in wheels)
    text = manifest.read_text().replace("# WHEELS\n", f"wheels = [\n{names}]\n")
    manifest.write_text(text)
    content = tomllib.loads(text)
    if len(content.get("wheels", ())) != len(wheels):
        raise SystemExit("blender_manifest.toml has lost its line for the wheels")
    return content["version"]


def run_tool(tool: Path, *arguments: str) -> None:
    """Run Blender's extension tool; its words are shown when it refuses."""
    result = subprocess.run([sys.executable, str(tool), *arguments], capture_output=True, text=True)
    if result.returncode:
        raise SystemExit(f"{result.stdout}{result.stderr}\nblender_ext.py {arguments[0]} failed")


def normalise(built: Path, package: Path) -> None:
    """Write the archive again in sorted order and without times, so that equal sources give equal bytes."""
    with zipfile.ZipFile(built) as source, zipfile.ZipFile(package, "w", zipfile.ZIP_DEFLATED) as target:
        for name in sorted(source.namelist()):
            info = zipfile.ZipInfo(name, ZIP_TIME)
            info.external_attr = 0o644 << 16
            info.compress_type = zipfile.ZIP_STORED if name.endswith(".whl") else zipfile.ZIP_DEFLATED
            target.writestr(info, source.read(name))


if __name__ == "__main__":
    sys.exit(main())
