# SPDX-License-Identifier: GPL-3.0-or-later
"""The panels Looks, History and Compare draw in every state, from memory alone."""

from __future__ import annotations

import builtins
import io
import pathlib
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import bpy
import pytest
from test_panels import ICONS, Layout
from test_translate import translate_and_wait

PANELS = (
    ("looks", "MAKE_REAL_PT_looks"),
    ("history", "MAKE_REAL_PT_history"),
    ("compare", "MAKE_REAL_PT_compare"),
)


class Recorder(Layout):
    """Also what these panels use; refuses what Blender would."""

    def operator(
        self, identifier: str, text: str | None = None, icon: str = "NONE", emboss: bool = True
    ) -> Any:
        super().operator(identifier, text, icon)
        return SimpleNamespace()

    def menu(self, identifier: str, text: str) -> None:
        assert hasattr(bpy.types, identifier)
        self.drawn.append(text)

    def label(self, text: str = "", icon: str = "NONE", icon_value: int = 0) -> None:
        assert icon in ICONS, icon
        self.drawn.append(text)

    def template_icon(self, icon_value: int, scale: float) -> None:
        assert icon_value > 0


def draw(addon: Callable, scene: bpy.types.Scene, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Everything that the three panels show; reading the disk fails the test."""

    def no_disk(*_arguments: Any, **_named: Any) -> None:
        raise AssertionError("drawing reads the disk")

    layout = Recorder()
    region = SimpleNamespace(width=4000)
    space = SimpleNamespace(image=scene.make_real.result)
    context = SimpleNamespace(
        scene=scene, region=region, preferences=bpy.context.preferences, space_data=space, area=None
    )
    holder = SimpleNamespace(layout=layout)
    with monkeypatch.context() as patch:
        for module, name in (
            (builtins, "open"),
            (io, "open"),
            (pathlib.Path, "stat"),
            (pathlib.Path, "open"),
        ):
            patch.setattr(module, name, no_disk)
        for module, name in PANELS:
            getattr(addon(f"{module}.panel"), name).draw(holder, context)
        listed = addon("history.shelf").of_scene(scene)
        for item in listed.entries if listed else ():
            line = addon("history.panel").MAKE_REAL_UL_history
            line.draw_item(holder, context, layout, listed, item, 0, None, "")
    return layout.drawn


def test_before_the_first_result(
    addon: Callable, garment_scene: bpy.types.Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    drawn = draw(addon, garment_scene, monkeypatch)
    assert "Every result will be listed here" in drawn
    assert "make_real.compare" in drawn


def test_a_result(
    addon: Callable, garment_scene: bpy.types.Scene, backend: Callable, monkeypatch: pytest.MonkeyPatch
) -> None:
    backend("invert")
    garment_scene.make_real.garment_strength = 0.4
    translate_and_wait(addon)
    bpy.ops.make_real.history_rate(rating=3)
    drawn = draw(addon, garment_scene, monkeypatch)
    assert "3★" in drawn
    assert "Garment 0.4" in drawn
    assert "Shapes and folds kept (SSIM 1.000)" in drawn
    assert "make_real.history_reproduce" in drawn
    assert not [text for text in drawn if text.startswith("Out of date")]
    garment_scene.view_settings.exposure = 1.0
    bpy.ops.render.render()
    bpy.ops.make_real.history_refresh()
    assert [text for text in draw(addon, garment_scene, monkeypatch) if text.startswith("Out of date")]


def test_a_grid(addon: Callable, garment_scene: bpy.types.Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    axes = garment_scene.make_real_variants
    axes.columns.field = "garment_strength"
    axes.rows.field = "detail"
    assert "3 x 3: 9 pictures" in draw(addon, garment_scene, monkeypatch)
    axes.rows.field = "seed"
    drawn = draw(addon, garment_scene, monkeypatch)
    assert "Seeds make a difference only where Variation is above 0" in drawn
    assert "make_real.make_variants" not in drawn
