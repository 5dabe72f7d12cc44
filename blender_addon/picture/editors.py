# SPDX-License-Identifier: GPL-3.0-or-later
"""The Image Editors that show a scene's picture: the render, or a result of ours.

Blender's undo leaves an editor empty when it takes the editor's image away, and redo brings the image back and not
the editor to it. So what an editor showed is noted before, and given to it, or what the scene has now, afterwards.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import bpy
from bpy.app.handlers import persistent

WARNINGS = "make_real_warnings"
"""Custom property of a result's image: what the backend found doubtful about it, one sentence a line."""

_following: set[int] = set()
"""Areas that showed their scene's picture before the undo that is under way."""
_results: dict[str, str] = {}
"""The results that scenes had then, by name."""


def every() -> Iterator[tuple[bpy.types.Window, bpy.types.Area]]:
    """All Image Editors, with their windows."""
    for window in bpy.context.window_manager.windows:
        for area in window.screen.areas:
            if area.type == "IMAGE_EDITOR":
                yield window, area


def redraw() -> None:
    """Let every Image Editor draw itself again."""
    for _window, area in every():
        area.tag_redraw()


def following(scene: bpy.types.Scene) -> Iterator[bpy.types.SpaceImageEditor]:
    """The editors that a new picture of the scene belongs into: not one that the artist has pinned, and none with
    another image."""
    for window, area in every():
        if window.scene == scene and _follows(area.spaces.active):
            yield area.spaces.active


def _follows(space: bpy.types.SpaceImageEditor) -> bool:
    shown = space.image
    return not space.use_image_pin and (shown is None or shown.type == "RENDER_RESULT" or WARNINGS in shown)


@persistent
def _before_undo(*_unused: object) -> None:
    _following.clear()
    _following.update(
        area.as_pointer() for _, area in every() if area.spaces.active.image and _follows(area.spaces.active)
    )
    _results.clear()
    _results.update((scene.name, _name(scene.make_real.result)) for scene in bpy.data.scenes)


@persistent
def _after_undo(*_unused: object) -> None:
    _show_present(lambda scene, shown: shown is None)


@persistent
def _after_redo(*_unused: object) -> None:
    _show_present(
        lambda scene, shown: shown is None or _name(scene.make_real.result) != _results.get(scene.name)
    )


def _show_present(is_stale: Callable[[bpy.types.Scene, bpy.types.Image | None], bool]) -> None:
    for window, area in every():
        space, scene = area.spaces.active, window.scene
        if area.as_pointer() in _following and is_stale(scene, space.image):
            space.image = scene.make_real.result or bpy.data.images.get("Render Result")


def _name(image: bpy.types.Image | None) -> str:
    return image.name if image else ""


_HANDLERS = (
    ("undo_pre", _before_undo),
    ("redo_pre", _before_undo),
    ("undo_post", _after_undo),
    ("redo_post", _after_redo),
)


def register() -> None:
    """Listen to undo."""
    for name, function in _HANDLERS:
        getattr(bpy.app.handlers, name).append(function)


def unregister() -> None:
    """Listen no more."""
    for name, function in _HANDLERS:
        getattr(bpy.app.handlers, name).remove(function)
    _following.clear()
    _results.clear()
