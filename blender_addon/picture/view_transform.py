# SPDX-License-Identifier: GPL-3.0-or-later
"""From a display picture back to scene-linear light, so that the artist's view transform shows it unchanged.

Blender's configuration has, for most view transforms on an sRGB display, a colour space that inverts it.
Exposure and gamma are undone by arithmetic: display = view(linear * 2^exposure)^(1 / gamma). Round trip
measured in display values (tests/blender): 0.0002 on average, AgX in Blender 4 0.001. A look is a curve
without an inverse in the configuration, and the space of Khronos PBR Neutral is no inverse (0.04 off).
"""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path

import bpy
import numpy as np

from .. import compat
from ..protocol import ErrorCode, MakeRealError
from . import png
from .render_passes import read_pixels

INVERSES = {
    "AgX": "AgX Base sRGB",
    "Filmic": "Filmic sRGB",
    "Filmic Log": "Filmic Log",
    "Standard": "sRGB",
    "Raw": "Non-Color",
    "ACES 1.3": "ACES 1.3 sRGB",
    "ACES 2.0": "ACES 2.0 sRGB",
}
"""View transform -> the colour space that inverts it on an sRGB display."""


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


def inverse_space(view: View) -> str:
    """The colour space that inverts the view, exposure and gamma apart.

    Raises:
        MakeRealError: UNSUPPORTED_VIEW, naming the setting to change.
    """
    if view.display_device != "sRGB":
        raise _unsupported(f"set the display device to sRGB; it is {view.display_device}")
    if view.view_transform not in INVERSES:
        raise _unsupported(f"set the view transform to AgX, Filmic or Standard; it is {view.view_transform}")
    if view.look != "None":
        raise _unsupported(f"set the look to None; it is {view.look}")
    if view.curves:
        raise _unsupported("switch Use Curves off")
    if view.white_balance:
        raise _unsupported("switch White Balance off")
    return INVERSES[view.view_transform]


def _unsupported(what_to_do: str) -> MakeRealError:
    return MakeRealError(ErrorCode.UNSUPPORTED_VIEW, what_to_do)


def to_scene_linear(picture: np.ndarray, view: View) -> np.ndarray:
    """Undo the view.

    Args:
        picture: (height, width, 3 or 4) uint16 display values, straight alpha.

    Returns:
        Same shape, float32, scene-linear in the scene's working space, alpha multiplied in as the compositor
        has it.

    Raises:
        MakeRealError: UNSUPPORTED_VIEW.
    """
    space = inverse_space(view)
    color = picture[..., :3]
    if view.gamma != 1.0:
        color = np.rint(65535.0 * (color / 65535.0) ** view.gamma).astype(np.uint16)
    with tempfile.TemporaryDirectory(prefix="make_real_") as folder:
        path = Path(folder) / "display.png"
        path.write_bytes(b"".join(png.encode(color, {})))
        try:
            linear = read_pixels(path, space)[..., :3]
        except TypeError as error:
            raise _unsupported(f"this Blender has no colour space {space}") from error
    linear = linear / np.float32(2.0**view.exposure)
    if picture.shape[2] == 3:
        return linear
    alpha = picture[..., 3:].astype(np.float32) / np.float32(65535.0)
    return np.concatenate([linear * alpha, alpha], axis=2)
