# SPDX-License-Identifier: GPL-3.0-or-later
"""The zip: fresh, installable, and clean to switch on and off."""

from __future__ import annotations

import sys
import zipfile
from collections.abc import Callable

import bpy
from conftest import MODULE, ROOT, package_path

EXTENSION, PROTOCOL = ROOT / "blender_addon", ROOT / "protocol"
SOURCES = {
    str(path.relative_to(EXTENSION)): path
    for path in EXTENSION.rglob("*.py")
    if not path.relative_to(EXTENSION).is_relative_to("protocol")
} | {f"protocol/{path.name}": path for path in PROTOCOL.glob("*.py")}


def test_zip_holds_the_present_sources() -> None:
    with zipfile.ZipFile(package_path()) as package:
        packed = {name: package.read(name) for name in package.namelist() if name.endswith(".py")}
    assert packed == {name: path.read_bytes() for name, path in SOURCES.items()}, "run `make extension`"


def test_zip_holds_no_link_and_no_litter() -> None:
    with zipfile.ZipFile(package_path()) as package:
        names = package.namelist()
        assert not [
            info.filename for info in package.infolist() if info.external_attr >> 16 & 0o170000 == 0o120000
        ]
    assert not [name for name in names if "__pycache__" in name or name.split("/")[0] in {"tests", "dist"}]
    assert len([name for name in names if name.endswith(".whl")]) == 14


def test_wheels_of_this_python_are_the_ones_used(addon: Callable) -> None:
    import msgpack
    import zmq

    assert addon("protocol").Client.__module__ == f"{MODULE}.protocol.client"
    assert zmq.__version__ == "27.3.0"
    assert msgpack.version == (1, 2, 4)


def test_enable_disable_enable(addon: Callable) -> None:
    def ours() -> set[str]:
        return {name for name in dir(bpy.types) if "make_real" in name.lower()}

    def drawers() -> int:
        return sum(
            function.__module__.startswith(MODULE)
            for menu in (bpy.types.IMAGE_HT_header, bpy.types.TOPBAR_MT_render)
            for function in menu._dyn_ui_initialize()
        )

    enabled = ours()
    assert len(enabled) > 10
    assert drawers() == 2
    for _ in range(2):
        bpy.ops.preferences.addon_disable(module=MODULE)
        assert ours() == set()
        assert drawers() == 0
        assert not hasattr(bpy.types.Scene, "make_real")
        bpy.ops.preferences.addon_enable(module=MODULE)
        assert ours() == enabled
        assert drawers() == 2


def test_no_thread_and_no_heavy_import(addon: Callable) -> None:
    import threading

    addon("")
    assert threading.active_count() == 1
    assert not [name for name in sys.modules if name.split(".")[0] in {"torch", "diffusers", "backend"}]


def test_panels_are_registered_in_the_image_editor() -> None:
    panel = bpy.types.MAKE_REAL_PT_main
    assert (panel.bl_space_type, panel.bl_region_type, panel.bl_category) == (
        "IMAGE_EDITOR",
        "UI",
        "Make Real",
    )
