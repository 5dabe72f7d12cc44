# SPDX-License-Identifier: GPL-3.0-or-later
"""Good manners: other Blenders, the end of Blender, the artist's disk, and nothing left behind."""

from __future__ import annotations

import os
import resource
import signal
import stat
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import bpy
import pytest
import snapshot
from conftest import MODULE
from test_translate import TIMEOUT_S, files, own_changes, pump_until, translate_and_wait

WARM_UP, CONVERSIONS = 8, 25
OTHER_BLENDER = """
import bpy, addon_utils
addon_utils.enable({module!r}, default_set=True)
bpy.ops.wm.open_mainfile(filepath={blend!r})
bpy.ops.render.render()
{rest}
"""
TRANSLATE = "bpy.ops.make_real.translate(wait=True)"
QUIT_WHILE_IT_WORKS = """
from {module}.session import pump
bpy.ops.make_real.translate()
while pump.session().job.step < 2:
    pump.pump(0.02)
"""
START_AND_WAIT = """
import sys, bpy, addon_utils
addon_utils.enable({module!r}, default_set=True)
from {module}.session import pump
bpy.ops.make_real.start_backend()
print(pump.run_until_idle(60.0).phase, flush=True)
sys.stdin.read()
"""


def other_blender(blend: Path, rest: str) -> subprocess.Popen[str]:
    """Another Blender of the same artist, which opens a file, renders it and goes on."""
    script = OTHER_BLENDER.format(module=MODULE, blend=str(blend), rest=rest)
    return subprocess.Popen(
        [sys.executable, "-c", script], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )


@pytest.fixture
def saved(garment_scene: bpy.types.Scene, tmp_path: Path) -> bpy.types.Scene:
    bpy.ops.wm.save_as_mainfile(filepath=str(tmp_path / "shoot.blend"))
    return garment_scene


def test_two_blenders_with_one_file(
    addon: Callable, saved: bpy.types.Scene, backend: Callable, tmp_path: Path
) -> None:
    folder = backend("invert")
    other = other_blender(tmp_path / "shoot.blend", TRANSLATE)
    while other.poll() is None:
        assert translate_and_wait(addon).problem is None
    printed, _ = other.communicate()
    assert other.returncode == 0, printed
    numbers = [name.partition("_")[0] for name in files(folder / "make_real" / "Scene") if "recipe" in name]
    assert len(numbers) == len(set(numbers)) >= 2, "each picture has its own number"


def test_blender_quits_while_it_works(
    addon: Callable, saved: bpy.types.Scene, backend: Callable, tmp_path: Path
) -> None:
    folder = backend("slow")
    other = other_blender(tmp_path / "shoot.blend", QUIT_WHILE_IT_WORKS.format(module=MODULE))
    printed, _ = other.communicate(timeout=TIMEOUT_S)
    assert other.returncode == 0, printed
    assert "Traceback" not in printed
    deadline = time.monotonic() + 20.0
    while addon("protocol").read_connection() is not None:
        assert time.monotonic() < deadline, "the backend outlives Blender"
        time.sleep(0.05)
    assert not (folder / "make_real").exists() or not files(folder / "make_real" / "Scene")


def test_the_blender_that_has_started_the_backend_quits(
    addon: Callable, saved: bpy.types.Scene, backend: Callable
) -> None:
    """Its backend goes with it; the other Blender, in the middle of a picture, starts one of its own."""
    folder = backend("steady")
    saved.make_real.use_compositor = False
    script = START_AND_WAIT.format(module=MODULE)
    with subprocess.Popen(
        [sys.executable, "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as other:
        while (told := other.stdout.readline()) and told.strip() != "ready":
            pass
        assert bpy.ops.make_real.translate() == {"FINISHED"}
        pump_until(addon, lambda session: session.job.step >= 2)
        other.stdin.close()
    assert other.returncode == 0
    assert addon("session.pump").run_until_idle(TIMEOUT_S).problem is None
    assert saved.make_real.result is not None
    assert len((folder / "starts.txt").read_text().splitlines()) == 2


def test_disk_that_fills_up_while_the_result_is_written(
    addon: Callable, saved: bpy.types.Scene, backend: Callable, tmp_path: Path
) -> None:
    backend("steady")
    before = snapshot.of_file()
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    bpy.ops.make_real.translate()
    pump_until(addon, lambda session: session.job.stage)
    # The system cuts every file from here on, as a full disk does in the middle of one.
    resource.setrlimit(resource.RLIMIT_FSIZE, (2000, limits[1]))
    try:
        session = addon("session.pump").run_until_idle(TIMEOUT_S)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert session.problem.code == "disk_full"
    assert str(tmp_path) in session.problem.detail
    assert not [name for name in files(tmp_path / "make_real" / "Scene") if name.startswith("0001")]
    assert snapshot.difference(before, snapshot.of_file()) == []
    assert translate_and_wait(addon).problem is None, "the next click works"


def test_backend_killed_while_the_result_is_stored(
    addon: Callable, saved: bpy.types.Scene, backend: Callable
) -> None:
    backend("invert")
    bpy.ops.make_real.translate()
    pump_until(addon, lambda session: session.job.stage == "storing")
    os.kill(addon("protocol").read_connection().pid, signal.SIGKILL)
    addon("session.pump").run_until_idle(TIMEOUT_S)
    assert saved.make_real.result is not None, "the picture was here already"
    assert translate_and_wait(addon).problem is None, "the next click starts the backend again"


def test_result_waits_until_the_artist_lets_go(
    addon: Callable,
    saved: bpy.types.Scene,
    backend: Callable,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """`make manners` shows with a real mouse that this is what Blender says of an operator at work."""
    backend("invert")
    monkeypatch.setattr(addon("holding"), "held_by", lambda: "Move")
    bpy.ops.make_real.translate()
    pump_until(addon, lambda session: session.job.held_by)
    assert addon("session.pump").line().text == "Finished; waiting for Move to end"
    before, conductor = snapshot.of_file(), addon("session.pump").conductor()
    assert conductor.is_working is False, "waiting costs no time"
    addon("session.pump").pump(0.2)
    assert snapshot.difference(before, snapshot.of_file()) == []
    assert "0001_display.png" in files(tmp_path / "make_real" / "Scene"), "it is safe already"
    monkeypatch.undo()
    assert addon("session.pump").run_until_idle(TIMEOUT_S).problem is None
    assert saved.make_real.result is not None


def test_read_only_blend_file(addon: Callable, saved: bpy.types.Scene, backend: Callable) -> None:
    backend("invert")
    Path(bpy.data.filepath).chmod(stat.S_IRUSR)
    content = Path(bpy.data.filepath).read_bytes()
    assert translate_and_wait(addon).problem is None
    assert Path(bpy.data.filepath).read_bytes() == content


@pytest.mark.parametrize("ending", ["invert", "fail", "cancel"])
def test_render_settings_window_and_selection_stay(
    addon: Callable, saved: bpy.types.Scene, backend: Callable, ending: str
) -> None:
    backend("slow" if ending == "cancel" else ending)
    settings = saved.render.image_settings
    settings.file_format, settings.color_depth, settings.compression = "PNG", "8", 71
    first = bpy.data.objects[0]
    first.select_set(True)
    bpy.context.view_layer.objects.active = first
    before, shown = snapshot.of_file(), snapshot.of_windows()
    bpy.ops.make_real.translate()
    if ending == "cancel":
        pump_until(addon, lambda session: session.job.step >= 1)
        bpy.ops.make_real.cancel()
    addon("session.pump").run_until_idle(TIMEOUT_S)
    changed = snapshot.difference(before, snapshot.of_file())
    assert [path for path in changed if not own_changes(path)] == []
    assert ending == "invert" or changed == []
    assert snapshot.difference(shown, snapshot.of_windows()) == []


def test_many_conversions_leave_nothing(addon: Callable, saved: bpy.types.Scene, backend: Callable) -> None:
    backend("invert")
    left = []
    for number in range(WARM_UP + CONVERSIONS):
        assert translate_and_wait(addon).problem is None
        if number in (WARM_UP - 1, WARM_UP + CONVERSIONS - 1):
            pages = int(Path("/proc/self/statm").read_text().split()[1])
            left.append((len(bpy.data.images), len(bpy.data.node_groups)))
            left.append(len(list(Path("/proc/self/fd").iterdir())))
            left.append(pages * resource.getpagesize() / 2**20)
    assert left[0] == left[3], "images, node groups"
    # They may be fewer: what the tests before left may be let go of meanwhile.
    assert left[4] <= left[1], "files"
    assert left[5] - left[2] < 10.0, "MiB"
