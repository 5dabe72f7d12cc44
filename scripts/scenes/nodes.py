# SPDX-License-Identifier: GPL-3.0-or-later
"""Shader nodes written as arithmetic: `(u * 40).sin() > 0.5` instead of five nodes and six links."""

from __future__ import annotations

import bpy

from .compat import enable_nodes

Colour = tuple[float, float, float]


def rgba(colour: Colour) -> tuple[float, float, float, float]:
    return (*colour, 1.0)


class Value:
    """A number that varies over the surface: the output socket of a shader node."""

    def __init__(self, graph: Graph, socket: bpy.types.NodeSocket) -> None:
        self.graph = graph
        self.socket = socket

    def _math(self, operation: str, other: Value | float | None = None) -> Value:
        return self.graph.math(operation, self, other)

    def __add__(self, other: Value | float) -> Value:
        return self._math("ADD", other)

    def __sub__(self, other: Value | float) -> Value:
        return self._math("SUBTRACT", other)

    def __rsub__(self, other: float) -> Value:
        return self.graph.math("SUBTRACT", other, self)

    def __mul__(self, other: Value | float) -> Value:
        return self._math("MULTIPLY", other)

    def __truediv__(self, other: Value | float) -> Value:
        return self._math("DIVIDE", other)

    def __lt__(self, other: Value | float) -> Value:
        return self._math("LESS_THAN", other)

    def __gt__(self, other: Value | float) -> Value:
        return self._math("GREATER_THAN", other)

    __radd__ = __add__
    __rmul__ = __mul__

    def sin(self) -> Value:
        return self._math("SINE")

    def abs(self) -> Value:
        return self._math("ABSOLUTE")

    def floor(self) -> Value:
        return self._math("FLOOR")

    def fract(self) -> Value:
        return self._math("FRACT")

    def power(self, exponent: float) -> Value:
        return self._math("POWER", exponent)

    def maximum(self, other: Value | float) -> Value:
        return self._math("MAXIMUM", other)

    def minimum(self, other: Value | float) -> Value:
        return self._math("MINIMUM", other)

    def between(self, low: float, high: float) -> Value:
        """1 where low < value < high, else 0."""
        return (self > low) * (self < high)

    def smooth(self, low: float, high: float) -> Value:
        """0 at low, 1 at high, a smooth step between them."""
        node = self.graph.new("ShaderNodeMapRange", interpolation_type="SMOOTHSTEP")
        self.graph.feed(node.inputs["Value"], self)
        node.inputs["From Min"].default_value = low
        node.inputs["From Max"].default_value = high
        return Value(self.graph, node.outputs["Result"])


class Graph:
    """The node tree of one material or world, emptied, with an output node."""

    def __init__(self, owner: bpy.types.Material | bpy.types.World) -> None:
        enable_nodes(owner)
        self.tree = owner.node_tree
        self.tree.nodes.clear()

    def new(self, kind: str, **attributes: object) -> bpy.types.Node:
        node = self.tree.nodes.new(kind)
        for name, value in attributes.items():
            setattr(node, name, value)
        return node

    def feed(self, socket: bpy.types.NodeSocket, value: object) -> None:
        """Link a value or another socket to `socket`, or set it to a constant."""
        if isinstance(value, Value):
            value = value.socket
        if isinstance(value, bpy.types.NodeSocket):
            self.tree.links.new(value, socket)
        else:
            socket.default_value = value

    def math(self, operation: str, a: Value | float, b: Value | float | None = None) -> Value:
        node = self.new("ShaderNodeMath", operation=operation)
        self.feed(node.inputs[0], a)
        if b is not None:
            self.feed(node.inputs[1], b)
        return Value(self, node.outputs[0])

    def uv(self) -> tuple[Value, Value]:
        return self.xy(self.new("ShaderNodeTexCoord").outputs["UV"])

    def object_xyz(self) -> tuple[Value, Value, Value]:
        separate = self.new("ShaderNodeSeparateXYZ")
        self.feed(separate.inputs[0], self.new("ShaderNodeTexCoord").outputs["Object"])
        return tuple(Value(self, output) for output in separate.outputs)

    def xy(self, vector: bpy.types.NodeSocket) -> tuple[Value, Value]:
        separate = self.new("ShaderNodeSeparateXYZ")
        self.feed(separate.inputs[0], vector)
        return Value(self, separate.outputs[0]), Value(self, separate.outputs[1])

    def red(self, colour: bpy.types.NodeSocket) -> Value:
        node = self.new("ShaderNodeSeparateColor")
        self.feed(node.inputs[0], colour)
        return Value(self, node.outputs[0])

    def attribute(self, name: str) -> Value:
        return Value(self, self.new("ShaderNodeAttribute", attribute_name=name).outputs["Fac"])

    def vector(self, x: Value | float, y: Value | float, z: Value | float = 0.0) -> bpy.types.NodeSocket:
        node = self.new("ShaderNodeCombineXYZ")
        for socket, value in zip(node.inputs, (x, y, z), strict=True):
            self.feed(socket, value)
        return node.outputs[0]

    def noise(self, vector: bpy.types.NodeSocket, detail: float = 2.0, scale: float = 1.0) -> Value:
        """Perlin noise, about 0.3 to 0.7, of a feature size of 1 / scale."""
        node = self.new("ShaderNodeTexNoise")
        self.feed(node.inputs["Vector"], vector)
        node.inputs["Scale"].default_value = scale
        node.inputs["Detail"].default_value = detail
        return Value(self, node.outputs[0])

    def voronoi(self, vector: bpy.types.NodeSocket, randomness: float) -> bpy.types.Node:
        """Cells of size 1: outputs Distance, Color (random per cell), Position (the cell's point)."""
        node = self.new("ShaderNodeTexVoronoi")
        self.feed(node.inputs["Vector"], vector)
        node.inputs["Scale"].default_value = 1.0
        node.inputs["Randomness"].default_value = randomness
        return node

    def mix(self, factor: Value | float, a: object, b: object, blend: str = "MIX") -> bpy.types.NodeSocket:
        """Colour a where factor is 0, b where it is 1."""
        node = self.new("ShaderNodeMix", data_type="RGBA", blend_type=blend)
        colours = [socket for socket in node.inputs if socket.type == "RGBA"]
        self.feed(node.inputs[0], factor)
        for socket, value in zip(colours, (a, b), strict=True):
            self.feed(socket, rgba(value) if isinstance(value, tuple) and len(value) == 3 else value)
        return next(socket for socket in node.outputs if socket.type == "RGBA")

    def bump(self, height: Value, distance: float, strength: float = 1.0) -> bpy.types.NodeSocket:
        """A normal from a height of 0 to 1; `distance` in metres."""
        node = self.new("ShaderNodeBump")
        node.inputs["Strength"].default_value = strength
        node.inputs["Distance"].default_value = distance
        self.feed(node.inputs["Height"], height)
        return node.outputs[0]

    def surface(self, **inputs: object) -> bpy.types.Node:
        """A Principled shader wired to the output; keywords are its sockets (Base_Color, Roughness, ...)."""
        shader = self.new("ShaderNodeBsdfPrincipled")
        for name, value in inputs.items():
            value = rgba(value) if isinstance(value, tuple) and len(value) == 3 else value
            self.feed(shader.inputs[name.replace("_", " ")], value)
        output = self.new("ShaderNodeOutputMaterial")
        self.feed(output.inputs["Surface"], shader.outputs[0])
        return shader
