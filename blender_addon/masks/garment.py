# SPDX-License-Identifier: GPL-3.0-or-later
"""From the artist's picks to coverage planes."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import bpy
import numpy as np

from ..picture import render_passes
from ..protocol import ErrorCode, MakeRealError, PlaneName
from . import cryptomatte

ROLES = {"GARMENT": PlaneName.GARMENT, "PROTECTED": PlaneName.PROTECTED}
"""What a pick may be for -> the plane that it becomes."""


def picked_names(picks: Iterable) -> dict[cryptomatte.Layer, set[str]]:
    """Names of the picked things in each Cryptomatte layer; a pick whose data-block was deleted has none.

    Args:
        picks: `properties.GarmentPick` items.
    """
    names: dict[cryptomatte.Layer, set[str]] = {layer: set() for layer in cryptomatte.Layer}
    for pick in picks:
        match pick.target:
            case bpy.types.Object() as thing:
                names[cryptomatte.Layer.OBJECT].add(thing.name)
            case bpy.types.Material() as material:
                names[cryptomatte.Layer.MATERIAL].add(material.name)
            case bpy.types.Collection() as collection:
                names[cryptomatte.Layer.OBJECT].update(thing.name for thing in collection.all_objects)
    return names


def masks(scene: bpy.types.Scene, size: tuple[int, int]) -> dict[PlaneName, np.ndarray]:
    """Coverage planes of the scene's picks, from the finished render's Cryptomatte passes.

    Args:
        size: (height, width) of the display picture.

    Returns:
        One (height, width) uint16 plane for each role that was picked; none when nothing was picked.

    Raises:
        MakeRealError: NO_RENDER, NO_MASK_PASSES, EMPTY_MASK.
    """
    picks = scene.make_real.picks
    if not picks:
        return {}
    channels = render_passes.channels(scene)
    planes = {}
    for role, plane in ROLES.items():
        chosen = [pick for pick in picks if pick.role == role]
        if chosen:
            planes[plane] = _coverage(channels, chosen)
            if planes[plane].shape != size:
                raise MakeRealError(ErrorCode.NO_MASK_PASSES, "the compositor changes the picture's size")
    return planes


def _coverage(channels: Mapping[str, np.ndarray], picks: list) -> np.ndarray:
    found = [
        cryptomatte.coverage(channels, layer, names) for layer, names in picked_names(picks).items() if names
    ]
    # The same pixel may be covered by a picked object and by its picked material: the union is no sum.
    covered = np.maximum.reduce(found) if found else np.zeros(1, np.float32)
    plane = np.rint(covered * 65535.0).astype(np.uint16)
    if not plane.any():
        raise MakeRealError(ErrorCode.EMPTY_MASK, ", ".join(pick.label for pick in picks))
    return plane
