# SPDX-License-Identifier: GPL-3.0-or-later
"""The zip: fresh, installable, and clean to switch on and off."""

from __future__ import annotations

import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path

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


def validate(package: Path) -> subprocess.CompletedProcess[str]:
    """What Blender's own extension tool says of a zip; each Blender brings the tool of its time."""
    tool = Path(bpy.utils.system_resource("SCRIPTS")) / "addons_core" / "bl_pkg" / "cli" / "blender_ext.py"
    return subprocess.run([sys.executable, tool, "validate", package], capture_output=True, text=True)


def test_zip_validates_with_blenders_own_tool(tmp_path: Path) -> None:
    told = validate(package_path())
    assert told.returncode == 0, told.stdout + told.stderr
    assert "error" not in told.stdout.lower()
    without_version = tmp_path / "damaged.zip"
    with zipfile.ZipFile(package_path()) as package, zipfile.ZipFile(without_version, "w") as damaged:
        manifest = package.read("blender_manifest.toml").replace(b'version = "', b'revision = "')
        damaged.writestr("blender_manifest.toml", manifest)
        damaged.writestr("__init__.py", package.read("__init__.py"))
    assert validate(without_version).returncode != 0, "the tool does look"


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


def own_classes(base: type) -> list[type]:
    """Classes of the extension that are registered now."""
    found = [cls for cls in base.__subclasses__() if cls.__module__.startswith(MODULE)]
    return [cls for cls in found if cls.is_registered]


def test_every_property_and_every_button_has_a_tooltip(addon: Callable) -> None:
    structs = [
        cls.bl_rna
        for base in (bpy.types.PropertyGroup, bpy.types.AddonPreferences)
        for cls in own_classes(base)
    ]
    assert len(structs) >= 10
    operators = [getattr(bpy.ops.make_real, name).get_rna_type() for name in dir(bpy.ops.make_real)]
    assert len(operators) > 30
    for struct in (*structs, *operators):
        for prop in struct.properties:
            where = f"{struct.identifier}.{prop.identifier}"
            if prop.is_hidden or prop.identifier == "bl_idname":
                # Blender's own, which no artist sees.
                continue
            assert len(prop.description) > 10, where
            if prop.type == "ENUM":
                assert all(len(item.description) > 5 for item in prop.enum_items), where
    for operator in operators:
        assert len(operator.description) > 15, operator.identifier


def test_panels_are_registered_in_the_image_editor() -> None:
    panel = bpy.types.MAKE_REAL_PT_main
    assert (panel.bl_space_type, panel.bl_region_type, panel.bl_category) == (
        "IMAGE_EDITOR",
        "UI",
        "Make Real",
    )
