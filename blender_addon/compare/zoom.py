# SPDX-License-Identifier: GPL-3.0-or-later
"""Moving an Image Editor's view."""

from __future__ import annotations

import bpy


def to_garment(window: bpy.types.Window, area: bpy.types.Area, box: tuple[int, int, int, int] | None) -> None:
    """Show a box of the picture in the middle at 100 %; the whole picture's middle without one.

    Args:
        box: Left, top, right, bottom in pixels, top row first.
    """
    width, height = area.spaces.active.image.size
    left, top, right, bottom = box or (0, 0, width, height)
    # The view's offset is counted in the picture's pixels from its middle, upwards.
    offset = ((left + right - width) / 2, (height - top - bottom) / 2)
    region = next(region for region in area.regions if region.type == "WINDOW")
    with bpy.context.temp_override(window=window, area=area, region=region):
        bpy.ops.image.view_all()
        bpy.ops.image.view_zoom_ratio(ratio=1.0)
        bpy.ops.image.view_pan(offset=offset)
