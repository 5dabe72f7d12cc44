# SPDX-License-Identifier: GPL-3.0-or-later
"""Dragging the line: a gizmo without a drawing of its own.

Not a modal operator: Blender saves no automatic copies while one runs, and this would run for hours.
"""

from typing import ClassVar

import bpy

from . import comparison, drawing

REACH = 8
"""Pixels beside the line that take hold of it; times the interface's scale."""


class CompareLine(bpy.types.Gizmo):
    """The line between the render and the result."""

    bl_idname = "MAKE_REAL_GT_compare_line"

    def setup(self) -> None:
        """Remember where it was, for a drag that is given up."""
        self.before = 0.5

    def draw(self, context: bpy.types.Context) -> None:
        """Nothing: the line is drawn with the pictures."""

    def test_select(self, context: bpy.types.Context, location: tuple[int, int]) -> int:
        """0 where the mouse would take hold of it, else -1."""
        settings = comparison.settings()
        box = drawing.box_of(context.region)
        (x1, y1), (x2, y2) = box.line(settings.mode, settings.split)
        reach = REACH * context.preferences.system.ui_scale
        x, y = location
        is_near = x1 - reach <= x <= x2 + reach and y1 - reach <= y <= y2 + reach
        return 0 if is_near else -1

    def invoke(self, context: bpy.types.Context, event: bpy.types.Event) -> set[str]:
        """Take hold."""
        self.before = comparison.settings().split
        return {"RUNNING_MODAL"}

    def modal(self, context: bpy.types.Context, event: bpy.types.Event, tweak: set[str]) -> set[str]:
        """Follow the mouse."""
        settings = comparison.settings()
        box = drawing.box_of(context.region)
        settings.split = box.split_at(settings.mode, event.mouse_region_x, event.mouse_region_y)
        return {"RUNNING_MODAL"}

    def exit(self, context: bpy.types.Context, cancel: bool) -> None:
        """Let go."""
        if cancel:
            comparison.settings().split = self.before


class CompareGizmos(bpy.types.GizmoGroup):
    """Stands in Image Editors that show a result of ours while comparing."""

    bl_idname = "MAKE_REAL_GGT_compare"
    bl_label = "Make Real Comparison"
    bl_space_type = "IMAGE_EDITOR"
    bl_region_type = "WINDOW"
    bl_options: ClassVar = {"PERSISTENT"}

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        """Whether there is a line to drag."""
        settings = comparison.settings()
        has_line = settings.is_on and settings.mode != "DIFFERENCE"
        return has_line and comparison.pair_of(context.scene, context.space_data.image) is not None

    def setup(self, context: bpy.types.Context) -> None:
        """One line."""
        self.gizmos.new(CompareLine.bl_idname)


CLASSES = (CompareLine, CompareGizmos)

register, unregister = bpy.utils.register_classes_factory(CLASSES)
