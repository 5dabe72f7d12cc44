# SPDX-License-Identifier: GPL-3.0-or-later
"""The installer: a program of its own, run by Blender's Python beside Blender (`__main__`). The extension itself reads
`facts` alone."""
