# SPDX-License-Identifier: GPL-3.0-or-later
"""The garment's mask from Cryptomatte, against the render's index passes and the specification's hashes."""

from __future__ import annotations

from collections.abc import Callable

import bpy
import numpy as np
import pytest

LEFT, RIGHT = "Kleid, größer", "裙子"


def pick(scene: bpy.types.Scene, target: bpy.types.ID, role: str = "GARMENT") -> None:
    item = scene.make_real.picks.add()
    item.kind = {"Object": "OBJECT", "Material": "MATERIAL", "Collection": "COLLECTION"}[
        type(target).__name__
    ]
    item.role = role
    setattr(item, item.kind.lower(), target)


def object_index(addon: Callable, scene: bpy.types.Scene) -> np.ndarray:
    channels = addon("picture.render_passes").channels(scene)
    (name,) = [name for name in channels if ".IndexOB." in name or ".Object Index." in name]
    return channels[name]


def test_murmur3_known_values(addon: Callable) -> None:
    # Test vectors of Appleby's MurmurHash3_x86_32, seed 0.
    murmur3 = addon("masks.cryptomatte").murmur3
    assert [murmur3(text) for text in (b"", b"test", b"Hello, world!")] == [0, 0xBA6BD213, 0xC0363E43]
    assert murmur3(b"The quick brown fox jumps over the lazy dog") == 0x2E4FF723


def test_ids_are_always_finite(addon: Callable) -> None:
    name_id = addon("masks.cryptomatte").name_id
    ids = np.array([name_id(f"name {number}") for number in range(5000)])
    assert np.isfinite(ids).all()
    assert (np.abs(ids) >= np.finfo(np.float32).tiny).all()


@pytest.mark.parametrize("kind", ["object", "material", "collection"])
def test_coverage_agrees_with_the_object_index(
    addon: Callable, garment_scene: bpy.types.Scene, kind: str
) -> None:
    left = bpy.data.objects[LEFT]
    if kind == "object":
        pick(garment_scene, left)
    elif kind == "material":
        pick(garment_scene, left.material_slots[0].material)
    else:
        collection = bpy.data.collections.new("Outfit")
        inner = bpy.data.collections.new("Inner")
        collection.children.link(inner)
        inner.objects.link(left)
        pick(garment_scene, collection)
    plane = addon("masks.garment").masks(garment_scene, (48, 64))["garment"]
    index = object_index(addon, garment_scene)
    coverage = plane / 65535.0
    assert plane.dtype == np.uint16
    # The index pass has no soft edges: a pixel may differ where the cube covers part of it.
    assert (np.abs(coverage - (index == 1)) > 0.6).mean() < 0.005
    assert ((coverage > 0.02) & (coverage < 0.98)).sum() > 20, "soft edges are lost"
    assert 0.03 < coverage.mean() < 0.5


def test_union_of_picks_and_a_protected_one(addon: Callable, garment_scene: bpy.types.Scene) -> None:
    left, right = bpy.data.objects[LEFT], bpy.data.objects[RIGHT]
    masks = addon("masks.garment").masks

    def one(*targets: bpy.types.ID) -> np.ndarray:
        garment_scene.make_real.picks.clear()
        for target in targets:
            pick(garment_scene, target)
        return masks(garment_scene, (48, 64))["garment"].astype(float)

    both = one(left, right)
    assert np.abs(both - np.minimum(one(left) + one(right), 65535)).max() <= 1
    assert np.array_equal(one(left, left.material_slots[0].material), one(left))
    garment_scene.make_real.picks.clear()
    pick(garment_scene, left)
    pick(garment_scene, right, "PROTECTED")
    planes = masks(garment_scene, (48, 64))
    assert planes.keys() == {"garment", "protected"}
    assert np.array_equal(planes["garment"] + planes["protected"].astype(float), both)


def test_no_pick_no_mask(addon: Callable, garment_scene: bpy.types.Scene) -> None:
    assert addon("masks.garment").masks(garment_scene, (48, 64)) == {}


def test_two_view_layers(addon: Callable, garment_scene: bpy.types.Scene) -> None:
    second = garment_scene.view_layers.new("Second")
    second.use_pass_cryptomatte_object = True
    bpy.ops.render.render()
    pick(garment_scene, bpy.data.objects[LEFT])
    plane = addon("masks.garment").masks(garment_scene, (48, 64))["garment"]
    assert plane.max() == 65535


def test_picks_without_passes(addon: Callable, garment_scene: bpy.types.Scene) -> None:
    layer = garment_scene.view_layers[0]
    layer.use_pass_cryptomatte_object = layer.use_pass_cryptomatte_material = False
    bpy.ops.render.render()
    pick(garment_scene, bpy.data.objects[LEFT])
    with pytest.raises(addon("protocol").MakeRealError) as caught:
        addon("masks.garment").masks(garment_scene, (48, 64))
    assert caught.value.code == "no_mask_passes"


@pytest.mark.parametrize("how", ["out of sight", "deleted"])
def test_empty_mask(addon: Callable, garment_scene: bpy.types.Scene, how: str) -> None:
    behind = bpy.data.objects.new("Behind", bpy.data.objects[LEFT].data)
    pick(garment_scene, behind)
    if how == "deleted":
        bpy.data.objects.remove(behind)
    with pytest.raises(addon("protocol").MakeRealError) as caught:
        addon("masks.garment").masks(garment_scene, (48, 64))
    assert caught.value.code == "empty_mask"
    assert ("Behind" if how == "out of sight" else "deleted") in caught.value.detail


def test_pick_operators(scene: bpy.types.Scene, garment_scene: bpy.types.Scene) -> None:
    bpy.data.objects[LEFT].select_set(True)
    bpy.context.view_layer.objects.active = bpy.data.objects[LEFT]
    picks = garment_scene.make_real.picks
    assert bpy.ops.make_real.add_picks(kind="OBJECT") == {"FINISHED"}
    assert bpy.ops.make_real.add_picks(kind="OBJECT") == {"CANCELLED"}
    assert bpy.ops.make_real.add_picks(kind="MATERIAL") == {"FINISHED"}
    assert bpy.ops.make_real.add_picks(kind="COLLECTION") == {"CANCELLED"}, "the scene's own collection"
    outfit = bpy.data.collections.new("Outfit")
    garment_scene.collection.children.link(outfit)
    layer = bpy.context.view_layer
    layer.active_layer_collection = layer.layer_collection.children["Outfit"]
    assert bpy.ops.make_real.add_picks(kind="COLLECTION") == {"FINISHED"}
    assert [item.kind for item in picks] == ["OBJECT", "MATERIAL", "COLLECTION"]
    garment_scene.make_real.active_pick = 1
    assert bpy.ops.make_real.remove_pick() == {"FINISHED"}
    assert [item.kind for item in picks] == ["OBJECT", "COLLECTION"]


def test_enable_passes(scene: bpy.types.Scene) -> None:
    layer = scene.view_layers[0]
    assert not layer.use_pass_cryptomatte_object
    bpy.ops.make_real.enable_passes()
    assert layer.use_pass_cryptomatte_object
    assert layer.use_pass_cryptomatte_material
