# SPDX-License-Identifier: GPL-3.0-or-later
"""Which pixels are garment, which are free, which are protected, and how far each part may move.

properties   the artist's parts and picks, as the blend file keeps them
selection    what is selected in Blender
picked       the parts as plain data: names that the render knows, images, and why one might be empty
cryptomatte  coverage of names, from the render's passes
planes       parts and passes to the protocol's planes, in slices
overlay      the planes drawn over the render in the Image Editor
operators, panels    what the artist clicks and sees
"""

from . import operators, overlay, panels, properties

__all__ = ["operators", "overlay", "panels", "properties"]
