# SPDX-License-Identifier: GPL-3.0-or-later
"""A finished picture comes home: first to the disk, then into the Image Editor and the compositor."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import bpy
import numpy as np

from .. import compat, compositor, holding, pace
from ..protocol import MakeRealError
from . import editors, exr_encode, png, recovery, render_state, tiff, view_transform
from . import files as picture_files
from .files import ResultPaths
from .source import Source


@dataclass(frozen=True)
class Destination:
    """Where a result belongs, as it was when Make Real was clicked.

    Args:
        folder: Folder for its files.
        blend_file: The blend file, empty when it was never saved.
        scene: Name of the scene.
        scene_uid: What Blender tells it by until the file is closed, whatever its name is.
        frame: Frame that was rendered.
        view: How the scene was shown.
        source: The render that was sent; None when its light is not at hand.
        garment: (height, width) uint16 coverage of the garment, None when nothing was picked.
        use_compositor: Whether the result is wanted in the compositor.
    """

    folder: Path
    blend_file: str
    scene: str
    scene_uid: int
    frame: int
    view: view_transform.View
    source: Source | None
    garment: np.ndarray | None
    use_compositor: bool


@dataclass(frozen=True)
class Picture:
    """What came from the backend: the display picture, and what the protocol's `Result` says about it."""

    image: np.ndarray
    recipe: Mapping[str, Any]
    report: Mapping[str, float]
    seconds: Mapping[str, float]


Record = Callable[[ResultPaths, Picture], Iterator[None]]
"""Takes a result into the scene's history once its files are written; raises MakeRealError like `store`."""


def destination(
    scene: bpy.types.Scene, folder: Path, garment: np.ndarray | None, source: Source | None = None
) -> Destination:
    """Where a result of the scene belongs.

    Args:
        folder: Of the scene's history.
        garment, source: As in `Destination`.
    """
    return Destination(
        folder=folder,
        blend_file=bpy.data.filepath,
        scene=scene.name,
        scene_uid=scene.session_uid,
        frame=render_state.frame(scene),
        view=view_transform.of_scene(scene),
        source=source,
        garment=garment,
        use_compositor=scene.make_real.use_compositor and source is not None,
    )


def prepare(target: Destination) -> Generator[None, None, None]:
    """What of `store` needs no result, with pauses."""
    if target.use_compositor:
        yield from recovery.prepare(target.source)


def store(
    target: Destination, picture: Picture, newest: int, record: Record, preparing: Iterator[None]
) -> Generator[str | None, None, MakeRealError | None]:
    """Write the result's files, then show it. Pauses between steps of a millisecond or so; Blender's decoding of the
    picture is one step however large it is. Once the files are written it also waits for what holds Blender's data,
    and says what that is.

    Args:
        newest: As in `files.reserve`.
        preparing: What `prepare` returned, wherever it stands.

    Returns:
        None, or why the picture, which is safe and shown, is not in the compositor: UNSUPPORTED_VIEW,
        COMPOSITOR_LOCKED, DISK_FULL.

    Raises:
        MakeRealError: DISK_FULL: the picture is not on the disk, and nothing was shown.
    """
    paths = picture_files.reserve(target.folder, newest)
    recipe = _recipe(target, picture)
    with tempfile.TemporaryDirectory(prefix="make_real_") as folder:
        quick = Path(folder) / "shown.tif"
        try:
            texts = {"make_real": recipe, **png.MACHINE_MADE}
            yield from picture_files.write(paths.display, png.encode(picture.image, texts))
            if target.garment is not None:
                yield from picture_files.write(paths.mask, png.encode(target.garment, {}))
            yield from picture_files.write(paths.recipe, [recipe.encode("utf-8")])
            yield from picture_files.write_for_now(quick, tiff.encode(picture.image))
            yield from record(paths, picture)
        except (MakeRealError, GeneratorExit):
            for path in picture_files.every_file(paths):
                path.unlink(missing_ok=True)
            raise
        yield from pace.next_tick()
        yield from holding.until_free()
        yield from _show(target, picture, paths, quick)
        yield from picture_files.shrink(quick)
    yield
    if not target.use_compositor:
        return None
    try:
        yield from preparing
        yield from _write_linear(paths, target, picture, recipe)
        yield from compositor.insert(lambda: scene_of(target), paths, target.frame)
        yield from _undo_step(target, "Make Real in Compositor")
    except MakeRealError as problem:
        return problem
    return None


def _recipe(target: Destination, picture: Picture) -> str:
    scene = {"blend_file": Path(target.blend_file).name, "scene": target.scene, "frame": target.frame}
    blender = {"version": bpy.app.version_string, "view": asdict(target.view), **scene}
    content = {
        "format": 1,
        "recipe": dict(picture.recipe),
        "report": dict(picture.report),
        "seconds": dict(picture.seconds),
        "blender": blender,
    }
    return json.dumps(content, ensure_ascii=False, indent=1, default=_as_text)


def _as_text(value: object) -> str:
    """Digests are bytes on the wire; a recipe is for people."""
    return value.hex() if isinstance(value, bytes) else str(value)


def _write_linear(paths: ResultPaths, target: Destination, picture: Picture, recipe: str) -> Iterator[None]:
    height, width, channels = picture.image.shape
    lines = recovery.lines(picture.image, target.source)
    space = compat.SCENE_LINEAR_IDS.get(target.source.space)
    texts = {"make_real": recipe, **({"colorInteropID": space} if space else {})}
    yield from picture_files.write(
        paths.linear, exr_encode.encode(lines, "RGBA"[:channels], (height, width), texts)
    )


def scene_of(target: Destination) -> bpy.types.Scene | None:
    """The scene that a result belongs to, None when it is not open any more.

    It is the same scene after undo, under a new name and in a file that was saved elsewhere; and by its name it is
    found in the same file that was opened again.
    """
    for scene in bpy.data.scenes:
        if scene.session_uid == target.scene_uid:
            return scene
    is_same_file = target.blend_file and bpy.data.filepath == target.blend_file
    return bpy.data.scenes.get(target.scene) if is_same_file else None


def _show(target: Destination, picture: Picture, paths: ResultPaths, quick: Path) -> Iterator[str | None]:
    """Everything but Blender's decoding of the picture in a step of its own."""
    scene = scene_of(target)
    if scene is None:
        return
    previous = show(scene, paths, tuple(map(str, picture.recipe.get("warnings", ()))), quick)
    yield from pace.next_tick()
    drop_unseen(previous)
    yield from _undo_step(target, "Make Real Result")


def _undo_step(target: Destination, message: str) -> Iterator[str | None]:
    yield from pace.next_tick()
    yield from holding.until_free()
    # Unless the artist has opened another file since the step before.
    if scene_of(target):
        push_undo(message)
    yield


def show(
    scene: bpy.types.Scene, paths: ResultPaths, warnings: Sequence[str], quick: Path | None = None
) -> int | None:
    """Make a result the scene's shown one.

    Args:
        quick: As in `open_picture`.

    Returns:
        The picture that was shown before, for `drop_unseen`.
    """
    previous = scene.make_real.result
    image = open_picture(scene, paths.display, f"Make Real {paths.number:04}", warnings, quick)
    scene.make_real.result = image
    return previous.session_uid if previous else None


def drop_unseen(uid: int | None) -> None:
    """Remove an image of ours that nobody shows or keeps: it is on the disk and in the history; in Blender's memory it
    would stay until the end.

    Args:
        uid: Its `session_uid`, since the image itself may be gone by now.
    """
    for image in bpy.data.images:
        if image.session_uid == uid and image.users == 0:
            bpy.data.images.remove(image)
            return


def open_picture(
    scene: bpy.types.Scene,
    path: Path,
    name: str,
    warnings: Sequence[str] = (),
    quick: Path | None = None,
) -> bpy.types.Image:
    """Open a display picture in the scene's Image Editors that show the render or another picture of ours.

    An editor that the artist has pinned keeps its picture.

    Args:
        quick: The same picture as `tiff` writes it. Blender decodes this one, and remembers `path`, which it
            decodes when it reads the picture anew: after the blend file was opened again, for example.
    """
    image = bpy.data.images.load(picture_files.blender_path(quick or path), check_existing=True)
    image.name = name
    image.colorspace_settings.name = view_transform.color_space(scene)
    if quick:
        # Blender decodes a picture when it is first asked for its pixels.
        image.update()
        image.filepath_raw = picture_files.blender_path(path)
    image[editors.WARNINGS] = "\n".join(warnings)
    for space in editors.following(scene):
        space.image = image
    return image


def push_undo(message: str) -> None:
    """Make what was done a step of its own in Blender's undo: else the next undo would silently take it with it."""
    with bpy.context.temp_override(window=next(iter(bpy.context.window_manager.windows), None)):
        # Without a window Blender keeps no undo.
        if bpy.ops.ed.undo_push.poll():
            bpy.ops.ed.undo_push(message=message)
