# SPDX-License-Identifier: GPL-3.0-or-later
"""The artist's parts as plain data, read at the click: later edits, undo or another file cannot disturb the work.

A name stands for what the render calls by it. An object that instances others (a collection instance, geometry
nodes, particles) is rendered under their names, so these are taken with its own.
"""

from __future__ import annotations

import csv
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from fnmatch import fnmatchcase

import bpy
import numpy as np

from ..protocol import ErrorCode, MakeRealError
from .cryptomatte import Layer

LUMINANCE = (0.2126, 0.7152, 0.0722)
"""Weights of red, green and blue, Rec. 709."""


Instances = Mapping[bpy.types.Object, set[bpy.types.Object]]
"""Instancer -> what it instances."""


class Role(StrEnum):
    """What happens to a part's pixels; the values are those of the property `GarmentPart.role`."""

    GARMENT = "GARMENT"
    FREE = "FREE"
    PROTECTED = "PROTECTED"


@dataclass(frozen=True)
class Part:
    """One part of the picture.

    Args:
        name: What the artist calls it.
        role: What happens to it.
        strength: Factor of the garment's strength, 0..1.
        names: Names in each Cryptomatte layer.
        images: Name of an image -> (height, width) float32, 0..1, top row first.
        excuse: Why it may cover nothing, as far as the scene tells; empty when it should be seen.
    """

    name: str
    role: Role
    strength: float
    names: Mapping[Layer, frozenset[str]] = field(default_factory=dict)
    images: Mapping[str, np.ndarray] = field(default_factory=dict, repr=False)
    excuse: str = ""


def parts(scene: bpy.types.Scene) -> list[Part]:
    """The scene's parts.

    Raises:
        MakeRealError: PICTURE_UNREADABLE when an image that was picked has no pixels.
    """
    if not scene.make_real.masks.parts:
        return []
    instances = _instances()
    rendered = _rendered_objects(scene, instances)
    return [_read(part, rendered, instances) for part in scene.make_real.masks.parts]


def _read(part: bpy.types.PropertyGroup, rendered: set[bpy.types.Object], instances: Instances) -> Part:
    objects: set[bpy.types.Object] = set()
    materials: set[bpy.types.Material] = set()
    images: set[bpy.types.Image] = set()
    excuses = []
    for pick in part.picks:
        things = targets(pick)
        for thing in things:
            match thing:
                case bpy.types.Object():
                    objects.add(thing)
                case bpy.types.Collection():
                    objects.update(thing.all_objects)
                case bpy.types.Material():
                    materials.add(thing)
                case bpy.types.Image():
                    images.add(thing)
        excuses.append(_excuse(pick, things, rendered))
    return Part(
        name=part.name,
        role=Role(part.role),
        strength=part.strength,
        names={
            Layer.OBJECT: frozenset(thing.name for thing in _with_instances(objects, instances)),
            Layer.MATERIAL: frozenset(material.name for material in materials),
        },
        images={image.name: _mask(image) for image in images},
        excuse=("; ".join(excuses) or "nothing is picked in it") if all(excuses) else "",
    )


def targets(pick: bpy.types.PropertyGroup) -> list[bpy.types.ID]:
    """What a pick stands for; nothing when it was deleted or never chosen."""
    if pick.kind != "NAMES":
        target = getattr(pick, pick.kind.lower())
        return [target] if target else []
    found: list[bpy.types.ID] = []
    for wanted in split_names(pick.names):
        things = [*bpy.data.objects, *bpy.data.materials]
        # A name may itself hold a star or a bracket.
        exact = [thing for thing in things if thing.name == wanted]
        found += exact or [thing for thing in things if fnmatchcase(thing.name, wanted)]
    return found


def split_names(text: str) -> list[str]:
    """Names in a list: separated by commas, in quotation marks where a name has a comma itself."""
    names = next(csv.reader([text], skipinitialspace=True), [])
    return [name.strip() for name in names if name.strip()]


def _instances() -> Instances:
    """What is instanced by vertices, faces, particles and geometry nodes, which only the evaluated scene knows."""
    if not any(_may_instance(thing) for thing in bpy.data.objects):
        return {}
    found: dict[bpy.types.Object, set[bpy.types.Object]] = {}
    for instance in bpy.context.evaluated_depsgraph_get().object_instances:
        if instance.is_instance and instance.parent:
            found.setdefault(instance.parent.original, set()).add(instance.instance_object.original)
    return found


def _may_instance(thing: bpy.types.Object) -> bool:
    kinds = {modifier.type for modifier in thing.modifiers}
    return thing.instance_type in {"VERTS", "FACES"} or bool(kinds & {"NODES", "PARTICLE_SYSTEM"})


def _with_instances(objects: Iterable[bpy.types.Object], instances: Instances) -> set[bpy.types.Object]:
    """The objects, and all that they instance. Collection instances count even where the viewport hides them."""
    found: set[bpy.types.Object] = set()
    waiting = list(objects)
    while waiting:
        thing = waiting.pop()
        if thing in found:
            continue
        found.add(thing)
        if thing.instance_type == "COLLECTION" and thing.instance_collection:
            waiting += thing.instance_collection.all_objects
        waiting += instances.get(thing, ())
    return found


def _mask(image: bpy.types.Image) -> np.ndarray:
    """(height, width) float32, 0..1: the image's alpha when any of it is transparent, else its brightness."""
    width, height = image.size
    if width * height == 0:
        raise MakeRealError(
            ErrorCode.PICTURE_UNREADABLE, f"the image {image.name}, which is picked as a mask"
        )
    values = np.empty(height * width * image.channels, np.float32)
    image.pixels.foreach_get(values)
    values = values.reshape(height, width, image.channels)[::-1]
    if image.channels == 4 and values[..., 3].min() < 1.0:
        mask = values[..., 3]
    elif image.channels >= 3:
        mask = values[..., :3] @ np.array(LUMINANCE, np.float32)
    else:
        mask = values[..., 0]
    return np.ascontiguousarray(np.clip(np.nan_to_num(mask), 0.0, 1.0))


# Why a part may be empty


def _rendered_objects(scene: bpy.types.Scene, instances: Instances) -> set[bpy.types.Object]:
    """Objects that the scene's view layers render, by themselves or as instances of what these render."""
    waiting = [layer.layer_collection for layer in scene.view_layers if layer.use]
    found: set[bpy.types.Object] = set()
    while waiting:
        layer_collection = waiting.pop()
        if layer_collection.exclude or layer_collection.collection.hide_render:
            continue
        found.update(thing for thing in layer_collection.collection.objects if not thing.hide_render)
        waiting += layer_collection.children
    return _with_instances(found, instances)


def _excuse(
    pick: bpy.types.PropertyGroup, things: list[bpy.types.ID], rendered: set[bpy.types.Object]
) -> str:
    """Why a pick cannot be seen; empty when it should be."""
    if not things:
        return _nothing_there(pick)
    excuses = [_thing_excuse(thing, rendered) for thing in things]
    return "; ".join(dict.fromkeys(excuses)) if all(excuses) else ""


def _nothing_there(pick: bpy.types.PropertyGroup) -> str:
    if pick.kind == "NAMES":
        return f"no object or material is called {pick.names}" if pick.names else "its list of names is empty"
    return f"its {pick.kind.lower()} was deleted or not chosen yet"


def _thing_excuse(thing: bpy.types.ID, rendered: set[bpy.types.Object]) -> str:
    match thing:
        case bpy.types.Object():
            if thing.hide_render:
                return f"{thing.name} is hidden in renders"
            return "" if thing in rendered else f"{thing.name} is in no collection that is rendered"
        case bpy.types.Collection():
            if not thing.all_objects:
                return f"the collection {thing.name} is empty"
            seen = any(member in rendered for member in thing.all_objects)
            return "" if seen else f"all of the collection {thing.name} is hidden in renders"
        case bpy.types.Material():
            users = (thing in [slot.material for slot in user.material_slots] for user in rendered)
            return "" if any(users) else f"no rendered object has the material {thing.name}"
    return f"the image {thing.name} is black"
