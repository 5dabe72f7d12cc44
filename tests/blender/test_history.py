# SPDX-License-Identifier: GPL-3.0-or-later
"""A scene's history through everything that happens to a blend file, with a backend that inverts pictures."""

from __future__ import annotations

import dataclasses
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import bpy
import numpy as np
import pytest
from conftest import MODULE, drained
from test_garment import LEFT, pick
from test_translate import TIMEOUT_S, files, pump_until, refused, translate_and_wait

CRASH = """
import os, bpy, addon_utils
addon_utils.enable({module!r}, default_set=True)
bpy.ops.wm.open_mainfile(filepath={blend!r})
bpy.ops.render.render()
bpy.ops.make_real.translate(wait=True)
bpy.context.scene.make_real.garment_strength = 0.7
bpy.ops.make_real.translate()
from {module}.session import pump
while pump.session().job.stage != "storing":
    pump.conductor().tick(0.0)
pump.conductor().tick(0.0)
os._exit(9)
"""


def shelf_numbers(addon: Callable, scene: bpy.types.Scene) -> list[int]:
    """What the panel lists, the newest first."""
    listed = addon("history.shelf").of_scene(scene)
    return [item.number for item in listed.entries] if listed else []


def history(addon: Callable, scene: bpy.types.Scene):
    """What stands on the disk."""
    return addon("history.index").read(addon("history.places").folder(scene))


@pytest.fixture
def saved(garment_scene: bpy.types.Scene, tmp_path: Path) -> bpy.types.Scene:
    bpy.ops.wm.save_as_mainfile(filepath=str(tmp_path / "shoot" / "shoot.blend"), check_existing=False)
    return garment_scene


@pytest.fixture(autouse=True)
def shoot_folder(tmp_path: Path) -> None:
    (tmp_path / "shoot").mkdir()


def test_an_entry_tells_everything(addon: Callable, saved: bpy.types.Scene, backend: Callable) -> None:
    backend("invert")
    pick(saved, bpy.data.objects[LEFT])
    saved.make_real.garment_strength = 0.4
    translate_and_wait(addon)
    entry = history(addon, saved).entries[1]
    assert entry.request == addon("properties").request(saved.make_real).to_map()
    assert (entry.scene, entry.frame, entry.blend_file) == ("Scene", 1, "shoot.blend")
    assert entry.report == {"ssim_garment": 1.0}
    left, top, right, bottom = entry.garment_box
    assert 0 <= left < right <= 40, "the left cube"
    assert 0 < top < bottom < 48
    assert entry.seconds == 0.5
    assert shelf_numbers(addon, saved) == [1]
    # The render that it was made from is kept bit for bit.
    planes = addon("history.kept_renders").load(addon("history.places").folder(saved), entry.render)
    collected = drained(addon("tickets").collect(saved)).planes
    assert planes.keys() == collected.keys() == {"image", "garment"}
    assert all(np.array_equal(planes[name], collected[name]) for name in planes)


def test_renders_are_kept_once(addon: Callable, saved: bpy.types.Scene, backend: Callable) -> None:
    backend("invert")
    translate_and_wait(addon)
    translate_and_wait(addon)
    folder = addon("history.places").folder(saved)
    assert len(files(folder / "renders")) == 1
    bpy.data.objects[LEFT].location.x -= 0.1
    bpy.ops.render.render()
    translate_and_wait(addon)
    assert len(files(folder / "renders")) == 2


def test_save_and_load(addon: Callable, saved: bpy.types.Scene, backend: Callable, tmp_path: Path) -> None:
    backend("invert")
    translate_and_wait(addon)
    bpy.ops.make_real.history_rate(rating=4)
    listed = addon("history.shelf").of_scene(saved)
    listed.entries[0].notes = "der Saum"
    bpy.ops.wm.save_mainfile()
    # The whole project is moved to another place.
    (tmp_path / "shoot").rename(tmp_path / "archive")
    bpy.ops.wm.open_mainfile(filepath=str(tmp_path / "archive" / "shoot.blend"))
    scene = bpy.context.scene
    assert shelf_numbers(addon, scene) == [1]
    entry = addon("history.shelf").active(scene)
    assert (entry.rating, entry.notes) == (4, "der Saum")
    assert addon("history.shelf").of_scene(scene).entries[0].rating == 4
    assert addon("history.shelf").files_of(scene, 1).thumbnail.is_relative_to(tmp_path / "archive")


def test_first_save_brings_everything_beside_the_file(
    addon: Callable, garment_scene: bpy.types.Scene, backend: Callable, tmp_path: Path
) -> None:
    backend("invert")
    translate_and_wait(addon)
    old = addon("history.places").folder(garment_scene)
    assert old.is_relative_to(bpy.utils.extension_path_user(MODULE))
    in_the_way = tmp_path / "shoot" / "make_real" / "Scene"
    in_the_way.mkdir(parents=True)
    (in_the_way / "0001_display.png").write_text("another file's")
    bpy.ops.ed.undo_push(message="before saving")
    bpy.ops.wm.save_as_mainfile(filepath=str(tmp_path / "shoot" / "shoot.blend"))
    new = tmp_path / "shoot" / "make_real" / "Scene_2"
    assert addon("history.places").folder(garment_scene) == new
    assert (in_the_way / "0001_display.png").read_text() == "another file's"
    assert files(old) == ["moved_to.txt"]
    assert Path(bpy.path.abspath(garment_scene.make_real.result.filepath)) == new / "0001_display.png"
    translate_and_wait(addon)
    assert list(history(addon, garment_scene).entries) == [1, 2]
    bpy.ops.wm.save_mainfile()
    bpy.ops.wm.open_mainfile(filepath=str(tmp_path / "shoot" / "shoot.blend"))
    scene = bpy.context.scene
    assert scene.make_real_history.folder == "//make_real/Scene_2"
    assert shelf_numbers(addon, scene) == [2, 1]
    assert scene.make_real.result.filepath.startswith("//make_real")
    # A copy of the file from before, an autosave say, still points to the old place.
    scene.make_real_history.folder = scene.make_real_history.known_folder = str(old)
    assert addon("history.places").folder(scene) == new


def test_saved_while_the_job_runs(
    addon: Callable, garment_scene: bpy.types.Scene, backend: Callable, tmp_path: Path
) -> None:
    backend("invert")
    translate_and_wait(addon)
    bpy.ops.make_real.translate()
    pump_until(addon, lambda session: session.job.step >= 1)
    bpy.ops.wm.save_as_mainfile(filepath=str(tmp_path / "shoot" / "shoot.blend"))
    session = addon("session.pump").run_until_idle(TIMEOUT_S)
    assert session.problem is None
    assert list(history(addon, garment_scene).entries) == [1, 2]
    assert addon("history.places").folder(garment_scene) == tmp_path / "shoot" / "make_real" / "Scene"


def test_save_a_copy_and_save_under_another_name(
    addon: Callable, saved: bpy.types.Scene, backend: Callable, tmp_path: Path
) -> None:
    backend("invert")
    translate_and_wait(addon)
    place = tmp_path / "shoot" / "make_real" / "Scene"
    copies = tmp_path / "copies"
    copies.mkdir()
    bpy.ops.wm.save_as_mainfile(filepath=str(copies / "copy.blend"), copy=True)
    assert saved.make_real_history.folder == "//make_real/Scene"
    bpy.ops.wm.save_as_mainfile(filepath=str(copies / "second.blend"))
    for name in ("copy.blend", "second.blend"):
        bpy.ops.wm.open_mainfile(filepath=str(copies / name))
        assert addon("history.places").folder(bpy.context.scene) == place
        assert shelf_numbers(addon, bpy.context.scene) == [1]


def test_append_to_a_file_with_its_own_history(
    addon: Callable, saved: bpy.types.Scene, backend: Callable, tmp_path: Path
) -> None:
    backend("invert")
    translate_and_wait(addon)
    translate_and_wait(addon)
    bpy.ops.wm.save_mainfile()
    bpy.ops.wm.save_as_mainfile(filepath=str(tmp_path / "other.blend"))
    bpy.ops.make_real.history_begin()
    assert shelf_numbers(addon, bpy.context.scene) == []
    translate_and_wait(addon)
    assert addon("history.places").folder(bpy.context.scene) == tmp_path / "make_real" / "Scene"
    source = str(tmp_path / "shoot" / "shoot.blend")
    bpy.ops.wm.append(filepath=f"{source}/Scene/Scene", directory=f"{source}/Scene/", filename="Scene")
    appended = bpy.data.scenes["Scene.001"]
    addon("history.shelf").refresh_all()
    assert shelf_numbers(addon, appended) == [2, 1]
    assert shelf_numbers(addon, bpy.data.scenes["Scene"]) == [1]


def test_begin_a_new_history_where_the_old_one_is(
    addon: Callable, saved: bpy.types.Scene, backend: Callable, tmp_path: Path
) -> None:
    backend("invert")
    translate_and_wait(addon)
    bpy.ops.make_real.history_begin()
    assert shelf_numbers(addon, saved) == []
    translate_and_wait(addon)
    assert shelf_numbers(addon, saved) == [1]
    places = addon("history.places")
    assert places.folder(saved) == tmp_path / "shoot" / "make_real" / "Scene_2"
    assert list(addon("history.index").read(tmp_path / "shoot" / "make_real" / "Scene").entries) == [1]
    bpy.ops.wm.save_mainfile()
    bpy.ops.wm.open_mainfile(filepath=str(tmp_path / "shoot" / "shoot.blend"))
    assert places.folder(bpy.context.scene).name == "Scene_2"


def test_a_number_is_never_given_again(addon: Callable, saved: bpy.types.Scene, backend: Callable) -> None:
    """What shows a result keeps it by its files' name."""
    backend("invert")
    translate_and_wait(addon)
    translate_and_wait(addon)
    bpy.ops.make_real.history_remove(number=2, delete_files=True)
    translate_and_wait(addon)
    assert shelf_numbers(addon, saved) == [3, 1]


def test_a_result_is_of_the_frame_that_was_rendered(
    addon: Callable, saved: bpy.types.Scene, backend: Callable
) -> None:
    backend("invert")
    saved.frame_set(10)
    bpy.ops.render.render()
    saved.frame_set(20)
    translate_and_wait(addon)
    assert history(addon, saved).entries[1].frame == 10
    folder = addon("history.places").folder(saved)
    assert files(folder / "compositor") == ["linear_0010.exr"]


def test_the_last_frame_of_an_animation_is_not_taken_for_the_current_one(
    addon: Callable, saved: bpy.types.Scene, backend: Callable, tmp_path: Path
) -> None:
    backend("invert")
    saved.frame_set(1)
    bpy.ops.render.render()
    translate_and_wait(addon)
    cube = bpy.data.objects[LEFT]
    for frame, place in ((1, -0.6), (3, 0.0)):
        cube.location.x = place
        cube.keyframe_insert("location", frame=frame)
    saved.frame_start, saved.frame_end = 1, 3
    saved.render.filepath = str(tmp_path / "frames" / "")
    saved.frame_set(1)
    bpy.ops.render.render(animation=True)
    addon("history.freshness").compare_renders()
    content = history(addon, saved)
    assert not content.is_out_of_date(content.entries[1])
    translate_and_wait(addon)
    assert history(addon, saved).entries[2].frame == 3


def test_a_scene_that_was_renamed_still_notices_its_renders(
    addon: Callable, saved: bpy.types.Scene, backend: Callable
) -> None:
    backend("invert")
    translate_and_wait(addon)
    saved.name = "Autumn"
    bpy.data.objects[LEFT].location.x -= 0.2
    bpy.ops.render.render()
    addon("history.freshness").compare_renders()
    content = history(addon, saved)
    assert content.is_out_of_date(content.entries[1])


def test_every_name_that_a_scene_had_notices_its_renders(
    addon: Callable, saved: bpy.types.Scene, backend: Callable
) -> None:
    backend("invert")
    translate_and_wait(addon)
    saved.name = "Autumn"
    # Blender 4 knows a render by its scene's name.
    bpy.ops.render.render()
    translate_and_wait(addon)
    content = history(addon, saved)
    assert [entry.scene for entry in content.entries.values()] == ["Scene", "Autumn"]
    bpy.data.objects[LEFT].location.x -= 0.2
    bpy.ops.render.render()
    addon("history.freshness").compare_renders()
    content = history(addon, saved)
    assert all(content.is_out_of_date(entry) for entry in content.entries.values())


def test_undo(addon: Callable, saved: bpy.types.Scene, backend: Callable) -> None:
    backend("invert")
    bpy.ops.ed.undo_push(message="before")
    saved.make_real.steps = 30
    bpy.ops.ed.undo_push(message="steps")
    translate_and_wait(addon)
    bpy.ops.make_real.history_rate(rating=2)
    bpy.ops.ed.undo_push(message="after")
    # The result's way into the compositor may be a step of its own.
    while bpy.context.scene.make_real.steps == 30:
        bpy.ops.ed.undo()
    scene = bpy.context.scene
    assert scene.make_real.steps == scene.make_real.bl_rna.properties["steps"].default
    assert shelf_numbers(addon, scene) == [1]
    assert addon("history.shelf").entry(scene, 1).rating == 2
    translate_and_wait(addon)
    assert list(history(addon, scene).entries) == [1, 2]


def test_crash_of_blender(addon: Callable, saved: bpy.types.Scene, backend: Callable, tmp_path: Path) -> None:
    backend("invert")
    bpy.ops.wm.save_mainfile()
    blend = str(tmp_path / "shoot" / "shoot.blend")
    script = CRASH.format(module=MODULE, blend=blend)
    environment = {**os.environ, "PYTHONPATH": ""}
    crashed = subprocess.run(
        [sys.executable, "-c", script], env=environment, capture_output=True, text=True, timeout=120
    )
    assert crashed.returncode == 9, crashed.stdout + crashed.stderr
    bpy.ops.wm.open_mainfile(filepath=blend)
    scene = bpy.context.scene
    assert scene.make_real_history.history, "found although the file was never saved with it"
    assert shelf_numbers(addon, scene) == [1]
    bpy.ops.render.render()
    translate_and_wait(addon)
    entries = history(addon, scene).entries
    assert list(entries) in ([1, 2], [1, 3]), "what the crash left half done is not overwritten"
    assert addon("history.shelf").of_scene(scene).problem == ""


def test_out_of_date(addon: Callable, saved: bpy.types.Scene, backend: Callable) -> None:
    backend("invert")
    translate_and_wait(addon)

    def is_out_of_date() -> bool:
        bpy.ops.make_real.history_refresh()
        content = addon("history.shelf").history(saved)
        return content.is_out_of_date(content.entries[1])

    bpy.ops.render.render()
    assert not is_out_of_date(), "the same picture again"
    saved.frame_set(2)
    bpy.data.objects[LEFT].location.x -= 0.1
    bpy.ops.render.render()
    assert not is_out_of_date(), "another frame"
    saved.frame_set(1)
    bpy.ops.render.render()
    assert is_out_of_date()
    bpy.data.objects[LEFT].location.x += 0.1
    bpy.ops.render.render()
    assert not is_out_of_date(), "as it was"


def test_use_settings(addon: Callable, saved: bpy.types.Scene, backend: Callable) -> None:
    backend("invert")
    settings = saved.make_real
    settings.garment_strength, settings.steps = 0.35, 20
    wanted = addon("properties").request(settings)
    translate_and_wait(addon)
    settings.garment_strength, settings.steps, settings.detail = 0.9, 60, 0.2
    assert bpy.ops.make_real.history_use_settings(number=1) == {"FINISHED"}
    assert addon("properties").request(settings) == wanted
    protocol = addon("protocol")
    with pytest.raises(protocol.MakeRealError, match="later release"):
        addon("properties").request_of({"steps": 3, "invented_later": 1})


def test_reproduce(addon: Callable, saved: bpy.types.Scene, backend: Callable) -> None:
    backend("invert")
    pick(saved, bpy.data.objects[LEFT])
    translate_and_wait(addon)
    saved.make_real.steps = 20
    bpy.data.objects[LEFT].location.x -= 0.2
    bpy.ops.render.render()
    translate_and_wait(addon)
    assert bpy.ops.make_real.history_reproduce(number=1) == {"FINISHED"}
    addon("session.pump").run_until_idle(TIMEOUT_S)
    content = history(addon, saved)
    first, again = content.entries[1], content.entries[3]
    assert (again.reproduces, again.identical) == (1, True)
    assert (again.picture, again.render, again.request) == (first.picture, first.render, first.request)
    assert content.is_out_of_date(again), "it shows the old render"
    assert not content.is_out_of_date(content.entries[2])
    paths = [addon("history.shelf").files_of(saved, number) for number in (1, 3)]
    read = addon("picture.render_passes").read_pixels
    assert np.array_equal(*(read(path.display, "Non-Color") for path in paths))


def test_reproduce_from_a_render_that_was_changed(
    addon: Callable, saved: bpy.types.Scene, backend: Callable
) -> None:
    backend("invert")
    translate_and_wait(addon)
    folder = addon("history.places").folder(saved)
    entry = history(addon, saved).entries[1]
    kept = addon("history.kept_renders").path_of(folder, entry.render)
    pixels = np.zeros((48, 64, 3), np.uint16)
    kept.write_bytes(b"".join(addon("picture.png").encode(pixels, {})))
    assert "was changed since it was kept" in refused(bpy.ops.make_real.history_reproduce)
    kept.unlink()
    assert kept.name in refused(bpy.ops.make_real.history_reproduce)


def test_remove(addon: Callable, saved: bpy.types.Scene, backend: Callable) -> None:
    backend("invert")
    translate_and_wait(addon)
    translate_and_wait(addon)
    folder = addon("history.places").folder(saved)
    before = files(folder)
    assert bpy.ops.make_real.history_remove(number=1) == {"FINISHED"}
    assert shelf_numbers(addon, saved) == [2]
    assert files(folder) == before, "nothing on the disk unless asked"
    translate_and_wait(addon)
    bpy.ops.make_real.history_remove(number=2, delete_files=True)
    left = files(folder)
    assert not [name for name in left if name.startswith("0002_")]
    assert "renders" in left
    assert len(files(folder / "renders")) == 1, "the third result needs it"
    bpy.ops.make_real.history_remove(number=3, delete_files=True)
    assert files(folder / "renders") == []
    assert not bpy.ops.make_real.history_show.poll()


def test_the_list_grows_by_what_is_new(
    addon: Callable, saved: bpy.types.Scene, backend: Callable, monkeypatch: pytest.MonkeyPatch
) -> None:
    backend("invert")
    index, shelf = addon("history.index"), addon("history.shelf")
    translate_and_wait(addon)
    folder = addon("history.places").folder(saved)
    first = history(addon, saved).entries[1]
    numbers = (2, 3, 5, 6)
    index.append(folder, *(dataclasses.replace(first, number=number).made() for number in numbers))
    shelf.refresh(saved)
    assert shelf_numbers(addon, saved) == [6, 5, 3, 2, 1]
    listed = shelf.of_scene(saved)
    listed.active = 2
    described: list[int] = []
    describe = shelf._describe
    monkeypatch.setattr(
        shelf, "_describe", lambda item, made: (described.append(made.number), describe(item, made))
    )
    # Another Blender may finish with an earlier number later.
    index.append(
        folder, dataclasses.replace(first, number=4).made(), index.removed(2), index.noted(1, "best")
    )
    shelf.refresh(saved)
    assert shelf_numbers(addon, saved) == [6, 5, 4, 3, 1]
    assert sorted(described) == [1, 4], "the others were left alone"
    assert listed.entries[listed.active].number == 3, "what was marked stays marked"
    assert [item.name for item in listed.entries if "best" in item.name] == [listed.entries[4].name]
    listed.entries[3].notes = "second best"
    assert "second best" in listed.entries[3].name, "for the list's search"
    (folder / "0006_recipe.json").touch()
    translate_and_wait(addon)
    assert shelf_numbers(addon, saved) == [7, 6, 5, 4, 3, 1]
    assert listed.active == 0


def test_show_an_earlier_result(addon: Callable, saved: bpy.types.Scene, backend: Callable) -> None:
    backend("invert")
    translate_and_wait(addon)
    translate_and_wait(addon)
    count = len(bpy.data.images)
    bpy.ops.make_real.history_show(number=1)
    assert saved.make_real.result.name == "Make Real 0001"
    assert len(bpy.data.images) == count
    addon("history.shelf").files_of(saved, 2).display.unlink()
    assert "0002_display.png" in refused(lambda: bpy.ops.make_real.history_show(number=2))


def test_a_history_that_is_gone_is_said(
    addon: Callable, saved: bpy.types.Scene, backend: Callable, tmp_path: Path
) -> None:
    backend("invert")
    translate_and_wait(addon)
    (tmp_path / "shoot" / "make_real").rename(tmp_path / "elsewhere")
    bpy.ops.make_real.history_refresh()
    assert "make_real/Scene" in addon("history.shelf").of_scene(saved).problem
    (tmp_path / "elsewhere").rename(tmp_path / "shoot" / "make_real")
    bpy.ops.make_real.history_refresh()
    assert addon("history.shelf").of_scene(saved).problem == ""
    (tmp_path / "shoot" / "make_real").rename(tmp_path / "elsewhere")
    translate_and_wait(addon)
    assert shelf_numbers(addon, saved) == [1]
    assert "this is a new one" in addon("history.shelf").of_scene(saved).problem
    translate_and_wait(addon)
    assert shelf_numbers(addon, saved) == [2, 1]
    assert addon("history.shelf").of_scene(saved).problem == ""


def test_a_history_that_cannot_be_written(addon: Callable, saved: bpy.types.Scene, backend: Callable) -> None:
    backend("invert")
    translate_and_wait(addon)
    path = addon("history.places").folder(saved) / "history.jsonl"
    content = path.read_bytes()
    path.unlink()
    path.mkdir()
    assert "history.jsonl" in refused(lambda: bpy.ops.make_real.history_rate(number=1, rating=3))
    addon("history.shelf").of_scene(saved).entries[0].notes = "lost"
    assert "history.jsonl" in addon("history.shelf").of_scene(saved).problem
    session = translate_and_wait(addon)
    assert session.problem.code == "disk_full"
    path.rmdir()
    path.write_bytes(content)
    assert translate_and_wait(addon).problem is None
    assert shelf_numbers(addon, saved) == [2, 1]
