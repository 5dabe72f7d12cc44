# SPDX-License-Identifier: GPL-3.0-or-later
"""Ways to a picture that the artist likes.

presets     settings under a name: shipped ones and the artist's own
variants    which pictures a grid of variants has
batch       makes them one after the other, and their sheet
operators, panel    what the artist can do with it
"""
