# SPDX-License-Identifier: GPL-3.0-or-later
"""An artist's first ten minutes in a real window, photographed and checked.

`photograph.py` runs it inside Blender. The render is started as F12 does, the buttons are pressed with the mouse,
and what is checked is what the X server shows and what the extension's timer did.
"""

from __future__ import annotations

import importlib
import sys
import time
from pathlib import Path
from typing import Any

import bpy
import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parent))

import stage
from stage import Story

PACKAGE = "bl_ext.user_default.make_real"
GARMENT = ("Dress", "Waistband", "Button")
"""Beginnings of the names of the objects that make up the demo's garment."""
RENDER_TIMEOUT_S = 600.0
TRANSLATION_TIMEOUT_S = 1200.0
SAMPLES = 96
EVENING = (1.0, 0.72, 0.45)
"""Colour of the second picture's light."""
FEWER_STEPS = 8
"""The second picture is for a thumbnail."""
GARMENT_PANEL, HISTORY_PANEL, COMPARE_PANEL = 1, 3, 4
"""Numbers of panels below the main one, with Looks between them."""


def module(name: str) -> Any:
    """A module of the installed extension."""
    return importlib.import_module(f"{PACKAGE}.{name}")


def story(out: Path) -> Story:
    """Everything, in the order in which an artist meets it."""
    yield from open_image_editor()
    yield from prepare_scene()
    yield from render()
    area = stage.area_of("IMAGE_EDITOR")
    yield from pick_garment(area)
    yield from stage.photograph(out / "window_panel.jpg", area)
    yield from show_masks(area, out)
    yield from make_real(area, out)
    yield from check_result(area)
    yield from check_undo(area)
    yield from compare(area, out)
    yield from light_again(area)
    yield from show_history(area, out)
    yield from show_preferences(area, out)


def open_image_editor() -> Story:
    """Make the viewport an Image Editor with our tab open."""
    preferences = bpy.context.preferences
    preferences.view.show_splash = False
    # The Image Editor is there already, so the render shall open no window.
    preferences.view.render_display_type = "NONE"
    yield 0.5
    area = stage.area_of("VIEW_3D")
    area.type = "IMAGE_EDITOR"
    yield 0.5
    yield from stage.show_sidebar(area, "Make Real")


def prepare_scene() -> Story:
    """Render settings that any Blender has."""
    scene = bpy.context.scene
    scene.render.engine = "CYCLES"
    scene.cycles.samples = SAMPLES
    try:
        scene.cycles.use_denoising, scene.cycles.denoiser = True, "OPENIMAGEDENOISE"
    except TypeError:  # distributions build Blender without it
        scene.cycles.use_denoising = False
    yield 0.1


def render() -> Story:
    """Render as F12 does, in Blender's own job, and look at the picture."""
    area = stage.area_of("IMAGE_EDITOR")
    with stage.within(area):
        bpy.ops.render.render("INVOKE_DEFAULT")
    yield 0.5
    yield from stage.until(lambda: not bpy.app.is_job_running("RENDER"), "the render's end", RENDER_TIMEOUT_S)
    area.spaces.active.image = bpy.data.images["Render Result"]
    yield 0.3
    yield from fit(area)


def fit(area: bpy.types.Area) -> Story:
    """Show the whole picture."""
    with stage.within(area):
        bpy.ops.image.view_all(fit_view=True)
    yield 0.3


def pick_garment(area: bpy.types.Area) -> Story:
    """Make the garment a part of its own."""
    part = bpy.context.scene.make_real.masks.parts.add()
    part.name = "Dress"
    for thing in bpy.context.scene.objects:
        if thing.name.startswith(GARMENT):
            pick = part.picks.add()
            pick.kind, pick.object = "OBJECT", thing
    yield 0.3


def show_masks(area: bpy.types.Area, out: Path) -> Story:
    """Switch the overlay on: it must be drawn over the garment and nowhere else."""
    before = stage.seen(stage.region_of(area, "WINDOW")).astype(int)
    window_manager = bpy.context.window_manager
    window_manager.make_real_mask_overlay = True
    yield from stage.until(lambda: changed(area, before) > 0.01, "the overlay", 180.0)
    yield 1.0
    assert changed(area, before) < 0.5, "the overlay covers more than the garment"
    yield from stage.photograph(out / "window_masks.jpg", area)
    window_manager.make_real_mask_overlay = False
    yield from stage.until(lambda: changed(area, before) < 0.01, "the end of the overlay", 30.0)


def changed(area: bpy.types.Area, before: np.ndarray) -> float:
    """Part of the editor that looks different now."""
    now = stage.seen(stage.region_of(area, "WINDOW")).astype(int)
    return float((np.abs(now - before).max(axis=2) > 12).mean())


def make_real(area: bpy.types.Area, out: Path) -> Story:
    """Press the button with the mouse; the timer does the rest while the window lives on."""
    pump = module("session.pump")
    ticks = watch_ticks(pump.conductor())
    yield from stage.click(area, "UI", "make_real.translate")
    yield from stage.until(lambda: pump.session().job is not None, "the click", 10.0)
    assert bpy.app.timers.is_registered(pump._on_timer)
    yield from stage.until(
        lambda: pump.session().job is None or pump.session().job.stage == "denoising",
        "progress",
        TRANSLATION_TIMEOUT_S,
    )
    assert pump.session().problem is None, pump.session().problem
    yield from stage.photograph(out / "window_progress.jpg", area)
    yield from stage.until(lambda: pump.session().job is None, "the picture", TRANSLATION_TIMEOUT_S)
    assert pump.session().problem is None, pump.session().problem
    assert len(ticks) > 20, "the timer ran on its own"
    print(
        f"window: {len(ticks)} ticks, median {np.median(ticks):.2f} ms, 99 % {np.quantile(ticks, 0.99):.2f} ms, "
        f"worst {max(ticks):.2f} ms",
        flush=True,
    )


def watch_ticks(conductor: Any) -> list[float]:
    """Milliseconds of every tick from now on."""
    milliseconds: list[float] = []
    tick = conductor.tick

    def timed(budget_s: float) -> None:
        start = time.perf_counter()
        tick(budget_s)
        milliseconds.append(1000.0 * (time.perf_counter() - start))

    conductor.tick = timed
    return milliseconds


def check_result(area: bpy.types.Area) -> Story:
    """The timer has put the result into the editor, and X shows the very colours of its file."""
    image = bpy.context.scene.make_real.result
    assert image is not None, "the timer could not write to the scene"
    assert area.spaces.active.image == image, "the timer could not write to the editor"
    region = stage.region_of(area, "WINDOW")
    with stage.within(area):
        bpy.ops.image.view_zoom_ratio(ratio=1.0)
    yield 1.0
    width, height = image.size
    pixels = np.empty(width * height * 4, np.float32)
    # As stored: a 16-bit image's own pixels are light, not what is shown.
    stored = bpy.data.images.load(image.filepath, check_existing=False)
    stored.colorspace_settings.name = "Non-Color"
    stored.pixels.foreach_get(pixels)
    bpy.data.images.remove(stored)
    expected = np.rint(pixels.reshape(height, width, 4)[::-1, :, :3] * 255.0)
    left, bottom = (round(number) for number in region.view2d.view_to_region(0.0, 0.0, clip=False))
    top = region.height - bottom - height
    # The middle of the picture, clear of the editor's own buttons.
    rows, columns = slice(height // 3, 2 * height // 3), slice(width // 3, 2 * width // 3)
    shown = stage.seen(region)[top : top + height, left : left + width][rows, columns]
    error = np.abs(shown.astype(float) - expected[rows, columns]).mean()
    assert error < 1.5, f"the window shows the result {error:.1f} of 255 off"
    print(f"window: the result is shown {error:.2f} of 255 off its file", flush=True)
    yield from fit(area)


def check_undo(area: bpy.types.Area) -> Story:
    """The result's arrival is a step of undo: undone, then done again; the editor follows."""
    name = bpy.context.scene.make_real.result.name
    steps = 2 if bpy.context.scene.make_real.use_compositor else 1
    for operator, is_there in ((bpy.ops.ed.undo, False), (bpy.ops.ed.redo, True)):
        for _ in range(steps):
            with stage.within(stage.area_of("IMAGE_EDITOR")):
                operator()
            yield 0.3
        result = bpy.context.scene.make_real.result
        assert (result is not None) == is_there, f"after {operator} the result is {result}"
        shown = stage.area_of("IMAGE_EDITOR").spaces.active.image
        assert shown == (result or bpy.data.images["Render Result"]), (
            f"after {operator} the editor shows {shown}"
        )
    assert bpy.context.scene.make_real.result.name == name
    yield 0.3


def compare(area: bpy.types.Area, out: Path) -> Story:
    """The slider: on one side of the line the render is drawn, on the other the result stays."""
    before = stage.seen(stage.region_of(area, "WINDOW")).astype(int)
    with stage.within(area):
        bpy.ops.make_real.compare()
    yield from stage.until(lambda: changed(area, before) > 0.01, "the slider", 180.0)
    yield 1.0
    yield from photograph_panel(area, COMPARE_PANEL, out / "window_compare.jpg")
    yield from drag_line(area)
    with stage.within(area):
        bpy.ops.make_real.compare()
    yield 0.5


def drag_line(area: bpy.types.Area) -> Story:
    """The line follows the mouse, and what it has passed is drawn anew."""
    settings, region = module("compare.comparison").settings(), stage.region_of(area, "WINDOW")
    before = stage.seen(region).astype(int)
    places = [region.view2d.view_to_region(split, 0.4, clip=False) for split in (0.5, 0.25)]
    yield from stage.drag(*((region.x + x, region.y + y) for x, y in places))
    stage.park_mouse()
    yield 0.5
    assert abs(settings.split - 0.25) < 0.02, f"the line was dragged to {settings.split:.2f}"
    assert changed(area, before) > 0.001, "the picture has not followed the line"


def light_again(area: bpy.types.Area) -> Story:
    """Another light: after the render the history says that its picture is of an older one, then has two."""
    scene, shelf = bpy.context.scene, module("history.shelf")
    bpy.ops.make_real.history_rate(rating=4)
    bpy.data.lights["Key"].color = EVENING
    scene.cycles.samples = SAMPLES // 3
    scene.make_real.steps = FEWER_STEPS
    yield from render()
    first = shelf.entry(scene, 1)
    yield from stage.until(
        lambda: shelf.history(scene).is_out_of_date(first), "the mark of the older picture", 60.0
    )
    yield from stage.click(area, "UI", "make_real.translate")
    pump = module("session.pump")
    yield from stage.until(lambda: pump.session().job is not None, "the click", 10.0)
    yield from stage.until(lambda: pump.session().job is None, "the picture", TRANSLATION_TIMEOUT_S)
    assert pump.session().problem is None, pump.session().problem
    marks = [shelf.history(scene).is_out_of_date(shelf.entry(scene, number)) for number in (1, 2)]
    assert marks == [True, False], marks


def show_history(area: bpy.types.Area, out: Path) -> Story:
    """The panel that every result is listed in, with the older one marked."""
    listed = module("history.shelf").of_scene(bpy.context.scene)
    listed.active = 1
    listed.entries[1].notes = "Good folds, too cold"
    yield from photograph_panel(area, HISTORY_PANEL, out / "window_history.jpg")


def photograph_panel(area: bpy.types.Area, panel: int, path: Path) -> Story:
    """Photograph the editor with another panel open than the garment's."""
    panels = (GARMENT_PANEL, panel)
    for each in panels:
        yield from stage.click_header(area, "make_real.remove_from_compositor", each)
    yield from stage.photograph(path, area)
    for each in reversed(panels):
        yield from stage.click_header(area, "make_real.remove_from_compositor", each)


def show_preferences(area: bpy.types.Area, out: Path) -> Story:
    """The extension's preferences in their own window."""
    # Blender opens a window where the mouse is, and nothing but a window manager would keep it on the screen.
    yield from stage.rest_at(area.x + area.width // 2, area.y + area.height // 2)
    with stage.within(area):
        bpy.ops.make_real.open_preferences()
    yield 2.0
    yield from stage.photograph_newest_window(out / "window_preferences.jpg", 760, 620)


if __name__ == "__main__":
    stage.play(story)
