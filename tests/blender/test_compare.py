# SPDX-License-Identifier: GPL-3.0-or-later
"""The comparison as far as it goes without a window; scripts/window photographs the rest in a real one."""

from __future__ import annotations

from collections.abc import Callable

import bpy
import pytest
from test_garment import LEFT, pick
from test_translate import translate_and_wait


@pytest.mark.parametrize(
    ("figure", "values"),
    [
        ("ssim_garment", (0.99, 0.9, 0.5)),
        ("colour_garment", (0.5, 2.0, 9.0)),
        ("highpass_garment", (0.95, 0.85, 0.1)),
        ("alignment_px", (0.0, 0.2, 2.0)),
    ],
)
def test_figures_in_words(addon: Callable, figure: str, values: tuple[float, float, float]) -> None:
    fidelity = addon("compare.fidelity")
    lines = [fidelity.lines({figure: value})[0] for value in values]
    assert [line.level for line in lines] == list(fidelity.Level)
    assert len({line.words for line in lines}) == 3
    digits = str(values[2]).rstrip("0").rstrip(".")
    assert digits in lines[2].text, "the number stands beside the words"


def test_limits_belong_to_the_better_side(addon: Callable) -> None:
    fidelity = addon("compare.fidelity")
    for figure, scale in fidelity.SCALES.items():
        assert fidelity.lines({figure: scale.good})[0].level == "good"
        assert fidelity.lines({figure: scale.fair})[0].level == "fair"


def test_what_the_report_lacks_is_left_out(addon: Callable) -> None:
    lines = addon("compare.fidelity").lines({"alignment_px": 0.1, "peak_memory_bytes": 1e9})
    assert [line.figure for line in lines] == ["0.10 px"]


@pytest.mark.parametrize(("mode", "near", "far"), [("WIPE_ACROSS", 0, 0), ("WIPE_DOWN", 1, 1)])
def test_line_and_drag_are_inverse(addon: Callable, mode: str, near: int, far: int) -> None:
    box = addon("compare.drawing").Box(100.0, 50.0, 300.0, 450.0)
    for split in (0.0, 0.25, 1.0):
        first, second = box.line(mode, split)
        assert first[near] == second[far], "it is straight"
        assert box.split_at(mode, *first) == box.split_at(mode, *second) == split
    assert box.split_at(mode, -1e4, 1e4) == 0.0
    assert box.split_at(mode, 1e4, -1e4) == 1.0


def test_pair(addon: Callable, garment_scene: bpy.types.Scene, backend: Callable) -> None:
    backend("invert")
    pick(garment_scene, bpy.data.objects[LEFT])
    pair_of = addon("compare.comparison").pair_of
    assert pair_of(garment_scene, bpy.data.images["Render Result"]) is None
    translate_and_wait(addon)
    pair = pair_of(garment_scene, garment_scene.make_real.result)
    assert pair.entry.number == 1
    assert pair.entry.garment_box is not None
    render = addon("picture.render_passes").display_picture(garment_scene)
    read = addon("picture.render_passes").read_pixels
    assert (abs(read(pair.before, "Non-Color")[..., :3] * 65535 - render) < 0.5).all()
    assert read(pair.after, "Non-Color").shape[:2] == render.shape[:2]
    assert pair_of(garment_scene, bpy.data.images.new("Other", 4, 4)) is None
    other = garment_scene.copy()
    bpy.context.window.scene = other
    bpy.ops.make_real.history_begin()
    bpy.ops.render.render()
    translate_and_wait(addon)
    assert pair_of(other, other.make_real.result).entry.number == 1
    assert pair_of(other, garment_scene.make_real.result) is None, "another scene's 0001"
    assert pair_of(garment_scene, None) is None


def test_without_a_window_there_is_a_reason(addon: Callable, garment_scene: bpy.types.Scene) -> None:
    for operator in (bpy.ops.make_real.compare, bpy.ops.make_real.zoom_to_garment):
        assert not operator.poll()
        with pytest.raises(RuntimeError, match="needs Blender's window"):
            operator()
