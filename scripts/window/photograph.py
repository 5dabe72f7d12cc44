# SPDX-License-Identifier: GPL-3.0-or-later
"""Drive the built extension in a real Blender window and photograph it.

    python3 scripts/window/photograph.py --blend garment.blend --out out/window [--blender /usr/bin/blender]

Needs an X display (`DISPLAY`; Xvfb with GLX will do), xdotool and ImageMagick. The zip of `dist/` is installed
into a folder of its own; the environment variable MAKE_REAL_PROGRAM names the backend. The story checks what it
sees, so exit status 0 means more than that there are pictures.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
NEEDED = ("xdotool", "import")
SIZE = ("1600", "1000")


def main() -> int:
    """Command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--blender", default="blender", help="Blender's program, 4.2 or later")
    parser.add_argument("--blend", type=Path, required=True, help="scene to render")
    parser.add_argument("--out", type=Path, required=True, help="folder for the photographs")
    parser.add_argument("--zip", type=Path, default=newest_zip(), help="the built extension")
    parser.add_argument("--story", type=Path, default=HERE / "story.py", help="what happens in the window")
    arguments = parser.parse_args()
    missing = [name for name in (arguments.blender, *NEEDED) if shutil.which(name) is None]
    if missing or not os.environ.get("DISPLAY"):
        print(f"photograph: error: needs {', '.join(missing) or 'an X display (DISPLAY)'}", file=sys.stderr)
        return 1
    arguments.out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="make-real-window-") as folder:
        return run(arguments, Path(folder))


def newest_zip() -> Path | None:
    """The zip that was built last."""
    return max(ROOT.glob("dist/make_real-*.zip"), key=lambda path: path.stat().st_mtime, default=None)


def run(arguments: argparse.Namespace, folder: Path) -> int:
    """Install the zip into an empty user folder, then open the window and let the story happen."""
    environment = os.environ | {
        "BLENDER_USER_RESOURCES": str(folder / "blender"),
        "MAKE_REAL_RUNTIME_DIR": str(folder / "run"),
        "MAKE_REAL_DATA_DIR": str(folder / "data"),
        "PYTHONPATH": "",
    }
    blend = folder / "shoot" / arguments.blend.name
    blend.parent.mkdir()
    shutil.copyfile(arguments.blend, blend)
    install = [arguments.blender, "--command", "extension", "install-file", "-r", "user_default", "-e"]
    subprocess.run([*install, str(arguments.zip.resolve())], env=environment, check=True)
    show = [arguments.blender, "-p", "0", "0", *SIZE, str(blend), "--python", str(arguments.story.resolve())]
    return subprocess.run(
        [*show, "--", str(arguments.out.resolve())], env=environment, check=False
    ).returncode


if __name__ == "__main__":
    sys.exit(main())
