# SPDX-License-Identifier: GPL-3.0-or-later
"""Coverage of the garment, as a shader AOV of the same render: 1 where a marked material is seen."""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path
from types import ModuleType

import bpy
import numpy as np

from .compat import set_image_format

_AOV = "garment"


def add_mask_pass(layer: bpy.types.ViewLayer) -> None:
    aov = layer.aovs.add()
    aov.name, aov.type = _AOV, "VALUE"


def mark_garment(material: bpy.types.Material) -> None:
    """Let this material count as garment; marking it again changes nothing."""
    nodes = material.node_tree.nodes
    if not any(node.type == "OUTPUT_AOV" for node in nodes):
        output = nodes.new("ShaderNodeOutputAOV")
        output.aov_name = _AOV
        output.inputs["Value"].default_value = 1.0


def read_mask(scene: bpy.types.Scene) -> np.ndarray:
    """Coverage, 0 to 1, shape (height, width), of the finished render."""
    settings = scene.render.image_settings
    set_image_format(settings, "OPEN_EXR_MULTILAYER")
    settings.color_depth, settings.exr_codec = "16", "NONE"
    with tempfile.TemporaryDirectory() as folder:
        passes = str(Path(folder) / "passes.exr")
        bpy.data.images["Render Result"].save_render(passes, scene=scene)
        return np.clip(_read_aov(passes), 0.0, 1.0)


def write_gray(path: Path, mask: np.ndarray) -> None:
    """Write values of 0 to 1 as an 8-bit gray PNG."""
    oiio = _openimageio()
    pixels = np.round(mask * 255.0).astype(np.uint8)[..., None]
    target = oiio.ImageOutput.create(str(path))
    target.open(str(path), oiio.ImageSpec(mask.shape[1], mask.shape[0], 1, "uint8"))
    target.write_image(pixels)
    target.close()


def _read_aov(path: str) -> np.ndarray:
    """The AOV's part of a multi-part EXR, as Blender 5.0 writes it."""
    source = _openimageio().ImageInput.open(path)
    part = 0
    while source.seek_subimage(part, 0):
        if f".{_AOV}." in source.spec().channelnames[0]:
            pixels = source.read_image(part, 0, 0, 1, "float")
            source.close()
            return pixels[..., 0]
        part += 1
    raise RuntimeError(f"{path} has no layer '{_AOV}'; training renders need Blender 5.0")


def _openimageio() -> ModuleType:
    """Blender 5.0 ships OpenImageIO in a folder that the bpy wheel leaves off the path."""
    folder = str(next(Path(bpy.utils.resource_path("LOCAL")).glob("python/lib/python3.*/site-packages")))
    if folder not in sys.path:
        sys.path.append(folder)
    import OpenImageIO

    return OpenImageIO
