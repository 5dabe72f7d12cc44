# SPDX-License-Identifier: GPL-3.0-or-later
"""What the artist sees: the Image Editor's sidebar and header, and the Render menu."""

from __future__ import annotations

from typing import ClassVar

import bpy

from . import compositor
from .picture import editors
from .session import pump
from .session.state import Phase
from .session.status_line import StatusLine
from .sidebar import InImageEditor
from .start_button import draw_start
from .text import draw_text


class MAKE_REAL_PT_main(InImageEditor, bpy.types.Panel):  # noqa: N801  Blender's naming rule
    """State, progress and the button."""

    bl_label = "Make Real"

    def draw(self, context: bpy.types.Context) -> None:
        """Draw from the session alone."""
        layout = self.layout
        line = pump.line()
        column = layout.column(align=True)
        column.scale_y = 1.4
        # The words first: Blender takes a label for the progress bar under a resting mouse, if it meets that one first.
        _draw_state(layout, context, line)
        draw_start(column, "make_real.translate", icon="SHADERFX")
        settings = context.scene.make_real
        if settings.result:
            layout.label(text=settings.result.name, icon="IMAGE_DATA")
            for warning in settings.result.get(editors.WARNINGS, "").splitlines():
                draw_text(layout, context, warning, "ERROR")
        layout.prop(settings, "use_compositor")
        mix = compositor.mix_socket(context.scene)
        if mix:
            layout.prop(mix, "default_value", text="Mix in Compositor", slider=True)
            layout.operator("make_real.remove_from_compositor", icon="NODE_COMPOSITING")


def _draw_state(layout: bpy.types.UILayout, context: bpy.types.Context, line: StatusLine) -> None:
    draw_text(layout, context, line.text, "INFO")
    layout.operator(line.button)
    for number, text in enumerate(line.problem):
        draw_text(layout, context, text, "BLANK1" if number else "ERROR")
    # Make Real itself stands above already.
    if line.fix not in ("", line.button, "make_real.translate"):
        layout.operator(line.fix)


class MAKE_REAL_PT_settings(InImageEditor, bpy.types.Panel):  # noqa: N801
    """Everything that decides the picture."""

    bl_label = "Settings"
    bl_parent_id = "MAKE_REAL_PT_main"
    bl_order = 1
    bl_options: ClassVar = {"DEFAULT_CLOSED"}

    def draw(self, context: bpy.types.Context) -> None:
        """Draw the request's fields."""
        layout = self.layout
        layout.use_property_split = True
        # A picture has one setting of each, whatever its frame.
        layout.use_property_decorate = False
        settings = context.scene.make_real
        layout.prop(settings, "model")
        layout.prop(settings, "steps")
        column = layout.column(align=True)
        column.prop(settings, "garment_strength")
        column.prop(settings, "rest_strength")
        column = layout.column(align=True)
        for name in ("guidance_scale", "texture_lock", "texture_steps", "detail", "variation", "seed"):
            column.prop(settings, name)


class MAKE_REAL_PT_backend(InImageEditor, bpy.types.Panel):  # noqa: N801
    """The backend by hand."""

    bl_label = "Backend"
    bl_parent_id = "MAKE_REAL_PT_main"
    bl_order = 2
    bl_options: ClassVar = {"DEFAULT_CLOSED"}

    def draw(self, context: bpy.types.Context) -> None:
        """Draw its buttons."""
        layout = self.layout
        is_off = pump.session().phase in (Phase.NOT_INSTALLED, Phase.STOPPED)
        layout.operator("make_real.start_backend" if is_off else "make_real.stop_backend")
        layout.operator("make_real.release_memory")
        column = layout.column(align=True)
        column.operator("make_real.open_log", icon="TEXT")
        column.operator("make_real.copy_diagnostics", icon="COPYDOWN")
        column.operator("make_real.open_preferences", icon="PREFERENCES")


def _draw_header(self, context: bpy.types.Context) -> None:
    if context.area.ui_type != "IMAGE_EDITOR":
        # The UV Editor has the same header.
        return
    # A header has no room for words; they stand in the sidebar.
    draw_start(self.layout, "make_real.translate", icon="SHADERFX")
    line = pump.line()
    if line.fraction is not None:
        self.layout.operator(line.button, text="", icon="X")


def _draw_render_menu(self, context: bpy.types.Context) -> None:
    self.layout.separator()
    self.layout.operator("make_real.translate", icon="SHADERFX")


CLASSES = (
    MAKE_REAL_PT_main,
    MAKE_REAL_PT_settings,
    MAKE_REAL_PT_backend,
)


def register() -> None:
    """Put everything in its place."""
    for cls in CLASSES:
        bpy.utils.register_class(cls)
    bpy.types.IMAGE_HT_header.append(_draw_header)
    bpy.types.TOPBAR_MT_render.append(_draw_render_menu)


def unregister() -> None:
    """Take everything out again."""
    bpy.types.TOPBAR_MT_render.remove(_draw_render_menu)
    bpy.types.IMAGE_HT_header.remove(_draw_header)
    for cls in reversed(CLASSES):
        bpy.utils.unregister_class(cls)
