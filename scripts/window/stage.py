# SPDX-License-Identifier: GPL-3.0-or-later
"""Hands and eyes in a real Blender window under X: a story that takes its time, mouse clicks, photographs.

Runs inside Blender. The mouse is xdotool's and the photographs are ImageMagick's, taken from the X server:
`bpy.ops.screen.screenshot` gives black pictures with software OpenGL.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
import traceback
from collections.abc import Callable, Generator, Iterator
from pathlib import Path

import bpy
import numpy as np

Story = Generator[float, None, None]
"""Yields the seconds after which it goes on; Blender handles its events meanwhile."""
HOVER_S = 0.08
"""Long enough for Blender to notice the mouse and draw."""
SWEEP_PX = 9
"""Less than half the height of a button."""
FIRST_HEADER_PX, HEADER_PX = 38, 26
"""From the upper part of a panel's last button to the next panel's header, and from there to each further one."""


def play(story: Callable[[Path], Story]) -> None:
    """Let a story run from a timer, then quit Blender. When it raised, the exit status is 1 and `failed.png` shows
    where it was.

    Args:
        story: Given the folder for its photographs, the command line's last argument.
    """
    out = Path(sys.argv[-1])
    told = story(out)

    def go_on() -> float | None:
        try:
            return next(told)
        except StopIteration:
            bpy.ops.wm.quit_blender()
        except BaseException:
            traceback.print_exc()
            subprocess.run(["import", "-window", "root", str(out / "failed.png")], check=False)
            sys.stdout.flush()
            os._exit(1)
        return None

    bpy.app.timers.register(go_on, first_interval=1.0, persistent=True)


def until(condition: Callable[[], object], what: str, timeout: float) -> Story:
    """Wait for something while Blender lives on."""
    deadline = time.monotonic() + timeout
    while not condition():
        if time.monotonic() > deadline:
            raise TimeoutError(f"{what}: not within {timeout:.0f} s")
        yield 0.05


def window() -> bpy.types.Window:
    """The first window."""
    return bpy.context.window_manager.windows[0]


def area_of(kind: str) -> bpy.types.Area:
    """The largest area of a type, such as IMAGE_EDITOR."""
    return max(
        (area for area in window().screen.areas if area.type == kind),
        key=lambda area: area.width * area.height,
    )


def region_of(area: bpy.types.Area, kind: str) -> bpy.types.Region:
    """A region of an area: WINDOW, UI (the sidebar) or HEADER."""
    return next(region for region in area.regions if region.type == kind)


def within(area: bpy.types.Area, kind: str = "WINDOW"):
    """Context in which Blender's operators act on a region."""
    return bpy.context.temp_override(window=window(), area=area, region=region_of(area, kind))


def show_sidebar(area: bpy.types.Area, category: str) -> Story:
    """Open an area's sidebar at a tab, wide enough to read."""
    area.spaces.active.show_region_ui = True
    yield 0.3
    region_of(area, "UI").active_panel_category = category
    area.tag_redraw()
    yield 0.3


def point_at(x: int, y: int) -> None:
    """Put the mouse to a place counted as Blender does, from the window's lower left corner."""
    _xdotool("mousemove", str(x), str(window().height - y))


def rest_at(x: int, y: int) -> Story:
    """Put the mouse to a place, and let Blender see it there: one round of its loop takes the movement in, and the
    next one, before which a timer runs again, has acted on it."""
    point_at(x, y)
    yield HOVER_S
    yield 0.0


def hovered_command() -> str:
    """What the operator button under the mouse would run, as Python; empty when there is none."""
    if not bpy.ops.ui.copy_python_command_button.poll():
        return ""
    window().id_data.clipboard = ""
    bpy.ops.ui.copy_python_command_button()
    return window().id_data.clipboard


def find_button(area: bpy.types.Area, kind: str, operator: str) -> Generator[float, None, tuple[int, int]]:
    """Sweep the mouse over a region from the top until it is over the operator's button; returns the place."""
    region = region_of(area, kind)
    for x, y in _places(region):
        yield from rest_at(x, y)
        with within(area, kind):
            if operator in hovered_command():
                return x, y
    raise LookupError(f"no button for {operator} in the {kind} region of the {area.type}")


def _places(region: bpy.types.Region) -> Iterator[tuple[int, int]]:
    if region.height < region.width // 8:
        for x in range(region.x + region.width - 40, region.x, -2 * SWEEP_PX):
            yield x, region.y + region.height // 2
    else:
        for y in range(region.y + region.height - 12, region.y, -SWEEP_PX):
            yield region.x + region.width // 2 - 20, y


def press_mouse() -> None:
    """Click the left button where the mouse is."""
    _xdotool("click", "1")


def press_key(name: str) -> None:
    """Press a key over what the mouse is over; xdotool's name of it."""
    _xdotool("key", name)


def move_newest_window(x: int, y: int) -> None:
    """Put the window that was opened last beside the first, and work in the first again. Without a window manager
    they open at one place, and Blender heeds a window's mouse once it was clicked in."""
    _xdotool("windowmove", _windows()[-1], str(x), str(y))
    park_mouse()
    press_mouse()


def click(area: bpy.types.Area, kind: str, operator: str) -> Story:
    """Press an operator's button with the mouse."""
    place = yield from find_button(area, kind, operator)
    yield from rest_at(*place)
    press_mouse()
    yield 2 * HOVER_S


def click_header(area: bpy.types.Area, last_button: str, number: int) -> Story:
    """Open or close a panel of the sidebar by its header.

    Args:
        last_button: The last one of the panel before the first of them.
        number: Counted from 1; the ones between must be closed.
    """
    x, top = yield from find_button(area, "UI", last_button)
    scale = bpy.context.preferences.system.ui_scale
    yield from rest_at(x, round(top - (FIRST_HEADER_PX + (number - 1) * HEADER_PX) * scale))
    press_mouse()
    yield 0.5


def drag(start: tuple[int, int], end: tuple[int, int]) -> Story:
    """Drag with the left button."""
    yield from rest_at(*start)
    _xdotool("mousedown", "1")
    for part in range(1, 6):
        point_at(*(round(a + (b - a) * part / 5) for a, b in zip(start, end, strict=True)))
        yield HOVER_S
    _xdotool("mouseup", "1")
    yield 2 * HOVER_S


def park_mouse() -> None:
    """Put the mouse where it lights up nothing."""
    point_at(window().width - 2, 2)


def photograph(path: Path, area: bpy.types.Area | None = None) -> Story:
    """Photograph the whole display or one area."""
    for each in window().screen.areas:
        each.tag_redraw()
    park_mouse()
    yield 0.6
    crop = [] if area is None else ["-crop", _geometry(area), "+repage"]
    _take(path, "-window", "root", *crop)


def _take(path: Path, *what: str) -> None:
    small = ("-quality", "90", "-sampling-factor", "4:4:4")
    subprocess.run(["import", *what, *small, str(path)], check=True)
    print(f"photographed {path.name}", flush=True)


def photograph_newest_window(path: Path, width: int, height: int) -> Story:
    """Photograph the window that was opened last, at a size of its own."""
    newest = _windows()[-1]
    _xdotool("windowsize", newest, str(width), str(height))
    park_mouse()
    yield 1.5
    _take(path, "-window", newest)


def seen(region: bpy.types.Region) -> np.ndarray:
    """What X shows of a region now: (height, width, 3) uint8, top row first."""
    raw = subprocess.run(
        ["import", "-window", "root", "-crop", _geometry(region), "+repage", "-depth", "8", "rgb:-"],
        check=True,
        capture_output=True,
    ).stdout
    return np.frombuffer(raw, np.uint8).reshape(region.height, region.width, 3)


def _windows() -> list[str]:
    """X's numbers of Blender's windows, the oldest first."""
    return _xdotool("search", "--onlyvisible", "--class", "blender").split()


def _geometry(part: bpy.types.Area | bpy.types.Region) -> str:
    top = window().height - part.y - part.height
    return f"{part.width}x{part.height}+{part.x}+{top}"


def _xdotool(*arguments: str) -> str:
    return subprocess.run(["xdotool", *arguments], check=True, stdout=subprocess.PIPE, text=True).stdout
