# SPDX-License-Identifier: GPL-3.0-or-later
"""The pictures of the training set: which garment, how it lies or stands, from where it is seen."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace

import bpy
import numpy as np
from mathutils import Matrix, Vector

from .assets import AssetLibrary, lower_arms, metres_per_uv, split_garment_from_skin
from .cameras import add_camera, frame_points, frame_spot, visible_spot, world_points
from .catalogue import GARMENT_WORDS, avatar_words, in_split
from .drapes import DRAPES, simulate_drape
from .fabrics import build_fabric
from .laid_flat import CUTS, build_flat_garment
from .random_looks import light_up, random_backdrop, random_colour, random_fabric, random_floor
from .surroundings import add_plane, add_sweep

_KINDS = {
    "form": 0.21,
    "laid": 0.15,
    "wall": 0.09,
    "avatar": 0.2,
    "cut laid": 0.2,
    "cut hung": 0.05,
    "drape": 0.1,
}
CLOSE_UPS = 0.25


@dataclass
class Subject:
    """What a picture shows: its objects, its cloth materials (for the mask), and words for it."""

    things: list[bpy.types.Object]
    name: str
    category: str
    material: str
    cloth: list[bpy.types.Material] = field(default_factory=list)


@dataclass
class Stage:
    """Everything that pictures share: the assets of one split and the drapes made so far."""

    garments: AssetLibrary
    avatars: AssetLibrary
    split: str
    drapes: dict[str, bpy.types.Mesh] = field(default_factory=dict)

    def files(self, library: AssetLibrary) -> list[str]:
        return [entry["file"] for entry in library.entries if in_split(entry["file"], self.split)]


def stage_picture(stage: Stage, rng: np.random.Generator, width: int, height: int) -> Subject:
    """Set up one picture in the current scene: subject, surroundings, camera, light."""
    shares = {kind: share for kind, share in _KINDS.items() if _can_show(stage, kind)}
    kind = str(rng.choice(list(shares), p=np.array(list(shares.values())) / sum(shares.values())))
    close = bool(rng.random() < CLOSE_UPS)
    subject, direction = _SET_UPS[kind](stage, rng, close)
    bpy.context.view_layer.update()
    scene = bpy.context.scene
    points = world_points(subject.things)
    if kind == "avatar":
        points = _avatar_framing(points, rng, close)
    camera = add_camera(scene, float(rng.choice([28.0, 40.0, 50.0, 70.0, 85.0])), width, height)
    roll = float(rng.normal(0.0, 0.03 if kind in ("form", "avatar") else 0.12))
    if kind in ("laid", "cut laid") and rng.random() < 0.15:
        roll += float(rng.choice([-1, 1])) * math.pi / 2
    spot = Vector((points.min(axis=0) + points.max(axis=0)) / 2)
    if close:
        spot = visible_spot(points, direction, rng)
        frame_spot(camera, spot, direction, float(np.exp(rng.uniform(math.log(0.12), math.log(0.45)))), roll)
    else:
        frame_points(camera, points, direction, float(rng.uniform(0.8, 1.04)), roll)
    light_up(scene, rng, spot, direction, float(np.clip(np.ptp(points, axis=0).max(), 0.4, 2.0)))
    return subject


def _can_show(stage: Stage, kind: str) -> bool:
    """Whether the libraries have what a kind of picture needs; cuts and drapes need nothing."""
    if kind == "avatar":
        return bool(stage.avatars.entries)
    return bool(stage.garments.entries) or kind not in ("form", "laid", "wall")


def _from_front(rng: np.random.Generator, spread: float, low: float, high: float) -> Vector:
    """A direction from the subject to a camera before it (-y), with elevation in radians."""
    turn, rise = rng.normal(0.0, spread), rng.uniform(low, high)
    return Vector((math.sin(turn) * math.cos(rise), -math.cos(turn) * math.cos(rise), math.sin(rise)))


def _from_above(rng: np.random.Generator) -> Vector:
    tilt, turn = abs(rng.normal(0.0, 0.22)) + 0.02, rng.normal(0.0, 0.2)
    return Vector((math.sin(turn) * math.sin(tilt), -math.cos(turn) * math.sin(tilt), math.cos(tilt)))


def _asset_garment(stage: Stage, rng: np.random.Generator, close: bool, pose: Matrix) -> Subject:
    """One GLB garment, standing in `pose`, in its own texture or in a random fabric."""
    file = str(rng.choice(stage.files(stage.garments)))
    things = stage.garments.fetch(file)
    garment = next(thing for thing in things if thing.type == "MESH")
    garment.matrix_world = pose
    original = garment.get("original") or garment.data.materials[0]
    garment["original"] = original
    subject = Subject(things, file.removesuffix(".glb"), GARMENT_WORDS[file], "original")
    material = original
    single = " and " not in subject.category and subject.category not in ("shoes", "hat")
    if rng.random() < (0.75 if close or single else 0.3):
        fabric = random_fabric(rng, close)
        subject.material = f"{fabric.weave} {fabric.pattern}"
        material = build_fabric("Cloth", fabric, metres_per_uv(garment.data))
    garment.data.materials[0] = material
    subject.cloth = [material]
    return subject


def _rest_on_floor(subject: Subject, axis: int = 2, gap: float = 0.001) -> None:
    """Move the subject so that its lowest point along `axis` touches 0 (floor, or wall behind at +y)."""
    bpy.context.view_layer.update()
    points = world_points(subject.things)
    shift = Vector((0, 0, 0))
    shift[axis] = gap - points[:, axis].min() if axis == 2 else -gap - points[:, axis].max()
    for thing in subject.things:
        thing.matrix_world = Matrix.Translation(shift) @ thing.matrix_world


def _on_form(stage: Stage, rng: np.random.Generator, close: bool) -> tuple[Subject, Vector]:
    turn = rng.normal(0.0, 0.45) if rng.random() < 0.8 else rng.uniform(-math.pi, math.pi)
    subject = _asset_garment(stage, rng, close, Matrix.Rotation(turn, 4, "Z"))
    small = subject.category in ("shoes", "hat")
    if small:
        _rest_on_floor(subject)
    add_sweep("Backdrop", random_backdrop(rng))
    return subject, _from_front(rng, 0.2, 0.15 if small else -0.05, 0.7 if small else 0.22)


def _laid(stage: Stage, rng: np.random.Generator, close: bool) -> tuple[Subject, Vector]:
    flat = Matrix.Rotation(-math.pi / 2, 4, "X") @ Matrix.Diagonal(
        (1.0, float(rng.uniform(0.25, 0.5)), 1.0, 1.0)
    )
    pose = Matrix.Rotation(float(rng.normal(0.0, 0.15)), 4, "Z") @ flat
    subject = _asset_garment(stage, rng, close, pose)
    garment = subject.things[0]
    if subject.category in ("shoes", "hat"):
        garment.matrix_world = Matrix.Rotation(float(rng.uniform(-0.8, 0.8)), 4, "Z")
    _rest_on_floor(subject)
    add_plane("Floor", 9.0, random_floor(rng))
    if subject.category in ("shoes", "hat"):
        return subject, _from_front(rng, 0.5, 0.6, 1.3)
    return subject, _from_above(rng)


def _against_wall(stage: Stage, rng: np.random.Generator, close: bool) -> tuple[Subject, Vector]:
    flatten = Matrix.Diagonal((1.0, float(rng.uniform(0.4, 1.0)), 1.0, 1.0))
    subject = _asset_garment(
        stage, rng, close, Matrix.Rotation(float(rng.normal(0.0, 0.15)), 4, "Z") @ flatten
    )
    _rest_on_floor(subject, axis=1)
    add_plane("Wall", 9.0, random_floor(rng), upright=True)
    return subject, _from_front(rng, 0.3, -0.1, 0.3)


def _avatar(stage: Stage, rng: np.random.Generator, close: bool) -> tuple[Subject, Vector]:
    file = str(rng.choice(stage.files(stage.avatars)))
    things = stage.avatars.fetch(file)
    lower_arms(things, math.radians(rng.uniform(55.0, 70.0)))
    description = next(entry["description"] for entry in stage.avatars.entries if entry["file"] == file)
    bodies = [thing for thing in things if thing.type == "MESH"]
    subject = Subject(things, file.removesuffix(".glb"), avatar_words(description), "original")
    roughness = float(rng.uniform(0.8, 1.0))
    for body in bodies:
        split_garment_from_skin(body)
        subject.cloth.append(body.data.materials[0])
        for material in body.data.materials:
            _set_roughness(material, roughness)
    if rng.random() < 0.6:
        add_sweep("Backdrop", random_backdrop(rng))
    else:
        add_plane("Floor", 9.0, random_floor(rng))
        add_plane("Wall", 9.0, random_floor(rng), upright=True).location.y = float(rng.uniform(0.4, 1.5))
    return subject, _from_front(rng, 0.4, -0.1, 0.25)


def _set_roughness(material: bpy.types.Material, roughness: float) -> None:
    for node in material.node_tree.nodes:
        if node.type == "BSDF_PRINCIPLED":
            for link in list(node.inputs["Roughness"].links):
                material.node_tree.links.remove(link)
            node.inputs["Roughness"].default_value = roughness


def _avatar_framing(points: np.ndarray, rng: np.random.Generator, close: bool) -> np.ndarray:
    """The points that the frame must hold: whole figure, upper or lower body, torso; clothed trunk if close."""
    height = points[:, 2].max()
    if close:
        trunk = (points[:, 2] > 0.48 * height) & (points[:, 2] < 0.8 * height) & (np.abs(points[:, 0]) < 0.2)
        return points[trunk]
    low, high = [(0.0, 1.0), (0.45, 1.0), (0.0, 0.62), (0.5, 0.88)][rng.choice(4, p=[0.4, 0.25, 0.1, 0.25])]
    return points[(points[:, 2] >= low * height) & (points[:, 2] <= high * height)]


def _cut_laid(stage: Stage, rng: np.random.Generator, close: bool) -> tuple[Subject, Vector]:
    subject = _cut(rng, close, float(rng.uniform(0.4, 1.5)))
    add_plane("Floor", 9.0, random_floor(rng))
    subject.things[0].rotation_euler.z = float(rng.normal(0.0, 0.2))
    return subject, _from_above(rng)


def _cut_hung(stage: Stage, rng: np.random.Generator, close: bool) -> tuple[Subject, Vector]:
    subject = _cut(rng, close, float(rng.uniform(0.4, 1.2)))
    subject.things[0].rotation_euler.x = math.pi / 2
    add_plane("Wall", 9.0, random_floor(rng), upright=True)
    return subject, _from_front(rng, 0.25, -0.1, 0.3)


def _cut(rng: np.random.Generator, close: bool, wrinkles: float) -> Subject:
    cut = str(rng.choice(CUTS, p=[0.24, 0.14, 0.1, 0.14, 0.1, 0.13, 0.1, 0.05]))
    garment = build_flat_garment("Garment", cut, rng, wrinkles)
    fabric = random_fabric(rng, close)
    if cut in ("t-shirt", "longsleeve", "undershirt") and rng.random() < 0.45:
        fabric = replace(fabric, emblem=random_colour(rng))
    material = build_fabric("Cloth", fabric)
    garment.data.materials.append(material)
    return Subject([garment], f"cut {cut}", cut, f"{fabric.weave} {fabric.pattern}", [material])


def _drape(stage: Stage, rng: np.random.Generator, close: bool) -> tuple[Subject, Vector]:
    kind = str(rng.choice(DRAPES))
    if kind not in stage.drapes:
        stage.drapes[kind] = simulate_drape(kind)
        stage.drapes[kind].use_fake_user = True
    fabric = random_fabric(rng, close)
    material = build_fabric("Cloth", fabric)
    cloth = bpy.data.objects.new("Garment", stage.drapes[kind].copy())
    bpy.context.scene.collection.objects.link(cloth)
    cloth.rotation_euler.z = float(rng.uniform(0.0, math.tau))
    cloth.data.materials.clear()
    cloth.data.materials.append(material)
    subject = Subject([cloth], f"drape {kind}", "cloth", f"{fabric.weave} {fabric.pattern}", [material])
    if rng.random() < 0.5:
        add_sweep("Backdrop", random_backdrop(rng))
    else:
        add_plane("Floor", 9.0, random_floor(rng))
        add_plane("Wall", 9.0, random_floor(rng), upright=True).location.y = 1.2
    return subject, _from_front(rng, 0.5, 0.1, 0.9)


_SET_UPS = {
    "form": _on_form,
    "laid": _laid,
    "wall": _against_wall,
    "avatar": _avatar,
    "cut laid": _cut_laid,
    "cut hung": _cut_hung,
    "drape": _drape,
}
