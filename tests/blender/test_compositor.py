# SPDX-License-Identifier: GPL-3.0-or-later
"""The group comes and goes; the artist's own nodes and links are the same before and after."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import bpy
import numpy as np
import pytest
import snapshot
from conftest import drained

IS_5 = bpy.app.version >= (5, 0, 0)


@pytest.fixture
def result(addon: Callable, tmp_path: Path) -> Callable:
    """Files of a result with a given number, of one level of grey."""

    def make(number: int, level: float = 0.5, masked: bool = True, size: tuple[int, int] = (48, 64)):
        paths = addon("picture.files").ResultPaths(tmp_path, number)
        lines = np.full((*size, 3), level, np.float32)
        pieces = addon("picture.exr_encode").encode(lines, "RGB", size, {})
        drained(addon("picture.files").write_for_now(paths.linear, pieces))
        if masked:
            mask = np.full(size, round(65535 * level), np.uint16)
            paths.mask.write_bytes(b"".join(addon("picture.png").encode(mask, {})))
        return paths

    return make


def insert(addon: Callable, scene: bpy.types.Scene, paths: Any, frame: int) -> None:
    """Every step of a result's way into the compositor."""
    drained(addon("compositor").insert(lambda: scene, paths, frame))


@pytest.fixture(autouse=True)
def compositor_on_the_cpu(request: pytest.FixtureRequest) -> None:
    """Blender 5.2 composites on the GPU unless told otherwise; a test machine has none."""
    name = "garment_scene" if "garment_scene" in request.fixturenames else "scene"
    if bpy.app.version >= (5, 2, 0):
        request.getfixturevalue(name).render.compositor_device = "CPU"


def empty_tree(scene: bpy.types.Scene) -> tuple[bpy.types.NodeTree, bpy.types.Node]:
    """A compositor of the scene, and its output node."""
    if IS_5:
        tree = bpy.data.node_groups.new("Grade", "CompositorNodeTree")
        tree.interface.new_socket("Image", in_out="OUTPUT", socket_type="NodeSocketColor")
        scene.compositing_node_group = tree
        return tree, tree.nodes.new("NodeGroupOutput")
    scene.use_nodes = True
    scene.node_tree.nodes.clear()
    return scene.node_tree, scene.node_tree.nodes.new("CompositorNodeComposite")


def add_layers(tree: bpy.types.NodeTree, scene: bpy.types.Scene, layer: str = "") -> bpy.types.Node:
    node = tree.nodes.new("CompositorNodeRLayers")
    node.scene = scene
    node.layer = layer or scene.view_layers[0].name
    node.location = (-400.0, 100.0)
    return node


def other_scene() -> bpy.types.Scene:
    other = bpy.data.scenes.new("Other")
    # Blender makes the layer's tree of collections when it is first asked for.
    other.view_layers[0].update()
    return other


def artists_tree(scene: bpy.types.Scene) -> bpy.types.NodeTree:
    """A compositor as an artist makes it: a grade, a branch, a muted node, a muted link, a frame."""
    tree, output = empty_tree(scene)
    layers = add_layers(tree, scene)
    grade = tree.nodes.new("CompositorNodeExposure")
    grade.inputs["Exposure"].default_value = 1.0
    blur = tree.nodes.new("CompositorNodeBlur")
    viewer = tree.nodes.new("CompositorNodeViewer")
    muted = tree.nodes.new("CompositorNodeBlur")
    muted.mute = True
    frame = tree.nodes.new("NodeFrame")
    layers.parent = frame
    tree.links.new(layers.outputs["Image"], grade.inputs["Image"])
    tree.links.new(layers.outputs["Image"], muted.inputs["Image"])
    tree.links.new(layers.outputs["Image"], blur.inputs["Image"]).is_muted = True
    tree.links.new(blur.outputs["Image"], viewer.inputs["Image"])
    tree.links.new(grade.outputs["Image"], output.inputs["Image"])
    tree.nodes.active = blur
    return tree


def links_of(tree: bpy.types.NodeTree) -> list:
    """Links have no order that means anything."""
    ends = (
        (x.from_node.name, x.from_socket.name, x.to_node.name, x.to_socket.name, x.is_muted)
        for x in tree.links
    )
    return sorted(ends)


def nodes_of(tree: bpy.types.NodeTree) -> dict:
    return {node.name: snapshot.properties(node, 1) for node in tree.nodes}


def everything(tree: bpy.types.NodeTree) -> tuple:
    file = snapshot.of_file()
    for block in file.values():
        # Compared by `links_of`.
        block.pop("links", None)
        if isinstance(block.get("node_tree"), dict):
            block["node_tree"].pop("links")
    return file, nodes_of(tree), links_of(tree), tree.nodes.active and tree.nodes.active.name


def group_nodes(tree: bpy.types.NodeTree) -> list[bpy.types.Node]:
    return [node for node in tree.nodes if node.bl_idname == "CompositorNodeGroup"]


def composite(addon: Callable, scene: bpy.types.Scene) -> np.ndarray:
    """The scene rendered and composited, scene-linear."""
    bpy.ops.render.render()
    return addon("picture.render_passes").scene_linear(scene)[..., :3]


def test_every_link_of_the_image_goes_through_the_group_and_back(
    addon: Callable, scene: bpy.types.Scene, result: Callable
) -> None:
    compositor = addon("compositor")
    tree = artists_tree(scene)
    before = everything(tree)
    insert(addon, scene, result(1), 1)
    (node,) = group_nodes(tree)
    layers = next(node for node in tree.nodes if node.bl_idname == "CompositorNodeRLayers")
    assert [link.to_node for link in layers.outputs["Image"].links] == [node]
    ends = [(link.to_node.bl_idname, link.is_muted) for link in node.outputs["Image"].links]
    expected = [
        ("CompositorNodeBlur", False),
        ("CompositorNodeBlur", True),
        ("CompositorNodeExposure", False),
    ]
    assert sorted(ends) == expected
    assert sorted(socket.name for socket in node.inputs) == ["Image", "Mix"]
    assert [socket.name for socket in node.outputs] == ["Image", "Garment Mask"]
    assert node.inputs["Mix"].default_value == 1.0
    assert tree.nodes.active.name == before[3]
    assert compositor.is_inserted(scene)
    assert compositor.remove(scene)
    assert not compositor.is_inserted(scene)
    assert not compositor.remove(scene)
    after = everything(tree)
    assert snapshot.difference(before[0], after[0]) == []
    assert before[1:] == after[1:]


def test_the_artists_grade_works_on_the_result_and_mix_0_is_the_render(
    addon: Callable, garment_scene: bpy.types.Scene, result: Callable
) -> None:
    tree = artists_tree(garment_scene)
    render = composite(addon, garment_scene)
    compositor = addon("compositor")
    insert(addon, garment_scene, result(1, 0.25), garment_scene.frame_current)
    assert composite(addon, garment_scene) == pytest.approx(0.5, abs=1e-5), "one stop brighter"
    compositor.mix_socket(garment_scene).default_value = 0.0
    assert np.array_equal(composite(addon, garment_scene), render)
    compositor.mix_socket(garment_scene).default_value = 0.5
    assert composite(addon, garment_scene) == pytest.approx((render + 0.5) / 2.0, abs=1e-4)
    (node,) = group_nodes(tree)
    output = next(
        node for node in tree.nodes if node.bl_idname in ("NodeGroupOutput", "CompositorNodeComposite")
    )
    tree.links.new(node.outputs["Garment Mask"], output.inputs["Image"])
    assert composite(addon, garment_scene) == pytest.approx(0.25, abs=1e-4)


def test_each_frame_has_its_own_result_and_the_others_their_render(
    addon: Callable, garment_scene: bpy.types.Scene, result: Callable, tmp_path: Path
) -> None:
    for number, (frame, level) in enumerate(((3, 0.25), (4, 0.5), (7, 0.75)), start=1):
        insert(addon, garment_scene, result(number, level), frame)
    tree = addon("compat").compositor_tree(garment_scene)
    assert len(group_nodes(tree)) == 1
    levels = {}
    for frame in (2, 3, 4, 5, 7, 8):
        garment_scene.frame_set(frame)
        levels[frame] = composite(addon, garment_scene)
    assert np.array_equal(levels[2], levels[5])
    assert np.array_equal(levels[2], levels[8])
    assert levels[2].std() > 0.01, "the render"
    assert [round(float(levels[frame].mean()), 3) for frame in (3, 4, 7)] == [0.25, 0.5, 0.75]
    # A second result of a frame comes under the same name, and no number is lost.
    garment_scene.frame_set(4)
    insert(addon, garment_scene, result(4, 0.125), 4)
    assert composite(addon, garment_scene) == pytest.approx(0.125, abs=1e-5)
    assert sorted(path.name for path in (tmp_path / "compositor").glob("*.exr")) == [
        "linear_0003.exr",
        "linear_0004.exr",
        "linear_0007.exr",
    ]
    assert len(list(tmp_path.glob("*_linear.exr"))) == 4
    assert len([image for image in bpy.data.images if image.name.startswith("linear")]) == 1


def test_a_node_that_the_artist_moved_stays_where_it_is(
    addon: Callable, scene: bpy.types.Scene, result: Callable
) -> None:
    compositor = addon("compositor")
    tree = artists_tree(scene)
    insert(addon, scene, result(1), 1)
    (node,) = group_nodes(tree)
    node.location = (900.0, 900.0)
    tree.links.remove(node.inputs["Image"].links[0])
    links = links_of(tree)
    insert(addon, scene, result(2, masked=False), 1)
    assert links_of(tree) == links
    assert tuple(node.location) == (900.0, 900.0)
    assert compositor.remove(scene)
    assert not group_nodes(tree)


def test_scene_without_compositor_gets_one_and_loses_it_again(
    addon: Callable, garment_scene: bpy.types.Scene, result: Callable
) -> None:
    compositor = addon("compositor")
    render = composite(addon, garment_scene)
    before = snapshot.of_file()
    insert(addon, garment_scene, result(1), 1)
    compositor.mix_socket(garment_scene).default_value = 0.0
    assert np.array_equal(composite(addon, garment_scene), render)
    assert compositor.remove(garment_scene)
    changed = snapshot.difference(before, snapshot.of_file())
    if not IS_5:
        # Blender 4 has no way to take a scene's tree away; it is empty and switched off.
        changed = [path for path in changed if not path.startswith("/scenes/Scene/node_tree")]
        assert len(garment_scene.node_tree.nodes) == 0
    assert changed == []


def test_own_compositor_stays_when_the_artist_used_it(
    addon: Callable, scene: bpy.types.Scene, result: Callable
) -> None:
    compositor, compat = addon("compositor"), addon("compat")
    insert(addon, scene, result(1), 1)
    tree = compat.compositor_tree(scene)
    tree.nodes.new("CompositorNodeBlur")
    compositor.remove(scene)
    assert compat.compositor_tree(scene) == tree
    assert len(tree.nodes) == 3
    assert not [node for node in tree.nodes if "make_real" in node]
    assert len(tree.links) == 1


def test_nodes_of_other_scenes_and_muted_nodes_are_left_alone(
    addon: Callable, scene: bpy.types.Scene, result: Callable
) -> None:
    tree, output = empty_tree(scene)
    other = other_scene()
    foreign, muted = add_layers(tree, other), add_layers(tree, scene)
    muted.mute = True
    first, second = add_layers(tree, scene), add_layers(tree, scene)
    over = tree.nodes.new("CompositorNodeAlphaOver")
    colors = [socket for socket in over.inputs if socket.type == "RGBA"]
    tree.links.new(foreign.outputs["Image"], colors[0])
    tree.links.new(first.outputs["Image"], colors[1])
    viewer = tree.nodes.new("CompositorNodeViewer")
    tree.links.new(muted.outputs["Image"], viewer.inputs["Image"])
    tree.links.new(second.outputs["Image"], output.inputs["Image"])
    before = everything(tree)
    compositor = addon("compositor")
    insert(addon, scene, result(1), 1)
    assert len(group_nodes(tree)) == 2, "one for each Render Layers node that shows this scene"
    assert foreign.outputs["Image"].links[0].to_node == over
    assert muted.outputs["Image"].links[0].to_node == viewer
    assert compositor.remove(scene)
    after = everything(tree)
    assert snapshot.difference(before[0], after[0]) == []
    assert before[1:] == after[1:]


def test_a_tree_of_several_view_layers_is_not_rewired(
    addon: Callable, scene: bpy.types.Scene, result: Callable
) -> None:
    scene.view_layers.new("Backdrop")
    tree = artists_tree(scene)
    over, backdrop = tree.nodes.new("CompositorNodeAlphaOver"), add_layers(tree, scene, "Backdrop")
    color = next(socket for socket in over.inputs if socket.type == "RGBA")
    tree.links.new(backdrop.outputs["Image"], color)
    links = links_of(tree)
    compositor = addon("compositor")
    scene.make_real.use_compositor = True
    assert compositor.layer_before(scene) is None
    insert(addon, scene, result(1), 1)
    assert links_of(tree) == links
    assert len(group_nodes(tree)) == 1
    assert compositor.remove(scene)


def test_a_tree_that_does_not_use_the_image_has_the_node_beside_it(
    addon: Callable, scene: bpy.types.Scene, result: Callable
) -> None:
    tree, _output = empty_tree(scene)
    add_layers(tree, scene)
    insert(addon, scene, result(1), 1)
    (node,) = group_nodes(tree)
    assert links_of(tree) == []
    insert(addon, scene, result(2), 2)
    assert group_nodes(tree) == [node]
    assert addon("compositor").remove(scene)


def test_copied_scene_gets_a_group_of_its_own(
    addon: Callable, scene: bpy.types.Scene, result: Callable
) -> None:
    compositor = addon("compositor")
    artists_tree(scene)
    insert(addon, scene, result(1), 1)
    copy = scene.copy()
    assert copy.make_real.compositor_group == scene.make_real.compositor_group
    insert(addon, copy, result(2), 1)
    assert copy.make_real.compositor_group != scene.make_real.compositor_group
    assert compositor.is_inserted(copy)
    assert compositor.is_inserted(scene) or IS_5, "in Blender 5 both scenes still have one compositor"


@pytest.mark.skipif(not IS_5, reason="a scene's compositor is its own before Blender 5.0")
def test_a_compositor_that_two_scenes_share_takes_both_results(
    addon: Callable, scene: bpy.types.Scene, result: Callable
) -> None:
    tree, output = empty_tree(scene)
    other = other_scene()
    other.compositing_node_group = tree
    over = tree.nodes.new("CompositorNodeAlphaOver")
    colors = [socket for socket in over.inputs if socket.type == "RGBA"]
    for each, color in zip((scene, other), colors, strict=True):
        tree.links.new(add_layers(tree, each).outputs["Image"], color)
    tree.links.new(over.outputs["Image"], output.inputs["Image"])
    before = everything(tree)
    compositor = addon("compositor")
    insert(addon, scene, result(1), 1)
    insert(addon, other, result(2), 1)
    assert len({node.node_tree for node in group_nodes(tree)}) == 2
    assert compositor.remove(scene)
    assert compositor.is_inserted(other)
    assert compositor.remove(other)
    after = everything(tree)
    assert snapshot.difference(before[0], after[0]) == []
    assert before[1:] == after[1:]


@pytest.mark.skipif(IS_5, reason="a compositor has no switch since Blender 5.0")
def test_a_compositor_that_is_switched_off_stays_off(
    addon: Callable, scene: bpy.types.Scene, result: Callable
) -> None:
    tree = artists_tree(scene)
    scene.use_nodes = False
    before = everything(tree)
    assert addon("compositor").layer_before(scene) is None
    insert(addon, scene, result(1), 1)
    assert not scene.use_nodes
    assert addon("compositor").remove(scene)
    after = everything(tree)
    assert snapshot.difference(before[0], after[0]) == []
    assert before[1:] == after[1:]


def test_remove_operator(addon: Callable, scene: bpy.types.Scene, result: Callable) -> None:
    artists_tree(scene)
    assert not bpy.ops.make_real.remove_from_compositor.poll()
    insert(addon, scene, result(1), 1)
    assert bpy.ops.make_real.remove_from_compositor() == {"FINISHED"}
    assert not addon("compositor").is_inserted(scene)


@pytest.mark.skipif(not IS_5, reason="node groups for scenes came with Blender 5.0")
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
    before = snapshot.of_file()
    with pytest.raises(addon("protocol").MakeRealError, match="Grade") as caught:
        insert(addon, scene, result(1), 1)
    assert caught.value.code == "compositor_locked"
    assert addon("compositor").layer_before(scene) is None
    assert snapshot.difference(before, snapshot.of_file()) == []


def test_saved_and_loaded_the_group_still_shows_its_files(
    addon: Callable, garment_scene: bpy.types.Scene, result: Callable, tmp_path: Path
) -> None:
    blend = tmp_path / "shoot.blend"
    bpy.ops.wm.save_as_mainfile(filepath=str(blend))
    insert(addon, garment_scene, result(1, 0.25), 1)
    bpy.ops.wm.save_mainfile()
    bpy.ops.wm.open_mainfile(filepath=str(blend))
    scene = bpy.context.scene
    assert scene.make_real.compositor_group is not None
    assert composite(addon, scene) == pytest.approx(0.25, abs=1e-5)
    insert(addon, scene, result(2, 0.75), 1)
    assert composite(addon, scene) == pytest.approx(0.75, abs=1e-5)
    assert addon("compositor").remove(scene)


def test_runs_of_frames(addon: Callable) -> None:
    runs = addon("compositor.frames").runs
    assert runs((1, 2, 3, 7, 9, 10)) == [(1, 3), (7, 7), (9, 10)]
    assert runs((5,)) == [(5, 5)]
    assert runs(()) == []


def test_every_second_frame_of_a_long_animation(
    addon: Callable, scene: bpy.types.Scene, result: Callable
) -> None:
    frames, group = addon("compositor.frames"), addon("compositor.group")
    tree = group.make()
    paths = result(1)
    numbers: tuple[int, ...] = ()
    for frame in range(4, 202, 2):
        drained(frames.publish(paths, frame))
        numbers = frames.published(paths.folder, {frame, *numbers}).numbers
    group.show(tree, frames.published(paths.folder, numbers))
    (curve,) = tree.animation_data.drivers
    opened = [frame for frame in range(210) if curve.evaluate(frame) == 1.0]
    assert opened == list(range(4, 202, 2))
    assert group.frames_of(tree) == numbers
    group.withdraw(tree, 100)
    (curve,) = tree.animation_data.drivers
    assert [curve.evaluate(frame) for frame in (98, 99, 100, 101, 102)] == [1.0, 0.0, 0.0, 0.0, 1.0]
    for frame in numbers:
        group.withdraw(tree, frame)
    (curve,) = tree.animation_data.drivers
    assert not any(curve.evaluate(frame) for frame in range(210))


def test_results_from_before_a_removal_stay_away(
    addon: Callable, garment_scene: bpy.types.Scene, result: Callable
) -> None:
    compositor = addon("compositor")
    insert(addon, garment_scene, result(1, 0.25), 3)
    compositor.remove(garment_scene)
    insert(addon, garment_scene, result(2, 0.5), 1)
    garment_scene.frame_set(3)
    assert composite(addon, garment_scene).std() > 0.01, "the render"


def test_a_disk_without_second_names(
    addon: Callable, garment_scene: bpy.types.Scene, result: Callable, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(*_arguments: Any) -> None:
        raise OSError("not supported")

    monkeypatch.setattr(addon("compositor.frames").os, "link", refused)
    monkeypatch.setattr(addon("compositor.frames"), "COPIED_AT_ONCE", 100)
    paths = result(1, 0.25)
    insert(addon, garment_scene, paths, garment_scene.frame_current)
    assert (paths.folder / "compositor" / "linear_0001.exr").read_bytes() == paths.linear.read_bytes()
    assert np.abs(composite(addon, garment_scene)[..., :3] - 0.25).max() < 1e-6


def test_the_file_is_closed_while_the_result_enters(
    addon: Callable, scene: bpy.types.Scene, result: Callable
) -> None:
    """Whatever step it has come to: nothing is written into the file that is open then."""
    closed_at = 0
    while True:
        bpy.ops.wm.read_factory_settings(use_empty=True)
        bpy.ops.preferences.addon_enable(module=addon("").__name__)
        opened: list[bpy.types.Scene | None] = [bpy.context.scene]
        steps = addon("compositor").insert(lambda: opened[0], result(1), 1)  # noqa: B023  used at once
        for number, _ in enumerate(steps):
            if number == closed_at:
                bpy.ops.wm.read_factory_settings(use_empty=True)
                opened[0] = None
                before = snapshot.of_file()
        if opened[0]:
            break
        assert snapshot.difference(before, snapshot.of_file()) == []
        closed_at += 1
    assert closed_at > 4, "one step after the other"
