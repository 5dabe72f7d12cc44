# SPDX-License-Identifier: GPL-3.0-or-later
"""A sundress cut for the dress form and draped on it by Blender's cloth simulation."""

from __future__ import annotations

import math

import bpy
import numpy as np

from .dress_form import WAIST, torso_point
from .trimmings import add_trimmings

COLUMNS = 132  # around the body; the first and last meet at the back
BODICE_ROWS = 20
SKIRT_ROWS = 42
STRAP_ROWS = 22
SKIRT_LENGTH = 0.60
FLARE = math.radians(47.0)  # of the cone that the skirt is cut from; sin(FLARE) of a full circle
STRAP_FRONT = (0.66, 0.86)  # turns between which the front of a strap is sewn on
STRAP_BACK = (2.34, 2.54)
EASE = 0.007


def build_dress(material: bpy.types.Material, simulate_frames: int) -> bpy.types.Object:
    """The draped dress as a plain mesh with thickness and subdivision on it; UV in metres of cloth.

    `simulate_frames` 0 leaves the cut as it is; about 40 let the skirt come to rest.
    """
    vertices, faces, uv, pin, hem = _cut()
    mesh = bpy.data.meshes.new("Dress")
    mesh.from_pydata(vertices, [], faces)
    mesh.uv_layers.new(name="UVMap").uv.foreach_set("vector", uv.astype(np.float32).ravel())
    mesh.attributes.new("hem", "FLOAT", "POINT").data.foreach_set("value", hem.astype(np.float32))
    mesh.materials.append(material)
    mesh.shade_smooth()
    dress = bpy.data.objects.new("Dress", mesh)
    bpy.context.scene.collection.objects.link(dress)
    if simulate_frames:
        _drape(dress, pin, simulate_frames)
    thickness = dress.modifiers.new("Thickness", "SOLIDIFY")
    thickness.thickness, thickness.offset = 0.0018, 1.0
    add_trimmings(dress)
    smooth = dress.modifiers.new("Smooth", "SUBSURF")
    smooth.levels = smooth.render_levels = 1
    return dress


def _top_edge(turn: np.ndarray) -> np.ndarray:
    """Height of the bodice's upper edge: scooped front, straight back, low under the arms."""
    knots = [0.0, 0.35, 0.66, 0.86, 1.15, 1.6, 2.0, 2.34, 2.54, 2.9, math.pi]
    heights = [1.385, 1.395, 1.435, 1.437, 1.402, 1.375, 1.388, 1.412, 1.412, 1.40, 1.398]
    return np.interp(np.abs(turn), knots, heights)


def _cut() -> tuple[np.ndarray, list[tuple[int, ...]], np.ndarray, np.ndarray, np.ndarray]:
    """Vertices, faces, UV of each face corner, pin weights and hem distances of the undraped dress."""
    turns = np.linspace(-math.pi, math.pi, COLUMNS + 1)[:-1] + math.pi / COLUMNS
    body, body_uv = _body(turns)
    pieces, strap_uv, faces, corner_uv = [body], [], *_stitch_body(body_uv)
    for side in (-1, 1):
        strap, face_part, uv_part = _strap(turns, side, body, sum(map(len, pieces)))
        pieces.append(strap)
        faces += face_part
        strap_uv.append(uv_part)
    vertices = np.concatenate(pieces)
    pin = np.concatenate([_pin_weights(turns), np.full(len(vertices) - len(body), 1.0)])
    hem = np.concatenate([_hem_distance(body_uv[:, :COLUMNS]), np.full(len(vertices) - len(body), 1.0)])
    return vertices, faces, np.concatenate([corner_uv, *strap_uv]), pin, hem


def _body(turns: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Bodice over skirt as one grid from the upper edge down, and its UV with the last column repeated."""
    rise = np.linspace(1.0, 0.0, BODICE_ROWS)[:, None]
    top = _smooth_around(_top_edge(turns))
    bodice = torso_point(turns[None, :], WAIST + (top - WAIST)[None, :] * rise, EASE)
    slant = np.linspace(0.0, SKIRT_LENGTH, SKIRT_ROWS + 1)[1:, None]
    waist = bodice[-1]
    outward = np.stack([np.sin(turns), -np.cos(turns)], axis=-1)
    ruffle = 0.035 * (slant / SKIRT_LENGTH) * np.sin(15.0 * turns + 0.7 * np.sin(3.0 * turns) + 0.5)
    reach = slant * math.sin(FLARE) + ruffle
    skirt = np.concatenate(
        [waist[None, :, :2] + outward[None] * reach[..., None],
         np.broadcast_to(WAIST - slant * math.cos(FLARE), reach.shape)[..., None]], axis=-1,
    )  # fmt: skip
    wrapped = np.append(turns, turns[0] + math.tau)
    bodice_uv = np.stack([
        np.broadcast_to(wrapped * 0.142, (BODICE_ROWS, COLUMNS + 1)),
        np.append(bodice[..., 2], bodice[:, :1, 2], axis=1) - WAIST,
    ], axis=-1)  # fmt: skip
    # The skirt's pattern piece lies flat as a part of a ring, its grain straight at the centre front.
    start = 0.122 / math.sin(FLARE)
    angle, radius = wrapped[None, :] * math.sin(FLARE), start + slant
    skirt_uv = np.stack([radius * np.sin(angle), start - radius * np.cos(angle)], axis=-1)
    return np.concatenate([bodice, skirt]).reshape(-1, 3), np.concatenate([bodice_uv, skirt_uv])


def _smooth_around(values: np.ndarray) -> np.ndarray:
    kernel = np.hanning(9)[1:-1]
    padded = np.concatenate([values[-3:], values, values[:3]])
    return np.convolve(padded, kernel / kernel.sum(), "valid")


def _stitch_body(uv: np.ndarray) -> tuple[list[tuple[int, ...]], np.ndarray]:
    faces, corners = [], []
    for row in range(len(uv) - 1):
        # The row under the waist takes its upper UV from the skirt's piece, not from the bodice's.
        upper = uv[row]
        if row == BODICE_ROWS - 1:
            upper = uv[row + 1] * 2.0 - uv[row + 2]
        for column in range(COLUMNS):
            right = (column + 1) % COLUMNS
            here, below = row * COLUMNS, (row + 1) * COLUMNS
            faces.append((here + column, below + column, below + right, here + right))
            corners += [upper[column], uv[row + 1, column], uv[row + 1, column + 1], upper[column + 1]]
    return faces, np.array(corners)


def _strap(
    turns: np.ndarray, side: int, body: np.ndarray, first: int
) -> tuple[np.ndarray, list[tuple[int, ...]], np.ndarray]:
    """A strap from the front edge over the shoulder to the back edge, sewn to the body's top vertices."""
    columns = np.arange(COLUMNS)
    signed = turns * side
    front = columns[(signed > STRAP_FRONT[0]) & (signed < STRAP_FRONT[1])]
    back = columns[(signed > STRAP_BACK[0]) & (signed < STRAP_BACK[1])]
    width = min(len(front), len(back))
    front = front[np.argsort(signed[front])][:width]
    back = back[np.argsort(-signed[back])][:width]
    path = np.linspace(0.0, 1.0, STRAP_ROWS + 2)[1:-1, None, None]
    straight = body[front] * (1.0 - path) + body[back] * path
    strap = _over_shoulder(straight)
    rows = np.concatenate(
        [front[None], first + np.arange(STRAP_ROWS * width).reshape(STRAP_ROWS, width), back[None]]
    )
    middle = np.concatenate(
        [body[front].mean(axis=0)[None], strap.mean(axis=1), body[back].mean(axis=0)[None]]
    )
    along = np.append(0.0, np.cumsum(np.linalg.norm(np.diff(middle, axis=0), axis=1)))
    across = np.arange(width) * (0.142 * math.tau / COLUMNS) + 0.4
    faces, uv = [], []
    for i in range(len(rows) - 1):
        for j in range(width - 1):
            quad = ((i, j), (i, j + 1), (i + 1, j + 1), (i + 1, j))
            quad = quad if side > 0 else quad[::-1]
            faces.append(tuple(int(rows[a, b]) for a, b in quad))
            uv += [(across[b], along[a]) for a, b in quad]
    return strap.reshape(-1, 3), faces, np.array(uv)


def _over_shoulder(straight: np.ndarray) -> np.ndarray:
    """Lift points that lie inside the torso straight up until they rest on it."""
    graph = bpy.context.evaluated_depsgraph_get()
    form = bpy.data.objects["Form"].evaluated_get(graph)
    lifted = straight.copy()
    for index in np.ndindex(straight.shape[:2]):
        x, y, _ = straight[index]
        hit, place, normal, _ = form.ray_cast((x, y, 2.0), (0.0, 0.0, -1.0))
        # Behind the shoulder blades the ray meets the hips: there the strap is outside already.
        if hit and place.z > straight[index][2]:
            lifted[index] = np.array(place + normal * EASE)
    return lifted


def _pin_weights(turns: np.ndarray) -> np.ndarray:
    """Full at the upper edge and the waist seam, loose between them, free in the skirt."""
    rise = np.linspace(1.0, 0.0, BODICE_ROWS)
    bodice = np.maximum(np.maximum((rise - 0.75) * 4.0, (0.12 - rise) / 0.12), 0.25)
    rows = np.concatenate([bodice, np.zeros(SKIRT_ROWS)])
    return np.repeat(rows, COLUMNS)


def _hem_distance(uv: np.ndarray) -> np.ndarray:
    """Metres of cloth to the hem or to the bodice's upper edge."""
    slant = np.linspace(SKIRT_LENGTH, 0.0, SKIRT_ROWS + 1)[1:]
    bodice = uv[:BODICE_ROWS, :, 1]
    down = bodice[0] - bodice
    rows = np.concatenate([down, np.repeat(slant[::1, None], uv.shape[1], axis=1)])
    return rows.ravel()


def _drape(dress: bpy.types.Object, pin: np.ndarray, frames: int) -> None:
    """Simulate, then keep the last frame as the dress's own mesh, so that no cache has to live on."""
    group = dress.vertex_groups.new(name="pin")
    for weight in np.unique(pin):
        group.add(np.flatnonzero(pin == weight).tolist(), float(weight), "REPLACE")
    cloth = dress.modifiers.new("Cloth", "CLOTH")
    settings = cloth.settings
    settings.quality, settings.mass, settings.air_damping = 4, 0.18, 2.0
    settings.tension_stiffness = settings.compression_stiffness = 25.0
    settings.shear_stiffness, settings.bending_stiffness = 12.0, 0.25
    settings.tension_damping = settings.compression_damping = 10.0
    settings.vertex_group_mass, settings.pin_stiffness = "pin", 1.0
    cloth.collision_settings.distance_min = 0.004
    scene = bpy.context.scene
    cloth.point_cache.frame_start, cloth.point_cache.frame_end = 1, frames
    for frame in range(1, frames + 1):
        scene.frame_set(frame)
    graph = bpy.context.evaluated_depsgraph_get()
    draped = bpy.data.meshes.new_from_object(
        dress.evaluated_get(graph), preserve_all_data_layers=True, depsgraph=graph
    )
    cut = dress.data
    dress.modifiers.remove(cloth)
    dress.data = draped
    bpy.data.meshes.remove(cut)
    draped.name = "Dress"
    scene.frame_set(1)
