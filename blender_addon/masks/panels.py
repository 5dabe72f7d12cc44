# SPDX-License-Identifier: GPL-3.0-or-later
"""The Garment panel in the Image Editor's sidebar."""

from __future__ import annotations

import bpy

from ..sidebar import InImageEditor
from ..text import draw_text
from . import overlay
from .properties import KINDS
from .selection import active_part

ROLE_ICONS = {"GARMENT": "COLORSET_03_VEC", "PROTECTED": "COLORSET_01_VEC", "FREE": "COLORSET_09_VEC"}
"""The colours of the overlay, as Blender's icons come nearest to them."""
NAME_SHARE = 0.66
"""Of a line's width, beside the part's strength."""
KIND_ICONS = {kind: icon for kind, _name, _description, icon, _number in KINDS}
NAMES_HINT = "Dress, Sleeve*"


class MAKE_REAL_UL_parts(bpy.types.UIList):  # noqa: N801  Blender's naming rule
    """One line for each part."""

    def draw_item(self, context, layout, data, item, icon, active_data, active_property) -> None:
        """Draw the part's name, strength and role."""
        row = layout.row(align=True)
        # A protected part has no use for its strength, and its name for the room.
        is_protected = item.role == "PROTECTED"
        columns = row if is_protected else row.split(factor=NAME_SHARE, align=True)
        columns.prop(item, "name", text="", emboss=False, icon=ROLE_ICONS[item.role])
        if not is_protected:
            columns.prop(item, "strength", text="")
        row.prop(item, "role", text="", icon_only=True)


class MAKE_REAL_PT_garment(InImageEditor, bpy.types.Panel):  # noqa: N801
    """What the garment is."""

    bl_label = "Garment"
    bl_parent_id = "MAKE_REAL_PT_main"

    def draw(self, context: bpy.types.Context) -> None:
        """Draw the list of parts, and the marked part below it."""
        layout, masks = self.layout, context.scene.make_real.masks
        row = layout.row()
        row.template_list("MAKE_REAL_UL_parts", "", masks, "parts", masks, "active_part", rows=3)
        column = row.column(align=True)
        column.operator("make_real.add_part", text="", icon="ADD")
        column.operator("make_real.remove_part", text="", icon="REMOVE")
        column.separator()
        column.operator("make_real.move_part", text="", icon="TRIA_UP").direction = "UP"
        column.operator("make_real.move_part", text="", icon="TRIA_DOWN").direction = "DOWN"
        if not masks.parts:
            draw_text(layout, context, "No parts: the whole picture is garment")
        elif part := active_part(masks):
            _draw_picks(layout, part)
        row = layout.row(align=True)
        row.operator_menu_enum("make_real.add_picks", "kind", icon="RESTRICT_SELECT_OFF")
        row.operator_menu_enum("make_real.add_pick", "kind", text="", icon="ADD")
        _draw_passes(layout, context)
        on = overlay.is_on(context.window_manager)
        layout.operator("make_real.mask_overlay", icon="OVERLAY", depress=on)
        for remark in overlay.remarks():
            draw_text(layout, context, remark, "ERROR")


def _draw_picks(layout: bpy.types.UILayout, part: bpy.types.PropertyGroup) -> None:
    column = layout.column(align=True)
    for index, pick in enumerate(part.picks):
        row = column.row(align=True)
        if pick.kind == "IMAGE":
            row.template_ID(pick, "image", open="image.open")
        else:
            hint = NAMES_HINT if pick.kind == "NAMES" else ""
            row.prop(pick, pick.kind.lower(), text="", icon=KIND_ICONS[pick.kind], placeholder=hint)
        # The field before it has an X of its own, which empties it.
        row.operator("make_real.remove_pick", text="", icon="REMOVE").index = index


def _draw_passes(layout: bpy.types.UILayout, context: bpy.types.Context) -> None:
    scene = context.scene
    is_on = all(
        layer.use_pass_cryptomatte_object and layer.use_pass_cryptomatte_material
        for layer in scene.view_layers
        if layer.use
    )
    if is_on:
        return
    if scene.make_real.masks.parts:
        draw_text(layout, context, "Without its passes the next render cannot tell the parts apart", "ERROR")
    layout.operator("make_real.enable_passes", icon="RENDERLAYERS")


CLASSES = (MAKE_REAL_UL_parts, MAKE_REAL_PT_garment)

register, unregister = bpy.utils.register_classes_factory(CLASSES)
