# SPDX-License-Identifier: GPL-3.0-or-later
"""The collected render stays beside its results, once for all of them, so that any can be made again.

`<history>/renders/<key>/` holds one 16-bit PNG for each plane and `planes.json`. The folder is written under
another name and renamed: if it is there, it is whole.
"""

from __future__ import annotations

import json
import shutil
import uuid
from collections.abc import Generator, Mapping
from pathlib import Path

import numpy as np

from .. import pace
from ..picture import files, png
from ..picture.render_passes import read_pixels
from ..protocol import ErrorCode, MakeRealError, PlaneName
from ..protocol.planes import new_digest, raw_bytes

FOLDER = "renders"
TABLE = "planes.json"
BYTES_AT_ONCE = 1 << 19
"""Pixels hashed between two pauses; about half a millisecond."""

Planes = Mapping[PlaneName, np.ndarray]
Digests = dict[str, str]


def digest_slowly(name: PlaneName, plane: np.ndarray) -> Generator[None, None, str]:
    """Digest of a plane as recipes have it, hexadecimal, with pauses."""
    data = raw_bytes(name, np.ascontiguousarray(plane))
    digest = new_digest()
    for part in pace.slices(len(data), BYTES_AT_ONCE):
        digest.update(data[part])
        yield
    return digest.hexdigest()


def digest(name: PlaneName, plane: np.ndarray) -> str:
    """The same at once."""
    return new_digest(raw_bytes(name, np.ascontiguousarray(plane))).hexdigest()


def key_of(digests: Digests) -> str:
    """Name of a kept render: the same planes have the same."""
    return new_digest(json.dumps(digests, sort_keys=True).encode()).hexdigest()


def path_of(folder: Path, key: str, plane: PlaneName = PlaneName.IMAGE) -> Path:
    """File of a kept render's plane."""
    return folder / FOLDER / key / f"{plane}.png"


def keep(folder: Path, planes: Planes) -> Generator[None, None, Digests]:
    """Write the planes unless they are there already. Pauses between steps of a few milliseconds.

    Args:
        folder: The history's.
        planes: uint16.

    Returns:
        The planes' digests.

    Raises:
        MakeRealError: DISK_FULL; INVALID_REQUEST for a plane that a 16-bit PNG cannot hold.
    """
    digests: Digests = {}
    for name, plane in planes.items():
        if plane.dtype != np.uint16:
            raise MakeRealError(ErrorCode.INVALID_REQUEST, f"plane {name} has {plane.dtype}, not 16 bits")
        digests[name.value] = yield from digest_slowly(name, plane)
    target = folder / FOLDER / key_of(digests)
    if target.exists():
        return digests
    part = target.with_name(f"{target.name}.{uuid.uuid4().hex}.part")
    try:
        part.mkdir(parents=True)
        for name, plane in planes.items():
            yield from files.write(part / f"{name}.png", png.encode(plane, {}))
        table = {"format": 1, "planes": digests}
        yield from files.write(part / TABLE, [json.dumps(table, indent=1).encode()])
        if not target.exists():
            part.rename(target)
    except OSError as error:
        # Another Blender may have kept the same render at this moment; then its folder is as good.
        if not target.exists():
            raise files.unwritable(target, error) from error
    finally:
        shutil.rmtree(part, ignore_errors=True)
    return digests


def load(folder: Path, key: str) -> dict[PlaneName, np.ndarray]:
    """Read a kept render back, bit for bit.

    Raises:
        MakeRealError: PICTURE_UNREADABLE when it is gone or was changed, naming the file.
    """
    table = folder / FOLDER / key / TABLE
    try:
        digests = json.loads(table.read_bytes())["planes"]
        planes = {PlaneName(name): _read(path_of(folder, key, PlaneName(name))) for name in digests}
    except (OSError, RuntimeError, ValueError, KeyError, TypeError) as error:
        raise MakeRealError(ErrorCode.PICTURE_UNREADABLE, f"{table}: {error}") from error
    for name, plane in planes.items():
        if digest(name, plane) != digests[name.value]:
            changed = path_of(folder, key, name)
            raise MakeRealError(ErrorCode.PICTURE_UNREADABLE, f"{changed} was changed since it was kept")
    return planes


def _read(path: Path) -> np.ndarray:
    channels = png.channels(path)
    pixels = np.rint(read_pixels(path, "Non-Color") * 65535.0).astype(np.uint16)
    return np.ascontiguousarray(pixels[..., 0] if channels == 1 else pixels[..., :channels])


def discard(folder: Path, key: str) -> None:
    """Delete a kept render that no entry needs any more."""
    shutil.rmtree(folder / FOLDER / key, ignore_errors=True)
