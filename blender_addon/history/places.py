# SPDX-License-Identifier: GPL-3.0-or-later
"""Where a scene's history is: beside the blend file, or in the extension's own folder until it is saved.

The blend file holds only a pointer. A history that the pointer leads to is the right one if it has the
pointer's id, so that a scene appended to another file finds its own history and not the other file's.
"""

import contextlib
import os
import shutil
import uuid
from collections.abc import Iterator
from pathlib import Path

import bpy
from bpy.app.handlers import persistent
from bpy.props import PointerProperty, StringProperty

from .. import compat
from ..picture.files import blender_path
from ..session import pump
from ..session.state import STORING
from . import index
from .recorder import write_events

BESIDE_BLEND_FILE = "make_real"
FORWARD = "moved_to.txt"
"""Left where a history was: an undo may bring the old pointer back, and a file may hold it for ever."""

_unsaved = uuid.uuid4().hex
"""Names the folder of the file that was never saved."""


class HistoryPointer(bpy.types.PropertyGroup):
    """Where a scene's history is (`scene.make_real_history`)."""

    history: StringProperty(name="History", description="Id of the history that belongs to this scene")
    folder: StringProperty(name="Folder", description="The history's folder, relative to the blend file")
    known_folder: StringProperty(
        name="Known Folder", description="Where the history was last found; an appended scene has only this"
    )


def folder(scene: bpy.types.Scene) -> Path:
    """Where the scene's history is, or will be once it has one. Reads the disk."""
    pointer = scene.make_real_history
    if pointer.history:
        for remembered in (pointer.folder, pointer.known_folder):
            place = follow(Path(os.path.normpath(bpy.path.abspath(remembered))))
            if index.read_id(place) == pointer.history:
                return place
    return follow(_default(scene))


def _default(scene: bpy.types.Scene) -> Path:
    name = bpy.path.clean_name(scene.name)
    if bpy.data.filepath:
        return Path(bpy.data.filepath).parent / BESIDE_BLEND_FILE / name
    return _unsaved_root() / _unsaved / name


def _unsaved_root() -> Path:
    return Path(bpy.utils.extension_path_user(compat.EXTENSION, path="results", create=True))


def follow(place: Path) -> Path:
    """Where a folder is by now."""
    seen = set()
    while place not in seen:
        seen.add(place)
        with contextlib.suppress(OSError):
            place = Path((place / FORWARD).read_text(encoding="utf-8"))
    return place


def is_missing(scene: bpy.types.Scene) -> bool:
    """Whether the scene had a history that is not found any more. Reads the disk."""
    wanted = scene.make_real_history.history
    return bool(wanted) and index.read_id(folder(scene)) != wanted


def point(scene: bpy.types.Scene, place: Path) -> None:
    """Let the scene point to a history; writes nothing when it does so already."""
    values = {"history": index.read_id(place), "folder": blender_path(place), "known_folder": str(place)}
    for name, value in values.items():
        if getattr(scene.make_real_history, name) != value:
            setattr(scene.make_real_history, name, value)


def begin(scene: bpy.types.Scene) -> None:
    """Begin a new history for the scene, beside its own blend file; the old one stays where it is.

    Raises:
        MakeRealError: DISK_FULL, naming the file.
    """
    place = _free(_default(scene))
    write_events(place)
    point(scene, place)


# Saving


@persistent
def _before_save(filepath: str, _unused: object = None) -> None:
    """The first save brings what the unsaved file has made beside it; every save points from the new place."""
    if not filepath:
        # The startup file.
        return
    beside = Path(filepath).parent
    for scene, place in _scenes_with_history():
        if place.is_relative_to(_unsaved_root()) and not _is_being_written():
            place = _move(place, beside / BESIDE_BLEND_FILE)
        pointer = scene.make_real_history
        pointer.known_folder = str(place)
        pointer.folder = _relative(place, beside)


@persistent
def _after_save(filepath: str, _unused: object = None) -> None:
    """After a copy, or a save that failed, the open file is still the old one."""
    if filepath and bpy.data.filepath != filepath:
        for scene, place in _scenes_with_history():
            point(scene, place)


def _scenes_with_history() -> Iterator[tuple[bpy.types.Scene, Path]]:
    for scene in bpy.data.scenes:
        pointer = scene.make_real_history
        if scene.is_editable and pointer.history and not is_missing(scene):
            yield scene, folder(scene)


def _is_being_written() -> bool:
    job = pump.session().job
    return job is not None and job.stage == STORING


def _relative(place: Path, beside: Path) -> str:
    try:
        return bpy.path.relpath(str(place), start=str(beside))
    except ValueError:
        # Another drive of Windows.
        return str(place)


def _move(place: Path, parent: Path) -> Path:
    """Move a history; nothing that is there already is overwritten. It stays where it is if that fails."""
    target = _free(parent / place.name)
    try:
        parent.mkdir(parents=True, exist_ok=True)
        shutil.move(place, target)
    except OSError as error:
        print(f"Make Real: the results stay in {place}: {error}")
        return place
    place.mkdir()
    (place / FORWARD).write_text(str(target), encoding="utf-8")
    _repoint_images(place, target)
    return target


def _free(place: Path) -> Path:
    """The place, or one with a number behind its name if there is something already."""
    number, free = 2, place
    while free.exists():
        number, free = number + 1, place.with_name(f"{place.name}_{number}")
    return free


def _repoint_images(old: Path, new: Path) -> None:
    for image in bpy.data.images:
        path = Path(bpy.path.abspath(image.filepath))
        if image.filepath and path.is_relative_to(old):
            image.filepath_raw = str(new / path.relative_to(old))


@persistent
def _after_load(*_unused: object) -> None:
    global _unsaved
    _unsaved = uuid.uuid4().hex


_HANDLERS = (
    (bpy.app.handlers.save_pre, _before_save),
    (bpy.app.handlers.save_post, _after_save),
    (bpy.app.handlers.save_post_fail, _after_save),
    (bpy.app.handlers.load_post, _after_load),
)


def register() -> None:
    """Give every scene a pointer."""
    _after_load()
    bpy.utils.register_class(HistoryPointer)
    bpy.types.Scene.make_real_history = PointerProperty(type=HistoryPointer)
    for handlers, handler in _HANDLERS:
        handlers.append(handler)


def unregister() -> None:
    """Take the pointers back; what a blend file holds of them stays in it."""
    for handlers, handler in _HANDLERS:
        handlers.remove(handler)
    del bpy.types.Scene.make_real_history
    bpy.utils.unregister_class(HistoryPointer)
