# SPDX-License-Identifier: GPL-3.0-or-later
"""The Looks panel: presets and the grid of variants."""

from typing import ClassVar

import bpy

from ..protocol import MakeRealError
from ..session import pump
from ..sidebar import InImageEditor
from ..start_button import draw_start
from ..text import draw_text
from . import batch, presets, variants


class MAKE_REAL_PT_looks(InImageEditor, bpy.types.Panel):  # noqa: N801  Blender's naming rule
    """Ways to a picture that the artist likes."""

    bl_label = "Looks"
    bl_parent_id = "MAKE_REAL_PT_main"
    bl_options: ClassVar = {"DEFAULT_CLOSED"}

    def draw(self, context: bpy.types.Context) -> None:
        """Draw the presets, then the grid."""
        layout = self.layout
        row = layout.row(align=True)
        row.menu("MAKE_REAL_MT_looks", text=presets.MAKE_REAL_MT_looks.bl_label)
        row.operator("make_real.save_look", text="", icon="ADD")
        row.operator("make_real.save_look", text="", icon="REMOVE").remove_active = True
        axes = context.scene.make_real_variants
        _draw_axis(layout, axes.columns, "Columns")
        _draw_axis(layout, axes.rows, "Rows")
        _draw_grid(layout, context)


def _draw_axis(layout: bpy.types.UILayout, axis: variants.VariantAxis, label: str) -> None:
    column = layout.column(align=True)
    column.prop(axis, "field", text=label)
    if axis.field == "model":
        column.prop(axis, "models", placeholder="All")
    elif axis.field != variants.NOTHING:
        if axis.field != "seed":
            row = column.row(align=True)
            row.prop(axis, "low")
            row.prop(axis, "high")
        column.prop(axis, "count")


def _draw_grid(layout: bpy.types.UILayout, context: bpy.types.Context) -> None:
    running = batch.running()
    if running is not None:
        draw_text(layout, context, f"Variant {running.started} of {len(running.cells)}", "INFO")
    scene = context.scene
    try:
        rows = variants.grid(scene.make_real_variants, scene.make_real, pump.models())
    except MakeRealError as problem:
        draw_text(layout, context, problem.detail[:1].upper() + problem.detail[1:], "ERROR")
        return
    if len(rows) * len(rows[0]) > 1:
        draw_text(layout, context, f"{len(rows[0])} x {len(rows)}: {len(rows) * len(rows[0])} pictures")
    draw_start(layout, "make_real.make_variants", icon="MESH_GRID")


def register() -> None:
    """Put it in its place."""
    bpy.utils.register_class(MAKE_REAL_PT_looks)


def unregister() -> None:
    """Take it out again."""
    bpy.utils.unregister_class(MAKE_REAL_PT_looks)
