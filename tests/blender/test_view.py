# SPDX-License-Identifier: GPL-3.0-or-later
"""The way back from display values to light, for every view that Blender has: the measured errors are the promise.

All errors are in display values, 0..1: light that came back, sent through Blender's own view again, against the
colour that was wanted.
"""

from __future__ import annotations

import time
from collections.abc import Callable

import bpy
import numpy as np
import pytest
from conftest import drained

STANDARD, PBR_NEUTRAL = "Standard", "Khronos PBR Neutral"
VIEWS = [
    (STANDARD, "None"),
    (STANDARD, "High Contrast"),
    ("AgX", "None"),
    ("AgX", "AgX - Punchy"),
    ("AgX", "AgX - Very High Contrast"),
    ("Filmic", "None"),
    ("Filmic", "Medium High Contrast"),
    ("Filmic Log", "None"),
    (PBR_NEUTRAL, "None"),
    ("ACES 1.3", "None"),
    ("ACES 2.0", "None"),
    ("Raw", "None"),
]


def chart(count: int = 8000) -> np.ndarray:
    """Colours as a camera meets them, eleven stops of light and from grey to saturated, (1, count, 3) float32."""
    random = np.random.default_rng(7)
    brightness = np.exp2(random.uniform(-8.0, 3.0, (1, count, 1)))
    return (brightness * random.uniform(random.uniform(0.05, 1.0, (1, count, 1)), 1.0, (1, count, 3))).astype(
        "f4"
    )


def in_16_bits(display: np.ndarray) -> np.ndarray:
    return np.rint(display * 65535.0).astype(np.uint16)


def shown(addon: Callable, scene: bpy.types.Scene, light: np.ndarray) -> np.ndarray:
    """Display values, 0..1."""
    return addon("picture.view_transform").shown(scene, light) / np.float32(65535.0)


def set_view(scene: bpy.types.Scene, view: str, look: str = "None") -> None:
    try:
        scene.view_settings.view_transform = view
    except TypeError:
        pytest.skip(f"this Blender has no {view}")
    scene.view_settings.look = look


def recovered(addon: Callable, picture: np.ndarray, source) -> np.ndarray:
    """The light of a result, (height, width, 4)."""
    lines = addon("picture.recovery").lines(picture, source)
    return np.stack([line for line in lines if line is not None])


def round_trip_error(addon: Callable, scene: bpy.types.Scene, light: np.ndarray) -> np.ndarray:
    """Per colour, without the original light to lean on."""
    transform = addon("picture.view_transform")
    wanted = shown(addon, scene, light)
    inverse = drained(addon("picture.view_inverse").invert(transform.measure(scene)))
    again = drained(inverse.light(in_16_bits(wanted).reshape(-1, 3))).reshape(wanted.shape)
    return np.abs(shown(addon, scene, again) - wanted).mean(axis=-1)


def source_of(addon: Callable, scene: bpy.types.Scene, light: np.ndarray, alpha: np.ndarray | None = None):
    """A render that consists of given light."""
    transform = addon("picture.view_transform")
    picture = in_16_bits(shown(addon, scene, light))
    if alpha is not None:
        picture = np.concatenate([picture, in_16_bits(alpha)], axis=2)
    else:
        alpha = np.ones_like(light[..., :1])
    premultiplied = np.concatenate([light * alpha, alpha], axis=2).astype(np.float32)
    return addon("picture.source").Source(
        picture, premultiplied, addon("compat").scene_linear_space(), transform.measure(scene)
    )


@pytest.mark.parametrize(("view", "look"), VIEWS)
def test_display_to_light_to_display(
    addon: Callable, scene: bpy.types.Scene, record_property: Callable, view: str, look: str
) -> None:
    set_view(scene, view, look)
    error = round_trip_error(addon, scene, chart())
    record_property("mean", f"{error.mean():.5f}")
    record_property("p99", f"{np.quantile(error, 0.99):.4f}")
    assert error.mean() < (0.01 if view == PBR_NEUTRAL else 0.002)
    assert_unchanged_pixels_are_the_renders_own(addon, scene)
    assert_small_changes_are_shown_and_leave_no_seam(addon, scene, 0.01 if view == PBR_NEUTRAL else 0.002)


def assert_unchanged_pixels_are_the_renders_own(addon: Callable, scene: bpy.types.Scene) -> None:
    light = chart()
    light[0, :100] *= 200.0  # far above what any display shows
    source = source_of(addon, scene, light)
    picture = source.picture.copy()
    picture[0, ::2] = 65535 - picture[0, ::2]
    result = recovered(addon, picture, source)
    assert np.array_equal(result[0, 1::2], source.light[0, 1::2])
    assert not np.array_equal(result[0, ::2], source.light[0, ::2])


def assert_small_changes_are_shown_and_leave_no_seam(
    addon: Callable, scene: bpy.types.Scene, tolerance: float
) -> None:
    """A result that comes nearer and nearer to the render comes nearer and nearer to its light."""
    source = source_of(addon, scene, chart(2000))
    reachable = (source.picture > 2000).all(axis=-1) & (source.picture < 60_000).all(axis=-1)
    for change in (1, 64, 200, 300, 2000):
        picture = source.picture - np.minimum(source.picture, change).astype(np.uint16)
        light = recovered(addon, picture, source)[..., :3]
        error = np.abs(shown(addon, scene, light) - picture / 65535.0).mean(axis=-1)[reachable]
        assert error.mean() < tolerance, change
        if change == 1:
            moved = np.abs(light - source.light[..., :3])[reachable] / source.light[..., :3][reachable].clip(
                1e-3
            )
            assert np.quantile(moved, 0.99) < 0.01


def white_balance(view) -> None:
    if not hasattr(view, "use_white_balance"):
        pytest.skip("white balance came with Blender 4.3")
    view.use_white_balance, view.white_balance_temperature = True, 4300.0


def curves(view) -> None:
    view.use_curve_mapping = True
    view.curve_mapping.curves[3].points.new(0.3, 0.45)
    view.curve_mapping.curves[0].points.new(0.5, 0.4)
    view.curve_mapping.update()


def exposure(view) -> None:
    view.exposure, view.gamma = 1.5, 1.3


def dark(view) -> None:
    view.exposure, view.gamma = -4.0, 0.8


@pytest.mark.parametrize("change", [white_balance, curves, exposure, dark])
def test_settings_of_the_view_are_undone(addon: Callable, scene: bpy.types.Scene, change: Callable) -> None:
    set_view(scene, "AgX")
    before = shown(addon, scene, chart())
    change(scene.view_settings)
    assert np.abs(shown(addon, scene, chart()) - before).mean() > 0.01
    assert round_trip_error(addon, scene, chart()).mean() < 0.002


@pytest.mark.parametrize("device", ["Display P3", "Rec.1886", "Rec.2020"])
def test_other_displays(addon: Callable, scene: bpy.types.Scene, device: str) -> None:
    scene.display_settings.display_device = device
    set_view(scene, "AgX")
    assert round_trip_error(addon, scene, chart()).mean() < 0.002


@pytest.mark.parametrize("device", ["sRGB", "Display P3", "Rec.1886", "Rec.2020"])
def test_the_result_is_shown_as_it_is(addon: Callable, scene: bpy.types.Scene, device: str, tmp_path) -> None:
    """Image Editors show an image under the display's plain view, after taking it from its colour space."""
    transform, passes = addon("picture.view_transform"), addon("picture.render_passes")
    scene.display_settings.display_device = device
    set_view(scene, STANDARD)
    wanted = in_16_bits(np.random.default_rng(3).uniform(0.0, 1.0, (16, 16, 3)))
    path = tmp_path / "display.png"
    path.write_bytes(b"".join(addon("picture.png").encode(wanted, {})))
    light = passes.read_pixels(path, transform.color_space(scene))
    difference = in_16_bits(shown(addon, scene, light[..., :3])).astype(int) - wanted
    assert np.abs(difference).max() <= 32, "half of an 8-bit step at most"


def test_highlights_above_display_white(addon: Callable, scene: bpy.types.Scene) -> None:
    """White on white stays bright; a highlight that the model has taken away is gone."""
    set_view(scene, STANDARD)
    source = source_of(addon, scene, np.full((1, 4, 3), 20.0, np.float32))
    assert (source.picture == 65535).all()
    picture = source.picture.copy()
    picture[0, 1], picture[0, 2] = 65535 - 64, 32768
    light = recovered(addon, picture, source)
    assert (light[0, 0, :3] == 20.0).all()
    assert (light[0, 1, :3] > 10.0).all(), "a quarter of an 8-bit step"
    assert light[0, 2, :3] == pytest.approx(0.2140, abs=2e-3)


def test_alpha_is_multiplied_in(addon: Callable, scene: bpy.types.Scene) -> None:
    set_view(scene, STANDARD)
    alpha = np.linspace(0.0, 1.0, 64, dtype=np.float32).reshape(1, 64, 1)
    source = source_of(addon, scene, chart(64), alpha)
    unchanged = recovered(addon, source.picture, source)
    assert np.array_equal(unchanged, source.light)
    picture = source.picture.copy()
    picture[..., :3] = 40_000
    light = recovered(addon, picture, source)
    level = ((40_000 / 65535.0 + 0.055) / 1.055) ** 2.4
    assert light[0, 1:, :3] == pytest.approx(np.repeat(level * alpha[0, 1:], 3, axis=1), abs=2e-3)
    assert light[..., 3:] == pytest.approx(alpha, abs=1e-4)


@pytest.mark.parametrize(("view", "look"), [("False Color", "None"), ("AgX", "AgX - Greyscale")])
def test_a_view_that_shows_different_colours_as_one_is_refused(
    addon: Callable, scene: bpy.types.Scene, view: str, look: str
) -> None:
    set_view(scene, view, look)
    source = source_of(addon, scene, chart(64))
    with pytest.raises(addon("protocol").MakeRealError, match="different colours") as caught:
        recovered(addon, source.picture, source)
    assert caught.value.code == "unsupported_view"


@pytest.mark.skipif(bpy.app.version < (5, 0, 0), reason="HDR displays came with Blender 5.0")
def test_hdr_displays_are_refused_at_the_click(addon: Callable, garment_scene: bpy.types.Scene) -> None:
    garment_scene.display_settings.display_device = "Rec.2100-PQ"
    with pytest.raises(addon("protocol").MakeRealError, match=r"Rec\.2100-PQ") as caught:
        addon("picture.source").collect(garment_scene, None, None)
    assert caught.value.code == "unsupported_view"


@pytest.mark.skipif(bpy.app.version < (5, 0, 0), reason="working spaces came with Blender 5.0")
def test_other_working_spaces(addon: Callable, scene: bpy.types.Scene) -> None:
    bpy.ops.wm.set_working_color_space(working_space="ACEScg", convert_colors=False)
    assert bpy.data.colorspace.working_space == "ACEScg"
    set_view(scene, "AgX")
    assert round_trip_error(addon, scene, chart()).mean() < 0.002


def test_no_step_is_long(addon: Callable, scene: bpy.types.Scene) -> None:
    """Inverting a view that was not seen before, and a picture with every pixel changed."""
    set_view(scene, "AgX", "AgX - Low Contrast")
    source = source_of(addon, scene, chart(60_000).reshape(200, 300, 3))
    steps, durations = addon("picture.recovery").lines(65535 - source.picture, source), []
    while True:
        start = time.thread_time()
        try:
            next(steps)
        except StopIteration:
            break
        durations.append(time.thread_time() - start)
    assert len(durations) > 100
    # Processor time, since the machine that runs the tests has other work too.
    assert np.quantile(durations, 0.9) < addon("session.pump").TICK_BUDGET_S


def test_a_view_is_inverted_once(addon: Callable, scene: bpy.types.Scene) -> None:
    transform, inverse = addon("picture.view_transform"), addon("picture.view_inverse")
    set_view(scene, "AgX")
    first = drained(inverse.invert(transform.measure(scene)))
    assert drained(inverse.invert(transform.measure(scene))) is first
    scene.view_settings.exposure = 0.01
    assert drained(inverse.invert(transform.measure(scene))) is not first
