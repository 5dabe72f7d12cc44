# SPDX-License-Identifier: GPL-3.0-or-later
"""A button that starts a picture. While one is under way its progress stands in the button's place."""

from __future__ import annotations

import bpy

from .session import pump


def draw_start(layout: bpy.types.UILayout, operator: str, icon: str) -> None:
    """Draw the button, or how far the picture is, or the backend's installation.

    A disabled button would not do: Blender keeps what lies under a resting mouse as it was first drawn, so the
    artist's next click on it would do nothing, and say nothing.

    Args:
        operator: Identifier of an operator that asks for a picture.
    """
    line = pump.line()
    if line.fraction is None:
        layout.operator(operator, icon=icon)
    else:
        layout.progress(factor=line.fraction, type="BAR", text=f"{line.fraction:.0%}")
