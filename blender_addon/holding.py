# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether a timer may change Blender's data now, or must wait for the artist to let go.

Blender refuses a timer nothing, but two things go wrong if it does not wait (seen in Blender 4.3). An undo step taken
while an operator moves things keeps them where they happened to be: the artist's next undo brings them there, even
after Esc. And while a render has the interface locked, Blender asks timers to change no data.
"""

from __future__ import annotations

from collections.abc import Iterator

import bpy

HOLDING_OPTIONS = {"UNDO", "BLOCKING"}
"""Of an operator that changes data while it runs, or owns the mouse: transforms, strokes, handles. Renders, playback
and add-ons that run for hours have neither."""


def held_by() -> str:
    """What holds Blender's data just now, in words; empty when nothing does."""
    for manager in bpy.data.window_managers:
        if manager.is_interface_locked:
            return "Blender's render"
        for window in manager.windows:
            for operator in window.modal_operators:
                if operator.bl_options & HOLDING_OPTIONS:
                    return operator.name
    return ""


def until_free() -> Iterator[str]:
    """Pauses until nothing holds Blender's data; each pause tells what does."""
    while holder := held_by():
        yield holder
