# SPDX-License-Identifier: GPL-3.0-or-later
"""The scene's view: what Blender does to light before the artist sees it.

The view is measured, not modelled: colours are sent through Blender's own `save_render` with the scene's own
settings, so that every transform, look, curve and display device of every version is included
(`view_inverse` has the way back).
"""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path

import bpy
import numpy as np

from .. import compat
from ..protocol import ErrorCode, MakeRealError
from . import tiff
from .scene_guard import borrowed_image_settings, new_float_image
from .view_inverse import SIDE, Response, cube

GREYS = np.concatenate([[0.0], np.exp2(np.linspace(-20.0, 18.0, 8000))])
"""Light in which the view's answer to grey is looked at first: all that a camera may meet, in stops."""
EVEN_STOPS = 0.3
"""Part of the levels that is spread over the stops; the rest is where the display values change most."""
MARGIN = 3.0
"""Stops measured beyond the darkest and the brightest grey that the display tells apart: a saturated colour
reaches further than grey."""


@dataclass(frozen=True)
class View:
    """How the scene was turned into the picture that the artist saw.

    Args:
        exposure: Stops, applied in scene-linear light.
        gamma: Exponent's inverse, applied to display values.
        curves: Whether the view's curves are on.
        white_balance: Whether the view's white balance is on.
    """

    display_device: str
    view_transform: str
    look: str
    exposure: float
    gamma: float
    curves: bool
    white_balance: bool


def of_scene(scene: bpy.types.Scene) -> View:
    """The scene's view at this moment."""
    view = scene.view_settings
    return View(
        display_device=scene.display_settings.display_device,
        view_transform=view.view_transform,
        look=view.look,
        exposure=view.exposure,
        gamma=view.gamma,
        curves=view.use_curve_mapping,
        white_balance=compat.uses_white_balance(view),
    )


def check(scene: bpy.types.Scene) -> None:
    """Refuse a view whose picture a model cannot read.

    Raises:
        MakeRealError: UNSUPPORTED_VIEW, naming the setting to change.
    """
    if compat.is_hdr(scene.view_settings):
        device = scene.display_settings.display_device
        raise MakeRealError(ErrorCode.UNSUPPORTED_VIEW, f"set the display to sRGB; {device} is an HDR signal")


def color_space(scene: bpy.types.Scene) -> str:
    """Colour space of the scene's display values: Blender names it like the display."""
    return scene.display_settings.display_device


def shown(scene: bpy.types.Scene, light: np.ndarray) -> np.ndarray:
    """Scene-linear light as the scene's view shows it.

    Args:
        light: (height, width, 3) float32, scene-linear in the working space.

    Returns:
        (height, width, 3) uint16 display values.
    """
    with tempfile.TemporaryDirectory(prefix="make_real_") as folder:
        path = Path(folder) / "shown.tif"
        with new_float_image(light) as image, borrowed_image_settings(scene) as settings:
            compat.set_tiff(settings)
            image.save_render(str(path), scene=scene)
        with tiff.opened(path) as rows:
            return rows[:]


def measure(scene: bpy.types.Scene) -> Response:
    """Measure the scene's view; about a quarter of a second.

    Raises:
        MakeRealError: UNSUPPORTED_VIEW.
    """
    check(scene)
    levels = _levels(scene)
    light = cube(levels).reshape(SIDE, SIDE * SIDE, 3)
    table = shown(scene, light) / np.float32(65535.0)
    return Response(levels, table.reshape(SIDE, SIDE, SIDE, 3))


def _levels(scene: bpy.types.Scene) -> np.ndarray:
    """Levels that follow the view's own answer to grey, so that the cube's cells are even for the eye."""
    greys = np.repeat(GREYS[None, :, None], 3, axis=2).astype(np.float32)
    answer = np.maximum.accumulate(shown(scene, greys)[0].mean(axis=1))
    answer = (answer - answer[0]) / max(answer[-1] - answer[0], 1e-6)
    darkest, brightest = GREYS[np.searchsorted(answer, [1e-4, 1.0 - 1e-5])]
    first, last = np.searchsorted(GREYS, [darkest * 2.0**-MARGIN, brightest * 2.0**MARGIN])
    kept = np.r_[0, max(first, 1) : last]
    greys, answer = GREYS[kept], answer[kept]
    spread = (1.0 - EVEN_STOPS) * answer + EVEN_STOPS * np.linspace(0.0, 1.0, len(greys))
    levels = np.interp(np.linspace(0.0, spread[-1], SIDE), spread, greys)
    # Where the display clips, the answer has a corner: a level there keeps it sharp.
    levels[1 + np.abs(np.log(levels[1:] / brightest)).argmin()] = brightest
    return levels.astype(np.float32)
