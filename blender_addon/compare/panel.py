# SPDX-License-Identifier: GPL-3.0-or-later
"""The Compare panel: the line, and how true the garment stayed."""

from typing import ClassVar

import bpy

from ..history import shelf
from ..sidebar import InImageEditor
from ..text import draw_text
from . import comparison, fidelity

ICONS = {
    fidelity.Level.GOOD: "CHECKMARK",
    fidelity.Level.FAIR: "INFO",
    fidelity.Level.BAD: "ERROR",
}


class MAKE_REAL_PT_compare(InImageEditor, bpy.types.Panel):  # noqa: N801  Blender's naming rule
    """Before and after."""

    bl_label = "Compare"
    bl_parent_id = "MAKE_REAL_PT_main"
    bl_options: ClassVar = {"DEFAULT_CLOSED"}

    def draw(self, context: bpy.types.Context) -> None:
        """Draw the button, the line's settings, and the figures."""
        layout, settings = self.layout, comparison.settings()
        layout.operator(
            "make_real.compare", icon="SPLIT_VERTICAL", text="Stop Comparing" if settings.is_on else "Compare"
        )
        if settings.is_on:
            layout.prop(settings, "mode", text="")
            layout.prop(settings, "gain" if settings.mode == "DIFFERENCE" else "split")
            layout.prop(settings, "show_figures")
        layout.operator("make_real.zoom_to_garment", icon="VIEWZOOM")
        pair = comparison.pair_of(context.scene, context.space_data.image)
        entry = pair.entry if pair else shelf.active(context.scene)
        if entry is not None:
            layout.label(text=f"Garment of {entry.number:04}", icon="MATCLOTH")
            for line in fidelity.lines(entry.report):
                draw_text(layout, context, line.text, ICONS[line.level])


def register() -> None:
    """Put it in its place."""
    bpy.utils.register_class(MAKE_REAL_PT_compare)


def unregister() -> None:
    """Take it out again."""
    bpy.utils.unregister_class(MAKE_REAL_PT_compare)
