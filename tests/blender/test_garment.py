# SPDX-License-Identifier: GPL-3.0-or-later
"""The planes of the artist's parts, against the render's index passes."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import bpy
import numpy as np
import pytest
from conftest import drained

LEFT, RIGHT = "Kleid, größer", "裙子"
SIZE = (48, 64)


def pick(scene: bpy.types.Scene, *targets: bpy.types.ID, role: str = "GARMENT", strength: float = 1.0) -> Any:
    """A new part of these things."""
    part = scene.make_real.masks.parts.add()
    part.name, part.role, part.strength = f"Part {len(scene.make_real.masks.parts)}", role, strength
    for target in targets:
        item = part.picks.add()
        item.kind = type(target).__name__.upper()
        setattr(item, item.kind.lower(), target)
    return part


def passes(addon: Callable, scene: bpy.types.Scene) -> dict[str, np.ndarray]:
    """Every channel of the finished render."""
    with addon("picture.render_passes").saved_passes(scene) as path:
        return addon("picture.exr").read(path)


def masks(addon: Callable, scene: bpy.types.Scene, size: tuple[int, int] = SIZE) -> Any:
    """The scene's `planes.Masks`, from the finished render."""
    parts = addon("masks.picked").parts(scene)
    channels = passes(addon, scene)
    return drained(addon("masks.planes").decode(parts, channels, size))


def planes(addon: Callable, scene: bpy.types.Scene) -> dict[str, np.ndarray]:
    return masks(addon, scene).planes


def problem(addon: Callable, scene: bpy.types.Scene, size: tuple[int, int] = SIZE) -> Any:
    """Why the scene's planes cannot be sent."""
    try:
        return masks(addon, scene, size).problem
    except addon("protocol").MakeRealError as error:
        return error


def object_index(addon: Callable, scene: bpy.types.Scene) -> np.ndarray:
    channels = passes(addon, scene)
    (name,) = [name for name in channels if ".IndexOB." in name or ".Object Index." in name]
    return channels[name]


def image_of(values: np.ndarray, name: str = "Painted", alpha: np.ndarray | None = None) -> bpy.types.Image:
    """An image of grey values, 0..1, top row first."""
    height, width = values.shape
    image = bpy.data.images.new(name, width, height, alpha=True)
    opaque = np.ones_like(values) if alpha is None else alpha
    pixels = np.stack([values, values, values, opaque], axis=-1)[::-1].astype(np.float32)
    image.pixels.foreach_set(pixels.reshape(-1))
    return image


@pytest.mark.parametrize("kind", ["object", "material", "collection", "names"])
def test_coverage_agrees_with_the_object_index(
    addon: Callable, garment_scene: bpy.types.Scene, kind: str
) -> None:
    left = bpy.data.objects[LEFT]
    if kind == "object":
        pick(garment_scene, left)
    elif kind == "material":
        pick(garment_scene, left.material_slots[0].material)
    elif kind == "collection":
        collection = bpy.data.collections.new("Outfit")
        inner = bpy.data.collections.new("Inner")
        collection.children.link(inner)
        inner.objects.link(left)
        pick(garment_scene, collection)
    else:
        item = pick(garment_scene).picks.add()
        item.kind, item.names = "NAMES", f'nothing, "{LEFT}"'
    plane = planes(addon, garment_scene)["garment"]
    index = object_index(addon, garment_scene)
    coverage = plane / 65535.0
    assert plane.dtype == np.uint16
    # The index pass has no soft edges: a pixel may differ where the cube covers part of it.
    assert (np.abs(coverage - (index == 1)) > 0.6).mean() < 0.005
    assert ((coverage > 0.02) & (coverage < 0.98)).sum() > 20, "soft edges are lost"
    assert 0.03 < coverage.mean() < 0.5


def test_picks_of_a_part_and_parts_of_a_role_are_united(
    addon: Callable, garment_scene: bpy.types.Scene
) -> None:
    left, right = bpy.data.objects[LEFT], bpy.data.objects[RIGHT]

    def garment(*groups: tuple[bpy.types.ID, ...]) -> np.ndarray:
        garment_scene.make_real.masks.parts.clear()
        for group in groups:
            pick(garment_scene, *group)
        return planes(addon, garment_scene)["garment"].astype(float)

    both = garment((left, right))
    assert np.abs(both - np.minimum(garment((left,)) + garment((right,)), 65535)).max() <= 1
    assert np.abs(both - garment((left,), (right,))).max() <= 1
    assert np.array_equal(garment((left, left.material_slots[0].material)), garment((left,)))


def test_each_role_is_a_plane_and_no_pixel_is_in_two(addon: Callable, garment_scene: bpy.types.Scene) -> None:
    left, right = bpy.data.objects[LEFT], bpy.data.objects[RIGHT]
    pick(garment_scene, left)
    pick(garment_scene, right, role="PROTECTED")
    found = planes(addon, garment_scene)
    assert found.keys() == {"garment", "protected"}
    kept = 1 - found["protected"] / 65535.0
    garment_scene.make_real.masks.parts[1].role = "FREE"
    found_free = planes(addon, garment_scene)
    assert found_free.keys() == {"garment", "free"}
    assert np.array_equal(found_free["free"], found["protected"])
    # Where the backend takes the protected share off, what is left is the garment's own share.
    shares = kept * found["garment"] / 65535.0
    assert np.abs(shares - found_free["garment"] / 65535.0).max() < 1e-4
    total = found_free["garment"].astype(int) + found_free["free"]
    assert total.max() <= 65536


def test_the_last_part_has_the_pixels_and_protected_goes_first(
    addon: Callable, garment_scene: bpy.types.Scene
) -> None:
    left, right = bpy.data.objects[LEFT], bpy.data.objects[RIGHT]
    pick(garment_scene, left, right, strength=0.5)
    pick(garment_scene, left, strength=0.25)
    found = planes(addon, garment_scene)
    strength = found["strength"] / 65535.0
    index = object_index(addon, garment_scene)
    assert np.median(strength[index == 1]) == pytest.approx(0.25, abs=1e-4)
    covered = found["garment"] > 0
    assert (strength[~covered] == 1).all()
    assert np.median(strength[covered & (index != 1)]) == pytest.approx(0.5, abs=1e-4)
    garment_scene.make_real.masks.parts.move(0, 1)
    again = masks(addon, garment_scene)
    assert np.median(again.planes["strength"][index == 1]) / 65535 == pytest.approx(0.5, abs=1e-4)
    assert again.remarks == ("Part Part 2 is empty: other parts take all of it",)
    garment_scene.make_real.masks.parts.move(0, 1)
    garment_scene.make_real.masks.parts[0].role = "PROTECTED"
    problem_now = problem(addon, garment_scene)
    assert (problem_now.code, "other parts" in problem_now.detail) == ("empty_mask", True)


def test_a_material_on_a_part_of_an_object(addon: Callable, garment_scene: bpy.types.Scene) -> None:
    """An object with several materials: the print on it is protected, the rest of it is garment."""
    left = bpy.data.objects[LEFT]
    print_material = bpy.data.materials.new("Print")
    left.data.materials.append(print_material)
    left.data.polygons[5].material_index = 1  # the side towards the camera
    bpy.ops.render.render()
    pick(garment_scene, left)
    whole = planes(addon, garment_scene)["garment"] / 65535.0
    pick(garment_scene, print_material, role="PROTECTED")
    found = {name: plane / 65535.0 for name, plane in planes(addon, garment_scene).items()}
    assert 0.1 < found["protected"].sum() / whole.sum() < 0.9
    shares = found["protected"] + (1 - found["protected"]) * found["garment"]
    inside, outside = whole > 0.999, whole < 0.001
    assert np.abs(shares - whole)[inside | outside].max() < 2e-3, "exact but at the object's own edge"


def test_motion_blur_is_kept(addon: Callable, garment_scene: bpy.types.Scene) -> None:
    left = bpy.data.objects[LEFT]
    pick(garment_scene, left)
    sharp = planes(addon, garment_scene)["garment"] / 65535.0
    for frame, x in ((0, -1.1), (2, -0.1)):
        left.location.x = x
        left.keyframe_insert("location", frame=frame)
    garment_scene.frame_set(1)
    garment_scene.render.use_motion_blur = True
    bpy.ops.render.render()
    blurred = planes(addon, garment_scene)["garment"] / 65535.0

    def soft(coverage: np.ndarray) -> int:
        return int(((coverage > 0.05) & (coverage < 0.95)).sum())

    assert soft(blurred) > 1.5 * soft(sharp)
    assert blurred.sum() == pytest.approx(sharp.sum(), rel=0.1), "blur moves coverage about, it adds none"


def test_no_part_no_mask(addon: Callable, garment_scene: bpy.types.Scene) -> None:
    found = masks(addon, garment_scene)
    assert (found.planes, found.remarks) == ({}, ())


def test_view_layers_are_united(addon: Callable, garment_scene: bpy.types.Scene) -> None:
    """Each cube in a view layer of its own, one layer without its passes."""
    left, right = bpy.data.objects[LEFT], bpy.data.objects[RIGHT]
    pick(garment_scene, left, right)
    both = planes(addon, garment_scene)["garment"]
    for thing in (left, right):
        collection = bpy.data.collections.new(thing.name)
        garment_scene.collection.children.link(collection)
        collection.objects.link(thing)
        garment_scene.collection.objects.unlink(thing)
    first, second = garment_scene.view_layers[0], garment_scene.view_layers.new("Second")
    garment_scene.view_layers.new("Third")
    second.use_pass_cryptomatte_object = True
    first.layer_collection.children[RIGHT].exclude = True
    second.layer_collection.children[LEFT].exclude = True
    bpy.ops.render.render()
    assert np.abs(planes(addon, garment_scene)["garment"].astype(int) - both).max() < 0.05 * 65535
    second.use = False
    bpy.ops.render.render()
    only_left = planes(addon, garment_scene)["garment"]
    assert 0.3 < only_left.sum(dtype=float) / both.sum(dtype=float) < 0.7


def test_without_passes_the_whole_picture_is_garment(addon: Callable, garment_scene: bpy.types.Scene) -> None:
    layer = garment_scene.view_layers[0]
    layer.use_pass_cryptomatte_object = layer.use_pass_cryptomatte_material = False
    bpy.ops.render.render()
    pick(garment_scene, bpy.data.objects[LEFT])
    found = masks(addon, garment_scene)
    assert found.planes == {}
    text = " ".join(found.remarks)
    assert "no Cryptomatte object pass, so part Part 1" in text and "Enable Passes" in text
    assert "the whole picture is taken as garment" in text
    # What shall be protected is not changed just because it cannot be found.
    garment_scene.make_real.masks.parts[0].role = "PROTECTED"
    refused = problem(addon, garment_scene)
    assert (refused.code, "Part 1" in refused.detail) == ("no_mask_passes", True)


def test_an_image_serves_without_passes(addon: Callable, garment_scene: bpy.types.Scene) -> None:
    garment_scene.view_layers[0].use_pass_cryptomatte_object = False
    garment_scene.view_layers[0].use_pass_cryptomatte_material = False
    bpy.ops.render.render()
    values = np.linspace(0, 1, 48 * 64).reshape(48, 64)
    pick(garment_scene, image_of(values))
    found = planes(addon, garment_scene)
    # The image has eight bits.
    assert np.abs(found["garment"] / 65535 - values).max() < 1 / 255
    pick(garment_scene, image_of(np.ones((48, 64)), "Cut out", alpha=values), role="PROTECTED")
    assert np.abs(planes(addon, garment_scene)["protected"] / 65535 - values).max() < 1 / 255


@pytest.mark.parametrize("fault", ["another size", "no pixels"])
def test_an_image_that_does_not_serve_is_named(
    addon: Callable, garment_scene: bpy.types.Scene, fault: str
) -> None:
    if fault == "another size":
        pick(garment_scene, image_of(np.ones((24, 32))))
        refused = problem(addon, garment_scene)
        assert refused.code == "mask_size"
        assert refused.detail == "Painted of part Part 1: 32 x 24, the render: 64 x 48"
        return
    image = bpy.data.images.new("Lost", 4, 4)
    image.source, image.filepath = "FILE", "/nowhere/lost.png"
    image.reload()
    pick(garment_scene, image)
    refused = problem(addon, garment_scene)
    assert (refused.code, "Lost" in refused.detail) == ("picture_unreadable", True)


def hide(scene: bpy.types.Scene, how: str) -> tuple[bpy.types.ID | None, str]:
    """Something that cannot be seen, and what is to be said about it."""
    left = bpy.data.objects[LEFT]
    thing = bpy.data.objects.new("Behind", left.data)
    match how:
        case "behind":
            scene.collection.objects.link(thing)
            thing.location.z = -50.0
            thing.scale = (0.01, 0.01, 0.01)
            return thing, "it is not in view"
        case "unlinked":
            return thing, "Behind is in no collection that is rendered"
        case "hidden":
            scene.collection.objects.link(thing)
            thing.hide_render = True
            return thing, "Behind is hidden in renders"
        case "in a hidden collection":
            collection = bpy.data.collections.new("Away")
            scene.collection.children.link(collection)
            collection.objects.link(thing)
            collection.hide_render = True
            return thing, "Behind is in no collection that is rendered"
        case "empty collection":
            return bpy.data.collections.new("Rack"), "the collection Rack is empty"
        case "unused material":
            return bpy.data.materials.new("Wool"), "no rendered object has the material Wool"
        case "black image":
            return image_of(np.zeros(SIZE), "Black"), "the image Black is black"
        case "unknown name":
            return None, "no object or material is called Nobody*"
        case "nothing":
            return None, "nothing is picked in it"
    raise AssertionError(how)


HIDDEN = (
    "behind",
    "unlinked",
    "hidden",
    "in a hidden collection",
    "empty collection",
    "unused material",
    "black image",
    "unknown name",
    "nothing",
)


@pytest.mark.parametrize("how", HIDDEN)
def test_an_empty_part_is_named_with_its_reason(
    addon: Callable, garment_scene: bpy.types.Scene, how: str
) -> None:
    thing, reason = hide(garment_scene, how)
    part = pick(garment_scene, *([thing] if thing else []))
    if how == "unknown name":
        item = part.picks.add()
        item.kind, item.names = "NAMES", "Nobody*"
    refused = problem(addon, garment_scene)
    assert refused.code == "empty_mask"
    assert refused.detail == f"Part Part 1 is empty: {reason}"
    # Beside a part that is seen it is no error, but it is said.
    pick(garment_scene, bpy.data.objects[RIGHT])
    assert masks(addon, garment_scene).remarks == (f"Part Part 1 is empty: {reason}",)


def test_a_deleted_pick(addon: Callable, garment_scene: bpy.types.Scene) -> None:
    gone = bpy.data.objects.new("Gone", None)
    pick(garment_scene, gone)
    bpy.data.objects.remove(gone)
    assert "its object was deleted or not chosen yet" in problem(addon, garment_scene).detail


def test_another_size_than_the_picture(addon: Callable, garment_scene: bpy.types.Scene) -> None:
    pick(garment_scene, bpy.data.objects[LEFT])
    assert problem(addon, garment_scene, (40, 64)).code == "no_mask_passes"


def test_4k_with_six_levels_is_decoded_in_short_slices(addon: Callable) -> None:
    """Three passes of two ranks, twice, for eight parts: no slice may cost a tick, and the sum is right."""
    height, width = 2160, 3840
    cryptomatte, picked = addon("masks.cryptomatte"), addon("masks.picked")
    names = [f"Thing {number}" for number in range(64)]
    ids = np.array([cryptomatte.name_id(name) for name in names], np.uint32).view(np.float32)
    index = np.arange(width) * len(names) // width
    row = ids[index]
    channels = {}
    for layer in cryptomatte.Layer:
        for number in range(3):
            for component, values in (
                ("r", row),
                ("g", np.full(width, 0.25 if number < 2 else 0.0, np.float16)),
                ("b", np.roll(row, 7 + number)),
                ("a", np.full(width, 0.25 if number < 2 else 0.0, np.float16)),
            ):
                name = f"ViewLayer.{layer.value}0{number}.{component}"
                channels[name] = np.ascontiguousarray(np.broadcast_to(values, (height, width)))
    none: frozenset[str] = frozenset()
    parts = [
        picked.Part(
            name=str(number),
            role=picked.Role.GARMENT,
            strength=1.0,
            names={
                cryptomatte.Layer.OBJECT: frozenset(names[number::8]),
                cryptomatte.Layer.MATERIAL: none,
            },
        )
        for number in range(7)
    ]
    parts.append(
        picked.Part(
            "8",
            picked.Role.FREE,
            0.5,
            {cryptomatte.Layer.OBJECT: none, cryptomatte.Layer.MATERIAL: frozenset(names[7::8])},
        )
    )
    steps = addon("masks.planes").decode(parts, channels, (height, width))
    durations = []
    while True:
        start = time.thread_time()
        try:
            next(steps)
        except StopIteration as end:
            found = end.value.planes
            break
        durations.append(time.thread_time() - start)
    print(f"{len(durations)} slices, {sum(durations):.2f} s, p99 {np.quantile(durations, 0.99) * 1e3:.2f} ms")
    # A tick looks at the clock between slices. Processor time, since the machine has other work too.
    assert np.quantile(durations, 0.9) < addon("session.pump").TICK_BUDGET_S
    total = found["garment"].astype(int) + found["free"]
    assert np.abs(total - 65535).max() <= 1, "every pixel belongs to a part"
    assert (found["free"][0][index % 8 == 7][200:-200] > 0).any()
