# SPDX-License-Identifier: GPL-3.0-or-later
"""What can be done with an earlier result."""

from typing import ClassVar

import bpy
from bpy.props import BoolProperty, IntProperty

from .. import properties, tickets
from ..picture import files, results
from ..protocol import ErrorCode, MakeRealError
from ..session import pump
from ..session.state import can_translate
from . import freshness, index, kept_renders, places, shelf
from .index import Entry
from .recorder import write_events


class _OnEntry:
    """Mixin: acts on one entry of the scene's history, the marked one unless a number is given."""

    number: IntProperty(
        name="Number",
        description="Number of the result; 0: the one that is marked in the list",
        default=0,
        min=0,
        options={"SKIP_SAVE"},
    )

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        """Whether there is a history."""
        if shelf.history(context.scene).entries:
            return True
        cls.poll_message_set("This scene has no results yet: click Make Real first")
        return False

    def execute(self, context: bpy.types.Context) -> set[str]:
        """Find the entry and act; say what went wrong."""
        scene = context.scene
        entry = shelf.entry(scene, self.number) if self.number else shelf.active(scene)
        if entry is None:
            self.report({"ERROR"}, f"The history has no result {self.number or 'marked'}")
            return {"CANCELLED"}
        try:
            return self.act(context, entry)
        except MakeRealError as problem:
            self.report({"ERROR"}, problem.message)
            return {"CANCELLED"}


class HistoryShow(_OnEntry, bpy.types.Operator):
    """Open this result in the Image Editor"""

    bl_idname = "make_real.history_show"
    bl_label = "Show"
    bl_options: ClassVar = {"REGISTER", "UNDO"}

    def act(self, context: bpy.types.Context, entry: Entry) -> set[str]:
        """Show it in the place of the result that is shown now."""
        paths = shelf.files_of(context.scene, entry.number)
        if not paths.display.exists():
            raise MakeRealError(ErrorCode.PICTURE_UNREADABLE, f"{paths.display} is not there any more")
        results.drop_unseen(results.show(context.scene, paths, entry.warnings))
        return {"FINISHED"}


class HistoryUseSettings(_OnEntry, bpy.types.Operator):
    """Set the scene's settings to those that this result was made with"""

    bl_idname = "make_real.history_use_settings"
    bl_label = "Use These Settings"
    bl_options: ClassVar = {"REGISTER", "UNDO"}

    def act(self, context: bpy.types.Context, entry: Entry) -> set[str]:
        """Copy every field of its request."""
        properties.apply(properties.request_of(entry.request), context.scene.make_real)
        return {"FINISHED"}


class HistoryReproduce(_OnEntry, bpy.types.Operator):
    """Make this result again from the render that was kept with it, and compare the two byte for byte"""

    bl_idname = "make_real.history_reproduce"
    bl_label = "Reproduce"

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        """Whether a job would be taken."""
        if not can_translate(pump.session()):
            cls.poll_message_set("Make Real is working on a picture; wait for it or cancel it")
            return False
        return super().poll(context)

    def act(self, context: bpy.types.Context, entry: Entry) -> set[str]:
        """Submit the kept render with the same request."""
        request = properties.request_of(entry.request)
        collecting = tickets.single(tickets.recollect(context.scene, entry), request, reproduces=entry)
        pump.conductor().translate(collecting, tickets.label(context.scene))
        pump.wake()
        return {"FINISHED"}


class HistoryRate(_OnEntry, bpy.types.Operator):
    """Rate this result; the same star again takes the rating back"""

    bl_idname = "make_real.history_rate"
    bl_label = "Rate"

    rating: IntProperty(name="Rating", description="Stars, 0 to 5", min=0, max=index.MAX_RATING)

    def act(self, context: bpy.types.Context, entry: Entry) -> set[str]:
        """Write it down."""
        rating = 0 if entry.rating == self.rating else self.rating
        write_events(places.folder(context.scene), index.rated(entry.number, rating))
        shelf.refresh(context.scene)
        return {"FINISHED"}


class HistoryReveal(_OnEntry, bpy.types.Operator):
    """Open the folder that holds this result's files"""

    bl_idname = "make_real.history_reveal"
    bl_label = "Open Folder"

    def act(self, context: bpy.types.Context, entry: Entry) -> set[str]:
        """Open it in the system's file browser."""
        bpy.ops.wm.path_open(filepath=str(shelf.files_of(context.scene, entry.number).folder))
        return {"FINISHED"}


class HistoryRemove(_OnEntry, bpy.types.Operator):
    """Take this result off the list; its files stay on the disk unless you ask for more"""

    bl_idname = "make_real.history_remove"
    bl_label = "Remove from History"

    delete_files: BoolProperty(
        name="Delete Its Files Too",
        description="Delete the picture, its recipe and, if no other result needs it, the kept render. "
        "This cannot be undone",
        default=False,
        options={"SKIP_SAVE"},
    )

    def invoke(self, context: bpy.types.Context, event: bpy.types.Event) -> set[str]:
        """Ask first."""
        return context.window_manager.invoke_props_dialog(self)

    def act(self, context: bpy.types.Context, entry: Entry) -> set[str]:
        """Remove the entry, then its files if that was asked for."""
        folder = places.folder(context.scene)
        write_events(folder, index.removed(entry.number))
        shelf.refresh(context.scene)
        if self.delete_files:
            for path in files.every_file(files.ResultPaths(folder, entry.number)):
                path.unlink(missing_ok=True)
            others = shelf.history(context.scene).entries.values()
            if all(other.render != entry.render for other in others):
                kept_renders.discard(folder, entry.render)
        return {"FINISHED"}


class HistoryRefresh(bpy.types.Operator):
    """Read the history from the disk again, and compare it with the newest render"""

    bl_idname = "make_real.history_refresh"
    bl_label = "Refresh History"

    def execute(self, context: bpy.types.Context) -> set[str]:
        """Read it."""
        freshness.compare_renders()
        shelf.refresh(context.scene)
        return {"FINISHED"}


class HistoryBegin(bpy.types.Operator):
    """Begin a new history for this scene beside this blend file; the old one stays on the disk"""

    bl_idname = "make_real.history_begin"
    bl_label = "Begin New History"
    bl_options: ClassVar = {"REGISTER", "UNDO"}

    def execute(self, context: bpy.types.Context) -> set[str]:
        """Let go of the old one."""
        try:
            places.begin(context.scene)
        except MakeRealError as problem:
            self.report({"ERROR"}, problem.message)
            return {"CANCELLED"}
        shelf.refresh(context.scene)
        return {"FINISHED"}


CLASSES = (
    HistoryShow,
    HistoryUseSettings,
    HistoryReproduce,
    HistoryRate,
    HistoryReveal,
    HistoryRemove,
    HistoryRefresh,
    HistoryBegin,
)

register, unregister = bpy.utils.register_classes_factory(CLASSES)
