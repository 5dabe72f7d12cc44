# SPDX-License-Identifier: GPL-3.0-or-later
"""Notices that a scene was rendered again and looks different, so that older results are marked out of date
and the compositor shows the new render.

The render's handler only takes a note. The picture is compared later, when neither a render nor a job runs and
nothing holds Blender's data, once for each render, and only for a frame that the history knows; in slices, but for
Blender's saving of the render.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import NamedTuple

import bpy
from bpy.app.handlers import persistent

from .. import compositor, holding, pace, tickets
from ..picture import render_state
from ..protocol import MakeRealError
from ..session import pump
from ..session.events import Rendered
from . import fingerprint, index, places, shelf
from .recorder import write_events

DELAY_S = 0.5
"""Seconds after a render, so that its picture is drawn first."""
_rendered: dict[str, int] = {}
"""Scenes with a new render -> its frame."""
_comparing: Iterator[None] | None = None


@persistent
def _on_render_complete(scene: bpy.types.Scene, _unused: object = None) -> None:
    _rendered[scene.name] = render_state.frame(scene)
    if not bpy.app.background and not bpy.app.timers.is_registered(_on_timer):
        bpy.app.timers.register(_on_timer, first_interval=DELAY_S, persistent=True)


def _on_timer() -> float | None:
    global _comparing
    if bpy.app.is_job_running("RENDER") or pump.session().job is not None or holding.held_by():
        return DELAY_S
    _comparing = _comparing or _compare_all()
    end = time.perf_counter() + pump.TICK_BUDGET_S
    try:
        pace.step(_comparing)
        while pace.has_room(end):
            pace.step(_comparing)
    except StopIteration:
        _comparing = None
        return None
    return 0.0


def compare_renders() -> None:
    """Compare every new render with what the history knows; scripts under `blender -b` call it themselves."""
    pace.at_once(_compare_all())


def _compare_all() -> Iterator[None]:
    pump.conductor().dispatch(Rendered())
    while _rendered:
        name, frame = _rendered.popitem()
        try:
            yield from _compare(name, frame)
        except MakeRealError as problem:
            if scene := bpy.data.scenes.get(name):
                shelf.tell(scene, problem.message)


def _compare(name: str, frame: int) -> Iterator[None]:
    scene = bpy.data.scenes.get(name)
    if scene is None or _known(scene, frame) is None:
        return
    looks = yield from tickets.look_at(scene, fingerprint.take)
    # Looked up again: meanwhile the artist may have opened another file, or made a picture of this very render.
    scene = bpy.data.scenes.get(name)
    known = _known(scene, frame) if scene else None
    if known is not None and fingerprint.differ(looks, known.looks):
        changed = (index.rendered(name, frame, looks) for name in known.scenes)
        write_events(places.folder(scene), *changed)
        compositor.withdraw(scene, frame)
        shelf.refresh(scene)


class _Known(NamedTuple):
    """A render that the history knows.

    Args:
        scenes: The scene's names so far under which it does; it may have been renamed, or appended.
        looks: The newest fingerprint.
    """

    scenes: tuple[str, ...]
    looks: str


def _known(scene: bpy.types.Scene, frame: int) -> _Known | None:
    """What the history knows of a frame."""
    found = {
        name: told
        for (name, at), told in index.read(places.folder(scene)).renders.items()
        if at == frame and (name == scene.name or not _is_of_another_scene(name, scene))
    }
    return _Known(tuple(found), max(found.values())[1]) if found else None


def _is_of_another_scene(name: str, scene: bpy.types.Scene) -> bool:
    """Whether a name in the scene's history is that of a scene that shares it."""
    other = bpy.data.scenes.get(name)
    return other is not None and other.make_real_history.history == scene.make_real_history.history


@persistent
def _before_load(*_unused: object) -> None:
    _forget()


def _forget() -> None:
    global _comparing
    _rendered.clear()
    if _comparing is not None:
        _comparing.close()
        _comparing = None


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
    _forget()
