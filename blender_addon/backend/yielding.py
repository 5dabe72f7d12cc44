# SPDX-License-Identifier: GPL-3.0-or-later
"""Before Cycles renders, the backend gives the device's memory back; only when it has nothing to do."""

from __future__ import annotations

import bpy
from bpy.app.handlers import persistent

from .. import preferences
from ..session import pump


@persistent
def _on_render_init(_scene: bpy.types.Scene, _unused: object = None) -> None:
    if not preferences.get().release_before_render:
        return
    if bpy.app.background:
        pump.conductor().release()
    else:
        # Render handlers run in the render's own thread, and sockets belong to the timer's.
        pump.want_release(True)


@persistent
def _on_render_end(_scene: bpy.types.Scene, _unused: object = None) -> None:
    pump.want_release(False)


HANDLERS = (
    (bpy.app.handlers.render_init, _on_render_init),
    (bpy.app.handlers.render_complete, _on_render_end),
    (bpy.app.handlers.render_cancel, _on_render_end),
)


def register() -> None:
    """Listen to renders."""
    for handlers, function in HANDLERS:
        handlers.append(function)


def unregister() -> None:
    """Stop listening."""
    for handlers, function in HANDLERS:
        handlers.remove(function)
