# SPDX-License-Identifier: GPL-3.0-or-later
"""The extension's heartbeat.

With a window a `bpy.app.timers` callback calls `tick` some thirty times a second; it never waits. Under
`blender -b` timers do not run, so a script calls `run_until_idle` itself:

    bpy.ops.make_real.translate()
    from bl_ext.user_default.make_real import pump
    session = pump.run_until_idle(timeout=600.0)
"""

from __future__ import annotations

import atexit
import time
from collections.abc import Callable

import bpy

from .. import preferences
from ..backend.installation import Installation
from ..protocol import ErrorCode, MakeRealError
from .conductor import Conductor
from .events import BackendFailed, Failed
from .state import Phase, Session
from .status_line import StatusLine, status_line

TICK_BUDGET_S = 0.004
WORKING_INTERVAL_S = 0.0
"""Blender handles its events, and sleeps for some milliseconds, between two calls of a timer."""
BUSY_INTERVAL_S = 0.03
INSTALLING_INTERVAL_S = 0.2
IDLE_INTERVAL_S = 0.5
"""Often enough for the backend's heartbeats."""
BACKGROUND_INTERVAL_S = 0.005

_conductor: Conductor | None = None
_installation: Installation | None = None
_wants_release = False
listeners: list[Callable[[], None]] = []
"""Called after each change of the session."""


def conductor() -> Conductor:
    """The one conductor of this Blender."""
    if _conductor is None:
        raise RuntimeError("the extension is not enabled")
    return _conductor


def installation() -> Installation:
    """The one installation of this Blender."""
    if _installation is None:
        raise RuntimeError("the extension is not enabled")
    return _installation


def want_release(wanted: bool) -> None:
    """Note, from whatever thread, that the backend shall give the device's memory back at the next tick."""
    global _wants_release
    _wants_release = wanted


def session() -> Session:
    """How things stand."""
    return conductor().session


def line() -> StatusLine:
    """What the panels say about it."""
    is_remote = preferences.get().location == "REMOTE"
    return status_line(session(), installation().progress, is_remote)


def models() -> tuple[str, ...]:
    """Names of the backend's models, as far as known."""
    return conductor().models


def wake() -> None:
    """See to it that the timer runs; called whenever something was asked for."""
    if not bpy.app.background and not bpy.app.timers.is_registered(_on_timer):
        # The job goes on while the artist opens another file.
        bpy.app.timers.register(_on_timer, persistent=True)


def _on_timer() -> float | None:
    """One tick; returns the seconds until the next, None when there is nothing to listen to."""
    try:
        tick()
    except Exception as error:
        # Blender drops a timer that raises; without this the panel would say for ever that it works.
        conductor().dispatch(BackendFailed(MakeRealError(ErrorCode.INTERNAL, str(error))))
        raise
    if installation().progress is not None:
        return INSTALLING_INTERVAL_S if conductor().is_idle else BUSY_INTERVAL_S
    if session().job is None and session().phase in (Phase.NOT_INSTALLED, Phase.STOPPED):
        return None
    if conductor().is_working:
        return WORKING_INTERVAL_S
    return IDLE_INTERVAL_S if conductor().is_idle else BUSY_INTERVAL_S


def tick() -> None:
    """Do a little of whatever is to be done."""
    global _wants_release
    if _wants_release:
        _wants_release = False
        conductor().release()
    conductor().tick(TICK_BUDGET_S)
    if installation().progress is not None:
        before = installation().progress
        installation().poll()
        if installation().progress != before:
            _redraw()


def _installation_ended(problem: MakeRealError | None) -> None:
    conductor().look()
    if problem is not None:
        conductor().dispatch(Failed(problem))
    _redraw()


def pump(timeout: float) -> Session:
    """Tick for some time, for scripts under `blender -b` and for tests.

    It waits; the extension never calls it with a window open.

    Args:
        timeout: Seconds.
    """
    deadline = time.monotonic() + timeout
    while time.monotonic() < deadline:
        tick()
        time.sleep(BACKGROUND_INTERVAL_S)
    return session()


def run_until_idle(timeout: float) -> Session:
    """Tick until the picture is there or has failed, for scripts under `blender -b` and for tests.

    Args:
        timeout: Seconds.

    Returns:
        The session; its `problem` says what went wrong, None when nothing did.

    Raises:
        TimeoutError: The job still runs.
    """
    deadline = time.monotonic() + timeout
    while not conductor().is_idle:
        if time.monotonic() > deadline:
            raise TimeoutError(f"the picture is not finished after {timeout:.0f} s: {session()}")
        conductor().tick(TICK_BUDGET_S)
        time.sleep(BACKGROUND_INTERVAL_S)
    # The last event may have asked for one more message, the acknowledgement.
    conductor().tick(TICK_BUDGET_S)
    return session()


def _on_change() -> None:
    for listener in listeners:
        listener()
    _redraw()


def _redraw() -> None:
    for window in bpy.context.window_manager.windows:
        for area in window.screen.areas:
            if area.type in {"IMAGE_EDITOR", "NODE_EDITOR", "PREFERENCES"}:
                area.tag_redraw()


def register() -> None:
    """Begin; nothing is started or connected before the first click."""
    global _conductor, _installation
    _conductor = Conductor(preferences.launch, _on_change)
    _installation = Installation(_installation_ended)
    _conductor.look()
    # Blender disables its extensions when it quits; the bpy module does not.
    atexit.register(_quit)


def unregister() -> None:
    """End the timer, the sockets and the backend."""
    if bpy.app.timers.is_registered(_on_timer):
        bpy.app.timers.unregister(_on_timer)
    atexit.unregister(_quit)
    _quit()


def _quit() -> None:
    global _conductor, _installation
    if _installation is not None:
        _installation.quit()
        _installation = None
    if _conductor is not None:
        _conductor.quit()
        _conductor = None
