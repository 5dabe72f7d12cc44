# SPDX-License-Identifier: GPL-3.0-or-later
"""Comparing, and the garment at 100 %."""

from collections.abc import Iterator

import bpy

from . import comparison, pictures, zoom

NO_WINDOW = "Comparing needs Blender's window"
NO_RESULT = "This scene has no result to compare: click Make Real first"


def _editors(context: bpy.types.Context) -> Iterator[tuple[bpy.types.Window, bpy.types.Area]]:
    """Image Editors, the one that was clicked in first."""
    if context.area and context.area.ui_type == "IMAGE_EDITOR":
        yield context.window, context.area
    for window in context.window_manager.windows:
        for area in window.screen.areas:
            if area.ui_type == "IMAGE_EDITOR":
                yield window, area


class Compare(bpy.types.Operator):
    """Set the result against the render that it was made from: drag the line in the Image Editor"""

    bl_idname = "make_real.compare"
    bl_label = "Compare"

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        """Whether there is something to draw and a window to draw in."""
        if bpy.app.background:
            cls.poll_message_set(NO_WINDOW)
            return False
        if context.scene.make_real.result is None:
            cls.poll_message_set(NO_RESULT)
            return False
        return True

    def execute(self, context: bpy.types.Context) -> set[str]:
        """Begin with the garment at 100 %, or end."""
        settings = comparison.settings()
        if settings.is_on:
            settings.is_on = False
            pictures.forget()
            return {"FINISHED"}
        found = next(_editors(context), None)
        if found is None:
            self.report({"ERROR"}, "Open an Image Editor first: the comparison is drawn there")
            return {"CANCELLED"}
        window, area = found
        space = area.spaces.active
        if comparison.pair_of(context.scene, space.image) is None:
            space.image = context.scene.make_real.result
        pair = comparison.pair_of(context.scene, space.image)
        if pair is None:
            self.report(
                {"ERROR"}, "The history does not know this result; choose another in History, then Show"
            )
            return {"CANCELLED"}
        space.show_gizmo = True
        settings.is_on = True
        zoom.to_garment(window, area, pair.entry.garment_box)
        return {"FINISHED"}


class ZoomToGarment(bpy.types.Operator):
    """Show the garment at 100 %: one pixel of the picture is one pixel of the screen"""

    bl_idname = "make_real.zoom_to_garment"
    bl_label = "Garment at 100 %"

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        """Whether an Image Editor shows a result."""
        if bpy.app.background:
            cls.poll_message_set(NO_WINDOW)
            return False
        space = context.space_data
        is_ours = (
            context.area is not None
            and context.area.ui_type == "IMAGE_EDITOR"
            and comparison.pair_of(context.scene, space.image) is not None
        )
        if not is_ours:
            cls.poll_message_set("Show a result in this Image Editor first")
        return is_ours

    def execute(self, context: bpy.types.Context) -> set[str]:
        """Move the view alone."""
        pair = comparison.pair_of(context.scene, context.space_data.image)
        zoom.to_garment(context.window, context.area, pair.entry.garment_box)
        return {"FINISHED"}


CLASSES = (Compare, ZoomToGarment)

register, unregister = bpy.utils.register_classes_factory(CLASSES)
