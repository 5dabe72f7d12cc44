# SPDX-License-Identifier: GPL-3.0-or-later
"""The backend as the artist meets it: getting it, losing it, sharing it. Every fault ends in a sentence and a next
click that works."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace

import bpy
import pytest
from conftest import MODULE, ROOT, package_path
from test_panels import Layout
from test_translate import TIMEOUT_S, pump_until, translate_and_wait

sys.path[:0] = [str(ROOT / "tests" / "installation"), str(ROOT / "tests" / "protocol"), str(ROOT)]
from stand_in import StandIn  # noqa: E402

INSTALL_S = 120.0
SCRIPTED = f"""
import os, sys

def main():
    if sys.argv[1] == "serve":
        program = [{sys.executable!r}, {str(Path(__file__).with_name("scripted_backend.py"))!r}]
        os.execv(program[0], program + sys.argv[1:])
    print("Everything is in order.")
"""


@pytest.fixture
def line(addon: Callable) -> Callable:
    """What the panel says now."""
    return lambda: addon("session.pump").line()


@pytest.fixture
def chosen(addon: Callable, scene: bpy.types.Scene) -> Iterator[bpy.types.AddonPreferences]:
    """The extension's preferences, put back afterwards."""
    preferences = bpy.context.preferences.addons[MODULE].preferences
    yield preferences
    names = (
        "location",
        "install_folder",
        "torch",
        "program",
        "device",
        "keep_running",
        "release_before_render",
    )
    for name in names:
        preferences.property_unset(name)


@pytest.fixture
def stand_in(
    addon: Callable,
    chosen: bpy.types.AddonPreferences,
    backend: Callable,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> StandIn:
    """An archive whose backend is the scripted one, and nothing installed yet."""
    backend("invert")
    monkeypatch.delenv("MAKE_REAL_PROGRAM")
    monkeypatch.setenv("PATH", "/usr/bin:/bin")
    made = StandIn(tmp_path / "release", SCRIPTED)
    monkeypatch.setattr(addon("backend.installation"), "LOCKS", made.locks)
    chosen.torch = "cpu"
    chosen.install_folder = str(tmp_path / "in stalled")
    return made


def pump_installation(addon: Callable, until: Callable[[], bool] | None = None) -> None:
    """Drive the extension until the installation has ended."""
    pump = addon("session.pump")
    deadline = time.monotonic() + INSTALL_S
    while pump.installation().progress is not None and not (until and until()):
        assert time.monotonic() < deadline, pump.installation().progress
        pump.pump(0.05)


def install(addon: Callable, stand_in: StandIn) -> None:
    assert bpy.ops.make_real.install_backend(filepath=str(stand_in.archive)) == {"FINISHED"}
    pump_installation(addon)


def test_from_nothing_to_a_picture_and_back(
    addon: Callable, garment_scene: bpy.types.Scene, stand_in: StandIn, line: Callable
) -> None:
    assert (line().text, line().button) == ("No backend is installed", "make_real.install_backend")
    bpy.ops.make_real.install_backend(filepath=str(stand_in.archive))
    assert line().button == "make_real.cancel_installation"
    assert not bpy.ops.make_real.install_backend.poll()
    titles = set()
    pump_installation(addon, lambda: titles.add(line().text))
    assert {"Making the environment (3/7)", "Trying it out (7/7)"} & titles
    assert addon("session.pump").session().problem is None
    assert line().button == "make_real.start_backend"
    assert translate_and_wait(addon).problem is None
    assert garment_scene.make_real.result is not None
    assert bpy.ops.make_real.remove_backend() == {"FINISHED"}
    pump_installation(addon)
    assert line().text == "No backend is installed"


def test_a_cancelled_installation_goes_on_with_repair(
    addon: Callable, stand_in: StandIn, line: Callable
) -> None:
    bpy.ops.make_real.install_backend(filepath=str(stand_in.archive))
    assert bpy.ops.make_real.cancel_installation() == {"FINISHED"}
    pump_installation(addon)
    assert line().problem == ()
    assert line().button == "make_real.install_backend"
    install(addon, stand_in)
    assert bpy.ops.make_real.repair_backend() == {"FINISHED"}
    pump_installation(addon)
    assert line().button == "make_real.start_backend"


def test_a_full_disk_is_told_with_figures(addon: Callable, stand_in: StandIn, line: Callable) -> None:
    stand_in.sizes(10**18)
    install(addon, stand_in)
    assert addon("session.pump").session().problem.code == "install_no_space"
    assert "GB are needed" in line().problem[1]
    assert line().fix == "make_real.open_preferences"
    stand_in.sizes(1000)
    install(addon, stand_in)
    assert (line().problem, line().button) == ((), "make_real.start_backend")


def test_a_wrong_file_and_a_forbidden_download_are_told_at_the_click(
    addon: Callable, stand_in: StandIn, line: Callable, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(RuntimeError, match="no backend archive"):
        bpy.ops.make_real.install_backend(filepath=str(stand_in.locks / "sizes.json"))
    assert line().fix == "make_real.install_backend"
    stand_in.pack(complete_for=None)
    monkeypatch.setattr(
        addon("backend.operators"),
        "bpy",
        SimpleNamespace(app=SimpleNamespace(online_access=False), path=bpy.path),
    )
    with pytest.raises(RuntimeError, match="set to stay offline"):
        bpy.ops.make_real.install_backend(filepath=str(stand_in.archive))


@pytest.mark.parametrize("stage", ["starting", "loading"])
def test_killed_before_it_is_ready(
    addon: Callable, garment_scene: bpy.types.Scene, backend: Callable, line: Callable, stage: str
) -> None:
    backend(f"die_{stage}_once")
    session = translate_and_wait(addon)
    assert (session.phase, session.problem.code) == ("stopped", "backend_start_failed")
    assert "signal 9" in line().problem[1]
    assert line().fix == "make_real.open_log"
    assert translate_and_wait(addon).problem is None, "the next click works"


@pytest.mark.parametrize("stage", ["uploading", "storing"])
def test_killed_with_a_picture_loses_nothing(
    addon: Callable, garment_scene: bpy.types.Scene, backend: Callable, stage: str
) -> None:
    backend(f"die_{stage}_once")
    assert translate_and_wait(addon).problem is None
    assert garment_scene.make_real.result is not None


def test_a_start_that_takes_too_long_is_ended(
    addon: Callable,
    garment_scene: bpy.types.Scene,
    backend: Callable,
    line: Callable,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    folder = backend("silent_once")
    assert bpy.ops.make_real.translate() == {"FINISHED"}
    pump_until(addon, lambda _: (folder / "starts.txt").exists())
    monkeypatch.setattr(addon("session.pump").conductor(), "_start_ends", 0.0)
    session = addon("session.pump").run_until_idle(TIMEOUT_S)
    assert (session.phase, session.problem.code) == ("stopped", "backend_start_timeout")
    assert line().fix == "make_real.open_log"
    assert translate_and_wait(addon).problem is None


@pytest.mark.parametrize("content", ["hello", "{}"])
def test_a_broken_connection_file(
    addon: Callable, garment_scene: bpy.types.Scene, backend: Callable, line: Callable, content: str
) -> None:
    folder = backend("invert")
    path = folder / "run" / "connection.json"
    path.parent.mkdir(mode=0o700)
    path.touch(mode=0o600)
    path.write_text(content)
    session = translate_and_wait(addon)
    assert session.problem.code == "connection_file_refused"
    assert str(path) in line().problem[1]
    path.unlink()
    assert translate_and_wait(addon).problem is None


def test_a_stale_connection_file_does_not_matter(
    addon: Callable, garment_scene: bpy.types.Scene, backend: Callable
) -> None:
    folder = backend("invert")
    ended = subprocess.Popen(["true"])
    ended.wait()
    protocol = addon("protocol")
    stale = protocol.Connection("tcp://127.0.0.1:9", b"S" * 40, b"P" * 40, b"C" * 40, ended.pid, "e")
    protocol.write_connection(folder / "run" / "connection.json", stale)
    assert translate_and_wait(addon).problem is None


def test_a_backend_elsewhere_with_the_wrong_key_and_then_the_right_one(
    addon: Callable, chosen: bpy.types.AddonPreferences, backend: Callable, line: Callable, tmp_path: Path
) -> None:
    import zmq
    from scripted_server import ScriptedServer

    backend("invert")
    chosen.location = "REMOTE"
    assert (line().text, line().button) == ("No connection file was chosen", "make_real.choose_connection")
    server = ScriptedServer()
    protocol = addon("protocol")
    copied = tmp_path / "copied.json"
    pump = addon("session.pump")

    def connect(**keys: bytes) -> None:
        fields = {
            **vars(server.connection),
            "endpoint": server.connection.endpoint.replace("127.0.0.1", "localhost"),
        }
        protocol.write_connection(copied, protocol.Connection(**{**fields, **keys}))
        copied.chmod(0o644)
        assert bpy.ops.make_real.choose_connection(filepath=str(copied)) == {"FINISHED"}
        bpy.ops.make_real.start_backend()
        deadline = time.monotonic() + TIMEOUT_S
        while pump.session().phase == "starting":
            assert time.monotonic() < deadline
            pump.pump(0.02)
            server.pump()

    try:
        connect(server_public_key=zmq.curve_keypair()[0])
        assert (pump.session().phase, pump.session().problem.code) == ("stopped", "key_refused")
        assert line().fix == "make_real.open_preferences"
        connect()
        assert (pump.session().phase, line().text) == ("ready", "Ready on cpu")
        kept = addon("backend.places").remote_connection_path()
        assert kept.stat().st_mode & 0o777 == 0o600
        chosen.location = "LOCAL"
        assert pump.session().phase == "stopped", "the next picture does not leave this machine"
        chosen.location = "REMOTE"
        connect()
        bpy.ops.make_real.choose_connection(filepath=str(copied))
        assert pump.session().phase == "ready", "it is the one that was chosen before"
        connect(server_public_key=zmq.curve_keypair()[0])
        assert pump.session().problem.code == "key_refused", "another choice takes effect at once"
        copied.write_text("{}")
        with pytest.raises(RuntimeError, match="cannot be trusted"):
            bpy.ops.make_real.choose_connection(filepath=str(copied))
    finally:
        bpy.ops.make_real.stop_backend()
        kept.unlink()
        server.close()


def test_another_backend_is_chosen_while_a_picture_is_made(
    addon: Callable, garment_scene: bpy.types.Scene, chosen: bpy.types.AddonPreferences, backend: Callable
) -> None:
    backend("steady")
    pump = addon("session.pump")
    assert bpy.ops.make_real.translate() == {"FINISHED"}
    pump_until(addon, lambda session: session.job.step >= 1)
    chosen.location = "REMOTE"
    pump.run_until_idle(TIMEOUT_S)
    assert garment_scene.make_real.result is not None, "it is finished where it was begun"
    pump_until(addon, lambda session: session.phase == "not_installed")
    chosen.location = "LOCAL"
    assert translate_and_wait(addon).problem is None


@pytest.fixture
def elsewhere(addon: Callable, tmp_path: Path) -> Iterator[Callable[[str], subprocess.Popen]]:
    """Call with a script's name: that scripted backend serves as if on another machine, and its file is kept."""
    places, started = addon("backend.places"), []

    def serve(script: str) -> subprocess.Popen:
        folder = tmp_path / "elsewhere"
        folder.mkdir()
        environment = {
            **os.environ,
            "MAKE_REAL_RUNTIME_DIR": str(folder / "run"),
            "MAKE_REAL_SCRIPT_DIR": str(folder),
            "MAKE_REAL_SCRIPT": script,
        }
        program = Path(__file__).with_name("scripted_backend.py")
        started.append(subprocess.Popen([sys.executable, str(program), "serve"], env=environment))
        protocol, deadline = addon("protocol"), time.monotonic() + TIMEOUT_S
        while (connection := protocol.read_connection(folder / "run" / "connection.json")) is None:
            assert time.monotonic() < deadline
            time.sleep(0.05)
        protocol.write_connection(places.remote_connection_path(), connection)
        return started[-1]

    yield serve
    places.remote_connection_path().unlink(missing_ok=True)
    for process in started:
        process.kill()
        process.wait()


def test_a_dead_backend_elsewhere_is_left_for_this_machine(
    addon: Callable,
    garment_scene: bpy.types.Scene,
    chosen: bpy.types.AddonPreferences,
    backend: Callable,
    elsewhere: Callable,
) -> None:
    backend("invert")
    other = elsewhere("steady")
    chosen.location = "REMOTE"
    assert bpy.ops.make_real.translate() == {"FINISHED"}
    pump_until(addon, lambda session: session.job.step >= 1)
    other.kill()
    pump_until(addon, lambda session: session.phase == "lost")
    chosen.location = "LOCAL"
    assert addon("session.pump").run_until_idle(TIMEOUT_S).problem is None
    assert garment_scene.make_real.result is not None


def test_a_backend_that_dies_after_another_was_chosen(
    addon: Callable,
    garment_scene: bpy.types.Scene,
    chosen: bpy.types.AddonPreferences,
    backend: Callable,
    elsewhere: Callable,
) -> None:
    backend("steady")
    elsewhere("invert")
    pump = addon("session.pump")
    assert bpy.ops.make_real.translate() == {"FINISHED"}
    pump_until(addon, lambda session: session.job.step >= 1)
    chosen.location = "REMOTE"
    os.kill(pump.conductor()._process.pid, signal.SIGKILL)
    assert pump.run_until_idle(TIMEOUT_S).problem is None
    assert garment_scene.make_real.result is not None
    chosen.location = "LOCAL"


def test_why_there_is_no_picture_is_said_after_another_backend_was_chosen(
    addon: Callable, garment_scene: bpy.types.Scene, chosen: bpy.types.AddonPreferences, backend: Callable
) -> None:
    backend("fail")
    assert bpy.ops.make_real.translate() == {"FINISHED"}
    pump_until(addon, lambda session: session.job.step >= 1)
    chosen.location = "REMOTE"
    assert addon("session.pump").run_until_idle(TIMEOUT_S).problem.code == "out_of_memory"
    pump_until(addon, lambda session: session.phase == "not_installed")
    assert addon("session.pump").session().problem.code == "out_of_memory"
    chosen.location = "LOCAL"


def test_something_else_listens_where_the_backend_was(
    addon: Callable,
    garment_scene: bpy.types.Scene,
    chosen: bpy.types.AddonPreferences,
    backend: Callable,
    line: Callable,
) -> None:
    """A port that another program has taken meanwhile: it is told, and the backend on this machine still works."""
    backend("invert")
    kept = addon("backend.places").remote_connection_path()
    pump = addon("session.pump")
    with socket.create_server(("127.0.0.1", 0)) as other:
        endpoint = f"tcp://localhost:{other.getsockname()[1]}"
        protocol = addon("protocol")
        content = protocol.Connection(endpoint, b"S" * 40, b"P" * 40, b"C" * 40, 1, "e")
        protocol.write_connection(kept, content)
        chosen.location = "REMOTE"
        assert bpy.ops.make_real.translate() == {"FINISHED"}
        pump_until(addon, lambda session: session.phase == "starting")
        assert line().text == "Connecting to the backend"
        pump.conductor()._start_ends = 0.0
        session = pump.run_until_idle(TIMEOUT_S)
    kept.unlink()
    assert session.problem.code == "backend_start_timeout"
    assert endpoint.removeprefix("tcp://") in session.problem.detail
    chosen.location = "LOCAL"
    assert translate_and_wait(addon).problem is None


@pytest.mark.parametrize("wanted", [True, False])
def test_memory_is_given_to_cycles(
    addon: Callable,
    garment_scene: bpy.types.Scene,
    chosen: bpy.types.AddonPreferences,
    backend: Callable,
    line: Callable,
    wanted: bool,
) -> None:
    folder = backend("invert")
    chosen.release_before_render = wanted
    bpy.ops.make_real.start_backend()
    addon("session.pump").run_until_idle(TIMEOUT_S)
    bpy.ops.render.render()
    addon("session.pump").pump(0.5)
    assert (folder / "released").exists() == wanted
    assert line().text == ("Ready on cpu; its memory is free" if wanted else "Ready on cpu")
    assert bpy.ops.make_real.release_memory.poll() != wanted
    assert translate_and_wait(addon).problem is None


def test_memory_stays_where_a_picture_is_computed(
    addon: Callable, garment_scene: bpy.types.Scene, backend: Callable
) -> None:
    folder = backend("slow")
    bpy.ops.make_real.translate()
    pump_until(addon, lambda session: session.job.step >= 1)
    bpy.ops.render.render()
    addon("session.pump").pump(0.3)
    assert not (folder / "released").exists()
    assert addon("session.pump").session().phase == "busy"


def test_diagnostics_tell_what_support_needs_and_no_secret(
    addon: Callable, garment_scene: bpy.types.Scene, backend: Callable, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(backend("fail")))
    translate_and_wait(addon)
    text = addon("backend.operators").report()
    connection = addon("protocol").read_connection()
    for word in (
        bpy.app.version_string,
        "State: ready",
        "Device: cpu",
        "out_of_memory: needs 12 GB",
        "Backend: script",
    ):
        assert word in text
    for name in ("server_public_key", "client_public_key", "client_secret_key"):
        assert getattr(connection, name).decode() not in text
    assert str(Path.home()) not in text


class Shown:
    """The preferences with a layout of our own, as Blender gives them one to draw on."""

    def __init__(self, preferences: bpy.types.AddonPreferences) -> None:
        self.layout = Layout()
        self._preferences = preferences

    def __getattr__(self, name: str):
        return getattr(self._preferences, name)


@pytest.mark.parametrize(
    ("location", "installing", "shown", "hidden"),
    [
        ("LOCAL", False, {"make_real.install_backend", "torch", "device"}, {"make_real.paste_connection"}),
        ("LOCAL", True, {"make_real.cancel_installation", "torch"}, {"make_real.install_backend"}),
        (
            "REMOTE",
            False,
            {"make_real.choose_connection", "make_real.paste_connection"},
            {"torch", "program"},
        ),
    ],
)
def test_preferences_show_what_can_be_done(
    addon: Callable,
    chosen: bpy.types.AddonPreferences,
    location: str,
    installing: bool,
    shown: set[str],
    hidden: set[str],
) -> None:
    chosen.location = location
    pump, progress = addon("session.pump"), addon("backend.installation").Progress
    pump.installation().progress = progress("Installing PyTorch", 4, 7) if installing else None
    pump.conductor().dispatch(
        addon("session.events").Failed(addon("protocol").MakeRealError("install_failed", "why"))
    )
    preferences = Shown(chosen)
    context = SimpleNamespace(preferences=bpy.context.preferences, region=SimpleNamespace(width=600))
    try:
        type(chosen).draw(preferences, context)
    finally:
        pump.installation().progress = None
        pump.conductor().dispatch(addon("session.events").StopClicked())
    drawn = set(preferences.layout.drawn)
    assert shown | {"make_real.copy_diagnostics", "release_before_render"} <= drawn
    assert not hidden & drawn
    assert ("0.43 Installing PyTorch (4/7)" if installing else "why") in drawn


def test_a_backend_that_was_told_to_stay_outlives_the_extension(
    addon: Callable, scene: bpy.types.Scene, chosen: bpy.types.AddonPreferences, backend: Callable
) -> None:
    folder = backend("invert")
    chosen.keep_running = True
    bpy.ops.make_real.start_backend()
    addon("session.pump").run_until_idle(TIMEOUT_S)
    assert "--parent-pid" not in (folder / "starts.txt").read_text()
    pid = addon("protocol").read_connection().pid
    addon("session.pump").conductor().quit()
    time.sleep(0.5)
    assert addon("protocol").is_alive(pid)
    os.kill(pid, signal.SIGTERM)
    os.waitpid(pid, 0)


KILLED_BLENDER = """
import sys, time, bpy
bpy.ops.extensions.package_install_files(filepath=sys.argv[1], repo="user_default", enable_on_install=True)
bpy.ops.make_real.start_backend()
from bl_ext.user_default.make_real.session import pump
print(pump.run_until_idle(120.0).phase, flush=True)
time.sleep(600)
"""


@pytest.mark.real_backend
@pytest.mark.skipif("MAKE_REAL_PROGRAM" not in os.environ, reason="MAKE_REAL_PROGRAM is not set")
def test_the_backend_dies_with_a_killed_blender(addon: Callable, tmp_path: Path) -> None:
    own = {
        "MAKE_REAL_RUNTIME_DIR": str(tmp_path / "run"),
        "MAKE_REAL_DATA_DIR": str(tmp_path / "data"),
        "BLENDER_USER_RESOURCES": str(tmp_path / "blender"),
    }
    blender = subprocess.Popen(
        [sys.executable, "-c", KILLED_BLENDER, str(package_path())],
        env={**os.environ, **own},
        stdout=subprocess.PIPE,
        text=True,
    )
    with blender:
        while (told := blender.stdout.readline()) and told.strip() not in ("ready", "loading"):
            pass
        pid = json.loads((tmp_path / "run" / "connection.json").read_text())["pid"]
        assert addon("protocol").is_alive(pid)
        blender.send_signal(signal.SIGKILL)
    deadline = time.monotonic() + 30
    while addon("protocol").is_alive(pid):
        assert time.monotonic() < deadline, "the backend outlives a killed Blender"
        time.sleep(0.1)
