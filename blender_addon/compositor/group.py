# SPDX-License-Identifier: GPL-3.0-or-later
"""The node group "Make Real": the render goes in, a mix of it and the result comes out, the garment's mask too.

On a frame without a result the render passes through, whatever Mix is: a driver on the current frame sees to it.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

import bpy
import numpy as np

from .. import compat, pace
from ..picture import exr_encode
from ..picture.files import blender_path, write_for_now
from .frames import Published, runs

NAME = "Make Real"
PICTURE, MASK, GATE = "Result", "Garment Mask", "Frames With Result"
FRAMES = "make_real_frames"
"""Custom property of the group: the frames that have a result, with commas between them."""
OWN = "make_real_frame"
"""Custom property of an image that was made here, and whose file may be set to another."""


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


def prepare(tree: bpy.types.NodeTree, has_mask: bool) -> bool:
    """Give one node that will need it an image, for a tick of its own; returns whether there was one without."""
    for name, space in ((PICTURE, compat.scene_linear_space()), (MASK, "Non-Color"))[: 1 + has_mask]:
        if tree.nodes[name].image is None:
            _give_image(tree.nodes[name], space)
            return True
    return False


def _add(tree: bpy.types.NodeTree, kind: str, column: int, name: str = "") -> bpy.types.Node:
    node = tree.nodes.new(kind)
    node.name = node.label = name or node.name
    _place(node, column)
    return node


def _place(node: bpy.types.Node, column: int) -> None:
    above = sum(other.location.x == column * 260.0 for other in node.id_data.nodes) - (column == 0)
    node.location = (column * 260.0, above * -320.0)


def frames_of(tree: bpy.types.NodeTree) -> tuple[int, ...]:
    """The frames that have a result."""
    return tuple(map(int, filter(None, tree.get(FRAMES, "").split(","))))


def show(tree: bpy.types.NodeTree, results: Published) -> None:
    """Let the group show the results of its frames; files that changed under their names are read again."""
    _set_frames(tree.nodes[PICTURE], results.linear, compat.scene_linear_space(), results.numbers)
    _set_frames(tree.nodes[MASK], results.mask, "Non-Color", results.numbers)
    _set_open(tree, results.numbers)


def withdraw(tree: bpy.types.NodeTree, frame: int) -> None:
    """Show a frame's result no more."""
    _set_open(tree, tuple(number for number in frames_of(tree) if number != frame))


def _set_open(tree: bpy.types.NodeTree, numbers: tuple[int, ...]) -> None:
    """Drive the gate by the current frame alone, which needs no Python: 1 on the frames, 0 on all others."""
    tree[FRAMES] = ",".join(map(str, numbers))
    factor = tree.nodes[GATE].inputs[1]
    factor.driver_remove("default_value")
    curve = factor.driver_add("default_value")
    curve.driver.type, curve.driver.expression = "SCRIPTED", "frame"
    # A new driver has a line: a modifier in Blender 4, two keyframes in Blender 5.
    for modifier in list(curve.modifiers):
        curve.modifiers.remove(modifier)
    curve.keyframe_points.clear()
    curve.extrapolation = "CONSTANT"
    steps = [(numbers[0] - 1 if numbers else 0, 0.0)]
    for first, last in runs(numbers):
        steps += [(first, 1.0), (last + 1, 0.0)]
    for frame, value in steps:
        curve.keyframe_points.insert(frame, value).interpolation = "CONSTANT"


def _set_frames(node: bpy.types.Node, path: Path | None, color_space: str, numbers: tuple[int, ...]) -> None:
    previous = node.image
    if path is None:
        node.image = None
    elif previous is None or OWN not in previous or previous.colorspace_settings.name != color_space:
        _give_image(node, color_space)
    if path is not None:
        _set_path(node.image, path)
        node.frame_start, node.frame_offset = numbers[0], numbers[0] - 1
        node.frame_duration = numbers[-1] - numbers[0] + 1
        node.use_auto_refresh = True
    _drop_image(previous)


def _give_image(node: bpy.types.Node, color_space: str) -> None:
    """Give a node a new image. It reads at once what it is given, and Blender stands still while it does: so this is a
    single pixel, until `_set_path`."""
    with tempfile.TemporaryDirectory(prefix="make_real_") as folder:
        file = Path(folder) / "pixel_0001.exr"
        black = np.zeros((1, 1, 3), np.float32)
        pace.at_once(write_for_now(file, exr_encode.encode(black, "RGB", (1, 1), {})))
        image = bpy.data.images.load(str(file), check_existing=False)
        image[OWN] = True
        image.source = "SEQUENCE"
        image.colorspace_settings.name = color_space
        node.image = image


def _set_path(image: bpy.types.Image, path: Path) -> None:
    """Let an image be read from a file when it is needed: `reload` would read it now."""
    image.name = path.name
    image.filepath_raw = blender_path(path)
    image.buffers_free()
    image.update_tag()


def _drop_image(image: bpy.types.Image | None) -> None:
    if image is not None and image.users == 0:
        bpy.data.images.remove(image)


def drop(tree: bpy.types.NodeTree) -> None:
    """Remove the group and its images."""
    images = [tree.nodes[name].image for name in (PICTURE, MASK)]
    bpy.data.node_groups.remove(tree)
    for image in images:
        _drop_image(image)
