# SPDX-License-Identifier: GPL-3.0-or-later
"""What the panel knows of the histories: read from the disk when something happened, never while drawing.

Blender's lists need properties to show: the window manager, which neither undo nor the blend file's scenes touch,
holds one shelf for each history, with the entries' numbers. Everything else comes from the copy in memory.
"""

from pathlib import Path

import bpy
import bpy.utils.previews
import numpy as np
from bpy.app.handlers import persistent
from bpy.props import CollectionProperty, IntProperty, StringProperty

from ..picture.files import ResultPaths
from ..picture.results import Destination
from ..protocol import MakeRealError
from . import index, places
from .index import Entry, History
from .recorder import write_events

_histories: dict[str, tuple[Path, History]] = {}
"""History's id -> its folder and content."""
_previews: bpy.utils.previews.ImagePreviewCollection | None = None


class HistoryItem(bpy.types.PropertyGroup):
    """One line of the list; `name` is what the list's search looks through."""

    number: IntProperty(name="Number", description="Number of the result's files")
    history: StringProperty(name="History", description="Id of the history that it belongs to")
    rating: IntProperty(
        name="Rating",
        description="How much you like this picture, 0 to 5",
        min=0,
        max=index.MAX_RATING,
        get=lambda item: _value(item, "rating", 0),
        set=lambda item, value: _write(item, index.rated(item.number, value)),
    )
    notes: StringProperty(
        name="Notes",
        description="Your own words about this picture; the list's search finds them",
        get=lambda item: _value(item, "notes", ""),
        set=lambda item, value: _write(item, index.noted(item.number, value)),
    )


class HistoryShelf(bpy.types.PropertyGroup):
    """The list of one history; `name` is the history's id."""

    entries: CollectionProperty(
        type=HistoryItem, name="Entries", description="The results of this history, the newest first"
    )
    active: IntProperty(name="Entry", description="The result that the buttons below act on")
    problem: StringProperty(name="Problem", description="What could not be read or written")


def _value(item: HistoryItem, name: str, missing: object) -> object:
    _folder, history = _histories.get(item.history, (None, History()))
    entry = history.entries.get(item.number)
    return getattr(entry, name) if entry else missing


def _write(item: HistoryItem, event: index.Event) -> None:
    folder, _history = _histories[item.history]
    try:
        write_events(folder, event)
        content = index.read(folder)
    except (MakeRealError, OSError, ValueError) as problem:
        # A property's setter has no operator that could report.
        _shelves()[item.history].problem = str(problem)
        return
    _histories[item.history] = (folder, content)
    if made := content.entries.get(item.number):
        _describe(item, made)


def _describe(item: HistoryItem, made: Entry) -> None:
    item.name = f"{made.number:04} {made.request.get('model', '')} {made.cell} {made.notes}"


def _shelves() -> bpy.types.bpy_prop_collection:
    return bpy.context.window_manager.make_real_shelves


# What draws


def of_scene(scene: bpy.types.Scene) -> HistoryShelf | None:
    """The scene's list, None before its first result."""
    return _shelves().get(scene.make_real_history.history)


def history(scene: bpy.types.Scene) -> History:
    """The scene's history as it was last read."""
    return _histories.get(scene.make_real_history.history, (None, History()))[1]


def entry(scene: bpy.types.Scene, number: int) -> Entry | None:
    """An entry of the scene's history as it was last read."""
    return history(scene).entries.get(number)


def active(scene: bpy.types.Scene) -> Entry | None:
    """The entry that is marked in the scene's list."""
    shelf = of_scene(scene)
    if shelf is None or not 0 <= shelf.active < len(shelf.entries):
        return None
    return entry(scene, shelf.entries[shelf.active].number)


def folder_of(scene: bpy.types.Scene) -> Path:
    """Where the scene's history was when it was last read."""
    return _histories[scene.make_real_history.history][0]


def files_of(scene: bpy.types.Scene, number: int) -> ResultPaths:
    """Where an entry's files are."""
    return ResultPaths(folder_of(scene), number)


def icon(scene: bpy.types.Scene, number: int) -> int:
    """The entry's thumbnail, 0 without one."""
    preview = _previews.get(str(files_of(scene, number).thumbnail)) if _previews else None
    return preview.icon_id if preview else 0


# What reads the disk


def refresh(scene: bpy.types.Scene) -> None:
    """Read the scene's history again."""
    if places.is_missing(scene):
        shelf = _shelf(scene.make_real_history.history)
        shelf.problem = f"{_where_it_was(scene)}: move it back, or the next picture begins a new one"
        return
    folder = places.folder(scene)
    try:
        content = index.read(folder)
    except (OSError, ValueError) as error:
        identity = scene.make_real_history.history
        if identity:
            _shelf(identity).problem = f"{folder / index.FILE}: {error}"
        return
    if not content.history:
        return
    if scene.is_editable:
        places.point(scene, folder)
    known = _histories.get(content.history, (None, History()))
    _histories[content.history] = (folder, content)
    shelf = _shelf(content.history)
    shelf.problem = f"{content.unreadable} lines of {index.FILE} cannot be read" if content.unreadable else ""
    _list(shelf, content, known[1])
    _load_thumbnails(folder, content, known)


def _where_it_was(scene: bpy.types.Scene) -> str:
    return f"The history is not at {bpy.path.abspath(scene.make_real_history.folder)} any more"


def _shelf(identity: str) -> HistoryShelf:
    shelf = _shelves().get(identity)
    if shelf is None:
        shelf = _shelves().add()
        shelf.name = identity
    return shelf


def _list(shelf: HistoryShelf, content: History, known: History) -> None:
    """List the newest first; the marked entry stays marked, unless the newest was marked and a newer one came.

    Args:
        known: What was listed before. Only what is new since is touched: to list hundreds again takes too long.
    """
    marked = shelf.entries[shelf.active].number if 0 < shelf.active < len(shelf.entries) else None
    listed = np.empty(len(shelf.entries), np.int32)
    shelf.entries.foreach_get("number", listed)
    for position in reversed(range(len(listed))):
        if listed[position] not in content.entries:
            shelf.entries.remove(position)
    numbers = [number for number in listed.tolist() if number in content.entries]
    shelf.active = 0
    for position, made in enumerate(reversed(content.entries.values())):
        is_new = position == len(numbers) or numbers[position] != made.number
        if is_new:
            shelf.entries.add()
            shelf.entries.move(len(numbers), position)
            numbers.insert(position, made.number)
        if is_new or made is not known.entries.get(made.number):
            item = shelf.entries[position]
            item.number, item.history = made.number, content.history
            _describe(item, made)
        if made.number == marked:
            shelf.active = position


def _load_thumbnails(folder: Path, content: History, known: tuple[Path | None, History]) -> None:
    for number in content.entries if folder != known[0] else content.entries.keys() - known[1].entries.keys():
        thumbnail = ResultPaths(folder, number).thumbnail
        if _previews is not None and str(thumbnail) not in _previews and thumbnail.exists():
            _previews.load(str(thumbnail), str(thumbnail), "IMAGE")


def refresh_all() -> None:
    """Read the histories of every scene of the file."""
    for scene in bpy.data.scenes:
        refresh(scene)


def refresh_soon() -> None:
    """For `draw`, which may neither read the disk nor write properties."""
    if not bpy.app.timers.is_registered(refresh_all):
        bpy.app.timers.register(refresh_all)


def tell(scene: bpy.types.Scene, problem: str) -> None:
    """Show a problem in the scene's list, if it has one."""
    shelf = of_scene(scene)
    if shelf is not None:
        shelf.problem = problem


def result_arrived(target: Destination) -> None:
    """A job's result was stored: list it, if its scene is still open."""
    scene = bpy.data.scenes.get(target.scene)
    if scene is not None and scene.is_editable and places.folder(scene) == target.folder:
        gone = _where_it_was(scene) if places.is_missing(scene) else ""
        if gone:
            places.point(scene, target.folder)
        refresh(scene)
        shelf = of_scene(scene)
        if shelf is not None:
            shelf.active = 0
            shelf.problem = shelf.problem or (gone and f"{gone}: this is a new one")


@persistent
def _after_load(*_unused: object) -> None:
    """Another file, whose window manager may hold lists of its own."""
    _histories.clear()
    refresh_all()


@persistent
def _after_undo(*_unused: object) -> None:
    """It may have brought an old pointer back."""
    refresh_all()


_HANDLERS = (
    (bpy.app.handlers.load_post, _after_load),
    (bpy.app.handlers.undo_post, _after_undo),
    (bpy.app.handlers.redo_post, _after_undo),
)


def register() -> None:
    """Make the list known to Blender."""
    global _previews
    bpy.utils.register_class(HistoryItem)
    bpy.utils.register_class(HistoryShelf)
    bpy.types.WindowManager.make_real_shelves = CollectionProperty(type=HistoryShelf)
    _previews = bpy.utils.previews.new()
    for handlers, handler in _HANDLERS:
        handlers.append(handler)


def unregister() -> None:
    """Take it back."""
    global _previews
    for handlers, handler in _HANDLERS:
        handlers.remove(handler)
    if bpy.app.timers.is_registered(refresh_all):
        bpy.app.timers.unregister(refresh_all)
    bpy.utils.previews.remove(_previews)
    _previews = None
    _histories.clear()
    del bpy.types.WindowManager.make_real_shelves
    bpy.utils.unregister_class(HistoryShelf)
    bpy.utils.unregister_class(HistoryItem)
