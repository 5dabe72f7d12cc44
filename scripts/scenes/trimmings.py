# SPDX-License-Identifier: GPL-3.0-or-later
"""What is sewn on the demo dress once it hangs: waistband and buttons."""

from __future__ import annotations

import math

import bpy
import numpy as np
from mathutils import Matrix, Vector

from .dress_form import WAIST, torso_point
from .fabrics import Fabric, build_fabric
from .nodes import Graph
from .surroundings import add_mesh

_NAVY = ((0.02, 0.045, 0.075),) * 3
_BUTTONS = 5
_BUTTON_RADIUS = 0.0065


def add_trimmings(dress: bpy.types.Object) -> None:
    """Sew waistband and buttons on the draped dress."""
    _add_waistband()
    _add_buttons(dress)


def _add_waistband(half_width: float = 0.013) -> None:
    """A band whose lower edge lies on the seam to which the skirt is sewn."""
    turns = np.linspace(-math.pi, math.pi, 97)[:-1]
    offsets = np.array([-1.0, -0.75, 0.0, 0.75, 1.0]) * half_width
    bulge = np.array([0.008, 0.0105, 0.011, 0.0105, 0.008])
    middle = WAIST + half_width - 0.003
    rings = np.stack([torso_point(turns, middle + z, ease) for z, ease in zip(offsets, bulge, strict=True)])
    around = len(turns)
    faces = [
        (
            i * around + j,
            i * around + (j + 1) % around,
            (i + 1) * around + (j + 1) % around,
            (i + 1) * around + j,
        )
        for i in range(len(offsets) - 1)
        for j in range(around)
    ]
    fabric = Fabric(weave="twill", pattern="solid", colours=_NAVY, sheen=0.4)
    band = add_mesh("Waistband", rings.reshape(-1, 3).tolist(), faces, build_fabric("Waistband", fabric))
    uv = band.data.uv_layers.new(name="UVMap").uv
    turn_uv = [(turns[0] + j * math.tau / around) * 0.13 for j in range(around + 1)]
    corners = [
        (turn_uv[j + dj], offsets[i + di])
        for i in range(len(offsets) - 1)
        for j in range(around)
        for di, dj in ((0, 0), (0, 1), (1, 1), (1, 0))
    ]
    uv.foreach_set("vector", np.array(corners, dtype=np.float32).ravel())
    band.data.shade_smooth()
    smooth = band.modifiers.new("Smooth", "SUBSURF")
    smooth.levels = smooth.render_levels = 2


def _add_buttons(dress: bpy.types.Object) -> None:
    """A row of shell buttons down the centre of the bodice."""
    material = bpy.data.materials.new("Shell")
    Graph(material).surface(Base_Color=(0.62, 0.55, 0.45), Roughness=0.22, Coat_Weight=0.3)
    evaluated = dress.evaluated_get(bpy.context.evaluated_depsgraph_get())
    for number, height in enumerate(np.linspace(WAIST + 0.042, WAIST + 0.212, _BUTTONS), start=1):
        hit, place, normal, _ = evaluated.ray_cast((0.0, -1.0, float(height)), (0.0, 1.0, 0.0))
        if hit:
            _add_button(f"Button {number}", place, normal, material)


def _add_button(name: str, place: Vector, normal: Vector, material: bpy.types.Material) -> None:
    """A turned disc with a rim, lying on the cloth."""
    profile = [(0.0, 1.0), (0.0012, 1.05), (0.0022, 1.0), (0.0024, 0.85), (0.0016, 0.68), (0.0014, 0.0)]
    turns = np.linspace(0.0, math.tau, 33)[:-1]
    points = [
        (radius * _BUTTON_RADIUS * math.cos(turn), radius * _BUTTON_RADIUS * math.sin(turn), height)
        for height, radius in profile
        for turn in turns
    ]
    count = len(turns)
    faces = [
        (i * count + j, i * count + (j + 1) % count, (i + 1) * count + (j + 1) % count, (i + 1) * count + j)
        for i in range(len(profile) - 1)
        for j in range(count)
    ]
    button = add_mesh(name, points, faces, material)
    button.data.shade_smooth()
    outward = normal if normal.y < 0.0 else -normal
    button.matrix_world = Matrix.Translation(place) @ outward.to_track_quat("Z", "Y").to_matrix().to_4x4()
