# SPDX-License-Identifier: GPL-3.0-or-later
"""The parts over the render in the Image Editor, coloured by their roles: seen before anything is sent.

It is drawn over the region and changes no image. The planes are read from the render as for a job, in slices of a
timer, and again after the parts were edited or the picture rendered anew.
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Generator, Mapping

import bpy
import gpu
import numpy as np
from bpy.app.handlers import persistent
from gpu_extras.presets import draw_texture_2d

from .. import pace
from ..picture import exr, files, render_passes
from ..protocol import MakeRealError, PlaneName
from . import edits, picked, planes

COLORS = {
    PlaneName.GARMENT: (0.05, 0.85, 0.25),
    PlaneName.FREE: (1.0, 0.75, 0.0),
    PlaneName.PROTECTED: (1.0, 0.1, 0.15),
}
"""Display-referred."""
OPACITY = 0.5
MAX_SIDE = 2048
"""The overlay of a larger render is drawn from every second, third ... pixel of its planes."""
BAND_PIXELS = 1 << 13
"""Coloured between two looks at the clock."""
SLICE_S = 0.004
BUSY_INTERVAL_S = 0.01
IDLE_INTERVAL_S = 0.25
"""Also what an artist's drag of a slider is waited for."""

Making = Generator[None, None, tuple[np.ndarray | None, tuple[str, ...]]]


class _Overlay:
    """The overlay while it is switched on.

    Args:
        scene: Name of the scene whose parts are shown.
    """

    def __init__(self, scene: str) -> None:
        self.scene = scene
        self.remarks: tuple[str, ...] = ()
        self._pixels: np.ndarray | None = None
        self._texture: gpu.types.GPUTexture | None = None
        self._making: Making | None = None
        self._drawn = -1
        self._handle = bpy.types.SpaceImageEditor.draw_handler_add(self._draw, (), "WINDOW", "POST_PIXEL")

    def remove(self) -> None:
        """Draw no more."""
        bpy.types.SpaceImageEditor.draw_handler_remove(self._handle, "WINDOW")

    def tick(self) -> float:
        """Do a slice of what is to be done; returns the seconds until the next."""
        if self._drawn != edits.count:
            self._drawn = edits.count
            self._making = _make(self.scene)
        if self._making is None:
            return IDLE_INTERVAL_S
        end = time.perf_counter() + SLICE_S
        try:
            pace.step(self._making)
            while pace.has_room(end):
                pace.step(self._making)
        except StopIteration as end:
            self._show(*end.value)
        except MakeRealError as problem:
            self._show(None, (problem.message,))
        return BUSY_INTERVAL_S

    def _show(self, pixels: np.ndarray | None, remarks: tuple[str, ...]) -> None:
        self._making = self._texture = None
        self._pixels, self.remarks = pixels, remarks
        _redraw()

    def _draw(self) -> None:
        context = bpy.context
        image = context.space_data.image
        if context.scene.name != self.scene or image is None or self._pixels is None:
            return
        if image.type != "RENDER_RESULT" and image != context.scene.make_real.result:
            return
        if self._texture is None:
            # Only here is the graphics context certain to be the window's.
            height, width = self._pixels.shape[:2]
            buffer = gpu.types.Buffer("FLOAT", self._pixels.size, self._pixels.reshape(-1))
            self._texture = gpu.types.GPUTexture((width, height), format="RGBA8", data=buffer)
        to_region = context.region.view2d.view_to_region
        left, bottom = to_region(0.0, 0.0, clip=False)
        right, top = to_region(1.0, 1.0, clip=False)
        gpu.state.blend_set("ALPHA")
        draw_texture_2d(self._texture, (left, bottom), right - left, top - bottom)
        gpu.state.blend_set("NONE")


_overlay: _Overlay | None = None


def is_on(window_manager: bpy.types.WindowManager) -> bool:
    """Whether the parts are shown."""
    return window_manager.make_real_mask_overlay


def remarks() -> tuple[str, ...]:
    """Sentences on what the overlay could not show."""
    return _overlay.remarks if _overlay else ()


def _make(scene_name: str) -> Making:
    """The overlay's pixels, as `colored` gives them, and what is to be said; no pixels without parts."""
    scene = bpy.data.scenes.get(scene_name)
    parts = picked.parts(scene) if scene else []
    if not parts:
        return None, ("No parts: the whole picture is garment",)
    with render_passes.saved_passes(scene) as path:
        yield
        with exr.opened(path) as channels:
            size = next(iter(channels.values())).shape
            masks = yield from planes.decode(parts, channels, size)
        yield from files.shrink(path)
    step = -(-max(size) // MAX_SIDE)
    pixels = yield from colored({name: plane[::step, ::step] for name, plane in masks.planes.items()})
    problem = [masks.problem.message] if masks.problem else []
    return pixels, (*problem, *masks.remarks)


def colored(
    planes_by_name: Mapping[PlaneName, np.ndarray],
) -> Generator[None, None, np.ndarray | None]:
    """The planes as one picture to be drawn over the render.

    Args:
        planes_by_name: (height, width) uint16 planes, top row first.

    Returns:
        (height, width, 4) float32 RGBA, straight alpha, **bottom** row first as textures are; None when no plane
        has a colour.
    """
    shown = {name: plane for name, plane in planes_by_name.items() if name in COLORS}
    if not shown:
        return None
    height, width = next(iter(shown.values())).shape
    pixels = np.empty((height, width, 4), np.float32)
    for rows in pace.slices(height, max(1, BAND_PIXELS // width)):
        amounts = {name: plane[rows].astype(np.float32) / 65535.0 for name, plane in shown.items()}
        total = sum(amounts.values())
        share = OPACITY / np.maximum(total, 1.0)
        target = pixels[::-1][rows]
        target[..., 3] = np.minimum(total, 1.0) * OPACITY
        target[..., :3] = sum(
            (amount * share / np.maximum(target[..., 3], 1e-6))[..., None] * np.float32(COLORS[name])
            for name, amount in amounts.items()
        )
        yield
    return pixels


class MaskOverlay(bpy.types.Operator):
    """Show which pixels belong to which part, over the render; nothing is sent and no image is changed"""

    bl_idname = "make_real.mask_overlay"
    bl_label = "Show Parts"

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        """Whether there is a window to draw in."""
        if bpy.app.background:
            cls.poll_message_set("The overlay needs a window")
        return not bpy.app.background

    def execute(self, context: bpy.types.Context) -> set[str]:
        """Switch it on or off."""
        context.window_manager.make_real_mask_overlay = not is_on(context.window_manager)
        return {"FINISHED"}


def _switched(window_manager: bpy.types.WindowManager, context: bpy.types.Context) -> None:
    global _overlay
    if _overlay:
        _overlay.remove()
        _overlay = None
    if is_on(window_manager) and not bpy.app.background:
        _overlay = _Overlay(context.scene.name)
        if not bpy.app.timers.is_registered(_on_timer):
            bpy.app.timers.register(_on_timer, persistent=True)
    _redraw()


def _on_timer() -> float | None:
    return _overlay.tick() if _overlay else None


@persistent
def _on_change(*_args: object) -> None:
    # In a handler nothing may be done but to take note.
    edits.changed()


@persistent
def _on_load(*_args: object) -> None:
    for window_manager in bpy.data.window_managers:
        window_manager.make_real_mask_overlay = False


def _redraw() -> None:
    windows = (window for manager in bpy.data.window_managers for window in manager.windows)
    for area in itertools.chain.from_iterable(window.screen.areas for window in windows):
        if area.type == "IMAGE_EDITOR":
            area.tag_redraw()


CHANGES = ("render_complete", "undo_post", "redo_post")
"""Handlers after which the parts or the render may be others."""


def register() -> None:
    """Make the switch known."""
    bpy.utils.register_class(MaskOverlay)
    bpy.types.WindowManager.make_real_mask_overlay = bpy.props.BoolProperty(
        name="Show Parts", description="Draw the parts over the render", update=_switched
    )
    for name in CHANGES:
        getattr(bpy.app.handlers, name).append(_on_change)
    bpy.app.handlers.load_post.append(_on_load)


def unregister() -> None:
    """Switch it off and forget it."""
    global _overlay
    if _overlay:
        _overlay.remove()
        _overlay = None
    if bpy.app.timers.is_registered(_on_timer):
        bpy.app.timers.unregister(_on_timer)
    bpy.app.handlers.load_post.remove(_on_load)
    for name in CHANGES:
        getattr(bpy.app.handlers, name).remove(_on_change)
    del bpy.types.WindowManager.make_real_mask_overlay
    bpy.utils.unregister_class(MaskOverlay)
