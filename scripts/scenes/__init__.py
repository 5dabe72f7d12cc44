# SPDX-License-Identifier: GPL-3.0-or-later
"""Blender scenes made by script: the demo garment and the pictures that the starter model learns renders from.

Runs under the `bpy` wheels of Blender 4.2, 5.0 and 5.2. Run from `scripts/`, for example
`python -m scenes.garment_demo --output garment.png`.
"""
