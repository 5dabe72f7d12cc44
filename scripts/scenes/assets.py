# SPDX-License-Identifier: GPL-3.0-or-later
"""Garments and avatars from GLB files: read once, kept aside, put on stage when a picture needs them."""

from __future__ import annotations

import json
from pathlib import Path

import bpy
import numpy as np

LARGEST_TEXTURE = 1024
_NOT_GARMENT = ("Head", "Neck", "Hand", "Eye", "Jaw")


class AssetLibrary:
    """The listed GLB files of one folder, imported on first use; without a folder an empty library."""

    def __init__(self, folder: Path | None, index: str) -> None:
        self.folder = folder
        self.entries = json.loads((folder / index).read_text(encoding="utf-8")) if folder else []
        self._groups: dict[str, list[bpy.types.Object]] = {}

    def fetch(self, file: str) -> list[bpy.types.Object]:
        """The objects of one file, linked to the scene; `put_away` unlinks them again."""
        if file not in self._groups:
            self._groups[file] = _import_glb(self.folder / file)
        for thing in self._groups[file]:
            if thing.name not in bpy.context.scene.collection.objects:
                bpy.context.scene.collection.objects.link(thing)
        return self._groups[file]

    def put_away(self) -> None:
        for group in self._groups.values():
            for thing in group:
                for collection in thing.users_collection:
                    collection.objects.unlink(thing)


def _import_glb(path: Path) -> list[bpy.types.Object]:
    before, images = set(bpy.data.objects), set(bpy.data.images)
    bpy.ops.import_scene.gltf(filepath=str(path))
    group = [thing for thing in bpy.data.objects if thing not in before]
    for thing in [one for one in group if one.type == "MESH" and not one.data.materials]:
        group.remove(thing)
        bpy.data.objects.remove(thing, do_unlink=True)
    for image in set(bpy.data.images) - images:
        if max(image.size) > LARGEST_TEXTURE:
            image.scale(LARGEST_TEXTURE, LARGEST_TEXTURE)
    # Kept through the purge of orphans between two pictures, while nothing in the scene uses them.
    for thing in group:
        thing.use_fake_user = True
        if thing.type == "MESH":
            for material in thing.data.materials:
                material.use_fake_user = True
    return group


def lower_arms(group: list[bpy.types.Object], angle: float) -> None:
    """Bring an avatar's arms down from the T-pose by `angle` radians."""
    for armature in (thing for thing in group if thing.type == "ARMATURE"):
        for side in ("LeftArm", "RightArm"):
            bone = armature.pose.bones[side]
            bone.rotation_mode = "XYZ"
            bone.rotation_euler.x = angle


def split_garment_from_skin(body: bpy.types.Object) -> None:
    """Give head, neck and hands of an avatar a second material slot, so that the mask can leave them out.

    Bare arms and legs share the cloth's faces and texture and stay in the mask.
    """
    if len(body.data.materials) > 1:
        return
    skin_groups = {g.index for g in body.vertex_groups if any(word in g.name for word in _NOT_GARMENT)}
    skin = np.zeros(len(body.data.vertices), dtype=bool)
    for vertex in body.data.vertices:
        heaviest = max(vertex.groups, key=lambda group: group.weight, default=None)
        skin[vertex.index] = heaviest is not None and heaviest.group in skin_groups
    body.data.materials.append(body.data.materials[0].copy())
    for face in body.data.polygons:
        face.material_index = int(skin[list(face.vertices)].all())


def metres_per_uv(mesh: bpy.types.Mesh) -> float:
    """How many metres of cloth one UV unit covers, by the median over the faces."""
    mesh.calc_loop_triangles()
    triangles = mesh.loop_triangles
    corners = np.empty(len(triangles) * 3, dtype=np.int32)
    triangles.foreach_get("loops", corners)
    area = np.empty(len(triangles), dtype=np.float32)
    triangles.foreach_get("area", area)
    uv = np.empty(len(mesh.loops) * 2, dtype=np.float32)
    mesh.uv_layers.active.uv.foreach_get("vector", uv)
    a, b, c = np.moveaxis(uv.reshape(-1, 2)[corners.reshape(-1, 3)], 1, 0)
    uv_area = np.abs(np.cross(b - a, c - a)) / 2.0
    usable = uv_area > 1e-9
    return float(np.sqrt(np.median(area[usable] / uv_area[usable])))
