# SPDX-License-Identifier: GPL-3.0-or-later
"""Which names the render knows things by: hashes, lists of names, instances, libraries."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import bpy
import numpy as np
import pytest
from conftest import add_cube
from test_garment import LEFT, RIGHT, masks, pick, planes


def test_murmur3_known_values(addon: Callable) -> None:
    # Test vectors of Appleby's MurmurHash3_x86_32, seed 0.
    murmur3 = addon("masks.cryptomatte").murmur3
    assert [murmur3(text) for text in (b"", b"test", b"Hello, world!")] == [0, 0xBA6BD213, 0xC0363E43]
    assert murmur3(b"The quick brown fox jumps over the lazy dog") == 0x2E4FF723


def test_ids_are_always_finite(addon: Callable) -> None:
    name_id = addon("masks.cryptomatte").name_id
    ids = np.array([name_id(f"name {number}") for number in range(5000)], np.uint32).view(np.float32)
    assert np.isfinite(ids).all()
    assert (np.abs(ids) >= np.finfo(np.float32).tiny).all()


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("", []),
        (" , ,", []),
        ("Dress, Sleeve.001 ,Hat", ["Dress", "Sleeve.001", "Hat"]),
        ('"Shirt, blue", 裙子', ["Shirt, blue", "裙子"]),
        ('"the ""good"" one", it\'s', ['the "good" one', "it's"]),
    ],
)
def test_lists_of_names(addon: Callable, text: str, names: list[str]) -> None:
    assert addon("masks.picked").split_names(text) == names


NAMES = ('Coat, "long"', "O'Neill [2]", "Кофта*", "a" * 63)


def test_names_with_commas_quotes_brackets_and_beyond_ascii(
    addon: Callable, garment_scene: bpy.types.Scene
) -> None:
    left = bpy.data.objects[LEFT]
    pick(garment_scene, left)
    expected = planes(addon, garment_scene)["garment"]
    for name in NAMES:
        left.name = left.material_slots[0].material.name = name
        bpy.ops.render.render()
        assert left.name == name, "Blender has cut the name"
        garment_scene.make_real.masks.parts.clear()
        pick(garment_scene, left, left.material_slots[0].material)
        assert np.abs(planes(addon, garment_scene)["garment"].astype(int) - expected).max() < 3000
        garment_scene.make_real.masks.parts.clear()
        item = pick(garment_scene).picks.add()
        item.kind, item.names = "NAMES", '"' + name.replace('"', '""') + '"'
        assert np.abs(planes(addon, garment_scene)["garment"].astype(int) - expected).max() < 3000


def test_a_star_stands_for_any_letters(addon: Callable, scene: bpy.types.Scene) -> None:
    for name in ("Sleeve.L", "Sleeve.R", "Hat"):
        add_cube(scene, name, 0.0, (1.0, 0.0, 0.0))
    item = pick(scene).picks.add()
    item.kind, item.names = "NAMES", "Sleeve*"
    (part,) = addon("masks.picked").parts(scene)
    objects, materials = part.names.values()
    assert objects == materials == {"Sleeve.L", "Sleeve.R"}


def move_into_collection(scene: bpy.types.Scene, thing: bpy.types.Object) -> bpy.types.Collection:
    """The thing leaves the scene and lives in a collection of its own, which nothing renders."""
    collection = bpy.data.collections.new("Source")
    collection.objects.link(thing)
    scene.collection.objects.unlink(thing)
    return collection


@pytest.mark.parametrize("how", ["collection instance", "nested", "vertices", "geometry nodes"])
def test_instances(addon: Callable, garment_scene: bpy.types.Scene, how: str) -> None:
    """Picking the instancer picks what it instances."""
    left = bpy.data.objects[LEFT]
    pick(garment_scene, left)
    expected = planes(addon, garment_scene)["garment"].astype(int)
    if how == "vertices":
        instancer = bpy.data.objects.new("Rack", bpy.data.meshes.new("Rack"))
        instancer.data.from_pydata([(0.0, 0.0, 0.0)], [], [])
        instancer.instance_type = "VERTS"
        left.parent = instancer
    else:
        collection = move_into_collection(garment_scene, left)
    if how == "geometry nodes":
        instancer = bpy.data.objects.new("Scatter", bpy.data.meshes.new("Scatter"))
        tree = bpy.data.node_groups.new("Scatter", "GeometryNodeTree")
        tree.interface.new_socket("Geometry", in_out="OUTPUT", socket_type="NodeSocketGeometry")
        source, output = tree.nodes.new("GeometryNodeCollectionInfo"), tree.nodes.new("NodeGroupOutput")
        source.inputs["Collection"].default_value = collection
        tree.links.new(source.outputs[0], output.inputs[0])
        instancer.modifiers.new("Scatter", "NODES").node_group = tree
    elif how != "vertices":
        instancer = bpy.data.objects.new("Rack", None)
        instancer.instance_type, instancer.instance_collection = "COLLECTION", collection
        if how == "nested":
            outer = bpy.data.objects.new("Shop", None)
            outer.instance_type = "COLLECTION"
            outer.instance_collection = bpy.data.collections.new("Outer")
            outer.instance_collection.objects.link(instancer)
            instancer = outer
    garment_scene.collection.objects.link(instancer)
    bpy.ops.render.render()
    garment_scene.make_real.masks.parts.clear()
    pick(garment_scene, instancer)
    found = masks(addon, garment_scene)
    assert found.remarks == ()
    assert np.abs(found.planes["garment"] - expected).max() < 3000


def test_objects_of_a_library(addon: Callable, garment_scene: bpy.types.Scene, tmp_path: Path) -> None:
    pick(garment_scene, bpy.data.objects[LEFT])
    expected = planes(addon, garment_scene)["garment"].astype(int)
    library = tmp_path / "wardrobe.blend"
    bpy.data.libraries.write(str(library), {bpy.data.objects[LEFT]})
    bpy.data.objects.remove(bpy.data.objects[LEFT])
    with bpy.data.libraries.load(str(library), link=True) as (_, wanted):
        wanted.objects = [LEFT]
    (linked,) = wanted.objects
    garment_scene.collection.objects.link(linked)
    assert linked.library is not None
    bpy.ops.render.render()
    garment_scene.make_real.masks.parts.clear()
    pick(garment_scene, linked)
    assert np.abs(planes(addon, garment_scene)["garment"] - expected).max() < 3000
    garment_scene.make_real.masks.parts.clear()
    pick(garment_scene, bpy.data.objects[RIGHT], linked.material_slots[0].material)
    assert planes(addon, garment_scene)["garment"].astype(int).sum() > 1.5 * expected.sum()
