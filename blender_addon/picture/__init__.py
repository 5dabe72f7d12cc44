# SPDX-License-Identifier: GPL-3.0-or-later
"""Pictures in and out of Blender: passes, files, colour, results."""
