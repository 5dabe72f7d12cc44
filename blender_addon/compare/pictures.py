# SPDX-License-Identifier: GPL-3.0-or-later
"""The compared pictures as textures.

Drawing may not read files, and only drawing can be sure of a GPU: a timer reads what drawing misses, and the next
drawing makes a texture of it. A result's files never change, so a path stands for its picture.
"""

from __future__ import annotations

from pathlib import Path

import bpy
import gpu
import numpy as np

from ..picture import editors
from ..picture.render_passes import read_pixels
from . import shader

KEPT = 4
"""Textures kept; at 3840x2160 each takes 66 MB of the GPU's memory."""

_wanted: list[Path] = []
_read: dict[Path, np.ndarray] = {}
_textures: dict[Path, gpu.types.GPUTexture] = {}
_unreadable: dict[Path, str] = {}


def texture_of(path: Path) -> gpu.types.GPUTexture | None:
    """A picture's texture, None until it was read or when it cannot be. Called while drawing."""
    if path in _read:
        for old in list(_textures)[: 1 - KEPT]:
            del _textures[old]
        _textures[path] = shader.texture(_read.pop(path))
    if path not in _textures and path not in _unreadable and path not in _wanted:
        _wanted.append(path)
        if not bpy.app.timers.is_registered(_read_wanted):
            # What is wanted stays wanted when the artist opens another file.
            bpy.app.timers.register(_read_wanted, persistent=True)
    return _textures.get(path)


def problem_of(path: Path) -> str:
    """Why a picture cannot be shown; empty when nothing is known to be wrong with it."""
    return _unreadable.get(path, "")


def _read_wanted() -> None:
    while _wanted:
        path = _wanted.pop()
        try:
            _read[path] = read_pixels(path, "Non-Color")
        except (RuntimeError, OSError):
            _unreadable[path] = f"{path} cannot be read; reproduce the result, or compare another one"
    editors.redraw()


def forget() -> None:
    """Free the memory; what could not be read is tried again."""
    for kept in (_wanted, _read, _textures, _unreadable):
        kept.clear()


def unregister() -> None:
    """Read no more."""
    if bpy.app.timers.is_registered(_read_wanted):
        bpy.app.timers.unregister(_read_wanted)
    forget()
