# SPDX-License-Identifier: GPL-3.0-or-later
"""How often the parts or the render have changed: what the overlay looks at to know that it is stale.

A module of its own, and without `bpy`: Blender keeps a property's callback for ever, and Blender 4.2 as a Python
module crashes at the interpreter's end when such a callback still leads to `bpy`.
"""

count = 0


def changed(_group: object = None, _context: object = None) -> None:
    """The parts or the render have changed; also an `update` callback of properties."""
    global count
    count += 1
