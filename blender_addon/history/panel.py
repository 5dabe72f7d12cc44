# SPDX-License-Identifier: GPL-3.0-or-later
"""The History panel. Drawing reads `shelf`'s copy, never the disk."""

from __future__ import annotations

from datetime import datetime
from typing import ClassVar

import bpy

from ..properties import in_words
from ..sidebar import InImageEditor
from ..start_button import draw_start
from ..text import draw_text
from . import index, shelf
from .index import Entry

THUMBNAIL_SCALE = 6.0


class MAKE_REAL_UL_history(bpy.types.UIList):  # noqa: N801  Blender's naming rule
    """One line for each result, the newest first."""

    def draw_item(self, context, layout, data, item, icon, active_data, active_property) -> None:
        """Draw its thumbnail, number, time and rating."""
        entry = shelf.entry(context.scene, item.number)
        if entry is None:
            return
        row = layout.row(align=True)
        row.label(
            text=f"{entry.number:04}  {_when(entry)}", icon_value=shelf.icon(context.scene, item.number)
        )
        marks = row.row(align=True)
        # Else the marks would take as much room as the date, which needs more.
        marks.alignment = "RIGHT"
        if shelf.history(context.scene).is_out_of_date(entry):
            marks.label(text="", icon="FILE_REFRESH")
        if entry.rating:
            marks.label(text=f"{entry.rating}★")


class MAKE_REAL_PT_history(InImageEditor, bpy.types.Panel):  # noqa: N801
    """Every result of the scene."""

    bl_label = "History"
    bl_parent_id = "MAKE_REAL_PT_main"
    bl_options: ClassVar = {"DEFAULT_CLOSED"}

    def draw(self, context: bpy.types.Context) -> None:
        """Draw the list and the marked entry."""
        layout, scene = self.layout, context.scene
        listed = shelf.of_scene(scene)
        if listed is None:
            draw_text(layout, context, "Every result will be listed here")
            if scene.make_real_history.history:
                shelf.refresh_soon()
            return
        if listed.problem:
            draw_text(layout, context, listed.problem, "ERROR")
        row = layout.row()
        row.template_list("MAKE_REAL_UL_history", "", listed, "entries", listed, "active", rows=4)
        column = row.column(align=True)
        column.operator("make_real.history_remove", text="", icon="REMOVE")
        column.operator("make_real.history_refresh", text="", icon="FILE_REFRESH")
        column.operator("make_real.history_reveal", text="", icon="FILE_FOLDER")
        column.operator("make_real.history_begin", text="", icon="FILE_NEW")
        entry = shelf.active(scene)
        if entry is not None:
            _draw_entry(layout, context, entry, listed.entries[listed.active])


def _draw_entry(
    layout: bpy.types.UILayout, context: bpy.types.Context, entry: Entry, item: shelf.HistoryItem
) -> None:
    scene = context.scene
    icon = shelf.icon(scene, entry.number)
    if icon:
        layout.template_icon(icon_value=icon, scale=THUMBNAIL_SCALE)
    _draw_rating(layout, entry)
    layout.prop(item, "notes", text="", icon="GREASEPENCIL", placeholder="Notes")
    for text in _facts(entry):
        draw_text(layout, context, text, "BLANK1")
    if shelf.history(scene).is_out_of_date(entry):
        draw_text(
            layout, context, "Out of date: the scene was rendered again and looks different now", "ERROR"
        )
    column = layout.column(align=True)
    column.operator("make_real.history_show", icon="IMAGE_DATA")
    column.operator("make_real.history_use_settings", icon="SETTINGS")
    draw_start(column, "make_real.history_reproduce", icon="RECOVER_LAST")


def _draw_rating(layout: bpy.types.UILayout, entry: Entry) -> None:
    row = layout.row(align=True)
    for star in range(1, index.MAX_RATING + 1):
        icon = "SOLO_ON" if star <= entry.rating else "SOLO_OFF"
        row.operator("make_real.history_rate", text="", icon=icon, emboss=False).rating = star


def _facts(entry: Entry) -> list[str]:
    """What an artist asks about a picture."""
    made = f"Frame {entry.frame}, {entry.seconds:.0f} s on {entry.device or 'an unknown device'}"
    facts = [entry.cell, in_words(entry.request), made]
    if entry.reproduces is not None:
        same = "the same, byte for byte" if entry.identical else "not the same"
        facts.append(f"Made again from {entry.reproduces:04}: {same}")
    return [fact for fact in facts if fact]


def _when(entry: Entry) -> str:
    return datetime.fromisoformat(entry.collected).astimezone().strftime("%d %b %H:%M")


CLASSES = (MAKE_REAL_UL_history, MAKE_REAL_PT_history)

register, unregister = bpy.utils.register_classes_factory(CLASSES)
