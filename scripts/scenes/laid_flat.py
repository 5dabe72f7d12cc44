# SPDX-License-Identifier: GPL-3.0-or-later
"""Garments laid flat: two cloth panels cut from an outline, wrinkled by hand, no simulation."""

from __future__ import annotations

import bpy
import numpy as np
from mathutils import Vector
from mathutils.geometry import delaunay_2d_cdt

Points = np.ndarray  # float (count 2), metres

# Right half of each cut, from the neck's centre round to the crotch or the hem's centre; mirrored at x = 0.
_CUTS: dict[str, list[tuple[float, float]]] = {
    "t-shirt": [
        (0.0, 0.62), (0.09, 0.68), (0.21, 0.64), (0.4, 0.46), (0.3, 0.36),
        (0.23, 0.42), (0.235, 0.0), (0.0, -0.005),
    ],
    "longsleeve": [
        (0.0, 0.62), (0.085, 0.68), (0.21, 0.64), (0.52, 0.12), (0.44, 0.07),
        (0.235, 0.4), (0.235, 0.0), (0.0, -0.005),
    ],
    "undershirt": [
        (0.0, 0.5), (0.07, 0.54), (0.09, 0.68), (0.135, 0.68), (0.15, 0.5),
        (0.22, 0.4), (0.23, 0.0), (0.0, -0.005),
    ],
    "dress": [
        (0.0, 0.92), (0.07, 0.95), (0.085, 1.05), (0.125, 1.05), (0.15, 0.88),
        (0.2, 0.8), (0.165, 0.6), (0.36, 0.0), (0.0, -0.04),
    ],
    "skirt": [
        (0.0, 0.5), (0.17, 0.51), (0.24, 0.3), (0.32, 0.0), (0.0, -0.03),
    ],
    "pants": [
        (0.0, 1.0), (0.2, 1.01), (0.25, 0.78), (0.24, 0.0), (0.07, -0.01),
        (0.02, 0.7), (0.0, 0.71),
    ],
    "shorts": [
        (0.0, 0.45), (0.2, 0.46), (0.28, 0.02), (0.05, -0.01), (0.015, 0.17),
        (0.0, 0.18),
    ],
    "cloth": [
        (0.0, 0.75), (0.45, 0.75), (0.45, 0.0), (0.0, 0.0),
    ],
}  # fmt: skip
CUTS = tuple(_CUTS)


def cut_outline(cut: str, rng: np.random.Generator, spacing: float = 0.014) -> Points:
    """The closed outline of a cut, its measures varied by some per cent, curves softened, anticlockwise."""
    half = np.array(_CUTS[cut]) * rng.uniform(0.9, 1.12, 2)
    half = half + rng.normal(0.0, 0.006, half.shape) * (half[:, :1] > 0.0)
    mirrored = half[1:-1][::-1] * (-1.0, 1.0)
    corners = np.concatenate([half, mirrored])
    smooth = _resample(corners, spacing)
    kernel = np.array([1.0, 2.0, 3.0, 2.0, 1.0]) / 9.0
    for axis in range(2):
        padded = np.concatenate([smooth[-2:, axis], smooth[:, axis], smooth[:2, axis]])
        smooth[:, axis] = np.convolve(padded, kernel, "valid")
    return smooth[::-1]


def _resample(corners: Points, spacing: float) -> Points:
    pieces = []
    for start, end in zip(corners, np.roll(corners, -1, axis=0), strict=True):
        count = max(1, round(float(np.linalg.norm(end - start)) / spacing))
        pieces.append(start + (end - start) * (np.arange(count) / count)[:, None])
    return np.concatenate(pieces)


def distance_to_outline(points: Points, outline: Points) -> np.ndarray:
    """Metres from each point to the nearest outline segment, shape (count,)."""
    start, step = outline, np.roll(outline, -1, axis=0) - outline
    best = np.full(len(points), np.inf)
    for origin, direction in zip(start, step, strict=True):
        offset = points - origin
        along = np.clip(offset @ direction / (direction @ direction + 1e-12), 0.0, 1.0)
        best = np.minimum(best, np.linalg.norm(offset - along[:, None] * direction, axis=1))
    return best


def wrinkle_height(points: Points, rng: np.random.Generator, amount: float) -> np.ndarray:
    """Heights in metres: curved creases of many lengths over a slow swell; `amount` 1 is well worn."""
    low, high = points.min(axis=0), points.max(axis=0)
    extent = float((high - low).max())
    bend = _swell(points, rng, extent * 0.4) * 0.05
    height = _swell(points, rng, extent * 0.35) * 0.008
    main = rng.uniform(0.0, np.pi)
    for _ in range(rng.integers(14, 34)):
        angle = main + rng.normal(0.0, 0.7)
        across = np.array([-np.sin(angle), np.cos(angle)])
        along = np.array([np.cos(angle), np.sin(angle)])
        offset = points - rng.uniform(low, high)
        width = rng.uniform(0.006, 0.022)
        length = rng.uniform(0.06, 0.3)
        side = (offset @ across + bend + (offset @ along) ** 2 * rng.normal(0.0, 1.2)) / width
        envelope = np.exp(-((offset @ along / length) ** 2))
        # A crease rises slowly on one side and falls steeply on the other, with a valley beside it.
        ridge = np.exp(-(np.where(side > 0.0, side * 0.6, side * 1.3) ** 2)) - 0.35 * np.exp(
            -((side + 1.6) ** 2)
        )
        height += ridge * envelope * rng.uniform(0.2, 1.0) * width * 0.7
    fine = _swell(points, rng, 0.03) * 0.0006
    return (height + fine) * amount


def _swell(points: Points, rng: np.random.Generator, wavelength: float) -> np.ndarray:
    """A smooth random field of about unit size and the given wavelength in metres."""
    waves = rng.normal(0.0, 1.0, (14, 2)) * (2.0 * np.pi / wavelength / 1.6)
    return np.cos(points @ waves.T + rng.uniform(0.0, 2.0 * np.pi, 14)).sum(axis=1) / np.sqrt(7.0)


def build_flat_garment(
    name: str, cut: str, rng: np.random.Generator, wrinkles: float, grid: float = 0.011
) -> bpy.types.Object:
    """A garment lying at z >= 0, neck to +y, UV in metres, with the float attribute `hem`."""
    front = cut_outline(cut, rng)
    back = front.copy()
    if cut in ("t-shirt", "longsleeve", "undershirt", "dress"):
        neck = (np.abs(back[:, 0]) < 0.085) & (back[:, 1] > back[:, 1].max() - 0.16)
        back[neck, 1] += (back[:, 1].max() - 0.012 - back[neck, 1]) * 0.85
    vertices, faces, hems, bands = [], [], [], []
    lift = 0.0
    for outline, is_front in ((back, False), (front, True)):
        flat, triangles = _triangulate(outline, rng, grid)
        hem = distance_to_outline(flat, outline)
        plump = 0.010 * (1.0 - np.exp(-hem / 0.02))
        height = 0.002 + lift + plump * (1.0 if is_front else 0.2)
        height += wrinkle_height(flat, rng, wrinkles * (1.0 if is_front else 0.3))
        height += 0.003 * is_front
        faces += [tuple(corner + sum(map(len, vertices)) for corner in face) for face in triangles]
        vertices.append(np.column_stack([flat, np.maximum(height, 0.001 + 0.003 * is_front)]))
        hems.append(hem)
        bands.append(_neckband(flat, outline) if cut in ("t-shirt", "longsleeve") else np.zeros(len(flat)))
        lift = 0.004
    attributes = {"hem": np.concatenate(hems), "band": np.concatenate(bands)}
    return _cloth_object(name, np.concatenate(vertices), faces, attributes)


def _neckband(flat: Points, outline: Points) -> np.ndarray:
    """1 within 1.8 cm of the neck opening."""
    neck = outline[(np.abs(outline[:, 0]) < 0.085) & (outline[:, 1] > outline[:, 1].max() - 0.1)]
    distance = np.linalg.norm(flat[:, None] - neck[None], axis=2).min(axis=1)
    return (distance < 0.018).astype(np.float64)


def _triangulate(
    outline: Points, rng: np.random.Generator, grid: float
) -> tuple[Points, list[tuple[int, ...]]]:
    low, high = outline.min(axis=0), outline.max(axis=0)
    columns, rows = np.meshgrid(np.arange(low[0], high[0], grid), np.arange(low[1], high[1], grid * 0.87))
    columns[::2] += grid / 2
    inside = np.column_stack([columns.ravel(), rows.ravel()]) + rng.normal(
        0.0, grid * 0.06, (columns.size, 2)
    )
    points = [Vector(point) for point in np.concatenate([outline, inside])]
    # Output type 1 keeps the triangles inside the outline.
    placed, _, triangles, *_ = delaunay_2d_cdt(points, [], [list(range(len(outline)))], 1, 1e-6)
    return np.array([tuple(point) for point in placed]), triangles


def _cloth_object(
    name: str, vertices: np.ndarray, faces: list[tuple[int, ...]], attributes: dict[str, np.ndarray]
) -> bpy.types.Object:
    mesh = bpy.data.meshes.new(name)
    mesh.from_pydata(vertices, [], faces)
    used = np.empty(len(mesh.loops), dtype=np.int32)
    mesh.loops.foreach_get("vertex_index", used)
    mesh.uv_layers.new(name="UVMap").uv.foreach_set("vector", vertices[used, :2].astype(np.float32).ravel())
    for key, values in attributes.items():
        mesh.attributes.new(key, "FLOAT", "POINT").data.foreach_set("value", values.astype(np.float32))
    mesh.shade_smooth()
    mesh.update()
    garment = bpy.data.objects.new(name, mesh)
    bpy.context.scene.collection.objects.link(garment)
    return garment
