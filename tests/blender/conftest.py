# SPDX-License-Identifier: GPL-3.0-or-later
"""Installs the built zip into a Blender (the `bpy` module) with a folder of its own, and renders small scenes.

    .build/bpy-5.0/bin/python -m pytest tests/blender

The extension under test is the one in `dist/`, as an artist gets it; `make extension` builds it.
"""

from __future__ import annotations

import importlib
import os
import shutil
import stat
import sys
import tempfile
import time
import tomllib
from collections.abc import Callable, Generator, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]
MODULE = "bl_ext.user_default.make_real"
END_PATIENCE_S = 60.0
"""Seconds for a stopped backend to be gone: on a machine at work elsewhere one took more than ten."""

try:
    # Before `bpy` is imported: nothing of the user's own Blender may be read or written.
    os.environ["BLENDER_USER_RESOURCES"] = tempfile.mkdtemp(prefix="make_real_test_")
    import bpy
except ModuleNotFoundError:
    # Any other environment runs the rest of the suite.
    bpy = None
    collect_ignore_glob = ["test_*.py"]


def package_path() -> Path:
    """The zip under test."""
    with (ROOT / "blender_addon" / "blender_manifest.toml").open("rb") as file:
        version = tomllib.load(file)["version"]
    path = ROOT / "dist" / f"make_real-{version}.zip"
    if not path.exists():
        pytest.exit(f"{path} is missing: run `make extension` first", returncode=2)
    return path


def pytest_sessionstart() -> None:
    """Install before the test modules are imported."""
    if bpy is not None:
        bpy.ops.extensions.package_install_files(
            filepath=str(package_path()), repo="user_default", enable_on_install=True
        )


def pytest_sessionfinish() -> None:
    """Leave no timer and no socket for the interpreter's end."""
    if bpy is not None and MODULE in bpy.context.preferences.addons:
        bpy.ops.preferences.addon_disable(module=MODULE)


def pytest_unconfigure() -> None:
    """Leave no installed extension behind."""
    shutil.rmtree(os.environ["BLENDER_USER_RESOURCES"], ignore_errors=True)


@pytest.fixture
def addon() -> Callable[[str], ModuleType]:
    """Modules of the installed extension by name."""
    return lambda name: importlib.import_module(f"{MODULE}.{name}" if name else MODULE)


@pytest.fixture
def scene() -> bpy.types.Scene:
    """An empty scene of a new file, with the smallest useful render settings."""
    bpy.ops.wm.read_factory_settings(use_empty=True)
    if MODULE not in bpy.context.preferences.addons:
        bpy.ops.preferences.addon_enable(module=MODULE)
    scene = bpy.context.scene
    scene.render.engine = "CYCLES"
    # Until a format is set for the first time, its linear colour space has no name at all.
    scene.render.image_settings.file_format = "PNG"
    scene.render.resolution_x = 64
    scene.render.resolution_y = 48
    scene.cycles.device = "CPU"
    scene.cycles.samples = 16
    scene.cycles.use_denoising = False
    return scene


def drained(steps: Generator) -> Any:
    """What work done in steps returns, all steps done at once."""
    while True:
        try:
            next(steps)
        except StopIteration as end:
            return end.value


def add_cube(
    scene: bpy.types.Scene, name: str, x: float, color: tuple[float, float, float]
) -> bpy.types.Object:
    """A cube with a glowing material of the same name, so that no light is needed."""
    mesh = bpy.data.meshes.new(name)
    corners = [(a, b, c) for a in (-0.5, 0.5) for b in (-0.5, 0.5) for c in (-0.5, 0.5)]
    faces = [(0, 1, 3, 2), (4, 6, 7, 5), (0, 4, 5, 1), (2, 3, 7, 6), (0, 2, 6, 4), (1, 5, 7, 3)]
    mesh.from_pydata(corners, [], faces)
    material = bpy.data.materials.new(name)
    if bpy.app.version < (5, 0, 0):
        material.use_nodes = True
    shader = next(node for node in material.node_tree.nodes if node.type == "BSDF_PRINCIPLED")
    shader.inputs["Base Color"].default_value = (*color, 1.0)
    shader.inputs["Emission Color"].default_value = (*color, 1.0)
    shader.inputs["Emission Strength"].default_value = 1.0
    mesh.materials.append(material)
    cube = bpy.data.objects.new(name, mesh)
    cube.location.x = x
    cube.rotation_euler = (0.4, 0.0, 0.5)
    scene.collection.objects.link(cube)
    return cube


@pytest.fixture
def garment_scene(scene: bpy.types.Scene) -> bpy.types.Scene:
    """Two cubes before a camera, rendered with Cryptomatte; names with a comma and beyond ASCII."""
    left = add_cube(scene, "Kleid, größer", -0.6, (0.8, 0.1, 0.05))
    left.pass_index = 1
    left.material_slots[0].material.pass_index = 5
    add_cube(scene, "裙子", 0.7, (0.1, 0.3, 0.7))
    camera = bpy.data.objects.new("Camera", bpy.data.cameras.new("Camera"))
    camera.location = (0.0, 0.0, 4.0)
    scene.collection.objects.link(camera)
    scene.camera = camera
    layer = scene.view_layers[0]
    layer.use_pass_cryptomatte_object = True
    layer.use_pass_cryptomatte_material = True
    layer.use_pass_object_index = True
    bpy.ops.render.render()
    return scene


@pytest.fixture
def backend(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, addon: Callable
) -> Iterator[Callable[[str], Path]]:
    """Call with a script's name (`scripted_backend.py`): the extension will start that backend. Returns its folder."""
    monkeypatch.setenv("MAKE_REAL_RUNTIME_DIR", str(tmp_path / "run"))
    monkeypatch.setenv("MAKE_REAL_SCRIPT_DIR", str(tmp_path))
    program = tmp_path / "make-real"
    program.write_text(
        f'#!/bin/sh\nexec "{sys.executable}" "{Path(__file__).with_name("scripted_backend.py")}" "$@"\n'
    )
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setenv("MAKE_REAL_PROGRAM", str(program))

    def choose(script: str) -> Path:
        monkeypatch.setenv("MAKE_REAL_SCRIPT", script)
        return tmp_path

    yield choose
    bpy.ops.make_real.stop_backend()
    _wait_for_end(addon)


def _wait_for_end(addon: Callable) -> None:
    """No test may meet the backend of the one before."""
    protocol = addon("protocol")
    deadline = time.monotonic() + END_PATIENCE_S
    while time.monotonic() < deadline:
        if protocol.read_connection() is None:
            return
        addon("session.pump").pump(0.05)
    raise AssertionError("the backend goes on after Stop Backend")
