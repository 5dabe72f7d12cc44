# SPDX-License-Identifier: GPL-3.0-or-later
"""Make Real: turns a finished Cycles render of a garment into a photoreal picture. The extension for Blender.

operators ------> render_passes, garment, cryptomatte, exr    the finished render as planes
    |
    v
conductor <-> session        client, process and tickets <-> the pure state machine
    ^   |
pump    '-----> results, view_transform, compositor, picture_files, png    the result comes home
panels, status_line, properties, preferences                              what the artist sees and sets
"""

from __future__ import annotations

from . import operators, panels, preferences, properties, pump

MODULES = (preferences, pump, properties, operators, panels)


def register() -> None:
    """Called by Blender when the extension is enabled."""
    for module in MODULES:
        module.register()


def unregister() -> None:
    """Called by Blender when the extension is disabled or Blender quits."""
    for module in reversed(MODULES):
        module.unregister()
