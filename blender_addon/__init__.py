# SPDX-License-Identifier: GPL-3.0-or-later
"""Make Real: turns a finished Cycles render of a garment into a photoreal picture. The extension for Blender.

operators   the artist's clicks: check, call, report
masks/      the picture's parts: which pixels are garment, free, protected
picture/    pictures out of Blender and home again: passes, files, colour, results
session/    the life of a job: a pure state machine, the conductor that carries out its effects, the timer
backend/    the backend: installing it, its process, its memory
compositor  the nodes
panels, properties, preferences    what the artist sees and sets
tickets     from a finished render to a job
compare/    before and after in the Image Editor
looks/      presets, and variants of one render
history/    every result of a scene, kept with its render
sidebar     where the panels stand
start_button    what stands where a picture is asked for
text        sentences that fit a panel
compat      every difference between Blender's versions
"""

from __future__ import annotations

from . import masks, operators, panels, preferences, properties
from .backend import operators as backend_operators
from .backend import yielding
from .compare import comparison, drawing, handle
from .compare import operators as compare_operators
from .compare import panel as compare_panel
from .history import freshness, places, shelf
from .history import operators as history_operators
from .history import panel as history_panel
from .looks import batch, presets, variants
from .looks import operators as looks_operators
from .looks import panel as looks_panel
from .picture import editors, render_state
from .session import pump

MODULES = (
    preferences,
    pump,
    masks.properties,
    properties,
    render_state,
    editors,
    places,
    shelf,
    freshness,
    operators,
    backend_operators,
    yielding,
    masks.operators,
    masks.overlay,
    history_operators,
    presets,
    variants,
    batch,
    looks_operators,
    comparison,
    drawing,
    handle,
    compare_operators,
    panels,
    masks.panels,
    looks_panel,
    history_panel,
    compare_panel,
)


def register() -> None:
    """Called by Blender when the extension is enabled."""
    for module in MODULES:
        module.register()


def unregister() -> None:
    """Called by Blender when the extension is disabled or Blender quits."""
    for module in reversed(MODULES):
        module.unregister()
