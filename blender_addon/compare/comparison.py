# SPDX-License-Identifier: GPL-3.0-or-later
"""Which two pictures are compared, and how (`window_manager.make_real_compare`)."""

import os
from dataclasses import dataclass
from pathlib import Path

import bpy
from bpy.props import BoolProperty, EnumProperty, FloatProperty, PointerProperty

from ..history import kept_renders, shelf
from ..history.index import Entry
from ..picture import editors


def _redraw(_settings: "CompareSettings", _context: bpy.types.Context) -> None:
    editors.redraw()


class CompareSettings(bpy.types.PropertyGroup):
    """How the comparison is drawn. A matter of the window, not of the scene: no undo, nothing in the scene."""

    is_on: BoolProperty(
        name="Compare", description="Draw the render over a part of the result", update=_redraw
    )
    mode: EnumProperty(
        name="Mode",
        description="How the render and the result are set against each other",
        items=(
            ("WIPE_ACROSS", "Left | Right", "The render on the left of a line that you drag"),
            ("WIPE_DOWN", "Top | Bottom", "The render above a line that you drag"),
            ("DIFFERENCE", "Difference", "What Make Real has changed: black is nothing"),
        ),
        update=_redraw,
    )
    split: FloatProperty(
        name="Line",
        description="Where the line stands: 0 is the left or upper edge",
        default=0.5,
        min=0.0,
        max=1.0,
        subtype="FACTOR",
        update=_redraw,
    )
    gain: FloatProperty(
        name="Gain",
        description="How often the difference is multiplied, so that the eye finds it",
        default=4.0,
        min=1.0,
        max=64.0,
        update=_redraw,
    )
    show_figures: BoolProperty(
        name="Show Figures",
        description="Write beside the picture how true the garment stayed",
        default=True,
        update=_redraw,
    )


@dataclass(frozen=True)
class Pair:
    """What is compared.

    Args:
        entry: The result's entry.
        before: File of the render that was sent.
        after: File of the result.
    """

    entry: Entry
    before: Path
    after: Path


def settings() -> CompareSettings:
    """The settings of this Blender."""
    return bpy.context.window_manager.make_real_compare


def pair_of(scene: bpy.types.Scene, image: bpy.types.Image | None) -> Pair | None:
    """The render and the result that an Image Editor's picture stands for; None for a picture not of ours.

    Reads no disk.
    """
    if image is None or editors.WARNINGS not in image:
        return None
    history = shelf.history(scene)
    after = Path(os.path.normpath(bpy.path.abspath(image.filepath)))
    entry = next((e for e in history.entries.values() if after.name == f"{e.number:04}_display.png"), None)
    # Every history has a 0001: another scene's, in an editor that shows it still, is not this one's.
    if entry is None or str(after) != os.path.normpath(shelf.files_of(scene, entry.number).display):
        return None
    return Pair(entry, kept_renders.path_of(shelf.folder_of(scene), entry.render), after)


def register() -> None:
    """Give the window manager its settings."""
    bpy.utils.register_class(CompareSettings)
    bpy.types.WindowManager.make_real_compare = PointerProperty(type=CompareSettings)


def unregister() -> None:
    """Take them back."""
    del bpy.types.WindowManager.make_real_compare
    bpy.utils.unregister_class(CompareSettings)
