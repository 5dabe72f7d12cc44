# SPDX-License-Identifier: GPL-3.0-or-later
"""The result and the garment's mask as nodes in the scene's compositor, and their exact removal.

Nodes of the artist and links between them are never touched: the new nodes stand in a frame of their own, not
linked, for the artist to use. A scene without a compositor gets one that passes the render through.
"""

from __future__ import annotations

from pathlib import Path

import bpy

from . import compat
from .picture.files import ResultPaths, blender_path
from .protocol import ErrorCode, MakeRealError

TAG = "make_real"
"""Custom property of everything made here; its value is what the node is for."""
FRAME, PICTURE, MASK, PASS_THROUGH = "frame", "picture", "mask", "pass_through"
WIDTH, GAP = 240.0, 60.0


def insert(scene: bpy.types.Scene, paths: ResultPaths) -> None:
    """Put a result into the compositor, in the place of an earlier one.

    Raises:
        MakeRealError: COMPOSITOR_LOCKED when the node group is linked from another file.
    """
    tree = compat.compositor_tree(scene)
    if tree is None:
        tree = compat.make_compositor_tree(scene)
        tree[TAG] = PASS_THROUGH
        for node in tree.nodes:
            node[TAG] = PASS_THROUGH
    if not tree.is_editable:
        raise MakeRealError(ErrorCode.COMPOSITOR_LOCKED, tree.name)
    nodes = _tagged(tree)
    frame = nodes.get(FRAME) or _add_frame(tree)
    picture = nodes.get(PICTURE) or _add_image_node(tree, frame, PICTURE, 0)
    _set_image(picture, paths.linear, compat.scene_linear_space())
    if paths.mask.exists():
        mask = nodes.get(MASK) or _add_image_node(tree, frame, MASK, 1)
        _set_image(mask, paths.mask, "Non-Color")
    elif MASK in nodes:
        _remove_node(tree, nodes[MASK])


def remove(scene: bpy.types.Scene) -> bool:
    """Take the nodes out again, and the compositor too if it was made here and nothing was added to it.

    Returns:
        Whether there was anything to remove.
    """
    tree = compat.compositor_tree(scene)
    nodes = _tagged(tree) if tree else {}
    if not tree or not (nodes or TAG in tree):
        return False
    for purpose in (PICTURE, MASK, FRAME):
        if purpose in nodes:
            _remove_node(tree, nodes[purpose])
    if TAG not in tree:
        return True
    del tree[TAG]
    if all(TAG in node for node in tree.nodes):
        compat.drop_compositor_tree(scene)
        return True
    for node in tree.nodes:
        if TAG in node:
            del node[TAG]
    return True


def is_inserted(scene: bpy.types.Scene) -> bool:
    """Whether a result stands in the scene's compositor."""
    tree = compat.compositor_tree(scene)
    return tree is not None and PICTURE in _tagged(tree)


def _tagged(tree: bpy.types.NodeTree) -> dict[str, bpy.types.Node]:
    return {node[TAG]: node for node in tree.nodes if TAG in node}


def _add_frame(tree: bpy.types.NodeTree) -> bpy.types.Node:
    """A frame below the lowest node, so that it covers none."""
    left = min((node.location.x for node in tree.nodes), default=0.0)
    bottom = min((node.location.y - node.height for node in tree.nodes), default=0.0)
    selected = [node for node in tree.nodes if node.select]
    active = tree.nodes.active
    frame = tree.nodes.new("NodeFrame")
    frame.label = "Make Real"
    frame.location = (left, bottom - 300.0)
    frame[TAG] = FRAME
    _restore_selection(tree, selected, active)
    return frame


def _add_image_node(
    tree: bpy.types.NodeTree, frame: bpy.types.Node, purpose: str, column: int
) -> bpy.types.Node:
    selected = [node for node in tree.nodes if node.select]
    active = tree.nodes.active
    node = tree.nodes.new("CompositorNodeImage")
    node.label = {PICTURE: "Make Real", MASK: "Garment Mask"}[purpose]
    node.width = WIDTH
    node.parent = frame
    node.location = (column * (WIDTH + GAP), 0.0)
    node[TAG] = purpose
    _restore_selection(tree, selected, active)
    return node


def _restore_selection(tree: bpy.types.NodeTree, selected: list, active: bpy.types.Node | None) -> None:
    for node in tree.nodes:
        node.select = node in selected
    tree.nodes.active = active


def _set_image(node: bpy.types.Node, path: Path, color_space: str) -> None:
    previous = node.image
    node.image = bpy.data.images.load(blender_path(path), check_existing=True)
    node.image.colorspace_settings.name = color_space
    _drop_image(previous)


def _remove_node(tree: bpy.types.NodeTree, node: bpy.types.Node) -> None:
    image = getattr(node, "image", None)
    tree.nodes.remove(node)
    _drop_image(image)


def _drop_image(image: bpy.types.Image | None) -> None:
    if image is not None and image.users == 0:
        bpy.data.images.remove(image)
