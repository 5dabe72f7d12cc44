# SPDX-License-Identifier: GPL-3.0-or-later
"""What the artist can click about the backend itself."""

from __future__ import annotations

from pathlib import Path

import bpy
from bpy.props import StringProperty
from bpy_extras.io_utils import ImportHelper

from .. import preferences
from ..protocol import ErrorCode, MakeRealError
from ..session import events as ev
from ..session import pump
from . import diagnostics, installation, places, remote


def _refuse(operator: bpy.types.Operator, problem: MakeRealError) -> set[str]:
    pump.conductor().dispatch(ev.Failed(problem))
    operator.report({"ERROR"}, problem.message)
    return {"CANCELLED"}


def install(archive: Path | None) -> None:
    """Start the installation that the preferences ask for.

    Raises:
        MakeRealError: as `Installation.install`; INSTALL_ARCHIVE_REFUSED, ONLINE_ACCESS_OFF.
    """
    chosen = preferences.get()
    home = preferences.home()
    source = archive or home / "archive.json"
    if not installation.is_complete_archive(source) and not bpy.app.online_access:
        raise MakeRealError(ErrorCode.ONLINE_ACCESS_OFF, source.name)
    pump.conductor().dispatch(ev.StopClicked())
    torch = installation.torch_for(chosen.torch)
    pump.installation().install(home, preferences.version(), torch, archive)
    pump.wake()


class _WhenNothingIsInstalled:
    """Mixin: one installation at a time."""

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        """Whether a click would be taken."""
        return pump.installation().progress is None


class InstallBackend(_WhenNothingIsInstalled, ImportHelper, bpy.types.Operator):
    """Install the backend into a folder of its own, from the archive that came with this release"""

    bl_idname = "make_real.install_backend"
    bl_label = "Install Backend"

    filter_glob: StringProperty(
        name="Filter", description="Which files are listed", default="*.zip", options={"HIDDEN"}
    )

    def execute(self, context: bpy.types.Context) -> set[str]:
        """Start; the state line tells how far it is."""
        try:
            install(Path(bpy.path.abspath(self.filepath)))
        except MakeRealError as problem:
            return _refuse(self, problem)
        return {"FINISHED"}


class RepairBackend(_WhenNothingIsInstalled, bpy.types.Operator):
    """Go on with an installation that did not end, or mend one: complete steps are kept"""

    bl_idname = "make_real.repair_backend"
    bl_label = "Repair Backend"

    def invoke(self, context: bpy.types.Context, event: bpy.types.Event) -> set[str]:
        """Without an archive from before, one must be chosen."""
        if not installation.has_archive(preferences.home()):
            return bpy.ops.make_real.install_backend("INVOKE_DEFAULT")
        return self.execute(context)

    def execute(self, context: bpy.types.Context) -> set[str]:
        """Start with what was unpacked before."""
        try:
            install(None)
        except MakeRealError as problem:
            return _refuse(self, problem)
        return {"FINISHED"}


class RemoveBackend(_WhenNothingIsInstalled, bpy.types.Operator):
    """Take the installed backend away and free its space; pictures and added models stay"""

    bl_idname = "make_real.remove_backend"
    bl_label = "Remove Backend"

    def invoke(self, context: bpy.types.Context, event: bpy.types.Event) -> set[str]:
        """Ask first."""
        return context.window_manager.invoke_confirm(self, event)

    def execute(self, context: bpy.types.Context) -> set[str]:
        """Stop it, then remove it."""
        pump.conductor().dispatch(ev.StopClicked())
        try:
            pump.installation().remove(preferences.home())
        except MakeRealError as problem:
            return _refuse(self, problem)
        pump.wake()
        return {"FINISHED"}


class CancelInstallation(bpy.types.Operator):
    """Stop the installation; what is complete is kept, and Repair Backend goes on from there"""

    bl_idname = "make_real.cancel_installation"
    bl_label = "Cancel Installation"

    def execute(self, context: bpy.types.Context) -> set[str]:
        """Ask for it."""
        pump.installation().cancel()
        return {"FINISHED"}


class ReleaseMemory(bpy.types.Operator):
    """Give the device's memory to other programs until the next picture"""

    bl_idname = "make_real.release_memory"
    bl_label = "Release GPU Memory"

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        """Whether there is anything to release."""
        return pump.conductor().can_release

    def execute(self, context: bpy.types.Context) -> set[str]:
        """Ask the backend for it."""
        pump.conductor().release()
        return {"FINISHED"}


class CopyDiagnostics(bpy.types.Operator):
    """Copy versions, state and the last log lines for a report; no key is in them, and your home folder stands as ~"""

    bl_idname = "make_real.copy_diagnostics"
    bl_label = "Copy Diagnostics"

    def execute(self, context: bpy.types.Context) -> set[str]:
        """Put them on the clipboard."""
        context.window_manager.clipboard = report()
        self.report({"INFO"}, "Diagnostics are on the clipboard")
        return {"FINISHED"}


def report() -> str:
    """The diagnostics' text."""
    home = preferences.home()
    facts = {
        "Extension": preferences.version(),
        "Backend": pump.conductor().server or "not connected",
        "Backend on": preferences.get().location.lower(),
        "Installed in": f"{home} ({'complete' if (home / 'steps' / 'check.txt').exists() else 'not complete'})",
        "Chosen device": preferences.get().device,
    }
    return diagnostics.text(pump.session(), facts, (places.log_path(), home / "install.log"))


class ChooseConnection(ImportHelper, bpy.types.Operator):
    """Choose the connection file that was copied from the backend's machine; a private copy is kept"""

    bl_idname = "make_real.choose_connection"
    bl_label = "Choose Connection File"

    filter_glob: StringProperty(
        name="Filter", description="Which files are listed", default="*.json", options={"HIDDEN"}
    )

    def execute(self, context: bpy.types.Context) -> set[str]:
        """Take a copy."""
        path = Path(bpy.path.abspath(self.filepath))
        try:
            content = path.read_bytes()
        except OSError as error:
            problem = MakeRealError(ErrorCode.CONNECTION_FILE_REFUSED, f"{path}: {error.strerror}")
            return _refuse(self, problem)
        return _take(self, content, str(path))


class PasteConnection(bpy.types.Operator):
    """Take the connection file's content from the clipboard; a private copy is kept"""

    bl_idname = "make_real.paste_connection"
    bl_label = "Paste Connection"

    def execute(self, context: bpy.types.Context) -> set[str]:
        """Take a copy."""
        return _take(self, context.window_manager.clipboard.encode(), "the clipboard")


def _take(operator: bpy.types.Operator, content: bytes, source: str) -> set[str]:
    try:
        where = remote.take(content, source, places.remote_connection_path())
    except MakeRealError as problem:
        return _refuse(operator, problem)
    preferences.get().location = "REMOTE"
    when = "from the next picture on" if pump.session().job else "from now on"
    operator.report({"INFO"}, f"The backend at {where} is used {when}")
    return {"FINISHED"}


CLASSES = (
    InstallBackend,
    RepairBackend,
    RemoveBackend,
    CancelInstallation,
    ReleaseMemory,
    CopyDiagnostics,
    ChooseConnection,
    PasteConnection,
)

register, unregister = bpy.utils.register_classes_factory(CLASSES)
