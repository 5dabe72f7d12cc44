# SPDX-License-Identifier: GPL-3.0-or-later
"""Crops of pictures: what the network sees of a photo or a render.

Both domains go through the same, so that they differ in nothing but what a translation is to change.
"""

from __future__ import annotations

import random
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float, UInt8
from PIL import Image

from backend.pictures import read_picture
from protocol import ErrorCode, MakeRealError

BACKDROP = 0.5
"""Display-referred grey behind transparent pixels."""
QUARTER_TURNS = {3: 2, 4: 2, 5: 3, 6: 3, 7: 1, 8: 1}
"""Counterclockwise turns that set a photo upright, by its EXIF orientation; mirroring is drawn anyway."""


@dataclass(frozen=True)
class Crop:
    """A training picture.

    Args:
        pixels: Display-referred RGB.
        size: SDXL's micro-conditioning (arXiv 2307.01952, 2.2): height and width of the picture, top and left
            of the crop in the scaled picture, height and width of the crop; in pixels.
    """

    pixels: UInt8[np.ndarray, "height width 3"]
    size: Float[np.ndarray, " 6"]


def load_upright(path: Path) -> Image.Image:
    """Read a picture as display-referred RGB of 8 bits, upright, on grey where it is transparent.

    Raises:
        MakeRealError: PICTURE_UNREADABLE or LIMIT_EXCEEDED, naming the file.
    """
    picture = read_picture(path)
    shown = picture.shown
    if shown.dtype != np.uint8 or shown.shape[2] == 4:
        scale = 1.0 if shown.dtype.kind == "f" else float(np.iinfo(shown.dtype).max)
        colour, alpha = shown[..., :3] / scale, shown[..., 3:] / scale
        if alpha.size:
            colour = colour * alpha + BACKDROP * (1 - alpha)
        shown = np.rint(colour.clip(0, 1) * 255).astype(np.uint8)
    turns = QUARTER_TURNS.get(int(picture.spec.get_int_attribute("Orientation", 1)), 0)
    return Image.fromarray(np.ascontiguousarray(np.rot90(shown, turns)))


def check_size(picture: Image.Image, path: Path, width: int, height: int) -> None:
    """Refuse a picture that would have to be enlarged: it would teach blur.

    Raises:
        MakeRealError: INVALID_REQUEST, naming the file.
    """
    if picture.width < width or picture.height < height:
        raise MakeRealError(
            ErrorCode.INVALID_REQUEST,
            f"{path} is {picture.width}x{picture.height}, smaller than a training crop of {width}x{height};"
            " take it out of the folder, or give a smaller --resolution",
        )


def random_crop(picture: Image.Image, width: int, height: int, zoom: float, rng: random.Random) -> Crop:
    """A crop of `width` x `height` anywhere in the picture, mirrored half the time.

    Args:
        zoom: The largest enlargement; 1 shows as much of the picture as has the crop's shape.
    """
    part = min(picture.width / width, picture.height / height) / rng.uniform(1, zoom)
    left = rng.uniform(0, picture.width - part * width)
    top = rng.uniform(0, picture.height - part * height)
    return _cut(picture, left, top, part, width, height, mirrored=rng.random() < 0.5)


def middle_crop(picture: Image.Image, width: int, height: int) -> Crop:
    """The largest crop of the shape, from the middle."""
    part = min(picture.width / width, picture.height / height)
    left, top = (picture.width - part * width) / 2, (picture.height - part * height) / 2
    return _cut(picture, left, top, part, width, height, mirrored=False)


def _cut(
    picture: Image.Image, left: float, top: float, part: float, width: int, height: int, mirrored: bool
) -> Crop:
    # Rounding must not put a corner outside.
    right, bottom = min(left + part * width, picture.width), min(top + part * height, picture.height)
    cut = picture.resize((width, height), Image.Resampling.LANCZOS, box=(left, top, right, bottom))
    pixels = np.asarray(cut)
    if mirrored:
        pixels, left = pixels[:, ::-1], picture.width - right
    size = [picture.height, picture.width, top / part, left / part, height, width]
    return Crop(np.ascontiguousarray(pixels), np.array(size, np.float32))
