# SPDX-License-Identifier: GPL-3.0-or-later
"""An artist's hour with the real backend: from the first render to the same first picture after a night."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import bpy
import numpy as np
import pytest
from test_garment import LEFT, RIGHT, pick
from test_history import history

PATIENCE_S = 600.0

pytestmark = [
    pytest.mark.real_backend,
    pytest.mark.skipif(
        bpy.app.version[:2] not in ((4, 2), (5, 0)),
        reason="six real pictures: the oldest Blender and the newest that every machine has are enough",
    ),
    pytest.mark.skipif("MAKE_REAL_PROGRAM" not in os.environ, reason="MAKE_REAL_PROGRAM is not set"),
]


@pytest.fixture
def real_backend(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("MAKE_REAL_RUNTIME_DIR", str(tmp_path / "run"))
    monkeypatch.setenv("MAKE_REAL_DATA_DIR", str(tmp_path / "data"))
    yield
    bpy.ops.make_real.stop_backend()


def test_artists_hour(
    addon: Callable, garment_scene: bpy.types.Scene, real_backend: None, tmp_path: Path
) -> None:
    def wait_for_picture() -> None:
        session = addon("session.pump").run_until_idle(PATIENCE_S)
        assert session.problem is None, session.problem

    def pixels(number: int) -> np.ndarray:
        path = addon("history.shelf").files_of(bpy.context.scene, number).display
        return addon("picture.render_passes").read_pixels(path, "Non-Color")

    def out_of_date() -> list[int]:
        bpy.ops.make_real.history_refresh()
        content = addon("history.shelf").history(bpy.context.scene)
        return [number for number, entry in content.entries.items() if content.is_out_of_date(entry)]

    blend = tmp_path / "shoot.blend"
    bpy.ops.wm.save_as_mainfile(filepath=str(blend))
    scene, settings = garment_scene, garment_scene.make_real

    # The render is there; pick the parts and convert.
    pick(scene, bpy.data.objects[LEFT])
    pick(scene, bpy.data.objects[RIGHT], role="PROTECTED")
    settings.steps = 6
    bpy.ops.make_real.translate()
    wait_for_picture()

    # Three variants, with a sheet.
    axis = scene.make_real_variants.columns
    axis.field = "garment_strength"
    axis.low, axis.high, axis.count = 0.75, 1.0, 3
    bpy.ops.make_real.make_variants()
    wait_for_picture()
    entries = history(addon, scene).entries
    assert [entry.request["garment_strength"] for entry in entries.values()] == [0.5, 0.75, 0.875, 1.0]
    assert len({entry.picture for entry in entries.values()}) == 4
    assert (tmp_path / "make_real" / "Scene" / "sheets" / "0001_sheet.png").exists()

    # Rate, and compare.
    bpy.ops.make_real.history_rate(number=3, rating=5)
    bpy.ops.make_real.history_show(number=3)
    pair = addon("compare.comparison").pair_of(scene, settings.result)
    assert pair.entry.rating == 5
    told = addon("compare.fidelity").lines(pair.entry.report)
    assert {"SSIM", "CIEDE2000"} <= {line.figure.split()[0] for line in told}
    assert out_of_date() == []

    # Change the light and render again: the history says so.
    bpy.data.materials[LEFT].node_tree.nodes["Principled BSDF"].inputs[
        "Emission Strength"
    ].default_value = 0.6
    bpy.ops.render.render()
    assert out_of_date() == [1, 2, 3, 4]

    # Convert the new light with the settings of the best one.
    settings.steps, settings.garment_strength, settings.detail = 8, 0.9, 0.0
    bpy.ops.make_real.history_use_settings(number=3)
    bpy.ops.make_real.translate()
    wait_for_picture()
    latest = history(addon, scene).entries[5]
    assert latest.request == entries[3].request
    assert latest.picture != entries[3].picture
    assert out_of_date() == [1, 2, 3, 4]

    # It is in the compositor: what is rendered now is the result, not the render.
    assert addon("compositor").is_inserted(scene)

    # Save, close the backend and Blender, and come back.
    bpy.ops.wm.save_mainfile()
    bpy.ops.make_real.stop_backend()
    while addon("protocol").read_connection() is not None:
        addon("session.pump").pump(0.05)
    bpy.ops.wm.read_homefile(use_empty=True)
    bpy.ops.wm.open_mainfile(filepath=str(blend))
    scene = bpy.context.scene
    assert addon("history.shelf").entry(scene, 3).rating == 5
    assert out_of_date() == [1, 2, 3, 4]

    # The first picture again, byte for byte.
    first = pixels(1)
    assert bpy.ops.make_real.history_reproduce(number=1) == {"FINISHED"}
    wait_for_picture()
    again = history(addon, scene).entries[6]
    assert (again.reproduces, again.identical) == (1, True)
    assert np.array_equal(pixels(6), first)
