# SPDX-License-Identifier: GPL-3.0-or-later
"""What a translation starts from: the picture as the artist sees it, and the light that it was made from."""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import bpy
import numpy as np

from .. import compat, pace
from ..protocol import ErrorCode, MakeRealError
from . import exr, files, large, render_passes, tiff, view_transform
from .view_inverse import Response

LINES_AT_ONCE = 16
"""Of all passes, read at once: a line of them is long."""
SHOWN_AT_ONCE = 1 << 13
"""Pixels of a view layer that go through the scene's view between two pauses; 2 to 5 ms. No fewer on a slow machine: a
call of Blender takes more than a millisecond of that however few they are."""
T = TypeVar("T")


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
        with exr.opened(passes) as channels:
            combined = _combined(channels, layer)
            light = large.floats((*combined[0].shape, 4))
            for rows in pace.slices(len(light), LINES_AT_ONCE):
                light[rows] = _light(combined, rows)
        picture = _shown(scene, light)
    return Source(picture, light, compat.scene_linear_space(), view_transform.measure(scene))


class _ShownRows:
    """A view layer under the scene's view, read and shown when rows of it are asked for.

    Args:
        scene: Name of the scene.
        light: Channels of the layer's picture.
    """

    def __init__(self, scene: str, light: tuple[exr.Channel, ...]) -> None:
        self._scene = scene
        self._light = light
        # One line is shown now to see how many channels there are.
        self.shape = (*light[0].shape, self[:1].shape[2])

    def __getitem__(self, rows: slice) -> np.ndarray:
        """Rows from the top, (rows, width, 3 or 4) uint16. Raises MakeRealError: NO_RENDER when the scene is gone."""
        # Looked up each time: between two steps the artist may undo something or open another file.
        scene = bpy.data.scenes.get(self._scene)
        if scene is None:
            raise MakeRealError(ErrorCode.NO_RENDER, f"the scene {self._scene} is gone")
        return _shown(scene, _light(self._light, rows))


Take = Callable[[np.ndarray | tiff.Rows | _ShownRows, int | None], Generator[None, None, T]]


def look_at(scene: bpy.types.Scene, layer: str | None, take: Take[T]) -> Generator[None, None, T]:
    """Give the picture of `collect` to a function that reads its rows from top to bottom and pauses. Pauses too; the
    first step is long: Blender saves the render. The function is also told how many rows it shall read at once, if that
    matters.

    Raises:
        MakeRealError: NO_RENDER.
    """
    if layer is None:
        with render_passes.saved_picture(scene) as rows:
            yield
            return (yield from take(rows, None))
    name = scene.name
    with render_passes.saved_passes(scene) as path:
        yield
        with exr.opened(path) as channels:
            shown = _ShownRows(name, _combined(channels, layer))
            yield
            found = yield from take(shown, max(1, SHOWN_AT_ONCE // shown.shape[1]))
        yield from files.shrink(path)
        yield
    return found


def _combined(channels: Mapping[str, exr.Channel], layer: str) -> tuple[exr.Channel, ...]:
    names = [f"{layer}.Combined.{channel}" for channel in "RGBA"]
    missing = [name for name in names if name not in channels]
    if missing:
        raise MakeRealError(ErrorCode.NO_RENDER, f"it has no {missing[0]}: render again, in one view alone")
    return tuple(channels[name] for name in names)


def _light(combined: tuple[exr.Channel, ...], rows: slice) -> np.ndarray:
    return np.stack([channel[rows] for channel in combined], axis=-1).astype(np.float32, copy=False)


def _shown(scene: bpy.types.Scene, light: np.ndarray) -> np.ndarray:
    picture = view_transform.shown(scene, render_passes.straight(light))
    if not scene.render.film_transparent:
        return picture
    alpha = np.rint(np.clip(light[..., 3:], 0.0, 1.0) * 65535.0).astype(np.uint16)
    return np.concatenate([picture, alpha], axis=2)
