# SPDX-License-Identifier: GPL-3.0-or-later
"""Settings under a name, in Blender's own preset system: `presets/make_real/*.py`, shipped and the artist's own."""

from dataclasses import asdict
from pathlib import Path
from typing import ClassVar

import bpy
from bl_operators.presets import AddPresetBase

from ..properties import DEFAULTS

FOLDER = "make_real"
SHIPPED = str(Path(__file__).resolve().parent.parent)
"""Folder whose `presets` Blender looks through."""


class MAKE_REAL_MT_looks(bpy.types.Menu):  # noqa: N801  Blender's naming rule
    """The looks that can be chosen; the menu's label becomes the chosen one's name."""

    bl_label = "Looks"
    preset_subdir = FOLDER
    preset_operator = "script.execute_preset"
    draw = bpy.types.Menu.draw_preset


class SaveLook(AddPresetBase, bpy.types.Operator):
    """Save the settings that decide the picture as a look of your own, or remove the chosen one"""

    bl_idname = "make_real.save_look"
    bl_label = "Save Look"
    preset_menu = "MAKE_REAL_MT_looks"
    preset_subdir = FOLDER
    preset_defines: ClassVar = ["settings = bpy.context.scene.make_real"]
    preset_values: ClassVar = [f"settings.{name}" for name in asdict(DEFAULTS)]


CLASSES = (MAKE_REAL_MT_looks, SaveLook)


def register() -> None:
    """Make the shipped looks known."""
    for cls in CLASSES:
        bpy.utils.register_class(cls)
    bpy.utils.register_preset_path(SHIPPED)


def unregister() -> None:
    """Take them back; the artist's own stay in Blender's folder."""
    bpy.utils.unregister_preset_path(SHIPPED)
    for cls in reversed(CLASSES):
        bpy.utils.unregister_class(cls)
