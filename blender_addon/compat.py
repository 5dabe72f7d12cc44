# SPDX-License-Identifier: GPL-3.0-or-later
"""Every difference between Blender 4.2 and 5.2 that the extension meets."""

from __future__ import annotations

from typing import NamedTuple

import bpy

EXTENSION = __package__
"""The extension's own name in Blender."""
IS_5 = bpy.app.version >= (5, 0, 0)

FORMAT_PROPERTIES = ("media_type", "file_format")
"""Properties of the output format in the order in which they must be set; `media_type` since 5.0."""


def set_multilayer_exr(settings: bpy.types.ImageFormatSettings) -> None:
    """Choose multilayer OpenEXR: floats, so that the render's light comes back unrounded, and not compressed, for
    Blender stands still while it writes: a 4K render with Cryptomatte takes a second so, and ten with ZIP."""
    _choose(settings, "OPEN_EXR_MULTILAYER", color_depth="32", exr_codec="NONE")


def set_exr(settings: bpy.types.ImageFormatSettings) -> None:
    """Choose OpenEXR with the picture alone: floats with alpha, not compressed, written and read fastest."""
    _choose(settings, "OPEN_EXR", color_mode="RGBA", color_depth="32", exr_codec="NONE")


def set_tiff(settings: bpy.types.ImageFormatSettings) -> None:
    """Choose 16-bit RGB TIFF, not compressed: Blender needs a third of the time that it takes to write a PNG."""
    _choose(settings, "TIFF", color_mode="RGB", color_depth="16", tiff_codec="NONE")


def set_png_with_alpha(settings: bpy.types.ImageFormatSettings) -> None:
    """Choose 16-bit RGBA PNG, written fast."""
    _choose(settings, "PNG", color_mode="RGBA", color_depth="16", compression=0)


def _choose(settings: bpy.types.ImageFormatSettings, file_format: str, **details: str | int) -> None:
    """Set a format, and then what only it has."""
    if IS_5:
        settings.media_type = "MULTI_LAYER_IMAGE" if file_format == "OPEN_EXR_MULTILAYER" else "IMAGE"
    settings.file_format = file_format
    for name, value in details.items():
        setattr(settings, name, value)


def scene_linear_space() -> str:
    """Name of the colour space that the compositor works in; fixed before 5.0."""
    return bpy.data.colorspace.working_space if IS_5 else "Linear Rec.709"


SCENE_LINEAR_IDS = {
    "Linear Rec.709": "lin_rec709_scene",
    "ACEScg": "lin_ap1_scene",
    "Linear Rec.2020": "lin_rec2020_scene",
}
"""Working space -> its id in a picture file's `colorInteropID` (Color Interop Forum; Blender writes it since 5.0)."""


def uses_white_balance(view: bpy.types.ColorManagedViewSettings) -> bool:
    """Whether the view adapts the white point (since 4.3)."""
    return bool(getattr(view, "use_white_balance", False))


def is_hdr(view: bpy.types.ColorManagedViewSettings) -> bool:
    """Whether the display values are an HDR signal (since 5.0)."""
    return bool(getattr(view, "is_hdr", False))


def compositor_tree(scene: bpy.types.Scene) -> bpy.types.NodeTree | None:
    """The scene's compositor, None without one. In Blender 4 the artist may have switched it off."""
    if IS_5:
        return scene.compositing_node_group
    tree = scene.node_tree
    return tree if tree and (scene.use_nodes or tree.nodes) else None


def is_compositing(scene: bpy.types.Scene) -> bool:
    """Whether a render goes through the scene's compositor. In Blender 5 having one is being switched on."""
    return scene.render.use_compositing and (IS_5 or scene.use_nodes)


MATH_NODE = "ShaderNodeMath" if IS_5 else "CompositorNodeMath"


class MixNode(NamedTuple):
    """A node that mixes two colours, and its sockets."""

    node: bpy.types.Node
    factor: bpy.types.NodeSocket
    first: bpy.types.NodeSocket
    second: bpy.types.NodeSocket
    result: bpy.types.NodeSocket


def add_mix_node(tree: bpy.types.NodeTree) -> MixNode:
    """Add a node that mixes two colours: 0 is the first."""
    if not IS_5:
        node = tree.nodes.new("CompositorNodeMixRGB")
        return MixNode(node, *node.inputs, node.outputs[0])
    node = tree.nodes.new("ShaderNodeMix")
    node.data_type = "RGBA"
    # Sockets of every data type are there, under the same names; the last ones are the colours'.
    first, second = (socket for socket in node.inputs if socket.type == "RGBA")
    result = next(socket for socket in node.outputs if socket.type == "RGBA")
    return MixNode(node, node.inputs["Factor"], first, second, result)


def make_compositor_tree(scene: bpy.types.Scene) -> bpy.types.NodeTree:
    """Give the scene a tree that passes the render through unchanged."""
    if not IS_5:
        images = set(bpy.data.images)
        scene.use_nodes = True
        tree = scene.node_tree
        tree.nodes.clear()
        # 4.5 begins with a viewer node, and its image outlives it.
        for image in set(bpy.data.images) - images:
            bpy.data.images.remove(image)
        output = tree.nodes.new("CompositorNodeComposite")
    else:
        tree = bpy.data.node_groups.new("Make Real", "CompositorNodeTree")
        tree.interface.new_socket("Image", in_out="OUTPUT", socket_type="NodeSocketColor")
        output = tree.nodes.new("NodeGroupOutput")
        scene.compositing_node_group = tree
    layers = tree.nodes.new("CompositorNodeRLayers")
    layers.location = (-300.0, 0.0)
    tree.links.new(layers.outputs["Image"], output.inputs["Image"])
    return tree


def drop_compositor_tree(scene: bpy.types.Scene) -> None:
    """Undo `make_compositor_tree`. Blender 4 keeps a scene's tree, switched off and empty."""
    if IS_5:
        tree = scene.compositing_node_group
        scene.compositing_node_group = None
        if tree.users == 0:
            bpy.data.node_groups.remove(tree)
    else:
        scene.node_tree.nodes.clear()
        scene.use_nodes = False
