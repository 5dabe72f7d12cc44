# SPDX-License-Identifier: GPL-3.0-or-later
"""Random fabrics, colours, light and view transforms for the training renders."""

from __future__ import annotations

import colorsys
import math

import bpy
import numpy as np
from mathutils import Vector

from .fabrics import PATTERNS, WEAVES, Fabric
from .lights import add_softbox, add_sun, set_world
from .nodes import Colour
from .surroundings import FLOORS, build_floor_material

LIGHTS = ("softbox", "window", "sun", "overhead", "flat", "split")
_WOODS = [
    ((0.30, 0.16, 0.07), (0.14, 0.065, 0.028)),
    ((0.52, 0.36, 0.2), (0.36, 0.22, 0.11)),
    ((0.1, 0.055, 0.03), (0.05, 0.025, 0.015)),
    ((0.5, 0.45, 0.38), (0.36, 0.31, 0.25)),
]


def random_colour(rng: np.random.Generator) -> Colour:
    """A scene-linear cloth colour: often white, black, grey or navy, else anywhere in the gamut."""
    kind = rng.choice(
        ["white", "black", "grey", "navy", "any", "pastel"], p=[0.16, 0.12, 0.1, 0.1, 0.38, 0.14]
    )
    hue = rng.random()
    if kind == "white":
        value, saturation, hue = rng.uniform(0.68, 0.85), rng.uniform(0.0, 0.08), rng.uniform(0.05, 0.15)
    elif kind == "black":
        value, saturation = rng.uniform(0.008, 0.03), rng.uniform(0.0, 0.3)
    elif kind == "grey":
        value, saturation = rng.uniform(0.06, 0.5), rng.uniform(0.0, 0.1)
    elif kind == "navy":
        value, saturation, hue = rng.uniform(0.03, 0.25), rng.uniform(0.5, 0.85), rng.uniform(0.57, 0.68)
    elif kind == "pastel":
        value, saturation = rng.uniform(0.5, 0.8), rng.uniform(0.15, 0.45)
    else:
        value, saturation = rng.uniform(0.06, 0.7), rng.uniform(0.5, 0.95)
    return colorsys.hsv_to_rgb(hue, saturation, value)


def random_fabric(rng: np.random.Generator, close: bool) -> Fabric:
    weave = str(rng.choice(WEAVES, p=[0.3, 0.12, 0.14, 0.2, 0.08, 0.1, 0.06]))
    pattern = "solid"
    if weave != "denim" and rng.random() < 0.62:
        pattern = str(rng.choice(PATTERNS))
    period = float(np.exp(rng.uniform(math.log(0.015), math.log(0.14))))
    return Fabric(
        weave=weave,
        pattern=pattern,
        colours=(random_colour(rng), random_colour(rng), random_colour(rng)),
        period=period,
        angle=float(rng.choice([0.0, 0.0, 0.0, math.pi / 4, math.pi / 2])),
        weave_scale=float(rng.uniform(0.8, 2.2)) if close else float(rng.uniform(1.0, 1.8)),
        sheen=float(rng.uniform(0.0, 0.7)),
        phase=float(rng.uniform(0.0, 1.0)),
    )


def random_floor(rng: np.random.Generator) -> bpy.types.Material:
    kind = str(rng.choice(FLOORS, p=[0.28, 0.2, 0.12, 0.1, 0.12, 0.12, 0.06]))
    if kind == "wood":
        colour, second = _WOODS[rng.integers(len(_WOODS))]
    else:
        colour = random_colour(rng) if rng.random() < 0.4 else (float(rng.uniform(0.1, 0.75)),) * 3
        second = tuple(channel * float(rng.uniform(0.4, 0.8)) for channel in colour)
    return build_floor_material(kind, colour, second, float(rng.uniform(0.8, 1.4)))


def random_backdrop(rng: np.random.Generator) -> bpy.types.Material:
    grey = float(rng.choice([0.82, 0.7, 0.5, 0.3, 0.12, 0.03], p=[0.34, 0.2, 0.18, 0.14, 0.09, 0.05]))
    colour = (grey, grey, grey) if rng.random() < 0.7 else random_colour(rng)
    return build_floor_material("paper", colour, colour)


def light_up(
    scene: bpy.types.Scene, rng: np.random.Generator, target: Vector, toward: Vector, size: float
) -> None:
    """Light the target from the camera's side; `toward` points from target to camera, `size` in metres."""
    toward = Vector(toward).normalized()
    up = Vector((0, 0, 1)) if abs(toward.z) < 0.8 else Vector((0, 1, 0))
    right = up.cross(toward).normalized()
    up = toward.cross(right)
    side = float(rng.choice([-1.0, 1.0]))
    warm = Vector((1.0, 0.93, 0.84)).lerp(Vector((0.9, 0.95, 1.0)), float(rng.random()))

    def place(front: float, across: float, above: float) -> Vector:
        return target + (toward * front + right * (across * side) + up * above).normalized() * size * 3.0

    kind = str(rng.choice(LIGHTS))
    ambient = 0.1
    if kind == "softbox":
        add_softbox(
            "Key",
            place(0.8, 0.8, 0.7),
            target,
            rng.uniform(0.65, 0.95),
            size * rng.uniform(0.8, 2),
            tuple(warm),
        )
        add_softbox("Fill", place(1.0, -1.0, 0.2), target, rng.uniform(0.15, 0.35), size * 2)
        add_softbox("Rim", place(0.15, -0.9, 0.9), target, rng.uniform(0.1, 0.6), size * 0.8)
    elif kind == "window":
        add_softbox(
            "Window",
            place(0.45, 1.0, 0.25),
            target,
            rng.uniform(0.8, 1.3),
            size * 1.4,
            (0.85, 0.93, 1.0),
            1.6,
        )
        ambient = rng.uniform(0.08, 0.25)
    elif kind == "sun":
        colour = (1.0, rng.uniform(0.85, 0.97), rng.uniform(0.7, 0.92))
        add_sun(
            "Sun",
            place(0.8, rng.uniform(0.3, 1.1), 0.7),
            target,
            rng.uniform(0.6, 1.0),
            rng.uniform(0.005, 0.06),
            colour,
        )
        ambient = rng.uniform(0.12, 0.3)
    elif kind == "overhead":
        add_softbox(
            "Ceiling",
            place(0.5, 0.15, 1.0),
            target,
            rng.uniform(0.6, 1.0),
            size * rng.uniform(0.3, 1.5),
            tuple(warm),
        )
        ambient = rng.uniform(0.12, 0.3)
    elif kind == "split":
        add_softbox("Left", place(0.5, 1.0, 0.3), target, rng.uniform(0.5, 0.8), size * 1.2)
        add_softbox("Right", place(0.5, -1.0, 0.3), target, rng.uniform(0.3, 0.6), size * 1.2, tuple(warm))
    else:
        ambient = rng.uniform(0.6, 0.8)
        add_softbox("Front", place(1.0, 0.2, 0.4), target, rng.uniform(0.1, 0.3), size)
    set_world(scene, float(ambient), tuple(warm.lerp(Vector((1, 1, 1)), 0.5)))


def set_random_view(scene: bpy.types.Scene, rng: np.random.Generator) -> str:
    """Choose view transform, look and exposure; returns the transform's name."""
    transform = str(rng.choice(["AgX", "Filmic", "Standard"], p=[0.5, 0.25, 0.25]))
    view = scene.view_settings
    view.look = "None"
    view.view_transform = transform
    if transform == "AgX" and rng.random() < 0.5:
        view.look = str(rng.choice(["AgX - Medium High Contrast", "AgX - Punchy"]))
    brighten = {"AgX": 0.85, "Filmic": 0.85, "Standard": 0.1}[transform]
    view.exposure = brighten + float(rng.uniform(-0.35, 0.35))
    return transform
