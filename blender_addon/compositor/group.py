# SPDX-License-Identifier: GPL-3.0-or-later
"""The node group "Make Real": the render goes in, a mix of it and the result comes out, the garment's mask too.

On a frame without a result the render passes through, whatever Mix is: a driver on the current frame sees to it.
"""

from __future__ import annotations

from pathlib import Path

import bpy

from .. import compat
from ..picture.files import blender_path
from .frames import Sequence

NAME = "Make Real"
PICTURE, MASK, GATE = "Result", "Garment Mask", "Frames With Result"
LONGEST_EXPRESSION = 255
"""Of a driver, in characters."""


def make() -> bpy.types.NodeTree:
    """A new group, without a result yet."""
    tree = bpy.data.node_groups.new(NAME, "CompositorNodeTree")
    sockets = tree.interface
    sockets.new_socket("Image", in_out="OUTPUT", socket_type="NodeSocketColor")
    sockets.new_socket("Garment Mask", in_out="OUTPUT", socket_type="NodeSocketFloat")
    sockets.new_socket("Image", in_out="INPUT", socket_type="NodeSocketColor")
    mix = sockets.new_socket("Mix", in_out="INPUT", socket_type="NodeSocketFloat")
    mix.subtype, mix.min_value, mix.max_value, mix.default_value = "FACTOR", 0.0, 1.0, 1.0
    mix.description = "0 is the render as it was, 1 is Make Real's result"
    inside, outside = (
        _add(tree, kind, place) for kind, place in (("NodeGroupInput", 0), ("NodeGroupOutput", 3))
    )
    picture, mask = (_add(tree, "CompositorNodeImage", 1, name) for name in (PICTURE, MASK))
    gate = _add(tree, compat.MATH_NODE, 1, GATE)
    gate.operation = "MULTIPLY"
    blend = compat.add_mix_node(tree)
    _place(blend.node, 2)
    for source, target in (
        (inside.outputs["Mix"], gate.inputs[0]),
        (gate.outputs[0], blend.factor),
        (inside.outputs["Image"], blend.first),
        (picture.outputs["Image"], blend.second),
        (blend.result, outside.inputs["Image"]),
        (mask.outputs["Image"], outside.inputs["Garment Mask"]),
    ):
        tree.links.new(source, target)
    return tree


def _add(tree: bpy.types.NodeTree, kind: str, column: int, name: str = "") -> bpy.types.Node:
    node = tree.nodes.new(kind)
    node.name = node.label = name or node.name
    _place(node, column)
    return node


def _place(node: bpy.types.Node, column: int) -> None:
    above = sum(other.location.x == column * 260.0 for other in node.id_data.nodes) - (column == 0)
    node.location = (column * 260.0, above * -320.0)


def show(tree: bpy.types.NodeTree, sequence: Sequence) -> None:
    """Let the group show the results of a sequence; files that changed under their names are read again."""
    _set_frames(tree.nodes[PICTURE], sequence.linear, compat.scene_linear_space(), sequence.numbers)
    _set_frames(tree.nodes[MASK], sequence.mask, "Non-Color", sequence.numbers)
    factor = tree.nodes[GATE].inputs[1]
    factor.driver_remove("default_value")
    driver = factor.driver_add("default_value").driver
    driver.type = "SCRIPTED"
    driver.expression = _is_within(sequence.runs)


def _is_within(runs: list[tuple[int, int]]) -> str:
    """A driver that needs no Python: 1 on the frames of the runs. Of too many runs the last ones are kept."""
    terms = [f"frame >= {first} and frame <= {last}" for first, last in runs]
    while len(expression := " or ".join(f"({term})" for term in terms)) > LONGEST_EXPRESSION:
        del terms[0]
    return expression


def _set_frames(node: bpy.types.Node, path: Path | None, color_space: str, numbers: tuple[int, ...]) -> None:
    previous = node.image
    if path is None:
        node.image = None
    elif previous is None or bpy.path.abspath(previous.filepath) != str(path):
        node.image = bpy.data.images.load(blender_path(path), check_existing=False)
    else:
        previous.reload()
    if node.image is not None:
        node.image.source = "SEQUENCE"
        node.image.colorspace_settings.name = color_space
        node.frame_start, node.frame_offset = numbers[0], numbers[0] - 1
        node.frame_duration = numbers[-1] - numbers[0] + 1
        node.use_auto_refresh = True
    _drop_image(previous)


def _drop_image(image: bpy.types.Image | None) -> None:
    if image is not None and image.users == 0:
        bpy.data.images.remove(image)


def drop(tree: bpy.types.NodeTree) -> None:
    """Remove the group and its images."""
    images = [tree.nodes[name].image for name in (PICTURE, MASK)]
    bpy.data.node_groups.remove(tree)
    for image in images:
        _drop_image(image)
