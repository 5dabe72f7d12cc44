# SPDX-License-Identifier: GPL-3.0-or-later
"""Every panel draws in every state. Blender gives no layout without a window, so a recorder stands in for it
that refuses whatever Blender would refuse: unknown operators, properties and icons."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import blf
import bpy
import pytest
from conftest import MODULE
from test_garment import pick

ICONS = set(bpy.types.UILayout.bl_rna.functions["label"].parameters["icon"].enum_items.keys())


class Layout:
    """Records what is drawn, as text."""

    def __init__(self) -> None:
        self.drawn: list[str] = []

    def row(self, align: bool = False) -> Layout:
        return self

    column = row

    def split(self, factor: float, align: bool = False) -> Layout:
        return self

    def separator(self) -> None:
        pass

    def label(self, text: str = "", icon: str = "NONE") -> None:
        assert icon in ICONS, icon
        assert text
        self.drawn.append(text)

    def operator(
        self, identifier: str, text: str | None = None, icon: str = "NONE", depress: bool = False
    ) -> SimpleNamespace:
        assert icon in ICONS, icon
        category, name = identifier.split(".")
        getattr(getattr(bpy.ops, category), name).get_rna_type()
        self.drawn.append(identifier)
        return SimpleNamespace()

    def operator_menu_enum(
        self, identifier: str, prop: str, text: str | None = None, icon: str = "NONE"
    ) -> None:
        self.operator(identifier, icon=icon)
        category, name = identifier.split(".")
        assert prop in getattr(getattr(bpy.ops, category), name).get_rna_type().properties

    def prop(
        self,
        data: Any,
        name: str,
        text: str = "",
        emboss: bool = True,
        icon: str = "NONE",
        icon_only: bool = False,
        expand: bool = False,
        placeholder: str = "",
    ) -> None:
        assert icon in ICONS, icon
        assert name in data.bl_rna.properties
        self.drawn.append(name)

    def template_ID(self, data: Any, name: str, open: str) -> None:  # noqa: N802  Blender's name
        self.operator(open)
        self.prop(data, name)

    def progress(self, factor: float, type: str, text: str) -> None:
        assert 0.0 <= factor <= 1.0
        assert type in {"BAR", "RING"}
        self.drawn.append(f"{factor:.2f} {text}")

    def template_list(
        self, kind: str, _id: str, data: Any, items: str, active: Any, index: str, rows: int
    ) -> None:
        assert hasattr(bpy.types, kind)
        assert {items, index} <= set(data.bl_rna.properties.keys())


def sidebar_of(scene: bpy.types.Scene, width: int = 280) -> SimpleNamespace:
    """The context of a sidebar, as wide as Blender opens it."""
    style = SimpleNamespace(widget=SimpleNamespace(points=11.0))
    preferences = SimpleNamespace(ui_styles=[style], system=SimpleNamespace(ui_scale=1.0))
    return SimpleNamespace(
        scene=scene,
        window_manager=bpy.context.window_manager,
        area=SimpleNamespace(ui_type="IMAGE_EDITOR"),
        region=SimpleNamespace(width=width),
        preferences=preferences,
    )


def draw(addon: Callable, session: Any, scene: bpy.types.Scene, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Everything that the sidebar, the header and the menu show."""
    monkeypatch.setattr(addon("session.pump").conductor(), "session", session)
    panels, layout = addon("panels"), Layout()
    context = sidebar_of(scene)
    holder = SimpleNamespace(layout=layout)
    mask_panels = addon("masks.panels")
    for cls in (*panels.CLASSES, *mask_panels.CLASSES):
        if issubclass(cls, bpy.types.Panel):
            cls.draw(holder, context)
    for item in scene.make_real.masks.parts:
        mask_panels.MAKE_REAL_UL_parts.draw_item(holder, context, layout, scene.make_real, item, 0, None, "")
    panels._draw_header(holder, context)
    panels._draw_render_menu(holder, context)
    monkeypatch.undo()
    return layout.drawn


def test_every_phase(addon: Callable, scene: bpy.types.Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    session = addon("session.state")
    job = session.Job(
        "a", "Scene", collected=True, sent=True, stage="denoising", step=3, steps=15, fraction=0.4
    )
    buttons = addon("session.status_line").BUTTONS
    for phase in session.Phase:
        if phase != "busy":
            drawn = draw(addon, session.Session(phase), scene, monkeypatch)
            assert drawn.count("make_real.translate") == 3, "sidebar, header and menu"
            assert buttons[phase] in drawn
            assert "make_real.cancel" not in drawn
        busy = draw(addon, session.Session(phase, job=job), scene, monkeypatch)
        assert "make_real.cancel" in busy
        assert ("Denoising, step 4 of 15" in busy) == (phase not in ("starting", "lost"))
        # Blender would keep a disabled button under a resting mouse: in the sidebar and the header there is none.
        assert [busy.count(text) for text in ("0.40 40%", "make_real.translate")] == [2, 1]


def test_problem_is_readable_and_has_its_button(
    addon: Callable, scene: bpy.types.Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    protocol, session = addon("protocol"), addon("session.state")
    problem = protocol.MakeRealError(protocol.ErrorCode.BACKEND_NOT_FOUND, "there is no make-real")
    drawn = draw(addon, session.Session(session.Phase.NOT_INSTALLED, problem=problem), scene, monkeypatch)
    text = " ".join(drawn)
    assert "No backend is installed where the extension looks for it." in text
    assert "set the make-real program" in text
    assert "make_real.open_preferences" in drawn
    blf.size(0, 11.0)
    sentences = [text for text in drawn if not text.startswith("make_real.") and " " in text]
    assert max(blf.dimensions(0, text)[0] for text in sentences) <= 210.0, "the sidebar has room for no more"


def test_text_is_broken_between_words(addon: Callable, scene: bpy.types.Scene) -> None:
    text = addon("text")
    blf.size(0, 11.0)
    words = "Nothing picked: the whole picture is garment"
    assert text.wrap(words, 1000.0) == [words]
    assert text.wrap(words, 1.0) == words.split()
    narrow, wide = Layout(), Layout()
    text.draw_text(narrow, sidebar_of(scene, 200), words)
    text.draw_text(wide, sidebar_of(scene, 900), words)
    assert len(narrow.drawn) > 1
    assert " ".join(narrow.drawn) == words
    assert wide.drawn == [words]


def test_picks_warnings_and_every_knob(
    addon: Callable, scene: bpy.types.Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    thing = bpy.data.objects.new("Coat", None)
    pick(scene, thing)
    pick(scene, bpy.data.materials.new("Wool"), bpy.data.images.new("Mask", 4, 4), role="PROTECTED")
    scene.make_real.masks.active_part = 1
    bpy.data.objects.remove(thing)
    image = bpy.data.images.new("Make Real 0001", 4, 4)
    image[addon("picture.editors").WARNINGS] = "the garment is displaced by 2 pixels"
    scene.make_real.result = image
    drawn = draw(addon, addon("session.state").Session(), scene, monkeypatch)
    assert {"material", "image.open", "make_real.remove_pick", "role", "strength"} <= set(drawn)
    assert "Without its passes the next render cannot tell the parts apart" in " ".join(drawn)
    assert "the garment is displaced by 2 pixels" in " ".join(drawn)
    assert {*addon("protocol").RANGES, "model"} <= set(drawn)


def test_settings_have_the_requests_ranges_and_defaults(addon: Callable, scene: bpy.types.Scene) -> None:
    protocol, settings = addon("protocol"), scene.make_real
    for name, (low, high) in protocol.RANGES.items():
        prop = settings.bl_rna.properties[name]
        assert (prop.hard_min, prop.hard_max) == (low, high)
        assert len(prop.description) > 20
    assert addon("properties").request(settings) == protocol.TranslationRequest()


def test_uv_editor_has_no_button(addon: Callable) -> None:
    layout = Layout()
    context = SimpleNamespace(area=SimpleNamespace(ui_type="UV"))
    addon("panels")._draw_header(SimpleNamespace(layout=layout), context)
    assert layout.drawn == []
    assert MODULE in bpy.context.preferences.addons
