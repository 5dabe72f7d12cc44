# SPDX-License-Identifier: GPL-3.0-or-later
"""Before and after in the Image Editor: a line to drag, the difference, and how true the garment stayed.

comparison  which two pictures are compared, and how; a scene's result and the render that it was made from
pictures    the two as textures
shader      the one shader that draws them
drawing     what the Image Editor shows
handle      dragging the line
zoom        the garment at 100 %
fidelity    the report's figures in words
operators, panel    what the artist can do with it
"""
