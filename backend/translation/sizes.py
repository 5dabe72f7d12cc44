# SPDX-License-Identifier: GPL-3.0-or-later
"""Any size in, the same size out: pad to what the network needs and crop back. Nothing is ever stretched."""

from __future__ import annotations

import torch
from jaxtyping import Shaped
from torch import Tensor


def pad_to_multiple(
    plane: Shaped[Tensor, "*channels height width"], multiple: int
) -> Shaped[Tensor, "*channels padded_height padded_width"]:
    """Continue a picture by reflection, below and to the right, until both sides are multiples of `multiple`.

    The picture itself keeps its place at the top left, so `padded[..., :height, :width]` is the picture.
    """
    for axis in (-2, -1):
        length = plane.shape[axis]
        if missing := -length % multiple:
            places = torch.arange(length + missing, device=plane.device) % (2 * length)
            plane = plane.index_select(axis, torch.minimum(places, 2 * length - 1 - places))
    return plane
