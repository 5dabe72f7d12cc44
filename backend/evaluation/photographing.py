# SPDX-License-Identifier: GPL-3.0-or-later
"""A render as a phone would have stored it: softened by the lens, then JPEG. Nothing of it became more real.

KID and a classifier do not know this. What they say of such a picture is what a method could gain by softness and
JPEG blocks alone.
"""

from __future__ import annotations

import hashlib
import io
import random

import numpy as np
from jaxtyping import UInt8
from PIL import Image, ImageFilter

JPEG_QUALITIES = (72, 93)
LENS_BLUR_PX = (0.0, 0.7)


def photograph(pixels: UInt8[np.ndarray, "height width 3"]) -> UInt8[np.ndarray, "height width 3"]:
    """The picture after a blur of up to 0.7 pixels and JPEG; how much of each follows from the picture."""
    rng = random.Random(hashlib.blake2b(pixels.tobytes(), digest_size=8).hexdigest())
    blurred = Image.fromarray(pixels).filter(ImageFilter.GaussianBlur(rng.uniform(*LENS_BLUR_PX)))
    stored = io.BytesIO()
    blurred.save(stored, "JPEG", quality=rng.randint(*JPEG_QUALITIES))
    with Image.open(stored) as picture:
        return np.asarray(picture)
