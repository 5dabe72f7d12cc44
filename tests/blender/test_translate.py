# SPDX-License-Identifier: GPL-3.0-or-later
"""From the click to the picture and to every error, over real sockets, with a backend that inverts pictures."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from xml.etree import ElementTree

import bpy
import numpy as np
import pytest
import snapshot
from conftest import drained
from PIL import Image
from test_garment import LEFT, RIGHT, SIZE, image_of, pick

TIMEOUT_S = 60.0
RDF, IPTC = "{http://www.w3.org/1999/02/22-rdf-syntax-ns#}", "{http://iptc.org/std/Iptc4xmpExt/2008-02-29/}"


def translate_and_wait(addon: Callable):
    """Click, then drive the extension as a script under `blender -b` does."""
    assert bpy.ops.make_real.translate() == {"FINISHED"}
    return addon("session.pump").run_until_idle(TIMEOUT_S)


def pump_until(addon: Callable, condition: Callable) -> None:
    deadline = time.monotonic() + TIMEOUT_S
    while not condition(addon("session.pump").session()):
        assert time.monotonic() < deadline, addon("session.pump").session()
        addon("session.pump").pump(0.02)


def files(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def own_changes(path: str) -> bool:
    """What Make Real is meant to change: its own settings' result, images and the compositor."""
    images = ("/images/Make Real 0001", "/images/linear_0001.exr", "/images/mask_0001.png")
    trees = ("/node_groups/Make Real", "/scenes/Scene/node_tree", "/scenes/Scene/compositing_node_group")
    return path.startswith((*images, *trees, "/scenes/Scene/make_real", "/scenes/Scene/use_nodes"))


def test_click_to_picture(
    addon: Callable, garment_scene: bpy.types.Scene, backend: Callable, tmp_path: Path
) -> None:
    folder = backend("invert")
    bpy.ops.wm.save_as_mainfile(filepath=str(tmp_path / "shoot.blend"))
    pick(garment_scene, bpy.data.objects[LEFT])
    before = snapshot.of_file()
    render = addon("picture.render_passes").display_picture(garment_scene)

    session = translate_and_wait(addon)

    assert session.problem is None
    assert session.phase == "ready"
    results = tmp_path / "make_real" / "Scene"
    assert files(results) == [
        "0001_display.png",
        "0001_linear.exr",
        "0001_mask.png",
        "0001_recipe.json",
        "0001_thumbnail.png",
        "compositor",
        "history.jsonl",
        "renders",
    ]
    # The artist's picture is the backend's, bit for bit, and Blender shows it as it is.
    image = garment_scene.make_real.result
    assert image.name == "Make Real 0001"
    assert image.colorspace_settings.name == "sRGB"
    assert not image.use_view_as_render
    assert image.filepath.startswith("//make_real"), "the project's folder can be moved"
    path = Path(bpy.path.abspath(image.filepath))
    shown = addon("picture.render_passes").read_pixels(path, "Non-Color")[..., :3]
    assert np.array_equal(np.rint(shown * 65535).astype(np.uint16), 65535 - render)
    recipe = json.loads((results / "0001_recipe.json").read_text())
    assert recipe["recipe"] == {"made_by": "script"}
    assert recipe["blender"]["view"]["view_transform"] == "AgX"
    assert recipe["blender"]["scene"] == "Scene"
    # In the compositor it becomes the same picture again.
    linear = addon("picture.exr").read(results / "0001_linear.exr")
    assert {name: array.shape for name, array in linear.items()} == dict.fromkeys("RGB", (48, 64))
    texts = (results / "0001_linear.exr").read_bytes()[:8192]
    assert b"colorInteropID\0string\0\x10\0\0\0lin_rec709_scene" in texts
    assert (results / "0001_recipe.json").read_bytes() in texts, "the recipe is in every file"
    assert (results / "0001_recipe.json").read_bytes() in (results / "0001_display.png").read_bytes()
    with Image.open(results / "0001_display.png") as picture:
        (described,) = ElementTree.fromstring(picture.info["XML:com.adobe.xmp"]).iter(f"{RDF}Description")
    assert described.get(f"{IPTC}DigitalSourceType").endswith("/compositeWithTrainedAlgorithmicMedia")
    assert addon("compositor").is_inserted(garment_scene)
    mask = addon("picture.render_passes").read_pixels(results / "0001_mask.png", "Non-Color")[..., 0]
    assert 0.03 < mask.mean() < 0.5
    # Nothing else is different.
    changed = snapshot.difference(before, snapshot.of_file())
    assert [path for path in changed if not own_changes(path)] == []
    assert list(folder.glob("acknowledged_*"))
    assert "--parent-pid" in (folder / "starts.txt").read_text()


def test_image_editors_show_the_result_but_not_over_a_reference(
    addon: Callable, garment_scene: bpy.types.Scene, backend: Callable
) -> None:
    backend("invert")
    first, second = bpy.context.window_manager.windows[0].screen.areas[:2]
    reference = bpy.data.images.new("reference", 4, 4)
    for area, image in ((first, bpy.data.images["Render Result"]), (second, reference)):
        area.type = "IMAGE_EDITOR"
        area.spaces.active.image = image
    translate_and_wait(addon)
    assert first.spaces.active.image == garment_scene.make_real.result
    assert second.spaces.active.image == reference
    translate_and_wait(addon)
    assert first.spaces.active.image == garment_scene.make_real.result


def test_second_picture_overwrites_nothing(
    addon: Callable, garment_scene: bpy.types.Scene, backend: Callable, tmp_path: Path
) -> None:
    folder = backend("invert")
    bpy.ops.wm.save_as_mainfile(filepath=str(tmp_path / "shoot.blend"))
    results = tmp_path / "make_real" / "Scene"
    results.mkdir(parents=True)
    (results / "0007_display.png").write_text("the artist's own")
    translate_and_wait(addon)
    translate_and_wait(addon)
    assert (results / "0007_display.png").read_text() == "the artist's own"
    displays = [name for name in files(results) if name.endswith("display.png")]
    assert displays == ["0007_display.png", "0008_display.png", "0009_display.png"]
    assert not list(results.glob("*_mask.png")), "nothing was picked"
    assert len((folder / "starts.txt").read_text().splitlines()) == 1, "one backend serves both"


def test_unsaved_file_uses_the_extensions_own_folder(
    addon: Callable, garment_scene: bpy.types.Scene, backend: Callable
) -> None:
    backend("invert")
    translate_and_wait(addon)
    path = Path(garment_scene.make_real.result.filepath)
    assert path.is_relative_to(bpy.utils.extension_path_user(addon("").__name__))
    assert path.exists()


def test_wait_option(addon: Callable, garment_scene: bpy.types.Scene, backend: Callable) -> None:
    backend("invert")
    assert bpy.ops.make_real.translate(wait=True, timeout=TIMEOUT_S) == {"FINISHED"}
    assert garment_scene.make_real.result is not None


def test_transparent_film_keeps_its_alpha(
    addon: Callable, garment_scene: bpy.types.Scene, backend: Callable
) -> None:
    backend("invert")
    garment_scene.render.film_transparent = True
    bpy.ops.render.render()
    render = addon("picture.render_passes").display_picture(garment_scene)
    translate_and_wait(addon)
    path = Path(garment_scene.make_real.result.filepath)
    shown = np.rint(addon("picture.render_passes").read_pixels(path, "Non-Color") * 65535).astype(np.uint16)
    assert np.array_equal(shown[..., 3], render[..., 3])
    assert set(np.unique(render[..., 3])) >= {0, 65535}
    assert addon("picture.exr").read(
        path.with_name(path.name.replace("display.png", "linear.exr"))
    ).keys() == set("RGBA")


def test_a_view_without_an_inverse_keeps_the_picture_and_says_why_there_is_no_node(
    addon: Callable, garment_scene: bpy.types.Scene, backend: Callable
) -> None:
    backend("invert")
    garment_scene.view_settings.view_transform = "False Color"
    session = translate_and_wait(addon)
    assert session.problem.code == "unsupported_view"
    assert "look" in session.problem.detail
    assert garment_scene.make_real.result is not None
    assert not addon("compositor").is_inserted(garment_scene)


@pytest.mark.parametrize("look", ["None", "AgX - Punchy"])
def test_the_compositor_shows_the_result_under_the_artists_view(
    addon: Callable, garment_scene: bpy.types.Scene, backend: Callable, look: str
) -> None:
    """Rendered again, with the result between the render and the output, Blender shows what was in the result."""
    backend("darken")
    if bpy.app.version >= (5, 2, 0):
        garment_scene.render.compositor_device = "CPU"
    garment_scene.view_settings.look = look
    garment_scene.view_settings.exposure = 0.7
    display_picture = addon("picture.render_passes").display_picture
    render = display_picture(garment_scene)
    translate_and_wait(addon)
    assert addon("compositor").is_inserted(garment_scene)
    bpy.ops.render.render()
    composited = display_picture(garment_scene)
    path = Path(bpy.path.abspath(garment_scene.make_real.result.filepath))
    result = addon("picture.render_passes").read_pixels(path, "Non-Color")[..., :3]
    assert np.abs(composited / 65535.0 - result).mean() < 0.002
    assert np.abs(render / 65535.0 - result).mean() > 0.02
    # A second click starts from the render again, not from the first result.
    again = drained(addon("tickets").collect(garment_scene)).planes["image"]
    assert np.array_equal(again, render)


def test_a_new_render_is_not_covered_by_the_result_of_the_old_one(
    addon: Callable, garment_scene: bpy.types.Scene, backend: Callable
) -> None:
    backend("darken")
    if bpy.app.version >= (5, 2, 0):
        garment_scene.render.compositor_device = "CPU"
    display_picture = addon("picture.render_passes").display_picture
    translate_and_wait(addon)
    bpy.ops.render.render()
    addon("history.freshness").compare_renders()
    result = display_picture(garment_scene)
    bpy.ops.render.render()
    assert np.array_equal(display_picture(garment_scene), result), "the same render keeps its result"
    garment_scene.camera.location.z = 2.5
    bpy.ops.render.render()
    addon("history.freshness").compare_renders()
    bpy.ops.render.render()
    shown = display_picture(garment_scene)
    addon("compositor").mix_socket(garment_scene).default_value = 0.0
    bpy.ops.render.render()
    assert np.array_equal(shown, display_picture(garment_scene))


def test_another_file_was_opened_meanwhile(
    addon: Callable, garment_scene: bpy.types.Scene, backend: Callable, tmp_path: Path
) -> None:
    backend("invert")
    bpy.ops.wm.save_as_mainfile(filepath=str(tmp_path / "shoot.blend"))
    bpy.ops.make_real.translate()
    bpy.ops.wm.read_homefile(use_empty=True)
    assert bpy.context.scene.name == "Scene"
    session = addon("session.pump").run_until_idle(TIMEOUT_S)
    assert session.problem is None
    assert (tmp_path / "make_real" / "Scene" / "0001_display.png").exists()
    assert bpy.context.scene.make_real.result is None
    assert not bpy.data.images


def test_the_file_was_saved_elsewhere_and_the_scene_renamed_meanwhile(
    addon: Callable, garment_scene: bpy.types.Scene, backend: Callable, tmp_path: Path
) -> None:
    backend("invert")
    bpy.ops.make_real.translate()
    bpy.ops.wm.save_as_mainfile(filepath=str(tmp_path / "shoot.blend"))
    garment_scene.name = "Lookbook"
    assert addon("session.pump").run_until_idle(TIMEOUT_S).problem is None
    assert garment_scene.make_real.result is not None


def test_two_scenes(addon: Callable, garment_scene: bpy.types.Scene, backend: Callable) -> None:
    backend("invert")
    other = bpy.data.scenes.new("Other")
    window = bpy.context.window_manager.windows[0]
    window.screen.areas[0].type = "IMAGE_EDITOR"
    editor = window.screen.areas[0].spaces.active
    editor.image = bpy.data.images["Render Result"]
    bpy.ops.make_real.translate()
    window.scene = other
    assert addon("session.pump").run_until_idle(TIMEOUT_S).problem is None
    assert window.scene == other, "the artist went on elsewhere"
    assert editor.image.type == "RENDER_RESULT", "and looks at that scene's render"
    assert garment_scene.make_real.result is not None
    assert other.make_real.result is None
    assert not addon("compositor").is_inserted(other)


def test_the_scene_was_deleted_meanwhile(
    addon: Callable, garment_scene: bpy.types.Scene, backend: Callable
) -> None:
    backend("invert")
    bpy.data.scenes.new("Other")
    bpy.ops.make_real.translate()
    folder = addon("history.places").folder(garment_scene)
    pump_until(addon, lambda session: session.job.step >= 1)
    bpy.data.scenes.remove(garment_scene)
    assert addon("session.pump").run_until_idle(TIMEOUT_S).problem is None
    assert list(folder.glob("*_display.png")), "nothing is lost"


def test_the_result_was_removed_by_the_artist(
    addon: Callable, garment_scene: bpy.types.Scene, backend: Callable
) -> None:
    backend("invert")
    translate_and_wait(addon)
    bpy.data.images.remove(garment_scene.make_real.result)
    assert garment_scene.make_real.result is None
    assert translate_and_wait(addon).problem is None
    assert garment_scene.make_real.result is not None
    Path(bpy.path.abspath(garment_scene.make_real.result.filepath)).unlink()
    assert translate_and_wait(addon).problem is None, "its file is gone too"


def refused(operator: Callable) -> str:
    """What the artist is told."""
    with pytest.raises(RuntimeError) as caught:
        operator()
    text = str(caught.value)
    assert text.startswith("Error: ")
    assert "Traceback" not in text
    return text


@pytest.mark.parametrize("fault", ["no_render", "no_mask_passes", "empty_mask"])
def test_bad_input_is_told_before_a_backend_starts(
    addon: Callable, garment_scene: bpy.types.Scene, backend: Callable, fault: str
) -> None:
    folder = backend("invert")
    if fault == "no_render":
        bpy.ops.wm.read_factory_settings(use_empty=True)
        bpy.ops.preferences.addon_enable(module=addon("").__name__)
        bpy.context.scene.render.image_settings.file_format = "PNG"
    elif fault == "no_mask_passes":
        garment_scene.view_layers[0].use_pass_cryptomatte_object = False
        bpy.ops.render.render()
        pick(garment_scene, bpy.data.objects[LEFT], role="PROTECTED")
    else:
        pick(garment_scene, bpy.data.objects.new("Behind", None))
    before = snapshot.of_file()
    # Without a render there is nothing to read; what it holds is found while it is read.
    is_at_once = fault == "no_render"
    text = refused(bpy.ops.make_real.translate) if is_at_once else translate_and_wait(addon).problem.message
    protocol = addon("protocol")
    explanation = protocol.EXPLANATIONS[protocol.ErrorCode(fault)]
    assert explanation.sentence.removesuffix(".") in text
    assert explanation.remedy in text
    assert addon("session.pump").session().problem.code == fault
    assert snapshot.difference(before, snapshot.of_file()) == []
    assert not (folder / "starts.txt").exists()


def test_what_is_missing_is_said_before_the_job_and_stands_with_its_result(
    addon: Callable, garment_scene: bpy.types.Scene, backend: Callable
) -> None:
    """Without its passes the picture is made all the same, and the whole of it is garment."""
    backend("invert")
    layer = garment_scene.view_layers[0]
    layer.use_pass_cryptomatte_object = layer.use_pass_cryptomatte_material = False
    bpy.ops.render.render()
    pick(garment_scene, bpy.data.objects[LEFT])
    bpy.ops.make_real.translate()
    pump_until(addon, lambda session: session.job.collected)
    session = addon("session.pump").session()
    said = " ".join(addon("session.status_line").status_line(session).problem)
    assert "no Cryptomatte object pass" in said and "the whole picture is taken as garment" in said
    assert addon("session.pump").run_until_idle(TIMEOUT_S).problem is None
    result = garment_scene.make_real.result
    assert "no Cryptomatte object pass" in result[addon("picture.editors").WARNINGS]


def test_every_role_and_strength_travels(
    addon: Callable, garment_scene: bpy.types.Scene, backend: Callable, tmp_path: Path
) -> None:
    """To the backend, and into the history from which the picture can be made again."""
    backend("invert")
    bpy.ops.wm.save_as_mainfile(filepath=str(tmp_path / "shoot.blend"))
    scene = bpy.context.scene
    left, right = bpy.data.objects[LEFT], bpy.data.objects[RIGHT]
    pick(scene, left, strength=0.5)
    pick(scene, right.material_slots[0].material, role="FREE")
    corner = np.zeros(SIZE)
    corner[:8, :8] = 1.0
    pick(scene, image_of(corner), role="PROTECTED")
    assert translate_and_wait(addon).problem is None
    (kept,) = (tmp_path / "make_real" / "Scene" / "renders").iterdir()
    assert files(kept) == [
        "free.png",
        "garment.png",
        "image.png",
        "planes.json",
        "protected.png",
        "strength.png",
    ]
    read = addon("picture.render_passes").read_pixels
    planes = {
        name: read(kept / f"{name}.png", "Non-Color")[..., 0] for name in ("free", "protected", "strength")
    }
    assert planes["free"].max() > 0.99
    assert np.array_equal(planes["protected"], corner.astype(np.float32))
    assert {round(float(value), 2) for value in np.unique(planes["strength"])} >= {0.5, 1.0}
    assert scene.make_real.result[addon("picture.editors").WARNINGS] == ""


def test_backend_not_found(
    addon: Callable, garment_scene: bpy.types.Scene, backend: Callable, monkeypatch: pytest.MonkeyPatch
) -> None:
    backend("invert")
    monkeypatch.setenv("MAKE_REAL_PROGRAM", "/nowhere/make-real")
    before = snapshot.of_file()
    session = translate_and_wait(addon)
    assert "/nowhere/make-real" in session.problem.message
    assert "preferences" in session.problem.message
    assert (session.phase, session.job, session.problem.code) == ("not_installed", None, "backend_not_found")
    assert snapshot.difference(before, snapshot.of_file()) == []


@pytest.mark.parametrize(
    ("script", "code", "word"),
    [
        ("no_start", "model_not_found", "nowhere"),
        ("crash_at_start", "backend_start_failed", "something broke"),
        ("fail", "out_of_memory", "12 GB"),
        ("die", "backend_lost", "signal 9"),
    ],
)
def test_backend_errors(
    addon: Callable, garment_scene: bpy.types.Scene, backend: Callable, script: str, code: str, word: str
) -> None:
    folder = backend(script)
    before = snapshot.of_file()
    session = translate_and_wait(addon)
    assert session.problem.code == code
    assert word in session.problem.message
    assert session.job is None
    assert snapshot.difference(before, snapshot.of_file()) == []
    assert len((folder / "starts.txt").read_text().splitlines()) == (2 if script == "die" else 1)


def test_backend_killed_in_the_middle_is_started_again(
    addon: Callable, garment_scene: bpy.types.Scene, backend: Callable
) -> None:
    folder = backend("die_once")
    session = translate_and_wait(addon)
    assert session.problem is None
    assert garment_scene.make_real.result is not None
    assert len((folder / "starts.txt").read_text().splitlines()) == 2


def test_after_a_failure_the_next_click_works(
    addon: Callable, garment_scene: bpy.types.Scene, backend: Callable
) -> None:
    folder = backend("fail_once")
    garment_scene.make_real.use_compositor = False
    assert translate_and_wait(addon).problem.code == "out_of_memory"
    assert translate_and_wait(addon).problem is None
    assert garment_scene.make_real.result is not None
    assert len((folder / "starts.txt").read_text().splitlines()) == 1, "one backend serves both"


def test_a_click_while_blender_renders(
    addon: Callable, garment_scene: bpy.types.Scene, backend: Callable, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In a window a render is a job beside the artist's clicks (scripts/window/manners.py); here it is played."""
    folder = backend("invert")
    app = SimpleNamespace(is_job_running=lambda kind: kind == "RENDER")
    monkeypatch.setattr(addon("picture.render_state"), "bpy", SimpleNamespace(app=app))
    assert "Blender is rendering it just now" in refused(bpy.ops.make_real.translate)
    assert not (folder / "starts.txt").exists()
    monkeypatch.undo()
    backend("invert")


def test_what_is_left_of_a_cancelled_render_is_taken_and_said(
    addon: Callable, garment_scene: bpy.types.Scene, backend: Callable
) -> None:
    backend("invert")
    garment_scene.make_real.use_compositor = False
    for handler in bpy.app.handlers.render_cancel:
        handler(garment_scene, None)
    assert translate_and_wait(addon).problem is None
    warnings = addon("picture.editors").WARNINGS
    assert "The render was cancelled" in garment_scene.make_real.result[warnings]
    bpy.ops.render.render()
    assert translate_and_wait(addon).problem is None
    assert garment_scene.make_real.result[warnings] == ""


def test_what_is_left_of_a_frame_is_that_frames(addon: Callable, garment_scene: bpy.types.Scene) -> None:
    """Blender says that a frame begins, and for one that is cancelled says no end."""
    garment_scene.frame_set(7)
    for handler in (*bpy.app.handlers.render_pre, *bpy.app.handlers.render_cancel):
        handler(garment_scene, None)
    garment_scene.frame_set(1)
    assert addon("picture.render_state").frame(garment_scene) == 7


def test_cancel_then_the_next_picture(
    addon: Callable, garment_scene: bpy.types.Scene, backend: Callable, monkeypatch: pytest.MonkeyPatch
) -> None:
    backend("slow_once")
    before = snapshot.of_file()
    bpy.ops.make_real.translate()
    pump_until(addon, lambda session: session.job.step >= 3)
    assert not bpy.ops.make_real.translate.poll()
    assert bpy.ops.make_real.cancel() == {"FINISHED"}
    session = addon("session.pump").run_until_idle(TIMEOUT_S)
    assert (session.phase, session.problem) == ("ready", None)
    assert snapshot.difference(before, snapshot.of_file()) == []
    assert translate_and_wait(addon).problem is None
    assert garment_scene.make_real.result is not None


def test_cancel_while_starting(addon: Callable, garment_scene: bpy.types.Scene, backend: Callable) -> None:
    backend("invert")
    bpy.ops.make_real.translate()
    pump_until(addon, lambda session: session.phase == "starting")
    assert bpy.ops.make_real.cancel() == {"FINISHED"}
    session = addon("session.pump").run_until_idle(TIMEOUT_S)
    assert (session.phase, session.problem) == ("ready", None)
    assert garment_scene.make_real.result is None


def test_start_and_stop_by_hand(addon: Callable, scene: bpy.types.Scene, backend: Callable) -> None:
    folder = backend("invert")
    assert bpy.ops.make_real.start_backend() == {"FINISHED"}
    assert addon("session.pump").run_until_idle(TIMEOUT_S).phase == "ready"
    assert addon("session.pump").models() == ("starter",)
    bpy.ops.make_real.stop_backend()
    assert addon("session.pump").session().phase == "stopped"
    pump_until(addon, lambda _: addon("protocol").read_connection() is None)
    assert len((folder / "starts.txt").read_text().splitlines()) == 1


def test_full_disk_shows_nothing_and_leaves_no_part(
    addon: Callable, garment_scene: bpy.types.Scene, backend: Callable, tmp_path: Path
) -> None:
    backend("invert")
    bpy.ops.wm.save_as_mainfile(filepath=str(tmp_path / "shoot.blend"))
    # A file where the folder should be: no system lets anybody write below it.
    (tmp_path / "make_real").write_text("in the way")
    before = snapshot.of_file()
    session = translate_and_wait(addon)
    assert session.problem.code == "disk_full"
    assert "make_real" in session.problem.detail
    assert snapshot.difference(before, snapshot.of_file()) == []


def test_storing_that_is_given_up_leaves_no_file(
    addon: Callable, garment_scene: bpy.types.Scene, tmp_path: Path
) -> None:
    bpy.ops.wm.save_as_mainfile(filepath=str(tmp_path / "shoot.blend"))
    results = addon("picture.results")
    picture = results.Picture(np.zeros((48, 64, 3), np.uint16), {}, {}, {})
    folder = tmp_path / "make_real" / "Scene"
    target = results.destination(garment_scene, folder, None)
    storing = results.store(target, picture, 0, lambda _paths, _picture: iter(()), iter(()))
    for _ in range(3):
        next(storing)
    assert files(folder)
    storing.close()
    assert files(folder) == []


def test_disabling_the_extension_ends_everything(
    addon: Callable, garment_scene: bpy.types.Scene, backend: Callable
) -> None:
    backend("slow")
    bpy.ops.make_real.translate()
    pump_until(addon, lambda session: session.job.step >= 1)
    connection = addon("protocol").read_connection()
    bpy.ops.preferences.addon_disable(module=addon("").__name__)
    deadline = time.monotonic() + 10.0
    while addon("protocol").is_alive(connection.pid):
        assert time.monotonic() < deadline, "the backend outlives the extension"
        time.sleep(0.02)
    bpy.ops.preferences.addon_enable(module=addon("").__name__)
    assert addon("session.pump").session().phase == "stopped"


def solved_views(
    addon: Callable, monkeypatch: pytest.MonkeyPatch, may_end: Callable[[], bool] = lambda: True
) -> list[str]:
    """Grows by where the job is, whenever a view begins to be inverted and is inverted, not before it may."""
    inverse, solved = addon("picture.view_inverse"), []
    solve = inverse._solve_cube

    def watched(response):
        solved.append("begun")
        positions = yield from solve(response)
        while not may_end():
            yield
        solved.append(addon("session.pump").session().job.stage)
        return positions

    monkeypatch.setattr(inverse, "_solve_cube", watched)
    return solved


def test_a_view_is_inverted_while_the_backend_computes(
    addon: Callable, garment_scene: bpy.types.Scene, backend: Callable, monkeypatch: pytest.MonkeyPatch
) -> None:
    garment_scene.view_settings.exposure = 0.07
    solved = solved_views(addon, monkeypatch)
    backend("slow")
    bpy.ops.make_real.translate()
    pump_until(addon, lambda _session: len(solved) == 2)
    assert solved[1] != "storing"


def test_a_view_that_is_being_inverted_when_the_result_arrives_is_inverted_once(
    addon: Callable, garment_scene: bpy.types.Scene, backend: Callable, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Long enough for the view to be begun meanwhile.
    backend("steady")
    garment_scene.view_settings.exposure = 0.08
    assert translate_and_wait(addon).problem is None
    garment_scene.view_settings.exposure = 0.09
    results, shown = addon("picture.results"), []
    solved = solved_views(addon, monkeypatch, may_end=lambda: bool(shown))
    show = results.show
    monkeypatch.setattr(results, "show", lambda *values: (shown.append(len(solved)), show(*values))[1])
    assert translate_and_wait(addon).problem is None
    assert solved == ["begun", "storing"]
    assert shown == [1], "the artist sees the picture before"
    assert addon("compositor").is_inserted(garment_scene)


def test_ticks_are_short(addon: Callable, garment_scene: bpy.types.Scene, backend: Callable) -> None:
    backend("slow")
    bpy.ops.make_real.translate()
    pump_until(addon, lambda session: session.job.step >= 1)
    conductor, durations = addon("session.pump").conductor(), []
    for _ in range(200):
        start = time.thread_time()
        conductor.tick(addon("session.pump").TICK_BUDGET_S)
        durations.append(time.thread_time() - start)
        time.sleep(0.001)
    # Processor time, since the machine that runs the tests has other work too.
    assert np.quantile(durations, 0.9) < addon("session.pump").TICK_BUDGET_S


@pytest.mark.real_backend
@pytest.mark.skipif("MAKE_REAL_PROGRAM" not in os.environ, reason="MAKE_REAL_PROGRAM is not set")
def test_real_backend(
    addon: Callable, garment_scene: bpy.types.Scene, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MAKE_REAL_RUNTIME_DIR", str(tmp_path / "run"))
    monkeypatch.setenv("MAKE_REAL_DATA_DIR", str(tmp_path / "data"))
    pick(garment_scene, bpy.data.objects[LEFT])
    garment_scene.make_real.steps = 8
    render = addon("picture.render_passes").display_picture(garment_scene)
    bpy.ops.make_real.translate()
    session = addon("session.pump").run_until_idle(240.0)
    bpy.ops.make_real.stop_backend()
    assert session.problem is None
    path = Path(garment_scene.make_real.result.filepath)
    shown = np.rint(addon("picture.render_passes").read_pixels(path, "Non-Color")[..., :3] * 65535)
    assert shown.shape == render.shape
    assert 0 < np.abs(shown - render).mean() < 0.25 * 65535, "another picture, but of the same thing"
