# SPDX-License-Identifier: GPL-3.0-or-later
"""`make-real doctor`: what is wrong with an installation, and how to mend it.

Each check is a function that returns a finding and raises nothing; none changes anything that is there.
"""

from __future__ import annotations

import importlib
import os
import shutil
import stat
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

from backend.models import STARTER, find_model, installed_models
from protocol import MakeRealError, read_connection
from protocol.connection import default_connection_path

MIN_PYTHON = (3, 11)
MIN_FREE_BYTES = 2 * 1024**3
DISTRIBUTION = "make-real"
MODULES = (
    "numpy", "msgpack", "zmq", "platformdirs", "rich", "OpenImageIO", "safetensors",
    "torch", "transformers", "peft", "diffusers",
)  # fmt: skip
"""What the backend imports, lightest first."""
PACKAGES = {"zmq": "pyzmq"}
"""Package of a module, where the names differ."""


@dataclass(frozen=True)
class Finding:
    """What a check found.

    Args:
        subject: What was looked at.
        found: What is there, in words.
        remedy: What to do about it; empty when nothing is wrong.
    """

    subject: str
    found: str
    remedy: str = ""


def examine(data_dir: Path, model_dirs: Sequence[Path] = ()) -> Iterator[Finding]:
    """Look at everything that a translation needs, cheapest first; importing torch takes seconds."""
    yield check_python()
    yield check_packages()
    for module in MODULES:
        yield check_import(module)
    yield check_device()
    yield from check_models(data_dir, model_dirs)
    yield check_writable("data folder", data_dir)
    yield check_space(data_dir)
    yield check_runtime_dir(default_connection_path().parent)
    yield check_server(default_connection_path())


def report(findings: Iterator[Finding], write: Callable[[str], None] = print) -> bool:
    """Write each finding as it comes; True when nothing is wrong."""
    problems = 0
    for finding in findings:
        problems += bool(finding.remedy)
        write(f"{'problem' if finding.remedy else 'ok':8} {finding.subject}: {finding.found}")
        if finding.remedy:
            write(f"{'':8} -> {finding.remedy}")
    write(
        f"{problems} problem{'s' if problems != 1 else ''} found" if problems else "Everything is in order."
    )
    return not problems


def check_python() -> Finding:
    """The interpreter's version."""
    found = f"{sys.version.split()[0]} at {sys.executable}"
    wanted = ".".join(map(str, MIN_PYTHON))
    remedy = "" if sys.version_info >= MIN_PYTHON else f"install Make Real with Python {wanted} or later"
    return Finding("Python", found, remedy)


def check_packages() -> Finding:
    """Versions of the installed packages against those that this release was made for."""
    try:
        requirements = metadata.requires(DISTRIBUTION) or []
    except metadata.PackageNotFoundError:
        return Finding(
            "packages", "Make Real is not installed as a package", "run `pip install .` in its folder"
        )
    try:
        from packaging.requirements import Requirement
    except ImportError as error:
        return Finding("packages", str(error), "run `pip install packaging`")
    wrong = []
    for text in requirements:
        requirement = Requirement(text)
        if requirement.marker and not requirement.marker.evaluate({"extra": ""}):
            continue
        try:
            installed = metadata.version(requirement.name)
        except metadata.PackageNotFoundError:
            wrong.append(f"{requirement} (missing)")
            continue
        if not requirement.specifier.contains(installed, prereleases=True):
            wrong.append(f"{requirement} (found {installed})")
    if wrong:
        names = " ".join(f"'{item.split(' (')[0]}'" for item in wrong)
        return Finding("packages", "not as required: " + ", ".join(wrong), f"run `pip install {names}`")
    return Finding("packages", f"{DISTRIBUTION} {metadata.version(DISTRIBUTION)} and all that it requires")


def check_import(module: str) -> Finding:
    """Whether a package can be loaded: it may be there and broken."""
    try:
        loaded = importlib.import_module(module)
    # A broken package may raise anything while it loads.
    except Exception as error:
        return Finding(
            module,
            f"cannot be loaded: {error}",
            f"run `pip install --force-reinstall {PACKAGES.get(module, module)}`",
        )
    return Finding(module, str(getattr(loaded, "__version__", "loaded")))


def check_device() -> Finding:
    """What torch would compute on, tried with one small product."""
    from backend.engine import resolve_device

    try:
        import torch

        device = resolve_device("auto")
        torch.ones(8, 8, device=device) @ torch.ones(8, 8, device=device)
        if device == "cpu":
            return Finding("device", "cpu; a picture takes minutes, with a CUDA GPU seconds")
        memory = torch.cuda.get_device_properties(device).total_memory / 2**30
        return Finding("device", f"{device} {torch.cuda.get_device_name(device)}, {memory:.0f} GiB")
    except Exception as error:
        return Finding(
            "device", str(error).splitlines()[0], "update the GPU's driver, or serve with --device cpu"
        )


def check_models(data_dir: Path, model_dirs: Sequence[Path]) -> Iterator[Finding]:
    """Whether there is a model, and each is whole."""
    try:
        models = installed_models(model_dirs, data_dir)
    except MakeRealError as error:
        yield Finding("models", error.detail, "mend what the text names")
        return
    if STARTER not in models:
        yield Finding(f"model {STARTER}", "is not there", "install Make Real again; the model comes with it")
    for name, folder in models.items():
        try:
            find_model(name, models)
        except MakeRealError as error:
            yield Finding(f"model {name}", error.detail, "restore that file, or remove the folder")
        else:
            yield Finding(f"model {name}", str(folder))


def check_writable(subject: str, folder: Path) -> Finding:
    """Whether files can be made in a folder, or the folder in its nearest parent that exists."""
    existing = next(path for path in (folder, *folder.parents) if path.exists())
    try:
        with tempfile.TemporaryFile(dir=existing):
            pass
    except OSError as error:
        return Finding(
            subject, f"{folder}: {error.strerror}", f"make {existing} a folder that you may write to"
        )
    return Finding(subject, str(folder))


def check_space(folder: Path) -> Finding:
    """Free space for planes and results."""
    existing = next(path for path in (folder, *folder.parents) if path.exists())
    free = shutil.disk_usage(existing).free
    found = f"{free / 2**30:.1f} GiB free at {existing}"
    wanted = (
        f"free at least {MIN_FREE_BYTES / 2**30:.0f} GiB, or choose another folder with MAKE_REAL_DATA_DIR"
    )
    return Finding("disk space", found, "" if free >= MIN_FREE_BYTES else wanted)


def check_runtime_dir(folder: Path) -> Finding:
    """Whether the folder of the connection file is this user's alone."""
    if not folder.exists():
        return check_writable("runtime folder", folder)
    status = folder.stat()
    mode = stat.S_IMODE(status.st_mode)
    if sys.platform != "win32" and status.st_uid != os.geteuid():
        return Finding("runtime folder", f"{folder} belongs to another user", f"remove {folder}")
    if sys.platform != "win32" and mode & 0o077:
        return Finding("runtime folder", f"{folder} has mode {mode:04o}", f"run `chmod 700 {folder}`")
    return check_writable("runtime folder", folder)


def check_server(path: Path) -> Finding:
    """Whether a backend runs, and whether its connection file can be trusted."""
    try:
        connection = read_connection(path)
    except MakeRealError as error:
        return Finding("backend", error.detail, f"remove {path}")
    if connection is not None:
        return Finding("backend", f"runs, process {connection.pid}")
    if path.exists():
        return Finding("backend", f"{path} is left over from one that was killed", f"remove {path}")
    return Finding("backend", "does not run; Blender starts it when it is needed")
