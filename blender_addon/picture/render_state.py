# SPDX-License-Identifier: GPL-3.0-or-later
"""Of which frame the render is that Blender shows, and whether it is finished. Afterwards nothing in Blender's data
tells, so it is noted."""

from __future__ import annotations

import bpy
from bpy.app.handlers import persistent

from ..protocol import ErrorCode, MakeRealError

_cancelled: set[int] = set()
"""`session_uid` of each scene whose last render was cancelled. Render handlers run in the render's own thread, where
nothing else may be done."""
_frames: dict[int, int] = {}
"""`session_uid` of each scene -> frame of its last render."""


def check() -> None:
    """Refuse a picture that Blender is still working on.

    Raises:
        MakeRealError: NO_RENDER.
    """
    if bpy.app.is_job_running("RENDER"):
        raise MakeRealError(ErrorCode.NO_RENDER, "Blender is rendering it just now")


def remarks(scene: bpy.types.Scene) -> tuple[str, ...]:
    """What is to be said about the scene's last render; a cancelled one may be all that the artist wants."""
    if scene.session_uid not in _cancelled:
        return ()
    return ("The render was cancelled: the picture is made from what there is of it",)


def frame(scene: bpy.types.Scene) -> int:
    """Frame of the scene's last render. The artist may have gone to another one since, and Blender goes back by itself
    when an animation is done."""
    return _frames.get(scene.session_uid, scene.frame_current)


@persistent
def _on_init(scene: bpy.types.Scene, _unused: object = None) -> None:
    _cancelled.discard(scene.session_uid)


@persistent
def _on_cancel(scene: bpy.types.Scene, _unused: object = None) -> None:
    _cancelled.add(scene.session_uid)


@persistent
def _on_frame(scene: bpy.types.Scene, _unused: object = None) -> None:
    _frames[scene.session_uid] = scene.frame_current


@persistent
def _before_load(*_unused: object) -> None:
    _forget()


def _forget() -> None:
    _cancelled.clear()
    _frames.clear()


_HANDLERS = (
    (bpy.app.handlers.render_init, _on_init),
    (bpy.app.handlers.render_cancel, _on_cancel),
    # Not after it: a frame that is cancelled has no end, and its picture is taken all the same.
    (bpy.app.handlers.render_pre, _on_frame),
    (bpy.app.handlers.load_pre, _before_load),
)


def register() -> None:
    """Listen to renders."""
    for handlers, function in _HANDLERS:
        handlers.append(function)


def unregister() -> None:
    """Listen no more."""
    for handlers, function in _HANDLERS:
        handlers.remove(function)
    _forget()
