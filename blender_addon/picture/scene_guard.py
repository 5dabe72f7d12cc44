# SPDX-License-Identifier: GPL-3.0-or-later
"""The one place that lends the artist's settings: whatever happens inside, they come back as they were."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import bpy
import numpy as np

from .. import compat


@contextmanager
def borrowed_image_settings(scene: bpy.types.Scene) -> Iterator[bpy.types.ImageFormatSettings]:
    """Lend the scene's output format to the block.

    Inside, `save_render` follows the scene's own view transform, as the Image Editor does, even if the artist
    chose another one for the output files.
    """
    settings = scene.render.image_settings
    before = {name: getattr(settings, name) for name in _writable(settings)}
    space = settings.linear_colorspace_settings.name
    try:
        settings.color_management = "FOLLOW_SCENE"
        yield settings
    finally:
        # The format decides which values of the other properties are valid, so it comes back first.
        first = [name for name in compat.FORMAT_PROPERTIES if name in before]
        for name in [*first, *before]:
            if getattr(settings, name) != before[name]:
                setattr(settings, name, before[name])
        # Setting a format also sets this. In a fresh scene it has no name, which cannot be given back.
        if space:
            settings.linear_colorspace_settings.name = space


def _writable(settings: bpy.types.ImageFormatSettings) -> list[str]:
    return [prop.identifier for prop in settings.bl_rna.properties if not prop.is_readonly]


@contextmanager
def temporary_image(path: str) -> Iterator[bpy.types.Image]:
    """Load a picture as a data-block that does not outlive the block."""
    image = bpy.data.images.load(path, check_existing=False)
    try:
        yield image
    finally:
        bpy.data.images.remove(image)


@contextmanager
def new_float_image(light: np.ndarray) -> Iterator[bpy.types.Image]:
    """Scene-linear pixels, (height, width, 3), top row first, as a data-block that does not outlive the block."""
    height, width = light.shape[:2]
    image = bpy.data.images.new("make_real", width, height, float_buffer=True)
    try:
        image.colorspace_settings.name = compat.scene_linear_space()
        pixels = np.ones((height, width, 4), np.float32)
        pixels[..., :3] = light[::-1]
        image.pixels.foreach_set(pixels.ravel())
        image.update()
        yield image
    finally:
        bpy.data.images.remove(image)
