# SPDX-License-Identifier: GPL-3.0-or-later
"""Presets, and variants of one render, with a backend that inverts pictures."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import bpy
import numpy as np
import pytest
from test_history import history, shelf_numbers
from test_translate import TIMEOUT_S, files, pump_until, refused


def run_variants(addon: Callable):
    assert bpy.ops.make_real.make_variants() == {"FINISHED"}
    return addon("session.pump").run_until_idle(TIMEOUT_S)


def set_axis(axis, field: str, low: float = 0.0, high: float = 1.0, count: int = 3) -> None:
    axis.field = field
    axis.low, axis.high, axis.count = low, high, count


def preset_path(name: str) -> str:
    return bpy.utils.preset_find(name, "make_real", ext=".py")


@pytest.mark.parametrize(
    ("name", "strength", "rest", "detail"),
    [
        ("subtle", 0.3, 0.0, 1.0),
        ("photo", 0.5, 0.0, 0.5),
        ("whole_picture", 0.5, 0.5, 0.5),
        ("strong", 0.65, 0.0, 0.5),
    ],
)
def test_shipped_looks(
    addon: Callable, scene: bpy.types.Scene, name: str, strength: float, rest: float, detail: float
) -> None:
    settings = scene.make_real
    settings.model, settings.seed = "my model", 7
    settings.detail = settings.texture_lock = settings.rest_strength = 0.1
    bpy.ops.script.execute_preset(filepath=preset_path(name), menu_idname="MAKE_REAL_MT_looks")
    protocol = addon("protocol")
    wanted = protocol.TranslationRequest(
        model="my model", seed=7, garment_strength=strength, rest_strength=rest, detail=detail
    )
    assert addon("properties").request(settings) == wanted


def test_a_look_of_ones_own(addon: Callable, scene: bpy.types.Scene) -> None:
    settings = scene.make_real
    settings.garment_strength, settings.model = 0.6, "wool"
    wanted = addon("properties").request(settings)
    assert bpy.ops.make_real.save_look(name="Winter Wool") == {"FINISHED"}
    path = Path(preset_path("Winter_Wool"))
    lines = path.read_text().splitlines()
    assert len([line for line in lines if line.startswith("settings.")]) == len(wanted.to_map())
    settings.garment_strength, settings.model = 0.1, "starter"
    bpy.ops.script.execute_preset(filepath=str(path), menu_idname="MAKE_REAL_MT_looks")
    assert addon("properties").request(settings) == wanted
    bpy.ops.make_real.save_look(remove_active=True)
    assert not path.exists()
    assert preset_path("photo"), "shipped ones stay"


def test_grid(addon: Callable, scene: bpy.types.Scene) -> None:
    variants, axes, settings = addon("looks.variants"), scene.make_real_variants, scene.make_real
    set_axis(axes.columns, "garment_strength", 0.2, 0.5, 4)
    set_axis(axes.rows, "steps", 10, 20, 2)
    rows = variants.grid(axes, settings, ())
    assert [[(c.request.steps, c.request.garment_strength) for c in row] for row in rows] == [
        [(10, 0.2), (10, 0.3), (10, 0.4), (10, 0.5)],
        [(20, 0.2), (20, 0.3), (20, 0.4), (20, 0.5)],
    ]
    assert rows[1][2].words == "Steps 20, Garment 0.4"
    set_axis(axes.columns, "garment_strength", 0.9, 7.0, 3)
    assert [cell.request.garment_strength for cell in variants.grid(axes, settings, ())[0]] == [
        0.9,
        0.95,
        1.0,
    ]
    axes.rows.field = variants.NOTHING
    axes.columns.field = "seed"
    with pytest.raises(addon("protocol").MakeRealError, match="Variation"):
        variants.grid(axes, settings, ())
    settings.variation, settings.seed = 0.3, 40
    assert [cell.request.seed for cell in variants.grid(axes, settings, ())[0]] == [40, 41, 42]
    axes.columns.field = "model"
    assert [cell.request.model for cell in variants.grid(axes, settings, ("a", "b"))[0]] == ["a", "b"]
    axes.columns.models = "x, y,x"
    assert [cell.request.model for cell in variants.grid(axes, settings, ("a",))[0]] == ["x", "y"]
    axes.columns.models = ""
    with pytest.raises(addon("protocol").MakeRealError, match="name the models"):
        variants.grid(axes, settings, ())
    axes.rows.field = axes.columns.field = "detail"
    with pytest.raises(addon("protocol").MakeRealError, match="Detail cannot change along"):
        variants.grid(axes, settings, ())


def test_every_setting_can_vary(addon: Callable, scene: bpy.types.Scene) -> None:
    axes = scene.make_real_variants
    fields = {item.identifier for item in axes.rows.bl_rna.properties["field"].enum_items}
    assert fields == {"nothing", *addon("protocol").TranslationRequest().to_map()}
    scene.make_real.variation = 0.5
    for field in sorted(fields - {"nothing", "model"}):
        axes.columns.field = field
        cells = addon("looks.variants").grid(axes, scene.make_real, ())[0]
        assert len({cell.request for cell in cells}) > 1, f"the suggested span of {field} does nothing"


def test_variants_of_one_render(
    addon: Callable, garment_scene: bpy.types.Scene, backend: Callable, tmp_path: Path
) -> None:
    folder = backend("invert")
    bpy.ops.wm.save_as_mainfile(filepath=str(tmp_path / "shoot.blend"))
    area = bpy.context.window_manager.windows[0].screen.areas[0]
    area.type = "IMAGE_EDITOR"
    area.spaces.active.image = bpy.data.images["Render Result"]
    set_axis(garment_scene.make_real_variants.columns, "garment_strength", 0.2, 0.4, 3)
    set_axis(garment_scene.make_real_variants.rows, "detail", 0.0, 1.0, 2)
    assert run_variants(addon).problem is None
    entries = history(addon, garment_scene).entries
    assert [(e.request["detail"], e.request["garment_strength"]) for e in entries.values()] == [
        (0.0, 0.2), (0.0, 0.3), (0.0, 0.4), (1.0, 0.2), (1.0, 0.3), (1.0, 0.4),
    ]  # fmt: skip
    assert shelf_numbers(addon, garment_scene) == [6, 5, 4, 3, 2, 1]
    assert entries[5].cell == "Detail 1.0, Garment 0.3"
    results = tmp_path / "make_real" / "Scene"
    assert len(files(results / "renders")) == 1, "collected once"
    assert len({entry.collected for entry in entries.values()}) == 1
    assert files(results / "sheets") == ["0001_sheet.png"]
    pixels = addon("picture.render_passes").read_pixels(results / "sheets" / "0001_sheet.png", "Non-Color")
    assert pixels.shape == (2 * 48 + 3 * 16, 3 * 64 + 4 * 16, 4)
    one = addon("picture.render_passes").read_pixels(results / "0006_display.png", "Non-Color")
    assert np.array_equal(pixels[48 + 32 : 96 + 32, 2 * 64 + 48 : 3 * 64 + 48], one)
    assert area.spaces.active.image.name == "Make Real Sheet 0001"
    assert garment_scene.make_real.result.name == "Make Real 0006"
    assert len((folder / "starts.txt").read_text().splitlines()) == 1
    assert addon("looks.batch").running() is None
    # The next single picture takes the sheet's place.
    bpy.ops.make_real.translate()
    addon("session.pump").run_until_idle(TIMEOUT_S)
    assert area.spaces.active.image.name == "Make Real 0007"


def test_sheet_tells_its_cells(addon: Callable, garment_scene: bpy.types.Scene, backend: Callable) -> None:
    backend("invert")
    set_axis(garment_scene.make_real_variants.columns, "detail", 0.0, 1.0, 2)
    run_variants(addon)
    content = (addon("history.places").folder(garment_scene) / "sheets" / "0001_sheet.png").read_bytes()
    start = content.index(b"make_real_variants") + len(b"make_real_variants") + 5
    told, _end = json.JSONDecoder().raw_decode(content[start : start + 4000].decode("latin-1"))
    assert told["columns"] == 2
    assert [cell["cell"] for cell in told["cells"]] == ["Detail 0.0", "Detail 1.0"]


def test_cancel_ends_the_batch(addon: Callable, garment_scene: bpy.types.Scene, backend: Callable) -> None:
    backend("slow_once")
    set_axis(garment_scene.make_real_variants.columns, "detail")
    bpy.ops.make_real.make_variants()
    pump_until(addon, lambda session: session.job.step >= 3)
    assert addon("looks.batch").running().started == 1
    assert not bpy.ops.make_real.make_variants.poll()
    bpy.ops.make_real.cancel()
    session = addon("session.pump").run_until_idle(TIMEOUT_S)
    assert (session.phase, session.problem, session.job) == ("ready", None, None)
    assert addon("looks.batch").running() is None
    assert run_variants(addon).problem is None
    assert len(history(addon, garment_scene).entries) == 3


def test_failure_ends_the_batch(addon: Callable, garment_scene: bpy.types.Scene, backend: Callable) -> None:
    folder = backend("fail")
    set_axis(garment_scene.make_real_variants.columns, "detail")
    session = run_variants(addon)
    assert session.problem.code == "out_of_memory"
    assert addon("looks.batch").running() is None
    assert not list(folder.glob("acknowledged_*"))
    garment_scene.make_real_variants.columns.field = "seed"
    assert "Variation is above 0" in refused(bpy.ops.make_real.make_variants)


def test_nothing_to_vary(addon: Callable, garment_scene: bpy.types.Scene) -> None:
    assert not bpy.ops.make_real.make_variants.poll()
