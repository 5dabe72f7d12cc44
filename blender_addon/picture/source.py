# SPDX-License-Identifier: GPL-3.0-or-later
"""What a translation starts from: the picture as the artist sees it, and the light that it was made from."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import bpy
import numpy as np

from .. import compat
from ..protocol import ErrorCode, MakeRealError
from . import exr, render_passes, view_transform
from .view_inverse import Response


@dataclass(frozen=True)
class Source:
    """A finished render, under the scene's view and before it.

    Args:
        picture: (height, width, 3) uint16 display values, or (height, width, 4) with straight alpha.
        light: (height, width, 4) float32, scene-linear, alpha multiplied in.
        space: Blender's name of the space that the light is in.
        response: What the view does, measured.
    """

    picture: np.ndarray
    light: np.ndarray
    space: str
    response: Response


def collect(scene: bpy.types.Scene, layer: str | None, passes: Path | None) -> Source:
    """Take the finished render.

    Args:
        layer: View layer to take before any compositing; None takes the finished picture.
        passes: The render's passes (`render_passes.saved_passes`), read for a view layer alone.

    Raises:
        MakeRealError: NO_RENDER, UNSUPPORTED_VIEW.
    """
    view_transform.check(scene)
    if layer is None:
        picture, light = render_passes.display_picture(scene), render_passes.scene_linear(scene)
    else:
        light = _combined(passes, layer)
        picture = _shown(scene, light)
    return Source(picture, light, compat.scene_linear_space(), view_transform.measure(scene))


def picture(scene: bpy.types.Scene, layer: str | None) -> np.ndarray:
    """The picture of `collect` alone.

    Raises:
        MakeRealError: NO_RENDER.
    """
    if layer is None:
        return render_passes.display_picture(scene)
    with render_passes.saved_passes(scene) as path:
        return _shown(scene, _combined(path, layer))


def _combined(passes: Path, layer: str) -> np.ndarray:
    names = [f"{layer}.Combined.{channel}" for channel in "RGBA"]
    channels = exr.read(passes, names.__contains__)
    missing = [name for name in names if name not in channels]
    if missing:
        raise MakeRealError(ErrorCode.NO_RENDER, f"it has no {missing[0]}: render again, in one view alone")
    return np.stack([channels[name] for name in names], axis=-1)


def _shown(scene: bpy.types.Scene, light: np.ndarray) -> np.ndarray:
    straight = render_passes.straight(light)
    picture = np.rint(view_transform.shown(scene, straight) * 65535.0).astype(np.uint16)
    if not scene.render.film_transparent:
        return picture
    alpha = np.rint(np.clip(light[..., 3:], 0.0, 1.0) * 65535.0).astype(np.uint16)
    return np.concatenate([picture, alpha], axis=2)
