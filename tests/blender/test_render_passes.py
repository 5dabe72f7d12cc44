# SPDX-License-Identifier: GPL-3.0-or-later
"""The finished render as arrays, and nothing else changed by taking it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import bpy
import numpy as np
import pytest
import snapshot
from PIL import Image


def saved_by_blender(scene: bpy.types.Scene, path: Path, color_mode: str) -> np.ndarray:
    """What Blender itself writes for the artist: 8 bits, dithered."""
    settings = scene.render.image_settings
    settings.file_format, settings.color_mode, settings.color_depth = "PNG", color_mode, "8"
    bpy.data.images["Render Result"].save_render(str(path), scene=scene)
    return np.asarray(Image.open(path)).astype(float) / 255.0


@pytest.mark.parametrize("transparent", [False, True])
@pytest.mark.parametrize("look", ["None", "AgX - Punchy"])
def test_display_picture_is_what_blender_saves(
    addon: Callable, garment_scene: bpy.types.Scene, tmp_path: Path, transparent: bool, look: str
) -> None:
    garment_scene.view_settings.look = look
    garment_scene.view_settings.exposure = 0.5
    garment_scene.render.film_transparent = transparent
    if transparent:
        bpy.ops.render.render()
    picture = addon("picture.render_passes").display_picture(garment_scene)
    expected = saved_by_blender(garment_scene, tmp_path / "blender.png", "RGBA" if transparent else "RGB")
    assert picture.dtype == np.uint16
    assert picture.shape == (48, 64, 4 if transparent else 3)
    assert picture.flags.c_contiguous
    visible = expected[..., 3:] > 0.5 if transparent else np.ones((48, 64, 1), bool)
    difference = np.abs(picture / 65535.0 - expected) * visible
    # Eight bits and Blender's dither of at most one more step.
    assert difference.max() < 2.1 / 255
    assert expected.std() > 0.05


def test_output_colour_management_of_the_artist_is_not_used(
    addon: Callable, garment_scene: bpy.types.Scene
) -> None:
    before = addon("picture.render_passes").display_picture(garment_scene)
    settings = garment_scene.render.image_settings
    settings.color_management = "OVERRIDE"
    settings.view_settings.view_transform = "Standard"
    assert np.array_equal(addon("picture.render_passes").display_picture(garment_scene), before)
    assert settings.color_management == "OVERRIDE"


@pytest.mark.parametrize("file_format", ["PNG", "JPEG", "OPEN_EXR", "OPEN_EXR_MULTILAYER", "FFMPEG"])
def test_collecting_leaves_no_trace(
    addon: Callable, garment_scene: bpy.types.Scene, file_format: str
) -> None:
    settings = garment_scene.render.image_settings
    if bpy.app.version >= (5, 0, 0):
        kinds = {"OPEN_EXR_MULTILAYER": "MULTI_LAYER_IMAGE", "FFMPEG": "VIDEO"}
        settings.media_type = kinds.get(file_format, "IMAGE")
    settings.file_format = file_format
    if file_format == "OPEN_EXR":
        settings.color_depth, settings.exr_codec = "32", "PIZ"
        settings.color_management = "OVERRIDE"
        settings.linear_colorspace_settings.name = "ACEScg"
    before = snapshot.of_file()
    addon("picture.render_passes").display_picture(garment_scene)
    with addon("picture.render_passes").saved_passes(garment_scene):
        pass
    assert snapshot.difference(before, snapshot.of_file()) == []


def test_snapshot_sees_a_change(garment_scene: bpy.types.Scene) -> None:
    before = snapshot.of_file()
    garment_scene.render.image_settings.compression += 1
    garment_scene.view_layers[0].use_pass_mist = True
    bpy.data.objects["裙子"].location.x += 1e-3
    changed = snapshot.difference(before, snapshot.of_file())
    assert any(path.endswith("image_settings/compression") for path in changed)
    assert any(path.endswith("use_pass_mist") for path in changed)
    assert any("裙子/location" in path for path in changed)


def test_no_render(addon: Callable, scene: bpy.types.Scene) -> None:
    passes = addon("picture.render_passes")
    for read in (passes.display_picture, lambda scene: passes.saved_passes(scene).__enter__()):
        with pytest.raises(addon("protocol").MakeRealError) as caught:
            read(scene)
        assert caught.value.code == "no_render"
