# SPDX-License-Identifier: GPL-3.0-or-later
"""Any size in, the same size out: pad to what the network needs and crop back. Nothing is ever stretched."""

from __future__ import annotations

import numpy as np
from jaxtyping import Shaped


def pad_to_multiple(
    plane: Shaped[np.ndarray, "height width *channels"], multiple: int
) -> Shaped[np.ndarray, "padded_height padded_width *channels"]:
    """Continue a picture by reflection, below and to the right, until both sides are multiples of `multiple`.

    The picture itself keeps its place at the top left, so `padded[:height, :width]` is the picture.
    """
    below, right = (-plane.shape[0] % multiple, -plane.shape[1] % multiple)
    return np.pad(plane, ((0, below), (0, right), *((0, 0),) * (plane.ndim - 2)), mode="symmetric")
