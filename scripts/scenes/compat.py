# SPDX-License-Identifier: GPL-3.0-or-later
"""What differs between Blender 4.2, 5.0 and 5.2 for these scenes."""

from __future__ import annotations

import bpy


def enable_nodes(owner: bpy.types.Material | bpy.types.World) -> None:
    """Materials and worlds always have nodes from 5.0 on, where the switch is deprecated."""
    if bpy.app.version < (5, 0, 0):
        owner.use_nodes = True


def set_image_format(settings: bpy.types.ImageFormatSettings, file_format: str) -> None:
    """From 5.0 on the media type comes first and limits the formats."""
    if hasattr(settings, "media_type"):
        multilayer = file_format == "OPEN_EXR_MULTILAYER"
        settings.media_type = "MULTI_LAYER_IMAGE" if multilayer else "IMAGE"
    settings.file_format = file_format
