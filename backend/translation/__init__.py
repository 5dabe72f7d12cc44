# SPDX-License-Identifier: GPL-3.0-or-later
"""The translation of a finished render into a photoreal picture of the same pixels."""

from .pipeline import Translation, Translator
from .progress import Cancelled

__all__ = ["Cancelled", "Translation", "Translator"]
