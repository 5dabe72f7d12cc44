# SPDX-License-Identifier: GPL-3.0-or-later
"""What stands around a garment: floors, walls and the seamless curved backdrop of a studio."""

from __future__ import annotations

import math

import bpy

from .nodes import Colour, Graph, Value, rgba

FLOORS = ("wood", "carpet", "tiles", "concrete", "paper", "bedsheet", "rug")


def build_floor_material(kind: str, colour: Colour, second: Colour, scale: float = 1.0) -> bpy.types.Material:
    """A flooring or wall finish, in metres of object space."""
    material = bpy.data.materials.new(f"Surface {kind}")
    graph = Graph(material)
    x, y, z = (axis / scale for axis in graph.object_xyz())
    painter = {
        "wood": _wood,
        "carpet": _carpet,
        "tiles": _tiles,
        "concrete": _concrete,
        "paper": _paper,
        "bedsheet": _bedsheet,
        "rug": _rug,
    }[kind]
    painter(graph, colour, second, x, y + z)
    return material


def _wood(graph: Graph, colour: Colour, second: Colour, x: Value, y: Value) -> None:
    row = (x / 0.12).floor()
    shifted = y + row * 0.37
    plank = (shifted / 0.9).floor()
    tone = ((row * 12.9898 + plank * 78.233).sin() * 43758.5453).fract()
    grain = graph.noise(graph.vector(x * 55.0 + tone * 30.0, shifted * 3.0, tone * 9.0), detail=5.0)
    edge_x, edge_y = ((x / 0.12).fract() - 0.5).abs(), ((shifted / 0.9).fract() - 0.5).abs()
    gap = (edge_x > 0.488).maximum(edge_y > 0.498)
    board = graph.mix((grain.smooth(0.3, 0.75) * 0.7 + tone * 0.3), colour, second)
    graph.surface(
        Base_Color=graph.mix(gap * 0.8, board, (0.01, 0.007, 0.005)),
        Roughness=0.42 + grain * 0.2,
        Normal=graph.bump(grain * 0.1 - gap, 0.002, 0.6),
    )


def _carpet(graph: Graph, colour: Colour, second: Colour, x: Value, y: Value) -> None:
    pile = graph.noise(graph.vector(x, y), detail=4.0, scale=170.0).smooth(0.25, 0.75)
    worn = graph.noise(graph.vector(x, y), detail=3.0, scale=7.0).smooth(0.3, 0.7)
    graph.surface(
        Base_Color=graph.mix(pile * 0.6 + worn * 0.25, colour, second),
        Roughness=1.0,
        Specular_IOR_Level=0.1,
        Normal=graph.bump(pile, 0.008, 0.8),
    )


def _tiles(graph: Graph, colour: Colour, second: Colour, x: Value, y: Value) -> None:
    u, v = x / 0.3, y / 0.3
    joint = ((u.fract() - 0.5).abs() > 0.49).maximum((v.fract() - 0.5).abs() > 0.49)
    cloud = graph.noise(graph.vector(x, y), detail=5.0, scale=6.0)
    tile = graph.mix(cloud.smooth(0.35, 0.7) * 0.4, colour, second)
    graph.surface(
        Base_Color=graph.mix(joint * 0.6, tile, (0.12, 0.11, 0.1)),
        Roughness=0.25 + joint * 0.6,
        Normal=graph.bump(1.0 - joint, 0.002),
    )


def _concrete(graph: Graph, colour: Colour, second: Colour, x: Value, y: Value) -> None:
    cloud = graph.noise(graph.vector(x, y), detail=8.0, scale=3.0)
    graph.surface(
        Base_Color=graph.mix(cloud.smooth(0.3, 0.7) * 0.5, colour, second),
        Roughness=0.8,
        Normal=graph.bump(cloud, 0.01, 0.5),
    )


def _paper(graph: Graph, colour: Colour, second: Colour, x: Value, y: Value) -> None:
    graph.surface(Base_Color=rgba(colour), Roughness=0.9, Specular_IOR_Level=0.2)


def _bedsheet(graph: Graph, colour: Colour, second: Colour, x: Value, y: Value) -> None:
    warp = graph.noise(graph.vector(x, y), detail=2.0, scale=1.7)
    folds = graph.noise(graph.vector(x * 1.5 + warp * 2.0, y * 4.0 + warp * 3.0), detail=3.0, scale=1.5)
    band = ((x / 0.08).fract() < 0.4) * 0.5
    graph.surface(
        Base_Color=graph.mix(band, colour, second),
        Roughness=0.9,
        Sheen_Weight=0.3,
        Normal=graph.bump(folds, 0.07, 0.9),
    )


def _rug(graph: Graph, colour: Colour, second: Colour, x: Value, y: Value) -> None:
    u, v = x / 0.35, y / 0.35
    diamond = ((u.fract() - 0.5).abs() + (v.fract() - 0.5).abs()).smooth(0.4, 0.42)
    inner = ((u.fract() - 0.5).abs() + (v.fract() - 0.5).abs()) < 0.18
    thread = (y * math.tau / 0.006).sin() * 0.5 + 0.5
    dark = tuple(channel * 0.4 for channel in colour)
    pattern = graph.mix(inner, graph.mix(diamond, colour, second), dark)
    graph.surface(
        Base_Color=graph.mix(thread * 0.25, pattern, (0.0, 0.0, 0.0)),
        Roughness=1.0,
        Normal=graph.bump(thread, 0.003, 0.7),
    )


def add_plane(
    name: str, size: float, material: bpy.types.Material, upright: bool = False
) -> bpy.types.Object:
    """A square floor at z = 0, or a wall at y = 0 when upright."""
    half = size / 2
    corners = [(-half, -half), (half, -half), (half, half), (-half, half)]
    points = [(x, 0.0, y) if upright else (x, y, 0.0) for x, y in corners]
    return add_mesh(name, points, [(0, 1, 2, 3)], material)


def add_sweep(
    name: str, material: bpy.types.Material, width: float = 8.0, front: float = -5.0, back: float = 1.6
) -> bpy.types.Object:
    """A studio sweep: floor at z = 0 that bends up into a wall at y = `back`, radius 1 m."""
    arc = [
        (back - 1.0 + math.sin(turn), 1.0 - math.cos(turn))
        for turn in (math.pi / 2 * step / 24 for step in range(25))
    ]
    profile = [(front, 0.0), *arc, (back, 6.0)]
    points = [(side * width / 2, y, z) for y, z in profile for side in (-1, 1)]
    faces = [(2 * i, 2 * i + 1, 2 * i + 3, 2 * i + 2) for i in range(len(profile) - 1)]
    sweep = add_mesh(name, points, faces, material)
    sweep.data.shade_smooth()
    return sweep


def add_mesh(
    name: str,
    points: list[tuple[float, float, float]],
    faces: list[tuple[int, ...]],
    material: bpy.types.Material | None = None,
) -> bpy.types.Object:
    mesh = bpy.data.meshes.new(name)
    mesh.from_pydata(points, [], faces)
    mesh.update()
    if material:
        mesh.materials.append(material)
    thing = bpy.data.objects.new(name, mesh)
    bpy.context.scene.collection.objects.link(thing)
    return thing
