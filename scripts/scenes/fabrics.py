# SPDX-License-Identifier: GPL-3.0-or-later
"""Procedural cloth: what it is woven like, what is printed on it, in metres on the cloth."""

from __future__ import annotations

import math
from dataclasses import dataclass

import bpy

from .nodes import Colour, Graph, Value

WEAVES = ("plain", "twill", "denim", "knit", "rib", "satin", "fleece")
PATTERNS = ("solid", "stripe", "plaid", "gingham", "dots", "floral", "print", "melange", "houndstooth")
ROUGHNESS = {"satin": 0.32, "denim": 0.9, "fleece": 1.0}
PITCH = {"plain": 0.0009, "twill": 0.0012, "denim": 0.0013, "knit": 0.0028, "rib": 0.004, "satin": 0.0005}


@dataclass(frozen=True)
class Fabric:
    """One cloth. `colours` are scene-linear; `period` is the size of the pattern's repeat in metres."""

    weave: str
    pattern: str
    colours: tuple[Colour, Colour, Colour]
    period: float = 0.06
    angle: float = 0.0
    weave_scale: float = 1.0
    sheen: float = 0.3
    phase: float = 0.0
    emblem: Colour | None = None


def build_fabric(name: str, fabric: Fabric, metres_per_uv: float = 1.0) -> bpy.types.Material:
    """A material of this cloth for a mesh whose UV unit square is `metres_per_uv` wide.

    The mesh may carry float attributes: `hem` (metres to the nearest cut edge), then a seam is sewn at 2 cm; and
    `band` (0 to 1), where a darker ribbed band is sewn on. An emblem is printed about UV (0, 0.45) metres.
    """
    material = bpy.data.materials.new(name)
    graph = Graph(material)
    chest_u, chest_v = (axis * metres_per_uv for axis in graph.uv())
    u, v = chest_u + fabric.phase, chest_v + fabric.phase
    height, warp = _weave(graph, fabric, u, v)
    colour = _pattern(graph, fabric, u, v)
    if fabric.emblem:
        colour = graph.mix(_emblem(graph, fabric.phase, chest_u, chest_v - 0.45), colour, fabric.emblem)
    if fabric.weave == "denim":
        colour = graph.mix(warp * 0.55, colour, (0.55, 0.57, 0.6))
    colour = graph.mix(height.smooth(0.0, 0.6) * -0.3 + 0.3, colour, (0.0, 0.0, 0.0))
    # Yarns are uneven: thicker for some centimetres, along the warp as along the weft.
    slub = graph.noise(graph.vector(u * 30.0, v * 500.0), detail=1.0) + graph.noise(
        graph.vector(u * 500.0, v * 30.0), detail=1.0
    )
    colour = graph.mix(slub.smooth(0.75, 1.25) * 0.22, colour, (0.0, 0.0, 0.0))
    band = graph.attribute("band")
    colour = graph.mix(band * 0.35, colour, fabric.colours[2])
    height = height * (1.0 - band) + band * ((u + v) * (math.tau / 0.004)).sin()
    seam = _seam(graph)
    colour = graph.mix(seam * 0.25, colour, (0.0, 0.0, 0.0))
    depth = PITCH.get(fabric.weave, 0.002) * fabric.weave_scale * 0.6
    normal_height = height - seam * 1.5
    graph.surface(
        Base_Color=colour,
        Roughness=ROUGHNESS.get(fabric.weave, 0.82),
        Normal=graph.bump(normal_height, depth, 0.6 if fabric.weave != "satin" else 0.15),
        Sheen_Weight=fabric.sheen,
        Sheen_Roughness=0.5,
        Specular_IOR_Level=0.5 if fabric.weave == "satin" else 0.25,
    )
    return material


def _seam(graph: Graph) -> Value:
    """1 on the stitched line 2 cm inside the cut edge. Meshes without the attribute read 0 there: no seam."""
    hem = graph.attribute("hem")
    return (1.0 - ((hem - 0.02).abs() / 0.0022)).maximum(0.0)


def _emblem(graph: Graph, phase: float, x: Value, y: Value) -> Value:
    """A line of brush lettering, in a ring for half of the phases, 20 cm wide."""
    strokes = graph.noise(graph.vector(x * 1.6 + phase * 7.0, y, phase * 31.0), detail=0.5, scale=46.0)
    lettering = strokes.between(0.47, 0.56) * (y.abs() < 0.035) * (x.abs() < 0.085)
    if phase < 0.5:
        return lettering
    radius = (x * x + y * y).power(0.5)
    return lettering.maximum(radius.between(0.098, 0.106)).maximum(radius.between(0.088, 0.091))


def _weave(graph: Graph, fabric: Fabric, u: Value, v: Value) -> tuple[Value, Value]:
    """Height of the threads (0 to 1) and where the second thread system lies on top (0 or 1)."""
    if fabric.weave == "fleece":
        fuzz = graph.noise(graph.vector(u, v), detail=5.0, scale=420.0 / fabric.weave_scale)
        return fuzz, fuzz
    pitch = PITCH[fabric.weave] * fabric.weave_scale
    x, y = u / pitch, v / pitch
    if fabric.weave == "knit":
        slant = ((x.fract() - 0.5).abs() * 1.6 + y).fract()
        stitch = (slant * math.pi).sin()
        return stitch * (x * math.pi).sin().abs().power(0.5), stitch
    if fabric.weave == "rib":
        return (x * math.pi).sin().abs().power(0.7), x
    if fabric.weave in ("twill", "denim"):
        over = ((x.floor() + y.floor()) / 3.0).fract() > 0.5
    else:
        over = ((x.floor() + y.floor()) / 2.0).fract() > 0.25
    thread_x, thread_y = (x * math.pi).sin().abs(), (y * math.pi).sin().abs()
    on_top = thread_y * (thread_x * 0.4 + 0.6)
    below = thread_x * (thread_y * 0.4 + 0.6)
    return on_top * over + below * (1.0 - over), over


def _rotated(u: Value, v: Value, angle: float) -> tuple[Value, Value]:
    cosine, sine = math.cos(angle), math.sin(angle)
    return u * cosine - v * sine, u * sine + v * cosine


def _pattern(graph: Graph, fabric: Fabric, u: Value, v: Value) -> bpy.types.NodeSocket:
    x, y = _rotated(u / fabric.period, v / fabric.period, fabric.angle)
    painter = {
        "solid": _solid,
        "stripe": _stripe,
        "plaid": _plaid,
        "gingham": _gingham,
        "dots": _dots,
        "floral": _floral,
        "print": _print,
        "melange": _melange,
        "houndstooth": _houndstooth,
    }[fabric.pattern]
    return painter(graph, fabric.colours, x, y)


Palette = tuple[Colour, Colour, Colour]


def _solid(graph: Graph, colours: Palette, x: Value, y: Value) -> bpy.types.NodeSocket:
    return graph.mix(0.0, colours[0], colours[0])


def _stripe(graph: Graph, colours: Palette, x: Value, y: Value) -> bpy.types.NodeSocket:
    wide = graph.mix(y.fract() < 0.45, colours[0], colours[1])
    return graph.mix(y.fract().between(0.68, 0.76), wide, colours[2])


def _plaid(graph: Graph, colours: Palette, x: Value, y: Value) -> bpy.types.NodeSocket:
    """A tartan: the same stripes in warp and weft, each half seen through the other."""

    def bands(axis: Value, ground: object) -> bpy.types.NodeSocket:
        repeat = axis.fract()
        wide = graph.mix(repeat.between(0.1, 0.45), ground, colours[1])
        return graph.mix(repeat.between(0.7, 0.74) + repeat.between(0.8, 0.84), wide, colours[2])

    return graph.mix(0.5, bands(x, colours[0]), bands(y, colours[0]))


def _gingham(graph: Graph, colours: Palette, x: Value, y: Value) -> bpy.types.NodeSocket:
    return graph.mix(((x.fract() < 0.5) + (y.fract() < 0.5)) * 0.5, colours[0], colours[1])


def _dots(graph: Graph, colours: Palette, x: Value, y: Value) -> bpy.types.NodeSocket:
    shifted = x + (y.floor() / 2.0).fract()
    dx, dy = shifted.fract() - 0.5, y.fract() - 0.5
    return graph.mix((dx * dx + dy * dy).smooth(0.055, 0.045), colours[0], colours[1])


def _floral(graph: Graph, colours: Palette, x: Value, y: Value) -> bpy.types.NodeSocket:
    """Five-petalled blossoms with a heart, and leaves between them."""
    cells = graph.voronoi(graph.vector(x, y), 0.75)
    centre_x, centre_y = graph.xy(cells.outputs["Position"])
    dx, dy = x - centre_x, y - centre_y
    radius = (dx * dx + dy * dy).power(0.5)
    turn = graph.red(cells.outputs["Color"])
    petals = (graph.math("ARCTAN2", dy, dx) * 2.5 + turn * 6.3).sin().abs()
    reach = petals * 0.16 + 0.16
    leaves = graph.noise(graph.vector(x * 2.3, y * 2.3), detail=1.0).between(0.6, 0.7)
    ground = graph.mix(leaves * 0.7, colours[0], colours[2])
    blossom = graph.mix(
        (radius / reach).smooth(0.2, 1.0), colours[1], tuple(c * 0.75 + 0.1 for c in colours[1])
    )
    flower = graph.mix(radius < reach, ground, blossom)
    return graph.mix(radius < 0.07, flower, colours[2])


def _print(graph: Graph, colours: Palette, x: Value, y: Value) -> bpy.types.NodeSocket:
    """Large painted shapes, two inks over the ground."""
    wobble = graph.noise(graph.vector(x, y), detail=2.0, scale=1.4)
    first = graph.mix(wobble.smooth(0.52, 0.55), colours[0], colours[1])
    second = graph.noise(graph.vector(x + 9.0, y + wobble), detail=3.0, scale=1.1)
    return graph.mix(second.smooth(0.58, 0.6), first, colours[2])


def _melange(graph: Graph, colours: Palette, x: Value, y: Value) -> bpy.types.NodeSocket:
    streak = graph.noise(graph.vector(x * 10.0, y * 60.0), detail=3.0).smooth(0.35, 0.65)
    return graph.mix(streak * 0.6, colours[0], colours[1])


def _houndstooth(graph: Graph, colours: Palette, x: Value, y: Value) -> bpy.types.NodeSocket:
    """Woven for true: four dark and four light threads each way in a 2/2 twill."""
    column, row = (x * 8.0).floor(), (y * 8.0).floor()
    warp_dark, weft_dark = (column / 8.0).fract() < 0.5, (row / 8.0).fract() < 0.5
    warp_on_top = ((column + row + 0.5) / 4.0).fract() < 0.5
    dark = warp_dark * warp_on_top + weft_dark * (1.0 - warp_on_top)
    return graph.mix(dark, colours[0], colours[1])
