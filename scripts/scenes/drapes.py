# SPDX-License-Identifier: GPL-3.0-or-later
"""Cloth sheets draped by simulation: over solids, hung by corners, dropped in a heap. Each takes about 2 s."""

from __future__ import annotations

import math

import bpy
import numpy as np

DRAPES = (
    "ball", "box", "cylinder", "cone", "two balls", "edge", "corners", "one point", "heap", "roll", "chair", "gathered",
)  # fmt: skip
_HUNG = {"edge", "corners", "one point", "gathered"}
SIDE = 1.2
GRID = 54


def simulate_drape(kind: str, frames: int = 45) -> bpy.types.Mesh:
    """The mesh of one drape, UV in metres, floor at z = 0. The same kind gives the same mesh every time."""
    scene = bpy.context.scene
    solids = _solids(kind)
    sheet = _sheet(kind)
    _add_cloth(sheet, kind)
    for frame in range(1, frames + 1):
        scene.frame_set(frame)
    mesh = bpy.data.meshes.new_from_object(sheet.evaluated_get(bpy.context.evaluated_depsgraph_get()))
    mesh.name = f"Drape {kind}"
    mesh.shade_smooth()
    for thing in (sheet, *solids):
        data = thing.data
        bpy.data.objects.remove(thing, do_unlink=True)
        bpy.data.meshes.remove(data)
    scene.frame_set(1)
    _stand_on_floor(mesh)
    return mesh


def _stand_on_floor(mesh: bpy.types.Mesh) -> None:
    points = np.empty(len(mesh.vertices) * 3, dtype=np.float32)
    mesh.vertices.foreach_get("co", points)
    points = points.reshape(-1, 3)
    points[:, 2] += 0.002 - points[:, 2].min()
    mesh.vertices.foreach_set("co", points.ravel())
    mesh.update()


def _sheet(kind: str) -> bpy.types.Object:
    """A square sheet: level and above the solids, or upright and gathered when it hangs."""
    axis = np.linspace(0.0, 1.0, GRID)
    u, v = (part.ravel() for part in np.meshgrid(axis, axis))
    rng = np.random.default_rng(DRAPES.index(kind))
    wobble = rng.normal(0.0, 0.002, u.size)
    if kind in _HUNG:
        squeeze = {"edge": 0.7, "corners": 0.75, "one point": 0.95, "gathered": 0.5}[kind]
        x = (u - 0.5) * SIDE * squeeze
        points = np.column_stack([x, 0.05 * np.sin(u * 34.0) * (1.0 - squeeze) + wobble, v * SIDE + 0.1])
    elif kind in ("heap", "roll"):
        turn = u * 9.0
        points = np.column_stack(
            [0.16 * np.cos(turn) * (1 + u), 0.16 * np.sin(turn) + wobble, v * 0.9 + 0.08]
        )
    else:
        points = np.column_stack([(u - 0.5) * SIDE, (v - 0.5) * SIDE, 0.75 + wobble])
    faces = [
        (row * GRID + col, row * GRID + col + 1, (row + 1) * GRID + col + 1, (row + 1) * GRID + col)
        for row in range(GRID - 1)
        for col in range(GRID - 1)
    ]
    mesh = bpy.data.meshes.new("Sheet")
    mesh.from_pydata(points, [], faces)
    corner = np.empty(len(mesh.loops), dtype=np.int32)
    mesh.loops.foreach_get("vertex_index", corner)
    uv = np.column_stack([u, v])[corner].astype(np.float32) * SIDE
    mesh.uv_layers.new(name="UVMap").uv.foreach_set("vector", uv.ravel())
    border = np.minimum(np.minimum(u, 1 - u), np.minimum(v, 1 - v)).astype(np.float32) * SIDE
    mesh.attributes.new("hem", "FLOAT", "POINT").data.foreach_set("value", border)
    sheet = bpy.data.objects.new("Sheet", mesh)
    bpy.context.scene.collection.objects.link(sheet)
    return sheet


def _add_cloth(sheet: bpy.types.Object, kind: str) -> None:
    modifier = sheet.modifiers.new("Cloth", "CLOTH")
    settings = modifier.settings
    settings.quality, settings.mass, settings.air_damping = 5, 0.2, 1.5
    settings.tension_stiffness = settings.compression_stiffness = settings.shear_stiffness = 12.0
    settings.bending_stiffness = 0.15
    modifier.collision_settings.distance_min = 0.006
    modifier.collision_settings.use_self_collision = kind == "heap"
    modifier.collision_settings.self_distance_min = 0.006
    if kind in _HUNG:
        group = sheet.vertex_groups.new(name="pin")
        top = (GRID - 1) * GRID
        pinned = {
            "edge": range(top, top + GRID),
            "gathered": range(top, top + GRID),
            "corners": [top, top + 1, top + GRID - 2, top + GRID - 1],
            "one point": [top + GRID // 2, top + GRID // 2 + 1],
        }[kind]
        group.add(list(pinned), 1.0, "REPLACE")
        settings.vertex_group_mass = "pin"
    smooth = sheet.modifiers.new("Smooth", "SUBSURF")
    smooth.levels = 1


def _solids(kind: str) -> list[bpy.types.Object]:
    bpy.ops.mesh.primitive_plane_add(size=6.0)
    solids = [bpy.context.object]
    add = bpy.ops.mesh
    if kind == "ball":
        add.primitive_uv_sphere_add(radius=0.28, location=(0, 0, 0.35), segments=32, ring_count=24)
    elif kind == "box":
        add.primitive_cube_add(size=0.5, location=(0.05, 0, 0.25), rotation=(0, 0, 0.4))
    elif kind == "cylinder":
        add.primitive_cylinder_add(radius=0.2, depth=0.6, location=(0, 0, 0.3), vertices=48)
    elif kind == "cone":
        add.primitive_cone_add(radius1=0.4, radius2=0.03, depth=0.65, location=(0, 0, 0.325), vertices=48)
    elif kind == "two balls":
        add.primitive_uv_sphere_add(radius=0.2, location=(-0.25, 0.05, 0.2), segments=32, ring_count=24)
        solids.append(bpy.context.object)
        add.primitive_uv_sphere_add(radius=0.26, location=(0.2, -0.1, 0.28), segments=32, ring_count=24)
    elif kind == "chair":
        add.primitive_cube_add(size=0.5, location=(0, 0, 0.2))
        solids.append(bpy.context.object)
        add.primitive_cylinder_add(
            radius=0.04, depth=0.6, location=(0, 0.25, 0.68), rotation=(0, math.pi / 2, 0)
        )
    if bpy.context.object not in solids:
        solids.append(bpy.context.object)
    for solid in solids:
        solid.modifiers.new("Collision", "COLLISION")
        solid.collision.thickness_outer = 0.012
        solid.collision.cloth_friction = 15.0
    return solids
