# SPDX-License-Identifier: GPL-3.0-or-later
"""Results in the artist's compositor: one node group after the render, and its exact removal.

frames      files that keep their names, so that nodes need not change
group       the group "Make Real": render in, Mix between render and result out, garment mask out
wiring      the group's node between the artist's nodes
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import bpy

from .. import compat, holding, pace
from ..picture.files import ResultPaths
from ..protocol import ErrorCode, MakeRealError
from . import frames, group, wiring

TAG = "make_real"
"""Custom property of a compositor, and of its nodes, that was made here."""


def insert(
    find_scene: Callable[[], bpy.types.Scene | None], paths: ResultPaths, frame: int
) -> Iterator[str | None]:
    """Let the compositor show a result on its frame; on other frames the render, or their own results.

    The first result puts the group's node behind every Render Layers node of the scene; later ones change files
    alone, and leave the node where the artist has moved it. A scene without a compositor gets one.

    Pauses between steps of a millisecond or two, and waits for what holds Blender's data.

    Args:
        find_scene: Asked at each step, since between two the artist may undo something or open another file.

    Raises:
        MakeRealError: COMPOSITOR_LOCKED when the compositor is linked from another file; DISK_FULL.
    """
    yield from pace.next_tick()
    while (scene := find_scene()) and _prepare(scene, paths.mask.exists()):
        yield from pace.next_tick()
    if find_scene() is None:
        return
    yield from frames.publish(paths, frame)
    yield from pace.next_tick()
    yield from holding.until_free()
    if scene := find_scene():
        _show(scene, paths, frame)


def _prepare(scene: bpy.types.Scene, has_mask: bool) -> bool:
    """Do a part of what the first result takes; returns whether there may be more."""
    _editable_tree(scene)
    is_new = scene.make_real.compositor_group is None
    own = _own_group(scene)
    return is_new or group.prepare(own, has_mask)


def _show(scene: bpy.types.Scene, paths: ResultPaths, frame: int) -> None:
    tree, own = _editable_tree(scene), _own_group(scene)
    if tree is None:
        tree = compat.make_compositor_tree(scene)
        for block in (tree, *tree.nodes):
            block[TAG] = True
    group.show(own, frames.published(paths.folder, {frame, *group.frames_of(own)}))
    if not wiring.nodes_of(tree, own):
        wiring.insert(tree, own, scene)


def _editable_tree(scene: bpy.types.Scene) -> bpy.types.NodeTree | None:
    tree = compat.compositor_tree(scene)
    if tree is not None and not tree.is_editable:
        raise MakeRealError(ErrorCode.COMPOSITOR_LOCKED, tree.name)
    return tree


def remove(scene: bpy.types.Scene) -> bool:
    """Take the group out again, and the compositor too if it was made here and nothing was added to it.

    Returns:
        Whether there was anything to remove.
    """
    own, tree = scene.make_real.compositor_group, compat.compositor_tree(scene)
    if own is None:
        return False
    nodes = wiring.nodes_of(tree, own) if tree and tree.is_editable else []
    for node in nodes:
        wiring.remove(tree, node)
    scene.make_real.compositor_group = None
    if own.users == 0:
        group.drop(own)
    if tree and TAG in tree:
        _drop_own_tree(scene, tree)
    return bool(nodes)


def withdraw(scene: bpy.types.Scene, frame: int) -> None:
    """Let the render pass on a frame again: its result is of another render."""
    own = scene.make_real.compositor_group
    if own is not None and own.is_editable:
        group.withdraw(own, frame)


def is_inserted(scene: bpy.types.Scene) -> bool:
    """Whether results stand in the scene's compositor."""
    return mix_socket(scene) is not None


def mix_socket(scene: bpy.types.Scene) -> bpy.types.NodeSocket | None:
    """How much of the result the compositor takes, 0..1; None when there is no result in it."""
    own, tree = scene.make_real.compositor_group, compat.compositor_tree(scene)
    nodes = wiring.nodes_of(tree, own) if own and tree else []
    return nodes[0].inputs["Mix"] if nodes else None


def layer_before(scene: bpy.types.Scene) -> str | None:
    """View layer that a result stands behind in the compositor; None when it is made from the finished picture.

    What the artist's nodes do to the render they do to the result too. So the model must not see it done already,
    nor an earlier result that they let through.
    """
    tree = compat.compositor_tree(scene)
    if tree is None or not tree.is_editable or not compat.is_compositing(scene):
        return None
    if not (scene.make_real.use_compositor or is_inserted(scene)):
        return None
    layers = {node.layer for node in wiring.render_layers(tree, scene)}
    rendered = {layer.name for layer in scene.view_layers if layer.use}
    return layers.pop() if len(layers) == 1 and layers <= rendered else None


def _own_group(scene: bpy.types.Scene) -> bpy.types.NodeTree:
    """The scene's group. A copied scene still has the group of the scene that it was copied from: it gets its own."""
    own = scene.make_real.compositor_group
    shared = [
        other for other in bpy.data.scenes if other != scene and other.make_real.compositor_group == own
    ]
    if own is None:
        own = group.make()
    elif shared:
        tree = compat.compositor_tree(scene)
        nodes = wiring.nodes_of(tree, own) if tree else []
        own = group.make()
        for node in nodes:
            node.node_tree = own
    scene.make_real.compositor_group = own
    return own


def _drop_own_tree(scene: bpy.types.Scene, tree: bpy.types.NodeTree) -> None:
    if all(TAG in node for node in tree.nodes):
        compat.drop_compositor_tree(scene)
        return
    for block in (tree, *tree.nodes):
        if TAG in block:
            del block[TAG]
