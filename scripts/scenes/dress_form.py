# SPDX-License-Identifier: GPL-3.0-or-later
"""A tailor's dress form: linen-covered torso, wooden neck cap, brass pole and foot."""

from __future__ import annotations

import math

import bpy
import numpy as np

from .nodes import Graph
from .surroundings import add_mesh

# Height above the floor, half width, depth to the front, depth to the back; metres, a European size 36.
_SECTIONS = np.array([
    (0.86, 0.158, 0.092, 0.118),
    (0.92, 0.172, 0.101, 0.132),
    (0.98, 0.174, 0.104, 0.132),
    (1.04, 0.160, 0.102, 0.116),
    (1.10, 0.136, 0.096, 0.096),
    (1.15, 0.122, 0.092, 0.084),
    (1.21, 0.128, 0.095, 0.086),
    (1.28, 0.143, 0.104, 0.094),
    (1.35, 0.157, 0.112, 0.102),
    (1.41, 0.168, 0.104, 0.106),
    (1.46, 0.175, 0.086, 0.100),
    (1.495, 0.172, 0.068, 0.086),
    (1.52, 0.140, 0.058, 0.074),
    (1.545, 0.096, 0.053, 0.066),
    (1.57, 0.066, 0.052, 0.058),
    (1.61, 0.055, 0.049, 0.051),
    (1.66, 0.053, 0.047, 0.048),
])  # fmt: skip
BOTTOM, TOP = float(_SECTIONS[0, 0]), float(_SECTIONS[-1, 0])
WAIST = 1.15
_ROUNDNESS = 2.25  # exponent of the superellipse of a cross-section


def torso_point(turn: np.ndarray, height: np.ndarray, ease: float = 0.0) -> np.ndarray:
    """Points on the torso, `ease` metres outside it; `turn` 0 is the front (-y), positive to +x. Shape (..., 3)."""
    turn, height = np.broadcast_arrays(turn, height)
    width, front, back = (_smooth_section(height, column) for column in (1, 2, 3))
    sine, cosine = np.sin(turn), np.cos(turn)
    depth = np.where(cosine > 0.0, front, back)
    power = 2.0 / _ROUNDNESS
    x = np.sign(sine) * np.abs(sine) ** power * (width + ease)
    y = -np.sign(cosine) * np.abs(cosine) ** power * (depth + ease)
    bust = np.exp(-(((height - 1.345) / 0.055) ** 2)) * np.exp(-(((np.abs(turn) - 0.62) / 0.42) ** 2))
    y = y - 0.026 * bust
    return np.stack([x, y, height], axis=-1)


def _smooth_section(height: np.ndarray, column: int) -> np.ndarray:
    """One measure at each height: the table, averaged over 5 cm so that the silhouette has no corners."""
    offsets = np.linspace(-0.025, 0.025, 9)
    samples = [np.interp(height + offset, _SECTIONS[:, 0], _SECTIONS[:, column]) for offset in offsets]
    return np.mean(samples, axis=0)


def build_dress_form() -> bpy.types.Object:
    """The form with its stand, foot on z = 0; returns the torso, which has a collision modifier."""
    turns = np.linspace(-math.pi, math.pi, 73)[:-1]
    heights = np.linspace(BOTTOM, TOP, 72)
    rings = torso_point(turns[None, :], heights[:, None])
    torso = _loft("Form", rings, _linen())
    collision = torso.modifiers.new("Collision", "COLLISION")
    collision.settings.thickness_outer = 0.004
    collision.settings.cloth_friction = 12.0
    smooth = torso.modifiers.new("Smooth", "SUBSURF")
    smooth.levels = smooth.render_levels = 1
    _stand()
    return torso


def _stand() -> None:
    wood = _polished("Walnut", (0.075, 0.032, 0.014), metallic=0.0, roughness=0.35)
    brass = _polished("Brass", (0.55, 0.38, 0.16), metallic=1.0, roughness=0.28)
    cap = [(0.0, 0.055), (0.004, 0.057), (0.014, 0.056), (0.020, 0.047), (0.022, 0.02), (0.03, 0.011)]
    knob = [(0.045, 0.016), (0.06, 0.017), (0.072, 0.011), (0.076, 0.0)]
    _turned("Neck cap", [(TOP + z, r) for z, r in cap + knob], wood)
    _turned("Pole", [(0.03, 0.013), (BOTTOM + 0.02, 0.013)], brass)
    _turned(
        "Hip plate", [(BOTTOM, 0.0), (BOTTOM, 0.085), (BOTTOM - 0.012, 0.085), (BOTTOM - 0.012, 0.0)], wood
    )
    foot = [
        (0.0, 0.0),
        (0.0, 0.17),
        (0.012, 0.172),
        (0.02, 0.165),
        (0.03, 0.05),
        (0.05, 0.022),
        (0.06, 0.014),
    ]
    _turned("Foot", foot, wood)


def _turned(name: str, profile: list[tuple[float, float]], material: bpy.types.Material) -> None:
    """A piece turned on a lathe from (height, radius) pairs."""
    turns = np.linspace(-math.pi, math.pi, 65)[:-1]
    heights, radii = np.array(profile).T
    x, y = np.outer(radii, np.sin(turns)), -np.outer(radii, np.cos(turns))
    _loft(name, np.stack([x, y, np.broadcast_to(heights[:, None], x.shape)], axis=-1), material)


def _loft(name: str, rings: np.ndarray, material: bpy.types.Material) -> bpy.types.Object:
    """A closed surface through rings of points, shape (rings, points, 3), bottom to top."""
    count, around, _ = rings.shape
    points = rings.reshape(-1, 3).tolist()
    faces: list[tuple[int, ...]] = [
        (
            i * around + j,
            i * around + (j + 1) % around,
            (i + 1) * around + (j + 1) % around,
            (i + 1) * around + j,
        )
        for i in range(count - 1)
        for j in range(around)
    ]
    faces.append(tuple(range(around))[::-1])
    faces.append(tuple(range((count - 1) * around, count * around)))
    thing = add_mesh(name, points, faces, material)
    thing.data.shade_smooth()
    return thing


def _linen() -> bpy.types.Material:
    material = bpy.data.materials.new("Form linen")
    graph = Graph(material)
    x, y, z = graph.object_xyz()
    slub = graph.noise(graph.vector(x * 900.0, y * 900.0, z * 90.0), detail=2.0)
    slub = slub * 0.5 + graph.noise(graph.vector(x * 90.0, y * 90.0, z * 900.0), detail=2.0) * 0.5
    graph.surface(
        Base_Color=graph.mix(slub, (0.52, 0.46, 0.38), (0.68, 0.62, 0.53)),
        Roughness=0.9,
        Specular_IOR_Level=0.2,
        Normal=graph.bump(slub, 0.001, 0.5),
    )
    return material


def _polished(
    name: str, colour: tuple[float, float, float], metallic: float, roughness: float
) -> bpy.types.Material:
    material = bpy.data.materials.new(name)
    Graph(material).surface(Base_Color=colour, Metallic=metallic, Roughness=roughness)
    return material
