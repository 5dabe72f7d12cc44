# SPDX-License-Identifier: GPL-3.0-or-later
"""What the Image Editor shows over the result while comparing: the render up to the line, or the difference."""

from __future__ import annotations

from dataclasses import dataclass

import blf
import bpy
import gpu
from gpu_extras.batch import batch_for_shader

from . import comparison, fidelity, pictures, shader

MODES = {
    "WIPE_ACROSS": shader.WIPE_ACROSS,
    "WIPE_DOWN": shader.WIPE_DOWN,
    "DIFFERENCE": shader.DIFFERENCE,
}
FONT = 0
LINE_COLOR = (1.0, 1.0, 1.0, 0.9)
SHADE_COLOR = (0.0, 0.0, 0.0, 0.5)
LEVEL_COLORS = {
    fidelity.Level.GOOD: (0.85, 0.85, 0.85, 1.0),
    fidelity.Level.FAIR: (1.0, 0.8, 0.3, 1.0),
    fidelity.Level.BAD: (1.0, 0.35, 0.3, 1.0),
}
MARGIN = 12
"""Between texts and what they belong to; times the interface's scale, as the following ones."""
LINE_WIDTH = 2
HANDLE_RADIUS = 7

_shader: gpu.types.GPUShader | None = None
_square: gpu.types.GPUBatch | None = None
_handler: object | None = None


@dataclass(frozen=True)
class Box:
    """Where the picture is in the region, in the region's pixels; it may reach beyond the region."""

    left: float
    bottom: float
    right: float
    top: float

    def in_clip_space(self, region: bpy.types.Region) -> tuple[float, float, float, float]:
        """Left, bottom, right, top from -1 to 1 across the region."""
        across, up = 2.0 / region.width, 2.0 / region.height
        return (
            self.left * across - 1.0,
            self.bottom * up - 1.0,
            self.right * across - 1.0,
            self.top * up - 1.0,
        )

    def line(self, mode: str, split: float) -> tuple[tuple[float, float], tuple[float, float]]:
        """Both ends of the line."""
        if mode == "WIPE_ACROSS":
            x = self.left + split * (self.right - self.left)
            return (x, self.bottom), (x, self.top)
        y = self.top - split * (self.top - self.bottom)
        return (self.left, y), (self.right, y)

    def split_at(self, mode: str, x: float, y: float) -> float:
        """Where the line stands when it is dragged to a place, 0..1."""
        if mode == "WIPE_ACROSS":
            along = (x - self.left) / (self.right - self.left)
        else:
            along = (self.top - y) / (self.top - self.bottom)
        return min(max(along, 0.0), 1.0)


def box_of(region: bpy.types.Region) -> Box:
    """Where the picture is. `view_to_region` would round to whole pixels, so the inverse is inverted."""
    left, bottom = region.view2d.region_to_view(0.0, 0.0)
    right, top = region.view2d.region_to_view(region.width, region.height)
    across, up = region.width / (right - left), region.height / (top - bottom)
    return Box(-left * across, -bottom * up, (1.0 - left) * across, (1.0 - bottom) * up)


def _draw() -> None:
    context = bpy.context
    settings = comparison.settings()
    if not settings.is_on or context.area.ui_type != "IMAGE_EDITOR":
        return
    pair = comparison.pair_of(context.scene, context.space_data.image)
    if pair is None:
        return
    scale = context.preferences.system.ui_scale
    box = box_of(context.region)
    problem = _draw_pictures(context, settings, pair, box)
    texts = [(problem, LEVEL_COLORS[fidelity.Level.BAD])] if problem else []
    if not problem and settings.mode != "DIFFERENCE":
        _draw_line(box, settings, scale)
        _draw_names(box, settings, context.region, scale)
    if settings.show_figures:
        texts += [(line.text, LEVEL_COLORS[line.level]) for line in fidelity.lines(pair.entry.report)]
    for number, (text, color) in enumerate(reversed(texts)):
        _draw_text(text, MARGIN * scale, (MARGIN + 20 * number) * scale, color, scale)


def _draw_pictures(
    context: bpy.types.Context, settings: comparison.CompareSettings, pair: comparison.Pair, box: Box
) -> str:
    """Draw the render over the result; returns what hinders it."""
    global _shader, _square
    mode = MODES[settings.mode]
    paths = (pair.before, pair.after) if mode == shader.DIFFERENCE else (pair.before, pair.before)
    before, after = (pictures.texture_of(path) for path in paths)
    if before is None or after is None:
        return next(filter(None, map(pictures.problem_of, paths)), "Reading the pictures")
    if _shader is None:
        _shader = shader.build()
        _square = shader.square(_shader)
    interface = context.preferences.themes[0].user_interface
    _shader.bind()
    _shader.uniform_float("square_first", interface.transparent_checker_primary)
    _shader.uniform_float("square_second", interface.transparent_checker_secondary)
    _shader.uniform_float("square_size", interface.transparent_checker_size)
    _shader.uniform_float("corners", box.in_clip_space(context.region))
    _shader.uniform_float("split", settings.split)
    _shader.uniform_float("gain", settings.gain)
    _shader.uniform_int("mode", mode)
    _shader.uniform_sampler("before", before)
    _shader.uniform_sampler("after", after)
    gpu.state.blend_set("NONE")
    _square.draw(_shader)
    return ""


def _draw_line(box: Box, settings: comparison.CompareSettings, scale: float) -> None:
    """The line with its handle, dark at the edges so that it is seen on any picture."""
    (x1, y1), (x2, y2) = box.line(settings.mode, settings.split)
    middle = ((x1 + x2) / 2, (y1 + y2) / 2)
    gpu.state.blend_set("ALPHA")
    for color, extra in ((SHADE_COLOR, 1), (LINE_COLOR, 0)):
        half = (LINE_WIDTH / 2 + extra) * scale
        across = (half, 0.0) if settings.mode == "WIPE_ACROSS" else (0.0, half)
        _fill((x1 - across[0], y1 - across[1]), (x2 + across[0], y2 + across[1]), color)
        radius = (HANDLE_RADIUS + extra) * scale
        corners = (middle[0] - radius, middle[1] - radius), (middle[0] + radius, middle[1] + radius)
        _fill(*corners, color)
    gpu.state.blend_set("NONE")


def _fill(low: tuple[float, float], high: tuple[float, float], color: tuple[float, ...]) -> None:
    plain = gpu.shader.from_builtin("UNIFORM_COLOR")
    corners = (low, (high[0], low[1]), high, (low[0], high[1]))
    plain.uniform_float("color", color)
    batch_for_shader(plain, "TRI_FAN", {"pos": corners}).draw(plain)


def _draw_names(
    box: Box, settings: comparison.CompareSettings, region: bpy.types.Region, scale: float
) -> None:
    """Say on which side which picture is."""
    (x, y), (_x, top) = box.line(settings.mode, settings.split)
    names = ("Render", "Make Real")
    blf.size(FONT, 11.0 * scale)
    width, height = blf.dimensions(FONT, names[0])
    if settings.mode == "WIPE_ACROSS":
        at = min(top, region.height) - (MARGIN + 30) * scale
        places = ((x - MARGIN * scale - width, at), (x + MARGIN * scale, at))
    else:
        left = max(x, 0.0) + MARGIN * scale
        places = ((left, y + MARGIN * scale), (left, y - MARGIN * scale - height))
    for name, place in zip(names, places, strict=True):
        _draw_text(name, *place, LINE_COLOR, scale)


def _draw_text(text: str, x: float, y: float, color: tuple[float, ...], scale: float) -> None:
    blf.size(FONT, 11.0 * scale)
    blf.enable(FONT, blf.SHADOW)
    blf.shadow(FONT, 5, 0.0, 0.0, 0.0, 0.9)
    blf.color(FONT, *color)
    blf.position(FONT, x, y, 0.0)
    blf.draw(FONT, text)
    blf.disable(FONT, blf.SHADOW)


def register() -> None:
    """Draw in every Image Editor."""
    global _handler
    _handler = bpy.types.SpaceImageEditor.draw_handler_add(_draw, (), "WINDOW", "POST_PIXEL")


def unregister() -> None:
    """Draw no more."""
    global _handler, _shader, _square
    bpy.types.SpaceImageEditor.draw_handler_remove(_handler, "WINDOW")
    _handler = _shader = _square = None
    pictures.unregister()
