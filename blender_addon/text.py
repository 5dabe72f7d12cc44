# SPDX-License-Identifier: GPL-3.0-or-later
"""Sentences in a panel. Blender cuts a label that is wider than its panel, so they are broken into lines."""

from __future__ import annotations

import blf
import bpy

FONT = 0
"""Blender's own interface font."""
BESIDE_TEXT = 82.0
"""Pixels of a region's width that no text has, at an interface scale of 1: margins, tabs and the icon."""


def draw_text(layout: bpy.types.UILayout, context: bpy.types.Context, text: str, icon: str = "NONE") -> None:
    """Draw a sentence in as many lines as the region needs, the icon beside the first.

    Args:
        icon: With `NONE` there is no room left for an icon.
    """
    column = layout.column(align=True)
    column.scale_y = 0.85
    for line in wrap(text, _room(context)):
        column.label(text=line, icon=icon)
        icon = icon if icon == "NONE" else "BLANK1"


def _room(context: bpy.types.Context) -> float:
    preferences = context.preferences
    blf.size(FONT, preferences.ui_styles[0].widget.points * preferences.system.ui_scale)
    return context.region.width - BESIDE_TEXT * preferences.system.ui_scale


def wrap(text: str, width: float) -> list[str]:
    """Break between words so that no line is wider, as the interface font is set; a long word stands alone.

    Args:
        width: Pixels.
    """
    lines: list[str] = []
    for word in text.split():
        longer = f"{lines[-1]} {word}" if lines else word
        if lines and blf.dimensions(FONT, longer)[0] <= width:
            lines[-1] = longer
        else:
            lines.append(word)
    return lines
