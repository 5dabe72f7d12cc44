# SPDX-License-Identifier: GPL-3.0-or-later
"""Cameras that frame a set of points, or look at a piece of cloth from close by."""

from __future__ import annotations

import math

import bpy
import numpy as np
from mathutils import Vector

from .lights import aim


def world_points(things: list[bpy.types.Object]) -> np.ndarray:
    """Vertices of the evaluated meshes in world space, shape (count, 3), at most about 4000 of each."""
    graph = bpy.context.evaluated_depsgraph_get()
    clouds = []
    for thing in (one for one in things if one.type == "MESH"):
        mesh = thing.evaluated_get(graph).data
        points = np.empty(len(mesh.vertices) * 3, dtype=np.float32)
        mesh.vertices.foreach_get("co", points)
        matrix = np.array(thing.matrix_world)
        step = max(1, len(mesh.vertices) // 4000)
        clouds.append(points.reshape(-1, 3)[::step] @ matrix[:3, :3].T + matrix[:3, 3])
    return np.concatenate(clouds)


def add_camera(scene: bpy.types.Scene, focal_length: float, width: int, height: int) -> bpy.types.Object:
    """The scene's camera, 36 mm sensor on the longer side of the picture."""
    data = bpy.data.cameras.new("Camera")
    data.lens, data.sensor_fit = focal_length, "AUTO"
    data.clip_start = 0.01
    camera = bpy.data.objects.new("Camera", data)
    scene.collection.objects.link(camera)
    scene.camera = camera
    scene.render.resolution_x, scene.render.resolution_y = width, height
    scene.render.resolution_percentage = 100
    return camera


def frame_points(
    camera: bpy.types.Object, points: np.ndarray, direction: Vector, fill: float, roll: float = 0.0
) -> None:
    """Look along -`direction` at the points so that they take up `fill` of the frame, whichever side is tighter."""
    centre = Vector((points.min(axis=0) + points.max(axis=0)) / 2)
    direction = Vector(direction).normalized()
    look_from(camera, centre, direction, 1.0, roll)
    half = _half_angles(camera)
    rotation = np.array(camera.rotation_euler.to_matrix())
    local = (points - np.array(centre)) @ rotation  # columns: right, up, towards the camera
    shift = (local[:, :2].min(axis=0) + local[:, :2].max(axis=0)) / 2
    local[:, :2] -= shift
    needed = np.abs(local[:, :2]) / (np.tan(half) * fill) + local[:, 2:]
    target = centre + Vector(rotation[:, :2] @ shift)
    look_from(camera, target, direction, float(needed.max()), roll)


def frame_spot(
    camera: bpy.types.Object, spot: Vector, direction: Vector, extent: float, roll: float = 0.0
) -> None:
    """Look along -`direction` at `spot` so that `extent` metres fit in the longer side."""
    distance = extent / 2 / math.tan(camera.data.angle / 2)
    look_from(camera, spot, Vector(direction).normalized(), distance, roll)


def look_from(
    camera: bpy.types.Object, target: Vector, direction: Vector, distance: float, roll: float
) -> None:
    camera.location = target + direction * distance
    camera.rotation_euler = aim(target, camera.location)
    camera.rotation_euler.rotate_axis("Z", roll)


def visible_spot(points: np.ndarray, direction: Vector, rng: np.random.Generator) -> Vector:
    """A spot of the cloth well inside its silhouette that the direction sees first."""
    direction = np.array(Vector(direction).normalized())
    depth = points @ direction
    centre = np.median(points, axis=0)
    flat = points - centre
    flat -= np.outer(flat @ direction, direction)
    spread = np.linalg.norm(flat, axis=1)
    inner = np.flatnonzero(spread < np.quantile(spread, 0.7))
    pick = points[rng.choice(inner)]
    near = np.linalg.norm((points - pick) - np.outer((points - pick) @ direction, direction), axis=1) < 0.03
    return Vector(points[near][np.argmax(depth[near])])


def _half_angles(camera: bpy.types.Object) -> np.ndarray:
    render = bpy.context.scene.render
    width, height = render.resolution_x, render.resolution_y
    longer = math.tan(camera.data.angle / 2)
    return np.arctan(np.array([width, height]) / max(width, height) * longer)
