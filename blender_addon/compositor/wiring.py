# SPDX-License-Identifier: GPL-3.0-or-later
"""The group's node between the artist's nodes, and the links as they were when it goes."""

from __future__ import annotations

import bpy

GAP = 40.0


def render_layers(tree: bpy.types.NodeTree, scene: bpy.types.Scene) -> list[bpy.types.Node]:
    """The Render Layers nodes that bring the scene's render into the tree; a muted one brings nothing."""
    nodes = (node for node in tree.nodes if node.bl_idname == "CompositorNodeRLayers" and not node.mute)
    return [node for node in nodes if node.scene == scene]


def nodes_of(tree: bpy.types.NodeTree, group: bpy.types.NodeTree) -> list[bpy.types.Node]:
    """The nodes of the tree that show a group."""
    return [node for node in tree.nodes if getattr(node, "node_tree", None) == group]


def insert(tree: bpy.types.NodeTree, group: bpy.types.NodeTree, scene: bpy.types.Scene) -> None:
    """Put the group behind every Render Layers node of the scene, so that all links of their Image go through it.

    Of a tree that composes several view layers no one can know where the result belongs, nor of one that uses other
    passes than the Image: there the node stands below the others, for the artist to link.
    """
    layers = render_layers(tree, scene)
    linked = [layer for layer in layers if layer.outputs["Image"].is_linked]
    if len({layer.layer for layer in layers}) != 1 or not linked:
        bottom = min((node.location.y - node.height for node in tree.nodes), default=0.0)
        _add_node(tree, group, (0.0, bottom - 100.0))
        return
    for layer in linked:
        image = layer.outputs["Image"]
        place = (layer.location.x + layer.width + GAP, layer.location.y)
        node = _add_node(tree, group, place, layer.parent)
        _move_links(tree, image, node.outputs["Image"])
        tree.links.new(image, node.inputs["Image"])


def remove(tree: bpy.types.NodeTree, node: bpy.types.Node) -> None:
    """Take a node of the group out; what it passed on comes from its own source again."""
    links = node.inputs["Image"].links
    if links:
        _move_links(tree, node.outputs["Image"], links[0].from_socket)
    tree.nodes.remove(node)


def _move_links(tree: bpy.types.NodeTree, source: bpy.types.NodeSocket, target: bpy.types.NodeSocket) -> None:
    for end, is_muted in [(link.to_socket, link.is_muted) for link in source.links]:
        tree.links.new(target, end).is_muted = is_muted


def _add_node(
    tree: bpy.types.NodeTree,
    group: bpy.types.NodeTree,
    place: tuple[float, float],
    parent: bpy.types.Node | None = None,
) -> bpy.types.Node:
    """A node that is neither selected nor active: both are the artist's."""
    selected, active = [node for node in tree.nodes if node.select], tree.nodes.active
    node = tree.nodes.new("CompositorNodeGroup")
    node.node_tree = group
    node.name = node.label = group.name
    node.parent, node.location = parent, place
    for other in tree.nodes:
        other.select = other in selected
    tree.nodes.active = active
    return node
