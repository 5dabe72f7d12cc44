# SPDX-License-Identifier: GPL-3.0-or-later
"""The PNG writer, read back by Blender."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest


@pytest.mark.parametrize("channels", [3, 4])
def test_sixteen_bits_survive(addon: Callable, tmp_path: Path, channels: int) -> None:
    random = np.random.default_rng(1)
    # Larger than one piece, so that the filter meets a piece's border.
    picture = random.integers(0, 65536, (301, 203, channels), dtype=np.uint16)
    path = tmp_path / "picture.png"
    pieces = list(addon("picture.png").encode(picture, {"make_real": "größer"}))
    assert len(pieces) > 4
    path.write_bytes(b"".join(pieces))
    pixels = addon("picture.render_passes").read_pixels(path, "Non-Color")
    assert np.array_equal(np.rint(pixels[..., :channels] * 65535).astype(np.uint16), picture)


def test_grey(addon: Callable, tmp_path: Path) -> None:
    mask = np.arange(64 * 5, dtype=np.uint16).reshape(5, 64) * 200
    path = tmp_path / "mask.png"
    path.write_bytes(b"".join(addon("picture.png").encode(mask, {})))
    pixels = addon("picture.render_passes").read_pixels(path, "Non-Color")
    assert np.array_equal(np.rint(pixels[..., 0] * 65535).astype(np.uint16), mask)
