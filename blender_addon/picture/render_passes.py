# SPDX-License-Identifier: GPL-3.0-or-later
"""The finished render as arrays, without rendering again and without a trace in the blend file.

`Image.save_render` of the Render Result is the one way that keeps every pass, with and without a window, from
Blender 4.2 to 5.2: viewer nodes are empty in the background, and a multilayer image's `pixels` always.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import bpy
import numpy as np

from .. import compat
from ..protocol import ErrorCode, MakeRealError
from . import exr, large, tiff
from .scene_guard import borrowed_image_settings, temporary_image


@contextmanager
def saved_picture(scene: bpy.types.Scene) -> Iterator[tiff.Rows | np.ndarray]:
    """The render as the artist sees it, composited, under the scene's view transform, look and exposure: saved, and
    read when rows of it are asked for. The block does not need the scene.

    The rows are (height, width, 3) uint16, or (height, width, 4) with straight alpha when the film is transparent.

    Raises:
        MakeRealError: NO_RENDER.
    """
    with tempfile.TemporaryDirectory(prefix="make_real_") as folder:
        path = Path(folder) / "display"
        with borrowed_image_settings(scene) as settings:
            # Blender's TIFF has the alpha multiplied in, which is no way back for 16 bits.
            set_format = compat.set_png_with_alpha if scene.render.film_transparent else compat.set_tiff
            set_format(settings)
            _save_render(scene, path)
        if scene.render.film_transparent:
            yield np.rint(read_pixels(path, "Non-Color") * 65535.0).astype(np.uint16)
        else:
            with tiff.opened(path) as rows:
                yield rows


def display_picture(scene: bpy.types.Scene) -> np.ndarray:
    """All of `saved_picture`.

    Raises:
        MakeRealError: NO_RENDER.
    """
    with saved_picture(scene) as rows:
        return rows[:]


def scene_linear(scene: bpy.types.Scene) -> np.ndarray:
    """The light behind `display_picture`: composited, before the view.

    Returns:
        (height, width, 4) float32, scene-linear, alpha multiplied in; 1 where the render has no alpha.

    Raises:
        MakeRealError: NO_RENDER.
    """
    with tempfile.TemporaryDirectory(prefix="make_real_") as folder:
        path = Path(folder) / "light.exr"
        with borrowed_image_settings(scene) as settings:
            compat.set_exr(settings)
            _save_render(scene, path)
        planes = exr.read(path)
    opaque = np.ones_like(planes["R"])
    light = large.floats((*opaque.shape, 4))
    return np.stack([planes.get(name, opaque) for name in "RGBA"], axis=-1, out=light)


def straight(light: np.ndarray) -> np.ndarray:
    """Colour without its alpha, as Blender takes it out before the view: what has no alpha glows and is kept.

    Args:
        light: (..., 4), alpha multiplied in.

    Returns:
        (..., 3).
    """
    alpha = light[..., 3:]
    return light[..., :3] / np.where(alpha > 0.0, alpha, 1.0)


@contextmanager
def saved_passes(scene: bpy.types.Scene) -> Iterator[Path]:
    """Every pass of the render as a multilayer EXR file, for `exr.opened`; the block does not need the scene.

    Raises:
        MakeRealError: NO_RENDER.
    """
    with tempfile.TemporaryDirectory(prefix="make_real_") as folder:
        path = Path(folder) / "passes.exr"
        with borrowed_image_settings(scene) as settings:
            compat.set_multilayer_exr(settings)
            _save_render(scene, path)
        yield path


def _save_render(scene: bpy.types.Scene, path: Path) -> None:
    result = bpy.data.images.get("Render Result")
    if result is None:
        raise MakeRealError(ErrorCode.NO_RENDER)
    try:
        result.save_render(str(path), scene=scene)
    except RuntimeError as error:
        raise MakeRealError(ErrorCode.NO_RENDER, str(error).removeprefix("Error: ").strip()) from error


def read_pixels(path: Path, color_space: str) -> np.ndarray:
    """Pixels of a picture file, taken from a colour space to the scene's linear one.

    Args:
        color_space: Name that Blender knows; `Non-Color` leaves the values as they are in the file.

    Returns:
        (height, width, 4) float32, top row first, alpha not multiplied in.

    Raises:
        TypeError: Blender does not know the colour space.
    """
    with temporary_image(str(path)) as image:
        image.colorspace_settings.name = color_space
        image.alpha_mode = "CHANNEL_PACKED"
        width, height = image.size
        pixels = np.empty(height * width * 4, np.float32)
        image.pixels.foreach_get(pixels)
    return pixels.reshape(height, width, 4)[::-1]
