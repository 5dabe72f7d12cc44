# SPDX-License-Identifier: GPL-3.0-or-later
"""The extension's preferences: where the backend is and how it is run."""

import tomllib
from pathlib import Path
from typing import TYPE_CHECKING

import bpy
from bpy.props import BoolProperty, EnumProperty, StringProperty

from .backend import installation, places, remote
from .backend.process import Launch
from .text import draw_text

if TYPE_CHECKING:
    from .session.status_line import StatusLine

DEVICES = ("auto", "cpu", "cuda")
STANDING_BELOW = {
    "make_real.install_backend",
    "make_real.cancel_installation",
    "make_real.choose_connection",
}
"""Buttons of the state line that the preferences have a place of their own for."""


def _look(_preferences, _context) -> None:
    from .session import pump

    pump.conductor().look()


def _device_names(_preferences, _context, text: str) -> list[str]:
    from .session import pump

    told = (words.split()[0] for words in pump.conductor().devices)
    return [name for name in dict.fromkeys((*DEVICES, *told)) if text.lower() in name]


class MakeRealPreferences(bpy.types.AddonPreferences):
    """Preferences of one machine."""

    bl_idname = __package__

    location: EnumProperty(
        name="Backend",
        description="Where pictures are computed",
        items=(
            ("LOCAL", "This Machine", "Make Real starts the backend when it is needed"),
            ("REMOTE", "Another Machine", "A backend that somebody started with make-real serve --listen"),
        ),
        update=_look,
    )
    install_folder: StringProperty(
        name="Install Folder",
        description="Where Install Backend puts the backend; empty: this user's data folder",
        subtype="DIR_PATH",
        update=_look,
    )
    torch: EnumProperty(
        name="Install For",
        description="Which PyTorch is installed; the one for NVIDIA needs about 5 GB, the other 2 GB",
        items=(
            ("auto", "Automatic", "For an NVIDIA GPU when its driver is found, else for the processor"),
            ("cuda", "NVIDIA GPU", "PyTorch with CUDA; also computes on the processor"),
            ("cpu", "Processor", "PyTorch without CUDA"),
        ),
    )
    program: StringProperty(
        name="Own Program",
        description="Path of a make-real program of your own; empty: the installed one",
        subtype="FILE_PATH",
        update=_look,
    )
    device: StringProperty(
        name="Device",
        description="What the backend computes on, from its next start: auto, cpu, cuda, or cuda:1 for the second GPU",
        default="auto",
        search=_device_names,
    )
    model_folder: StringProperty(
        name="Model Folder",
        description="A folder with more models; empty: only the installed ones",
        subtype="DIR_PATH",
    )
    keep_running: BoolProperty(
        name="Keep Backend Running",
        description="Let the backend go on when Blender quits; its memory stays taken",
        default=False,
    )
    release_before_render: BoolProperty(
        name="Release GPU Memory Before a Render",
        description="Let an idle backend give its GPU memory to Cycles; the next picture then takes longer to start",
        default=True,
    )

    def draw(self, context: bpy.types.Context) -> None:
        """Draw them in Blender's preferences."""
        from .session import pump

        layout = self.layout
        layout.use_property_split = True
        _draw_state(layout, context, pump.line())
        layout.prop(self, "location", expand=True)
        if self.location == "REMOTE":
            self._draw_remote(layout)
        else:
            self._draw_local(layout)
        layout.prop(self, "release_before_render")
        row = layout.row(align=True)
        row.operator("make_real.open_log", icon="TEXT")
        row.operator("make_real.copy_diagnostics", icon="COPYDOWN")

    def _draw_remote(self, layout: bpy.types.UILayout) -> None:
        where = remote.address(places.remote_connection_path())
        if where:
            layout.label(text=where, icon="LINKED")
        row = layout.row(align=True)
        row.operator("make_real.choose_connection", icon="FILEBROWSER")
        row.operator("make_real.paste_connection", icon="PASTEDOWN")

    def _draw_local(self, layout: bpy.types.UILayout) -> None:
        from .session import pump

        row = layout.row(align=True)
        if pump.installation().progress is not None:
            row.operator("make_real.cancel_installation", icon="X")
        else:
            row.operator("make_real.install_backend", icon="IMPORT")
            if installation.has_archive(home()):
                row.operator("make_real.repair_backend", icon="TOOL_SETTINGS")
                row.operator("make_real.remove_backend", icon="TRASH")
        for name in ("torch", "install_folder", "program", "device", "model_folder", "keep_running"):
            layout.prop(self, name)


def _draw_state(layout: bpy.types.UILayout, context: bpy.types.Context, line: "StatusLine") -> None:
    row = layout.row()
    if line.fraction is None:
        row.label(text=line.text, icon="INFO")
    else:
        row.progress(factor=line.fraction, type="BAR", text=line.text)
    if line.button not in STANDING_BELOW:
        row.operator(line.button)
    for number, text in enumerate(line.problem):
        draw_text(layout, context, text, "BLANK1" if number else "ERROR")


def get() -> MakeRealPreferences:
    """This Blender's preferences of the extension."""
    return bpy.context.preferences.addons[__package__].preferences


def home() -> Path:
    """Folder of the installed backend."""
    chosen = get().install_folder
    # A folder of its own, since removing the backend empties it.
    return Path(bpy.path.abspath(chosen)) / "make-real-backend" if chosen else places.default_home()


def version() -> str:
    """The extension's version."""
    with Path(__file__).with_name("blender_manifest.toml").open("rb") as file:
        return tomllib.load(file)["version"]


def launch() -> Launch:
    """How the preferences want the backend started."""
    chosen = get()
    return Launch(
        program=bpy.path.abspath(chosen.program),
        home=home(),
        remote=places.remote_connection_path() if chosen.location == "REMOTE" else None,
        device=chosen.device,
        model_folder=bpy.path.abspath(chosen.model_folder),
        outlives_blender=chosen.keep_running,
        log=places.log_path(),
    )


def register() -> None:
    """Make the preferences known to Blender."""
    bpy.utils.register_class(MakeRealPreferences)


def unregister() -> None:
    """Take them back."""
    bpy.utils.unregister_class(MakeRealPreferences)
