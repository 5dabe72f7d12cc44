# SPDX-License-Identifier: GPL-3.0-or-later
"""Lights measured by what they give the subject: 1.0 lets a white, facing surface reach scene-linear 1.0."""

from __future__ import annotations

import math

import bpy
from mathutils import Vector

from .nodes import Colour, Graph, rgba


def aim(target: Vector, origin: Vector) -> tuple[float, float, float]:
    """Euler angles that turn a camera or light at `origin` to `target`."""
    return (Vector(target) - Vector(origin)).to_track_quat("-Z", "Y").to_euler()


def add_softbox(
    name: str,
    location: Vector,
    target: Vector,
    level: float,
    size: float,
    colour: Colour = (1.0, 1.0, 1.0),
    shape: float = 1.0,
) -> bpy.types.Object:
    """A rectangular area light; `size` in metres, `shape` height over width."""
    light = bpy.data.lights.new(name, "AREA")
    light.shape, light.size, light.size_y = "RECTANGLE", size, size * shape
    distance = (Vector(location) - Vector(target)).length
    # A Lambertian emitter of P watt gives P / (pi d^2) on its axis; a white surface shows irradiance / pi.
    light.energy = level * (math.pi * distance) ** 2
    return _place(light, location, target, colour)


def add_sun(
    name: str, location: Vector, target: Vector, level: float, angle: float, colour: Colour
) -> bpy.types.Object:
    """A distant light shining from `location` to `target`; `angle` of its disc in radians."""
    light = bpy.data.lights.new(name, "SUN")
    light.energy, light.angle = level * math.pi, angle
    return _place(light, location, target, colour)


def set_world(scene: bpy.types.Scene, level: float, colour: Colour = (1.0, 1.0, 1.0)) -> None:
    """Even light from all sides."""
    world = scene.world or bpy.data.worlds.new("World")
    scene.world = world
    graph = Graph(world)
    background = graph.new("ShaderNodeBackground")
    background.inputs["Color"].default_value = rgba(colour)
    background.inputs["Strength"].default_value = level
    graph.feed(graph.new("ShaderNodeOutputWorld").inputs["Surface"], background.outputs[0])


def _place(light: bpy.types.Light, location: Vector, target: Vector, colour: Colour) -> bpy.types.Object:
    light.color = colour
    holder = bpy.data.objects.new(light.name, light)
    holder.location = location
    holder.rotation_euler = aim(target, location)
    bpy.context.scene.collection.objects.link(holder)
    return holder
