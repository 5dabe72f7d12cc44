# SPDX-License-Identifier: GPL-3.0-or-later
"""Sample sheets: held-out renders on the left, what a translation makes of them now on the right."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from jaxtyping import UInt8
from PIL import Image

from backend import files
from backend.translation import Translator
from backend.translation.model import Model
from protocol import PlaneName, TranslationRequest

from .crops import load_upright, middle_crop
from .folders import PictureFile

RENDERS = 3
"""Rows of a sheet."""


def sheet_renders(
    held_out: Sequence[PictureFile], width: int, height: int
) -> list[UInt8[np.ndarray, "height width 3"]]:
    """The middle of the first held-out renders, as they are."""
    return [middle_crop(load_upright(file.path), width, height).pixels for file in held_out[:RENDERS]]


def write_sheet(model: Model, renders: Sequence[UInt8[np.ndarray, "height width 3"]], path: Path) -> None:
    """Translate the renders with the default settings and write a sheet as PNG. Raises OSError."""
    translator = Translator(model)
    request = TranslationRequest()
    rows = [
        np.hstack([render, translator.translate(request, {PlaneName.IMAGE: render}).image])
        for render in renders
    ]
    stored = io.BytesIO()
    Image.fromarray(np.vstack(rows)).save(stored, "PNG")
    path.parent.mkdir(exist_ok=True)
    files.write_whole(path, stored.getvalue())
