# SPDX-License-Identifier: GPL-3.0-or-later
"""Nodes come and go; the artist's own are the same before, during and after."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import bpy
import numpy as np
import pytest
import snapshot


@pytest.fixture
def result(addon: Callable, tmp_path: Path) -> Callable[[int], object]:
    """Files of a result with a given number."""

    def make(number: int, masked: bool = True):
        paths = addon("picture.files").ResultPaths(tmp_path, number)
        channels = {name: np.full((4, 4), number, np.float32) for name in "RGB"}
        paths.linear.write_bytes(b"".join(addon("picture.exr").encode(channels, {})))
        if masked:
            paths.mask.write_bytes(b"".join(addon("picture.png").encode(np.zeros((4, 4), np.uint16), {})))
        return paths

    return make


def artists_tree(scene: bpy.types.Scene) -> bpy.types.NodeTree:
    """A small compositor as an artist makes it."""
    if bpy.app.version >= (5, 0, 0):
        tree = bpy.data.node_groups.new("Grade", "CompositorNodeTree")
        tree.interface.new_socket("Image", in_out="OUTPUT", socket_type="NodeSocketColor")
        scene.compositing_node_group = tree
        output = tree.nodes.new("NodeGroupOutput")
    else:
        scene.use_nodes = True
        tree = scene.node_tree
        tree.nodes.clear()
        output = tree.nodes.new("CompositorNodeComposite")
    layers = tree.nodes.new("CompositorNodeRLayers")
    blur = tree.nodes.new("CompositorNodeBlur")
    tree.links.new(layers.outputs["Image"], blur.inputs["Image"])
    tree.links.new(blur.outputs["Image"], output.inputs["Image"])
    layers.location = (-400.0, 100.0)
    tree.nodes.active = blur
    return tree


def nodes_of(tree: bpy.types.NodeTree) -> dict:
    return {node.name: snapshot.properties(node, 1) for node in tree.nodes if "make_real" not in node}


def links_of(tree: bpy.types.NodeTree) -> list:
    return [(x.from_node.name, x.from_socket.name, x.to_node.name, x.to_socket.name) for x in tree.links]


def test_insert_and_remove_beside_the_artists_nodes(
    addon: Callable, scene: bpy.types.Scene, result: Callable
) -> None:
    compositor = addon("compositor")
    tree = artists_tree(scene)
    before, nodes, links, active = snapshot.of_file(), nodes_of(tree), links_of(tree), tree.nodes.active.name
    paths = result(1)
    compositor.insert(scene, paths)
    assert nodes_of(tree) == nodes
    assert links_of(tree) == links
    assert tree.nodes.active.name == active
    added = {node.label: node for node in tree.nodes if node.type == "IMAGE"}
    assert added.keys() == {"Make Real", "Garment Mask"}
    assert Path(added["Make Real"].image.filepath) == paths.linear
    assert added["Make Real"].image.colorspace_settings.name == addon("compat").scene_linear_space()
    assert added["Garment Mask"].image.colorspace_settings.name == "Non-Color"
    assert all(node.parent.label == "Make Real" for node in added.values())
    assert compositor.is_inserted(scene)
    assert compositor.remove(scene)
    assert not compositor.is_inserted(scene)
    assert snapshot.difference(before, snapshot.of_file()) == []


def test_second_result_takes_the_place_of_the_first(
    addon: Callable, scene: bpy.types.Scene, result: Callable
) -> None:
    compositor = addon("compositor")
    tree = artists_tree(scene)
    compositor.insert(scene, result(1))
    picture = next(node for node in tree.nodes if node.label == "Make Real" and node.type == "IMAGE")
    # The artist has begun to use it.
    tree.links.new(picture.outputs["Image"], tree.nodes["Blur"].inputs["Image"])
    count = len(tree.nodes)
    second = result(2)
    compositor.insert(scene, second)
    assert len(tree.nodes) == count
    assert Path(picture.image.filepath) == second.linear
    assert tree.nodes["Blur"].inputs["Image"].links[0].from_node == picture
    assert not [image.name for image in bpy.data.images if image.name.startswith("0001")]
    compositor.insert(scene, result(3, masked=False))
    assert not [node for node in tree.nodes if node.label == "Garment Mask"]


def test_scene_without_compositor_gets_one_that_changes_no_pixel(
    addon: Callable, garment_scene: bpy.types.Scene, result: Callable
) -> None:
    compositor = addon("compositor")
    before = snapshot.of_file()
    if bpy.app.version >= (5, 2, 0):
        garment_scene.render.compositor_device = "CPU"
        before = snapshot.of_file()
    picture = addon("picture.render_passes").display_picture(garment_scene)
    compositor.insert(garment_scene, result(1))
    assert addon("compat").compositor_tree(garment_scene) is not None
    bpy.ops.render.render()
    again = addon("picture.render_passes").display_picture(garment_scene)
    assert np.abs(again.astype(int) - picture).max() <= 1
    assert compositor.remove(garment_scene)
    changed = snapshot.difference(before, snapshot.of_file())
    if bpy.app.version < (5, 0, 0):
        # Blender 4 has no way to take a scene's tree away; it is empty and switched off.
        changed = [path for path in changed if not path.startswith("/scenes/Scene/node_tree")]
        assert len(garment_scene.node_tree.nodes) == 0
    assert changed == []


def test_own_compositor_stays_when_the_artist_used_it(
    addon: Callable, scene: bpy.types.Scene, result: Callable
) -> None:
    compositor, compat = addon("compositor"), addon("compat")
    compositor.insert(scene, result(1))
    tree = compat.compositor_tree(scene)
    tree.nodes.new("CompositorNodeBlur")
    compositor.remove(scene)
    assert compat.compositor_tree(scene) == tree
    assert len(tree.nodes) == 3
    assert not [node for node in tree.nodes if "make_real" in node]
    assert len(tree.links) == 1
    assert not compositor.remove(scene)


@pytest.mark.skipif(bpy.app.version >= (5, 0, 0), reason="a compositor has no switch since Blender 5.0")
def test_a_compositor_that_is_switched_off_keeps_its_nodes(
    addon: Callable, scene: bpy.types.Scene, result: Callable
) -> None:
    tree = artists_tree(scene)
    scene.use_nodes = False
    nodes, links = nodes_of(tree), links_of(tree)
    addon("compositor").insert(scene, result(1))
    assert not scene.use_nodes
    assert (nodes_of(tree), links_of(tree)) == (nodes, links)
    assert addon("compositor").remove(scene)
    assert (nodes_of(tree), links_of(tree)) == (nodes, links)


def test_remove_operator(addon: Callable, scene: bpy.types.Scene, result: Callable) -> None:
    artists_tree(scene)
    assert not bpy.ops.make_real.remove_from_compositor.poll()
    addon("compositor").insert(scene, result(1))
    assert bpy.ops.make_real.remove_from_compositor() == {"FINISHED"}
    assert not addon("compositor").is_inserted(scene)


@pytest.mark.skipif(bpy.app.version < (5, 0, 0), reason="node groups for scenes came with Blender 5.0")
def test_linked_node_group_is_refused(
    addon: Callable, scene: bpy.types.Scene, result: Callable, tmp_path: Path
) -> None:
    tree = artists_tree(scene)
    library = tmp_path / "library.blend"
    bpy.data.libraries.write(str(library), {tree})
    bpy.ops.wm.read_factory_settings(use_empty=True)
    bpy.ops.preferences.addon_enable(module=addon("").__name__)
    with bpy.data.libraries.load(str(library), link=True) as (_, wanted):
        wanted.node_groups = ["Grade"]
    scene = bpy.context.scene
    scene.compositing_node_group = bpy.data.node_groups["Grade"]
    with pytest.raises(addon("protocol").MakeRealError, match="Grade") as caught:
        addon("compositor").insert(scene, result(1))
    assert caught.value.code == "compositor_locked"
