# SPDX-License-Identifier: GPL-3.0-or-later
"""What the artist clicks to make parts, the parts of earlier files, and the overlay's picture."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import bpy
import numpy as np
import pytest
from test_garment import LEFT, RIGHT, masks, pick


def test_parts_from_the_selection(garment_scene: bpy.types.Scene) -> None:
    settings, left = garment_scene.make_real.masks, bpy.data.objects[LEFT]
    left.select_set(True)
    bpy.context.view_layer.objects.active = left
    assert bpy.ops.make_real.add_picks(kind="OBJECT") == {"FINISHED"}, "one click, without a part before"
    assert [part.name for part in settings.parts] == [LEFT]
    assert bpy.ops.make_real.add_picks(kind="OBJECT") == {"CANCELLED"}
    assert bpy.ops.make_real.add_picks(kind="MATERIAL") == {"FINISHED"}
    assert bpy.ops.make_real.add_picks(kind="COLLECTION") == {"CANCELLED"}, "the scene's own collection"
    outfit = bpy.data.collections.new("Outfit")
    garment_scene.collection.children.link(outfit)
    layer = bpy.context.view_layer
    layer.active_layer_collection = layer.layer_collection.children["Outfit"]
    assert bpy.ops.make_real.add_picks(kind="COLLECTION") == {"FINISHED"}
    for kind in ("NAMES", "IMAGE"):
        assert bpy.ops.make_real.add_pick(kind=kind) == {"FINISHED"}
    kinds = ["OBJECT", "MATERIAL", "COLLECTION", "NAMES", "IMAGE"]
    assert [item.kind for item in settings.parts[0].picks] == kinds
    assert bpy.ops.make_real.remove_pick(index=1) == {"FINISHED"}
    assert bpy.ops.make_real.remove_pick(index=9) == {"CANCELLED"}
    assert [item.kind for item in settings.parts[0].picks] == [kinds[0], *kinds[2:]]


def test_the_list_of_parts(garment_scene: bpy.types.Scene) -> None:
    settings = garment_scene.make_real.masks
    assert not bpy.ops.make_real.remove_part.poll()
    bpy.data.objects[LEFT].select_set(True)
    bpy.ops.make_real.add_part()
    bpy.data.objects[LEFT].select_set(False)
    bpy.ops.make_real.add_part()
    assert [part.name for part in settings.parts] == [LEFT, "Part"]
    assert [len(part.picks) for part in settings.parts] == [1, 0]
    assert settings.active_part == 1
    assert bpy.ops.make_real.move_part(direction="DOWN") == {"CANCELLED"}
    assert bpy.ops.make_real.move_part(direction="UP") == {"FINISHED"}
    assert [part.name for part in settings.parts] == ["Part", LEFT]
    assert settings.active_part == 0
    assert bpy.ops.make_real.remove_part() == {"FINISHED"}
    assert [part.name for part in settings.parts] == [LEFT]
    bpy.ops.make_real.remove_part()
    assert (len(settings.parts), settings.active_part) == (0, 0)


def test_enable_passes_prepares_every_rendered_layer(scene: bpy.types.Scene) -> None:
    first, second, unused = scene.view_layers[0], scene.view_layers.new("B"), scene.view_layers.new("C")
    unused.use = False
    first.pass_cryptomatte_depth = 2
    assert bpy.ops.make_real.enable_passes() == {"FINISHED"}
    for layer in (first, second):
        assert layer.use_pass_cryptomatte_object and layer.use_pass_cryptomatte_material
        assert layer.pass_cryptomatte_depth == 6
    assert not unused.use_pass_cryptomatte_object
    assert "UNDO" in bpy.types.MAKE_REAL_OT_enable_passes.bl_options
    scene.render.engine = "BLENDER_WORKBENCH"
    with pytest.raises(RuntimeError, match="render with Cycles or EEVEE"):
        bpy.ops.make_real.enable_passes()


def test_parts_survive_saving(garment_scene: bpy.types.Scene, tmp_path: Path) -> None:
    pick(garment_scene, bpy.data.objects[LEFT], role="FREE", strength=0.25)
    bpy.ops.wm.save_as_mainfile(filepath=str(tmp_path / "shoot.blend"))
    bpy.ops.wm.open_mainfile(filepath=str(tmp_path / "shoot.blend"))
    (part,) = bpy.context.scene.make_real.masks.parts
    assert (part.role, part.strength, part.picks[0].object.name) == ("FREE", 0.25, LEFT)


def test_the_overlay_has_each_roles_colour_where_its_part_is(
    addon: Callable, garment_scene: bpy.types.Scene
) -> None:
    pick(garment_scene, bpy.data.objects[LEFT])
    pick(garment_scene, bpy.data.objects[RIGHT], role="PROTECTED")
    overlay, found = addon("masks.overlay"), masks(addon, garment_scene).planes
    steps = overlay.colored(found)
    while True:
        try:
            next(steps)
        except StopIteration as end:
            pixels = end.value[::-1]
            break
    for name, color in overlay.COLORS.items():
        if name not in found:
            continue
        inside = found[name] == 65535
        assert inside.any()
        np.testing.assert_allclose(pixels[inside, :3], np.tile(color, (inside.sum(), 1)), atol=1e-3)
        np.testing.assert_allclose(pixels[inside, 3], overlay.OPACITY, atol=1e-3)
    outside = (found["garment"] == 0) & (found["protected"] == 0)
    assert (pixels[outside, 3] == 0).all()


def test_there_is_no_overlay_without_a_window(garment_scene: bpy.types.Scene) -> None:
    assert not bpy.ops.make_real.mask_overlay.poll()
    bpy.context.window_manager.make_real_mask_overlay = True
    assert bpy.app.background
    bpy.context.window_manager.make_real_mask_overlay = False
