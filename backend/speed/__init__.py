# SPDX-License-Identifier: GPL-3.0-or-later
"""Measures how fast translations are, beside the released procedure on the same weights: `python -m backend.speed`."""
