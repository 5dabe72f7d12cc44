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


class _Rig:
    """Places around the target, told from the camera's side; `side` chooses left or right for the whole rig."""

    def __init__(self, rng: np.random.Generator, target: Vector, toward: Vector, size: float) -> None:
        self.rng, self.target, self.size = rng, target, size
        self.toward = Vector(toward).normalized()
        up = Vector((0, 0, 1)) if abs(self.toward.z) < 0.8 else Vector((0, 1, 0))
        self.right = up.cross(self.toward).normalized() * float(rng.choice([-1.0, 1.0]))
        self.up = up - self.toward * up.dot(self.toward)
        warmth = float(rng.random())
        self.tint = tuple(Vector((1.0, 0.93, 0.84)).lerp(Vector((0.9, 0.95, 1.0)), warmth))

    def place(self, front: float, across: float, above: float) -> Vector:
        offset = self.toward * front + self.right * across + self.up.normalized() * above
        return self.target + offset.normalized() * self.size * 3.0

    def softbox(
        self,
        place: tuple[float, float, float],
        level: tuple[float, float],
        size: float,
        colour: Colour | None = None,
    ) -> None:
        """`level` is the range to draw from, `size` in sizes of the subject."""
        drawn = float(self.rng.uniform(*level))
        add_softbox("Softbox", self.place(*place), self.target, drawn, self.size * size, colour or self.tint)


def light_up(
    scene: bpy.types.Scene, rng: np.random.Generator, target: Vector, toward: Vector, size: float
) -> None:
    """Light the target from the camera's side; `toward` points from target to camera, `size` in metres."""
    rig = _Rig(rng, target, toward, size)
    kind = str(rng.choice(list(_LIGHTS)))
    ambient = _LIGHTS[kind](rig, rng)
    set_world(scene, ambient, tuple(Vector(rig.tint).lerp(Vector((1, 1, 1)), 0.5)))


def _studio(rig: _Rig, rng: np.random.Generator) -> float:
    rig.softbox((0.8, 0.8, 0.7), (0.65, 0.95), rng.uniform(0.8, 2.0))
    rig.softbox((1.0, -1.0, 0.2), (0.15, 0.35), 2.0, (1.0, 1.0, 1.0))
    rig.softbox((0.15, -0.9, 0.9), (0.1, 0.6), 0.8, (1.0, 1.0, 1.0))
    return 0.1


def _window(rig: _Rig, rng: np.random.Generator) -> float:
    rig.softbox((0.45, 1.0, 0.25), (0.8, 1.3), 1.4, (0.85, 0.93, 1.0))
    return float(rng.uniform(0.08, 0.25))


def _hard_sun(rig: _Rig, rng: np.random.Generator) -> float:
    colour = (1.0, float(rng.uniform(0.85, 0.97)), float(rng.uniform(0.7, 0.92)))
    origin = rig.place(0.8, float(rng.uniform(0.3, 1.1)), 0.7)
    add_sun("Sun", origin, rig.target, float(rng.uniform(0.6, 1.0)), float(rng.uniform(0.005, 0.06)), colour)
    return float(rng.uniform(0.12, 0.3))


def _ceiling(rig: _Rig, rng: np.random.Generator) -> float:
    rig.softbox((0.5, 0.15, 1.0), (0.6, 1.0), rng.uniform(0.3, 1.5))
    return float(rng.uniform(0.12, 0.3))


def _both_sides(rig: _Rig, rng: np.random.Generator) -> float:
    rig.softbox((0.5, 1.0, 0.3), (0.5, 0.8), 1.2, (1.0, 1.0, 1.0))
    rig.softbox((0.5, -1.0, 0.3), (0.3, 0.6), 1.2)
    return 0.1


def _flat(rig: _Rig, rng: np.random.Generator) -> float:
    rig.softbox((1.0, 0.2, 0.4), (0.1, 0.3), 1.0)
    return float(rng.uniform(0.6, 0.8))


_LIGHTS = {
    "studio": _studio,
    "window": _window,
    "sun": _hard_sun,
    "ceiling": _ceiling,
    "both sides": _both_sides,
    "flat": _flat,
}


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
