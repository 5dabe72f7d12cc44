# SPDX-License-Identifier: GPL-3.0-or-later
"""The extension's preferences: where the backend is and how it is run."""

from pathlib import Path

import bpy
from bpy.props import BoolProperty, StringProperty

from .backend.process import Launch


class MakeRealPreferences(bpy.types.AddonPreferences):
    """Preferences of one machine."""

    bl_idname = __package__

    program: StringProperty(
        name="make-real",
        description="Path of the make-real program; empty: the one on the search path",
        subtype="FILE_PATH",
    )
    device: StringProperty(
        name="Device",
        description="What the backend computes on: auto, cpu, cuda, or cuda:1 for the second GPU",
        default="auto",
    )
    model_folder: StringProperty(
        name="Model Folder",
        description="A folder with more models; empty: only the installed ones",
        subtype="DIR_PATH",
    )
    keep_running: BoolProperty(
        name="Keep Backend Running",
        description="Let the backend go on when Blender quits; its memory stays taken",
        default=False,
    )

    def draw(self, context: bpy.types.Context) -> None:
        """Draw them in Blender's preferences."""
        layout = self.layout
        layout.use_property_split = True
        for name in ("program", "device", "model_folder", "keep_running"):
            layout.prop(self, name)


def log_path() -> Path:
    """File that the backend's words go to."""
    return Path(bpy.utils.extension_path_user(__package__, create=True)) / "backend.log"


def launch() -> Launch:
    """How the preferences want the backend started."""
    chosen = bpy.context.preferences.addons[__package__].preferences
    return Launch(
        program=bpy.path.abspath(chosen.program),
        device=chosen.device,
        model_folder=bpy.path.abspath(chosen.model_folder),
        outlives_blender=chosen.keep_running,
        log=log_path(),
    )


def register() -> None:
    """Make the preferences known to Blender."""
    bpy.utils.register_class(MakeRealPreferences)


def unregister() -> None:
    """Take them back."""
    bpy.utils.unregister_class(MakeRealPreferences)
