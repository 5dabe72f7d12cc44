# SPDX-License-Identifier: GPL-3.0-or-later
"""What the artist can click. Each operator checks, calls one plain function and reports."""

from typing import ClassVar

import bpy
from bpy.props import BoolProperty, FloatProperty

from . import compositor, properties, tickets
from .backend import places
from .protocol import MakeRealError
from .session import events as ev
from .session import pump
from .session.state import Phase, can_translate


class Translate(bpy.types.Operator):
    """Turn the finished render into a photograph of the same garment"""

    bl_idname = "make_real.translate"
    bl_label = "Make Real"
    # Blender takes no undo step after a render: without this one, an undo of the result would take the render too.
    bl_options: ClassVar = {"UNDO"}

    wait: BoolProperty(
        name="Wait",
        description="Wait for the picture; only without a window (blender -b)",
        default=False,
        options={"SKIP_SAVE"},
    )
    timeout: FloatProperty(name="Timeout", description="Longest wait in seconds", default=3600.0, min=1.0)

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        """Whether a click would be taken."""
        if can_translate(pump.session()):
            return True
        cls.poll_message_set("Make Real is working on a picture; wait for it or cancel it")
        return False

    def execute(self, context: bpy.types.Context) -> set[str]:
        """Collect and submit."""
        try:
            request = properties.request(context.scene.make_real)
            collecting = tickets.single(tickets.collect(context.scene), request)
        except MakeRealError as problem:
            pump.conductor().dispatch(ev.Failed(problem))
            return _refuse(self, problem)
        pump.conductor().translate(collecting, tickets.label(context.scene))
        pump.wake()
        if self.wait and bpy.app.background:
            pump.run_until_idle(self.timeout)
        problem = pump.session().problem
        return _refuse(self, problem) if problem else {"FINISHED"}


def _refuse(operator: bpy.types.Operator, problem: MakeRealError) -> set[str]:
    operator.report({"ERROR"}, problem.message)
    return {"CANCELLED"}


class Cancel(bpy.types.Operator):
    """Stop the picture that Make Real is working on"""

    bl_idname = "make_real.cancel"
    bl_label = "Cancel"

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        """Whether there is anything to stop."""
        job = pump.session().job
        return job is not None and not job.cancelling

    def execute(self, context: bpy.types.Context) -> set[str]:
        """Ask for it; the backend answers within a step."""
        pump.conductor().dispatch(ev.CancelClicked())
        return {"FINISHED"}


class StartBackend(bpy.types.Operator):
    """Start the backend now, so that the first picture need not wait for it"""

    bl_idname = "make_real.start_backend"
    bl_label = "Start Backend"

    def execute(self, context: bpy.types.Context) -> set[str]:
        """Find it or start it."""
        pump.conductor().dispatch(ev.StartClicked())
        pump.wake()
        session = pump.session()
        is_refused = session.phase in (Phase.NOT_INSTALLED, Phase.STOPPED) and session.problem
        return _refuse(self, session.problem) if is_refused else {"FINISHED"}


class StopBackend(bpy.types.Operator):
    """Stop the backend and free its memory; one that was started outside Blender is only disconnected"""

    bl_idname = "make_real.stop_backend"
    bl_label = "Stop Backend"

    def execute(self, context: bpy.types.Context) -> set[str]:
        """Stop it."""
        pump.conductor().dispatch(ev.StopClicked())
        pump.conductor().look()
        return {"FINISHED"}


class OpenLog(bpy.types.Operator):
    """Open what the backend has printed"""

    bl_idname = "make_real.open_log"
    bl_label = "Open Log"

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        """Whether the backend was ever started from here."""
        return places.log_path().exists()

    def execute(self, context: bpy.types.Context) -> set[str]:
        """Open it in the system's viewer."""
        bpy.ops.wm.path_open(filepath=str(places.log_path()))
        return {"FINISHED"}


class OpenPreferences(bpy.types.Operator):
    """Show where the backend is installed and set up"""

    bl_idname = "make_real.open_preferences"
    bl_label = "Open Preferences"

    def execute(self, context: bpy.types.Context) -> set[str]:
        """Open the extension's preferences."""
        bpy.ops.preferences.addon_show(module=__package__)
        return {"FINISHED"}


class RemoveFromCompositor(bpy.types.Operator):
    """Take Make Real's node out of the compositor and link your own nodes as they were"""

    bl_idname = "make_real.remove_from_compositor"
    bl_label = "Remove from Compositor"
    bl_options: ClassVar = {"REGISTER", "UNDO"}

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        """Whether a result stands there."""
        return compositor.is_inserted(context.scene)

    def execute(self, context: bpy.types.Context) -> set[str]:
        """Remove them."""
        compositor.remove(context.scene)
        return {"FINISHED"}


CLASSES = (
    Translate,
    Cancel,
    StartBackend,
    StopBackend,
    OpenLog,
    OpenPreferences,
    RemoveFromCompositor,
)

register, unregister = bpy.utils.register_classes_factory(CLASSES)
