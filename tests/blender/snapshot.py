# SPDX-License-Identifier: GPL-3.0-or-later
"""Everything that an artist could find changed: every data-block's properties, as plain values."""

from __future__ import annotations

import warnings
from typing import Any

import bpy

VOLATILE = {
    "depsgraph",
    "has_data",
    "is_evaluated",
    "is_updated",
    "is_updated_data",
    "original",
    "rna_type",
    "session_uid",
    "tool_settings",
    "users",
}
"""Properties that change by being looked at or referred to, and two whose walking crashes Blender: the depsgraph
5.0, the tool settings 4.2."""
COUNTED = {"attributes", "edges", "loops", "pixels", "polygons", "vertices"}
MAX_DEPTH = 4
SKIPPED = {"all_ids", "screens", "window_managers", "workspaces"}
"""What Blender shows is no part of what the artist made; `all_ids` (5.2) repeats the other collections."""


def of_file() -> dict[str, Any]:
    """Data-block kind and name -> its properties, node trees included."""
    result: dict[str, Any] = {}
    with warnings.catch_warnings():
        # Blender warns of its own properties that a later version will lack.
        warnings.simplefilter("ignore", DeprecationWarning)
        for kind in bpy.data.bl_rna.properties:
            if kind.type == "COLLECTION" and kind.identifier not in SKIPPED:
                for block in getattr(bpy.data, kind.identifier):
                    result[f"{kind.identifier}/{block.name_full}"] = properties(block)
    return result


def difference(before: dict[str, Any], after: dict[str, Any]) -> list[str]:
    """Paths at which two snapshots differ."""
    return sorted(_differences("", before, after))


def _differences(path: str, before: Any, after: Any) -> list[str]:
    if isinstance(before, dict) and isinstance(after, dict):
        keys = before.keys() | after.keys()
        missing = object()
        return [
            text
            for key in keys
            for text in _differences(f"{path}/{key}", before.get(key, missing), after.get(key, missing))
        ]
    return [] if before == after else [path]


def properties(struct: bpy.types.bpy_struct, depth: int = 0) -> dict[str, Any]:
    """A struct's properties as plain values; data-blocks that it refers to as their names."""
    values: dict[str, Any] = {}
    for prop in struct.bl_rna.properties:
        if prop.identifier not in VOLATILE:
            values[prop.identifier] = _value(struct, prop, depth)
    return values


def _value(struct: bpy.types.bpy_struct, prop: bpy.types.Property, depth: int) -> Any:
    value = getattr(struct, prop.identifier)
    if prop.type == "POINTER":
        if isinstance(value, bpy.types.NodeTree) and value.is_embedded_data:
            return properties(value, depth + 1)
        if value is None or isinstance(value, bpy.types.ID):
            return value and value.name_full
        return properties(value, depth + 1) if depth < MAX_DEPTH else None
    if prop.type == "COLLECTION":
        if prop.identifier in COUNTED or depth >= MAX_DEPTH:
            return len(value)
        return {str(number): _item(item, depth) for number, item in enumerate(value)}
    if getattr(prop, "is_array", False):
        return [list(row) if hasattr(row, "__len__") else row for row in value]
    return sorted(value) if isinstance(value, set) else value


def _item(item: Any, depth: int) -> Any:
    return item.name_full if isinstance(item, bpy.types.ID) else properties(item, depth + 1)


def of_windows() -> dict[str, Any]:
    """What each window shows: its scene, workspace and mode, and each area's kind and picture."""
    result: dict[str, Any] = {}
    for number, window in enumerate(bpy.context.window_manager.windows):
        areas = [(area.type, area.ui_type, area.width, area.height) for area in window.screen.areas]
        shown = (window.scene.name, window.view_layer.name, window.workspace.name, window.screen.name)
        result[str(number)] = {"shown": shown, "areas": areas, "mode": bpy.context.mode}
    return result
