# SPDX-License-Identifier: GPL-3.0-or-later
"""What is shown quickly: a result is decoded from a file that takes Blender little, and is that of its PNG."""

from __future__ import annotations

import time
import weakref
from collections.abc import Callable
from pathlib import Path

import bpy
import numpy as np
import pytest
from conftest import drained
from test_translate import translate_and_wait


def pixels(image: bpy.types.Image) -> np.ndarray:
    """As Blender holds them, (height, width, 4), bottom row first."""
    width, height = image.size
    values = np.empty(width * height * 4, np.float32)
    image.pixels.foreach_get(values)
    return values.reshape(height, width, 4)


def noise(channels: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 65536, (300, 53, channels)).astype(np.uint16)


@pytest.mark.parametrize("channels", [3, 4])
def test_blender_reads_what_tiff_writes(addon: Callable, tmp_path: Path, channels: int) -> None:
    picture = noise(channels)
    path = tmp_path / "shown.tif"
    drained(addon("picture.files").write_for_now(path, addon("picture.tiff").encode(picture)))
    image = bpy.data.images.load(str(path))
    assert not image.is_float
    expected = np.rint(picture[::-1] / 257.0) / 255.0
    assert np.abs(pixels(image)[..., :channels] - expected).max() < 1e-6
    assert channels == 4 or (pixels(image)[..., 3] == 1.0).all()


@pytest.mark.skipif(
    not Path("/proc/self/clear_refs").exists(), reason="tells its peak of memory on Linux alone"
)
def test_blender_decodes_tiff_straight_into_its_picture(addon: Callable, tmp_path: Path) -> None:
    """Memory that is used for the first time is most of what decoding takes."""

    def memory(kind: str) -> int:
        (line,) = (
            line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith(kind)
        )
        return 1024 * int(line.split()[1])

    side = 2048
    picture = np.zeros((side, side, 3), np.uint16)
    path = tmp_path / "shown.tif"
    drained(addon("picture.files").write_for_now(path, addon("picture.tiff").encode(picture)))
    image = bpy.data.images.load(str(path))
    Path("/proc/self/clear_refs").write_text("5")
    before = memory("VmRSS")
    image.update()
    assert image.has_data
    # The picture and the file, both of which are in memory then.
    assert memory("VmHWM") - before < 2.5 * 4 * side * side


def test_a_result_is_shown_at_once_and_remembers_its_png(
    addon: Callable, garment_scene: bpy.types.Scene, backend: Callable
) -> None:
    backend("invert")
    assert translate_and_wait(addon).problem is None
    image = garment_scene.make_real.result
    assert image.has_data, "it was decoded in the tick that showed it"
    assert not image.is_dirty and image.source == "FILE"
    assert Path(bpy.path.abspath(image.filepath)).name == "0001_display.png"
    quick = pixels(image)
    # The PNG itself, without colour management.
    image.colorspace_settings.name = "Non-Color"
    image.reload()
    assert image.is_float, "from now on it is the PNG with its 16 bits"
    assert np.abs(pixels(image) - quick).max() <= 0.5 / 255.0 + 1e-6


def test_a_result_is_shown_in_a_step_of_its_own(
    addon: Callable, garment_scene: bpy.types.Scene, backend: Callable, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What need not be done in the step that decodes it is done in others."""
    backend("invert")
    assert translate_and_wait(addon).problem is None
    first = garment_scene.make_real.result.name
    results, pace, happened = addon("picture.results"), addon("pace"), []
    step, push, opened = pace.step, results.push_undo, results.open_picture

    def watched_step(work) -> None:
        happened.append("|")
        seen = first in bpy.data.images
        try:
            step(work)
        finally:
            happened.extend(["dropped"] * (seen and first not in bpy.data.images))

    monkeypatch.setattr(pace, "step", watched_step)
    monkeypatch.setattr(results, "push_undo", lambda text: (happened.append("undo"), push(text)))
    monkeypatch.setattr(
        results, "open_picture", lambda *values: (happened.append("open"), opened(*values))[1]
    )
    assert translate_and_wait(addon).problem is None
    together = [part.split() for part in " ".join(happened).split("|") if part.strip()]
    assert together == [["open"], ["dropped"], ["undo"], ["undo"]]


def test_large_pictures_are_given_back_one_by_one(addon: Callable) -> None:
    """Before the job's end is told: what is freed with its event, is freed in one tick."""
    work, protocol = addon("session.work"), addon("protocol")

    class Pixels(np.ndarray):
        pass

    def plane() -> np.ndarray:
        return np.zeros((4, 4, 3), np.uint16).view(Pixels)

    sent, received = plane(), plane()
    alive = [weakref.ref(sent), weakref.ref(received)]
    request, nothing = protocol.TranslationRequest(), (_ for _ in ())
    ticket = work.Ticket(request, {"image": sent}, lambda _finished: iter(()), nothing)
    job = work.Work()
    job.ticket, job.finished = ticket, protocol.Finished("job", {"image": received}, None)
    del sent, received, ticket
    job.store()
    counts = []
    while True:
        event = job.step()
        counts.append(sum(reference() is not None for reference in alive))
        if event:
            break
    assert isinstance(event, addon("session.events").ResultStored)
    assert counts == [2, 1, 0]


def test_a_result_enters_the_compositor_without_being_read(
    addon: Callable, garment_scene: bpy.types.Scene, backend: Callable
) -> None:
    backend("invert")
    for _ in range(2):
        assert translate_and_wait(addon).problem is None
        group = garment_scene.make_real.compositor_group
        image = group.nodes[addon("compositor.group").PICTURE].image
        assert not image.has_data, "Blender reads it when the compositor runs"
    assert Path(bpy.path.abspath(image.filepath)).name == "linear_0001.exr"


def test_a_tick_has_room_for_a_slice_and_an_interruption(addon: Callable) -> None:
    pace, slices = addon("pace"), iter(lambda: None, 0)
    for _ in range(100):
        pace.step(slices)
    assert not pace.has_room(time.perf_counter() + 0.002), "however short slices are"
    assert pace.has_room(time.perf_counter() + addon("session.pump").TICK_BUDGET_S)


def test_slow_slices_become_smaller_and_quick_ones_larger(addon: Callable) -> None:
    pace = addon("pace")
    amounts: list[int] = []

    def work(seconds_each: float):
        for part in pace.slices(1 << 20, 1 << 10):
            amounts.append(part.stop - part.start)
            end = time.thread_time() + seconds_each * amounts[-1]
            while time.thread_time() < end:
                pass
            yield

    def run(seconds_each: float, steps: int) -> None:
        slices = work(seconds_each)
        for _ in range(steps):
            pace.step(slices)

    run(4e-3 / (1 << 10), 30)
    assert amounts[-1] * 4e-3 / (1 << 10) < 2 * pace.LONG_S
    run(0.0, 200)
    assert amounts[-1] == 1 << 10
