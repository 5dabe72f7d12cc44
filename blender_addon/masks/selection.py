# SPDX-License-Identifier: GPL-3.0-or-later
"""What is selected in Blender, and picks made of it."""

from __future__ import annotations

from collections.abc import Iterable

import bpy

from .picked import targets

KIND_OF_TYPE = {"Object": "OBJECT", "Material": "MATERIAL", "Collection": "COLLECTION", "Image": "IMAGE"}
"""Python type of a data-block -> kind of its pick."""


def selected(context: bpy.types.Context, kind: str) -> list[bpy.types.ID]:
    """The selected objects, the active object's active material, or the Outliner's active collection."""
    active = context.view_layer.objects.active
    match kind:
        case "OBJECT":
            return list(context.view_layer.objects.selected)
        case "MATERIAL":
            return [active.active_material] if active and active.active_material else []
        case _:
            collection = context.view_layer.active_layer_collection.collection
            # The scene's own collection is a part of the scene: nothing can point to it.
            return [] if collection.is_embedded_data else [collection]


def add_part(masks: bpy.types.PropertyGroup, name: str) -> bpy.types.PropertyGroup:
    """A new last part, made the active one."""
    part = masks.parts.add()
    part.name = name
    masks.active_part = len(masks.parts) - 1
    return part


def active_part(masks: bpy.types.PropertyGroup) -> bpy.types.PropertyGroup | None:
    """The part that is shown below the list."""
    return masks.parts[masks.active_part] if masks.active_part < len(masks.parts) else None


def add_picks(part: bpy.types.PropertyGroup, things: Iterable[bpy.types.ID]) -> int:
    """Let the part have these too, each once; returns how many are new."""
    present = [thing for pick in part.picks for thing in targets(pick)]
    new = [thing for thing in things if thing not in present]
    for thing in new:
        pick = part.picks.add()
        pick.kind = KIND_OF_TYPE[type(thing).__name__]
        setattr(pick, pick.kind.lower(), thing)
    return len(new)
