# SPDX-License-Identifier: GPL-3.0-or-later
"""What an artist does while a picture is made, in a real window: other windows and scenes, Esc, undo, transforms,
playback, other renders, another file, another Blender, the end of Blender. Each chapter ends in a sentence or a
picture, and in a next click that works.

`photograph.py --story manners.py` runs it inside Blender. The backend is the tests' scripted one
(`tests/blender/scripted_backend.py`): MAKE_REAL_SCRIPT tells it what to do from its next start on.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import bpy

sys.path.insert(0, str(Path(__file__).resolve().parent))

import stage
import story as first_minutes
from stage import Story
from story import module

SAMPLES = 1
ENDLESS_SAMPLES = 100_000
PATIENCE_S = 120.0
OTHER_BLENDER_S = 300.0
OTHER_BLENDER = """
import os, sys, time, bpy
os.environ["MAKE_REAL_SCRIPT"] = {script!r}

def play():
    from bl_ext.user_default.make_real.session import pump
    bpy.ops.render.render()
    bpy.ops.make_real.translate()
    while pump.session().job is not None and not ({script!r} == "slow" and pump.session().job.step >= 2):
        yield 0.05
    print("session:", pump.session().job and "busy", pump.session().problem, flush=True)
    bpy.ops.wm.quit_blender()

story = play()
bpy.app.timers.register(lambda: next(story, None), first_interval=1.0)
"""


def story(_out: Path) -> Story:
    """Every chapter; they share the window and the saved file."""
    yield from first_minutes.open_image_editor()
    yield from first_minutes.prepare_scene()
    bpy.context.scene.cycles.samples = SAMPLES
    yield from first_minutes.render()
    yield from first_minutes.pick_garment(stage.area_of("IMAGE_EDITOR"))
    bpy.ops.wm.save_mainfile()
    chapters: tuple[Callable[[], Story], ...] = (
        resting_mouse, several_windows_and_scenes, render_cancelled, undo_and_redo, edit_mode, transform, playback,
        another_render, locked_render, another_file, two_blenders, other_blender_quits,
    )  # fmt: skip
    for chapter in chapters:
        yield from chapter()
        print(f"window: {chapter.__name__.replace('_', ' ')}: passed", flush=True)


# What the chapters say


def session() -> Any:
    """How things stand with the backend and the job."""
    return module("session.pump").session()


def choose(script: str) -> Story:
    """Let the backend's next start follow a script."""
    bpy.ops.make_real.stop_backend()
    yield from stage.until(lambda: module("protocol").read_connection() is None, "the backend's end", 20.0)
    os.environ["MAKE_REAL_SCRIPT"] = script


def click_make_real(area: bpy.types.Area) -> Story:
    """Press the panel's button, and leave the mouse where nothing is."""
    yield from stage.click(area, "UI", "make_real.translate")
    stage.park_mouse()
    yield from stage.until(lambda: session().job is not None, "the click", 10.0)


def is_denoising() -> bool:
    """Whether the backend works on the job."""
    return session().job is not None and session().job.step >= 2


def picture_arrives(number: int, scene: bpy.types.Scene | None = None) -> Story:
    """Wait for the job's end: its result is the scene's, and nothing went wrong."""
    yield from stage.until(lambda: session().job is None, "the picture", PATIENCE_S)
    assert session().problem is None, session().problem
    result = (scene or bpy.context.scene).make_real.result
    assert result is not None and result.name == f"Make Real {number:04}", result


def undo(steps: int, operator: Callable[[], object] = bpy.ops.ed.undo) -> Story:
    """Ctrl-Z, or another operator, some times."""
    for _ in range(steps):
        with stage.within(stage.area_of("IMAGE_EDITOR")):
            operator()
        yield 0.2


# Chapters


def resting_mouse() -> Story:
    """The artist clicks, leaves the mouse there, and clicks again when the picture is there."""
    area = stage.area_of("IMAGE_EDITOR")
    yield from choose("invert")
    place = yield from stage.find_button(area, "UI", "make_real.translate")
    for number in (1, 2):
        yield from stage.rest_at(*place)
        stage.press_mouse()
        yield from stage.until(lambda: session().job is not None, f"click {number}", 10.0)
        yield from picture_arrives(number)
        yield 0.5


def several_windows_and_scenes() -> Story:
    """Two windows show two scenes: the result comes into its own scene's window, and a window may be closed."""
    area, scene = stage.area_of("IMAGE_EDITOR"), bpy.context.scene
    other_scene = bpy.data.scenes.new("Other")
    yield from choose("steady")
    with stage.within(area):
        bpy.ops.wm.window_new_main()
    yield 1.0
    second = bpy.context.window_manager.windows[-1]
    second.scene = other_scene
    stage.move_newest_window(stage.window().width, 0)
    yield 0.5
    render = bpy.data.images["Render Result"]
    # It opens as a copy of the first window.
    (other_area,) = (area for area in second.screen.areas if area.type == "IMAGE_EDITOR")
    editors = [area.spaces.active, other_area.spaces.active]
    for editor in editors:
        editor.image = render
    yield from click_make_real(area)
    yield from picture_arrives(3, scene)
    assert other_scene.make_real.result is None
    assert editors[0].image == scene.make_real.result
    assert editors[1].image == render, "a window with another scene keeps its picture"

    yield from click_make_real(area)
    yield from stage.until(is_denoising, "progress", PATIENCE_S)
    with bpy.context.temp_override(window=second):
        bpy.ops.wm.window_close()
    yield from picture_arrives(4, scene)
    bpy.data.scenes.remove(other_scene)


def render_cancelled() -> Story:
    """A click while Blender renders, and one after Esc: each is told; after the next render all is well."""
    area, scene = stage.area_of("IMAGE_EDITOR"), bpy.context.scene
    before = scene.make_real.result
    yield from endless_render()
    yield 2.0
    yield from stage.click(area, "HEADER", "make_real.translate")
    yield 0.5
    assert session().job is None, "a picture that is not finished was sent"
    assert session().problem.code == "no_render", session().problem
    assert bpy.app.is_job_running("RENDER"), "the click ended the render"
    yield from end_of_render()
    assert scene.make_real.result == before
    yield from click_make_real(area)
    yield from stage.until(lambda: session().job is None or session().job.collected, "the render", PATIENCE_S)
    remarks = " ".join(session().job.remarks) if session().job else ""
    assert "cancelled" in remarks, f"it was not said that the render was cancelled: {remarks}"
    yield from picture_arrives(5)
    yield from first_minutes.render()
    yield from click_make_real(area)
    yield from stage.until(lambda: session().job is None or session().job.collected, "the render", PATIENCE_S)
    assert not (session().job and session().job.remarks), session().job.remarks
    yield from picture_arrives(6)


def undo_and_redo() -> Story:
    """Undo and redo while the render is read, and while the backend works: the picture comes all the same, as a step
    of its own."""
    thing = bpy.data.objects["Dress"]
    for number in range(3):
        thing.location.x = 0.1 * (number + 1)
        with stage.within(stage.area_of("IMAGE_EDITOR")):
            bpy.ops.ed.undo_push(message=f"Move {number}")
    yield from click_make_real(stage.area_of("IMAGE_EDITOR"))
    # The click is a step too.
    yield from undo(2)
    yield from stage.until(is_denoising, "progress", PATIENCE_S)
    yield from undo(1)
    assert abs(bpy.data.objects["Dress"].location.x - 0.1) < 1e-6
    yield from undo(1, bpy.ops.ed.redo)
    assert abs(bpy.data.objects["Dress"].location.x - 0.2) < 1e-6
    yield from picture_arrives(7)
    # The second step is the compositor's.
    yield from undo(2)
    assert bpy.context.scene.make_real.result.name == "Make Real 0006"
    assert abs(bpy.data.objects["Dress"].location.x - 0.2) < 1e-6, "the artist's own step was undone too"
    yield from undo(2, bpy.ops.ed.redo)
    assert bpy.context.scene.make_real.result.name == "Make Real 0007"
    history = module("history.shelf")
    assert 7 in history.history(bpy.context.scene).entries, "undo takes nothing out of the history"


def edit_mode() -> Story:
    """The picture arrives while the artist edits a mesh; the next undo is the mesh's."""
    scene = bpy.context.scene
    with stage.within(stage.area_of("IMAGE_EDITOR")):
        bpy.context.view_layer.objects.active = bpy.data.objects["Dress"]
        bpy.ops.object.mode_set(mode="EDIT")
    yield from click_make_real(stage.area_of("IMAGE_EDITOR"))
    yield from stage.until(is_denoising, "progress", PATIENCE_S)
    yield from picture_arrives(8)
    assert bpy.context.object.mode == "EDIT"
    yield from undo(1)
    with stage.within(stage.area_of("IMAGE_EDITOR")):
        if bpy.context.object.mode == "EDIT":
            bpy.ops.object.mode_set(mode="OBJECT")
    yield 0.3
    assert len(bpy.data.objects["Dress"].data.vertices) > 100
    assert 8 in module("history.shelf").history(scene).entries


def transform() -> Story:
    """The picture arrives while the artist moves something: it waits for Esc, and undo and redo know nothing of where
    the thing was meanwhile."""
    scene, thing = bpy.context.scene, bpy.data.objects["Dress"]
    with stage.within(stage.area_of("IMAGE_EDITOR")):
        bpy.ops.object.select_all(action="DESELECT")
    thing.select_set(True)
    bpy.context.view_layer.objects.active = thing
    area = stage.area_of("PROPERTIES")
    area.type = "VIEW_3D"
    yield 0.5
    place = thing.location.copy()
    yield from click_make_real(stage.area_of("IMAGE_EDITOR"))
    yield from stage.until(is_denoising, "progress", PATIENCE_S)
    yield from stage.rest_at(area.x + area.width // 2, area.y + area.height // 2)
    stage.press_key("g")
    yield from stage.until(lambda: stage.window().modal_operators, "the hold on the dress", 10.0)
    yield from stage.rest_at(area.x + area.width // 4, area.y + area.height // 4)
    yield from stage.until(lambda: session().job.held_by == "Move", "the finished picture", PATIENCE_S)
    yield from stage.rest_at(area.x + area.width // 3, area.y + area.height // 3)
    assert (thing.location - place).length > 0.01, "nothing is moved"
    assert scene.make_real.result.name == "Make Real 0008", "the picture was shown in the middle of it"
    assert results_folder().joinpath("0009_display.png").exists(), "it is not safe on the disk"
    stage.press_key("Escape")
    yield from picture_arrives(9)
    # The second step is the compositor's.
    for steps, operator in ((2, bpy.ops.ed.undo), (1, bpy.ops.ed.redo), (1, bpy.ops.ed.redo)):
        yield from undo(steps, operator)
        where = bpy.data.objects["Dress"].location
        assert (where - place).length < 1e-6, f"{operator} moves the dress to {where}"
    assert bpy.context.scene.make_real.result.name == "Make Real 0009"
    area.type = "PROPERTIES"
    yield 0.3


def playback() -> Story:
    """The picture is shown while the animation plays, and it plays on."""
    # The cloth alone would take seconds a frame.
    heavy = [thing for thing in bpy.context.scene.objects if thing.modifiers]
    for thing in heavy:
        thing.hide_viewport = True
    yield from click_make_real(stage.area_of("IMAGE_EDITOR"))
    with stage.within(stage.area_of("IMAGE_EDITOR")):
        bpy.ops.screen.animation_play()
    # Each frame leaves time for one tick, so the compositor's file is not waited for: software draws slowly.
    images = bpy.data.images
    yield from stage.until(lambda: "Make Real 0010" in images, "the picture", 3 * PATIENCE_S)
    assert stage.window().screen.is_animation_playing
    with stage.within(stage.area_of("IMAGE_EDITOR")):
        bpy.ops.screen.animation_cancel(restore_frame=True)
    yield from picture_arrives(10)
    for thing in heavy:
        thing.hide_viewport = False


def another_render() -> Story:
    """The picture arrives while the next render runs, and the render goes on."""
    yield from click_make_real(stage.area_of("IMAGE_EDITOR"))
    yield from stage.until(is_denoising, "progress", PATIENCE_S)
    yield from endless_render()
    yield from picture_arrives(11)
    yield from end_of_render()


def locked_render() -> Story:
    """The same with Lock Interface: Blender asks timers to change nothing, so the picture waits for the render."""
    bpy.context.scene.render.use_lock_interface = True
    yield from click_make_real(stage.area_of("IMAGE_EDITOR"))
    yield from stage.until(is_denoising, "progress", PATIENCE_S)
    yield from endless_render()
    yield from stage.until(lambda: session().job.held_by, "the finished picture", PATIENCE_S)
    yield 0.5
    assert session().job.held_by == "Blender's render", session().job.held_by
    assert bpy.context.scene.make_real.result.name == "Make Real 0011"
    yield from end_of_render()
    yield from picture_arrives(12)
    bpy.context.scene.render.use_lock_interface = False
    yield from first_minutes.render()


def endless_render() -> Story:
    """Start a render that has no end of its own."""
    bpy.context.scene.cycles.samples = ENDLESS_SAMPLES
    with stage.within(stage.area_of("IMAGE_EDITOR")):
        bpy.ops.render.render("INVOKE_DEFAULT")
    yield from stage.until(lambda: bpy.app.is_job_running("RENDER"), "the render", 20.0)


def end_of_render() -> Story:
    """Press Esc over the render."""
    assert bpy.app.is_job_running("RENDER"), "the render has ended by itself"
    area = stage.area_of("IMAGE_EDITOR")
    yield from stage.rest_at(area.x + area.width // 3, area.y + area.height // 2)
    stage.press_key("Escape")
    yield from stage.until(lambda: not bpy.app.is_job_running("RENDER"), "the render's end", 60.0)
    bpy.context.scene.cycles.samples = SAMPLES
    yield 1.0


def results_folder() -> Path:
    """Where the scene's results are."""
    return Path(bpy.data.filepath).parent / "make_real" / "Scene"


def another_file() -> Story:
    """Another file is opened while the render is read, and while the backend works: the files are written, the other
    file stays as it was, and the first one's history has them when it is opened again."""
    first = Path(bpy.data.filepath)
    bpy.ops.wm.save_mainfile()
    second = Path(tempfile.mkdtemp()) / "other.blend"
    bpy.ops.wm.save_as_mainfile(filepath=str(second), copy=True)
    results = results_folder()
    yield from choose("steady")
    for number, waits in ((13, False), (14, True)):
        yield from open_file(first)
        yield from first_minutes.render()
        yield from click_make_real(stage.area_of("IMAGE_EDITOR"))
        if waits:
            yield from stage.until(is_denoising, "progress", PATIENCE_S)
        yield from open_file(second)
        shown = bpy.context.scene.make_real.result.name
        yield from stage.until(lambda: session().job is None, "the picture", PATIENCE_S)
        assert session().problem is None, session().problem
        assert (results / f"{number:04}_display.png").exists(), "nothing is lost"
        assert bpy.context.scene.make_real.result.name == shown, "the other file stays as it was"
    yield from open_file(first)
    yield 1.0
    assert {13, 14} <= module("history.shelf").history(bpy.context.scene).entries.keys()


def open_file(path: Path) -> Story:
    """Open a file with the artist's own window layout kept."""
    bpy.ops.wm.open_mainfile(filepath=str(path), load_ui=False)
    yield 1.0
    yield from stage.show_sidebar(stage.area_of("IMAGE_EDITOR"), "Make Real")


def two_blenders() -> Story:
    """Two Blenders with one file and one backend: each gets its picture, under a number of its own."""
    results = results_folder()
    other = other_blender("steady")
    yield from first_minutes.render()
    number = first = 14
    while other.poll() is None or number == first:
        number += 1
        yield from click_make_real(stage.area_of("IMAGE_EDITOR"))
        yield from stage.until(lambda: session().job is None, "the picture", PATIENCE_S)
        assert session().problem is None, session().problem
    told = end_of(other)
    assert "session: None None" in told, told
    numbers = [path.name[:4] for path in results.glob("*_recipe.json")]
    assert len(numbers) == len(set(numbers)) == number + 1, numbers


def other_blender_quits() -> Story:
    """A Blender that quits in the middle of a job ends at once, without a word, and takes its backend with it."""
    yield from choose("steady")
    runtime = Path(tempfile.mkdtemp())
    other = other_blender("slow", MAKE_REAL_RUNTIME_DIR=str(runtime))
    yield from stage.until(lambda: other.poll() is not None, "the other Blender's end", OTHER_BLENDER_S)
    told = end_of(other)
    assert "session: busy None" in told, told
    gone = time.monotonic() + 20.0
    while list(runtime.glob("connection.json")):
        assert time.monotonic() < gone, "the backend outlives its Blender"
        yield 0.1


def other_blender(script: str, **environment: str) -> subprocess.Popen[str]:
    """Another Blender window of the same artist with the same file, which renders, clicks and quits."""
    code = OTHER_BLENDER.format(script=script)
    command = [bpy.app.binary_path, "-p", str(stage.window().width), "0", "700", "500", bpy.data.filepath]
    return subprocess.Popen(
        [*command, "--python-expr", code],
        env={**os.environ, **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def end_of(other: subprocess.Popen[str]) -> str:
    """What another Blender has printed, once it ended as it should."""
    told, _ = other.communicate(timeout=OTHER_BLENDER_S)
    assert other.returncode == 0, told
    assert "Traceback" not in told, told
    return told


if __name__ == "__main__":
    os.environ["MAKE_REAL_SCRIPT_DIR"] = tempfile.mkdtemp()
    stage.play(story)
