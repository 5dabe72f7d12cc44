# SPDX-License-Identifier: GPL-3.0-or-later
"""Notices that a scene was rendered again and looks different, so that older results are marked out of date
and the compositor shows the new render.

The render's handler only takes a note. The picture is compared later, when neither a render nor a job runs,
once for each render, and only for a frame that the history knows.
"""

from __future__ import annotations

import bpy
from bpy.app.handlers import persistent

from .. import compositor, tickets
from ..protocol import MakeRealError
from ..session import pump
from . import fingerprint, index, places, shelf
from .recorder import write_events

DELAY_S = 0.5
"""Seconds after a render, so that its picture is drawn first."""

_rendered: dict[str, int] = {}
"""Scenes with a new render -> its frame."""


@persistent
def _on_render_complete(scene: bpy.types.Scene, _unused: object = None) -> None:
    _rendered[scene.name] = scene.frame_current
    if not bpy.app.background and not bpy.app.timers.is_registered(_on_timer):
        bpy.app.timers.register(_on_timer, first_interval=DELAY_S, persistent=True)


def _on_timer() -> float | None:
    if bpy.app.is_job_running("RENDER") or pump.session().job is not None:
        return DELAY_S
    compare_renders()
    return None


def compare_renders() -> None:
    """Compare every new render with what the history knows; scripts under `blender -b` call it themselves."""
    while _rendered:
        name, frame = _rendered.popitem()
        scene = bpy.data.scenes.get(name)
        if scene is not None:
            try:
                _compare(scene, frame)
            except MakeRealError as problem:
                shelf.tell(scene, problem.message)


def _compare(scene: bpy.types.Scene, frame: int) -> None:
    folder = places.folder(scene)
    newest = index.read(folder).renders.get((scene.name, frame))
    if newest is None:
        return
    looks = fingerprint.at_once(tickets.picture(scene))
    if fingerprint.differ(looks, newest[1]):
        write_events(folder, index.rendered(scene.name, frame, looks))
        compositor.withdraw(scene, frame)
        shelf.refresh(scene)


@persistent
def _before_load(*_unused: object) -> None:
    _rendered.clear()


def register() -> None:
    """Listen."""
    bpy.app.handlers.render_complete.append(_on_render_complete)
    bpy.app.handlers.load_pre.append(_before_load)


def unregister() -> None:
    """Listen no more."""
    if bpy.app.timers.is_registered(_on_timer):
        bpy.app.timers.unregister(_on_timer)
    bpy.app.handlers.load_pre.remove(_before_load)
    bpy.app.handlers.render_complete.remove(_on_render_complete)
    _rendered.clear()
