# SPDX-License-Identifier: GPL-3.0-or-later
"""Overlapping windows for pictures larger than the network's native area (MultiDiffusion, arXiv 2302.08113).

Every evaluation of the network is cut into windows and the parts are averaged with smooth weights:

    y(p) = sum_j w_j(p) f(x|_j)(p) / sum_j w_j(p)

There is one trajectory of the whole picture: windows share latents before and after every step, so no seam
grows.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

Plane = TypeVar("Plane", Tensor, np.ndarray[Any, Any])

OVERLAP = 0.25
"""Least part of a window's side that it shares with its neighbour."""
CONTEXT = 8
"""Latent cells around what moves that the network sees."""


@dataclass(frozen=True)
class Window:
    """A rectangle of latent cells."""

    top: int
    left: int
    height: int
    width: int

    @property
    def corners(self) -> tuple[int, int, int, int]:
        """Top, left, bottom and right, the latter two just outside."""
        return self.top, self.left, self.top + self.height, self.left + self.width

    def cut(self, plane: Plane, scale: int = 1) -> Plane:
        """The window's part of a plane, shape `... height width`, with `scale` pixels along a latent cell."""
        rows = slice(self.top * scale, (self.top + self.height) * scale)
        columns = slice(self.left * scale, (self.left + self.width) * scale)
        return plane[..., rows, columns]


def _spans(length: int, side: int) -> list[tuple[int, int]]:
    """Starts and sizes of the fewest evenly spread windows of `side` that cover `length` with overlap."""
    if length <= side:
        return [(0, length)]
    count = math.ceil((length - side) / (side * (1 - OVERLAP))) + 1
    return [(round(i * (length - side) / (count - 1)), side) for i in range(count)]


def cover(height: int, width: int, native_area: int, tolerance: float, multiple: int) -> tuple[Window, ...]:
    """Windows that cover `height` x `width` latent cells.

    Args:
        native_area: Cells that the network was made for; a window has at most so many.
        tolerance: Up to `tolerance * native_area` cells the picture is taken whole.
        multiple: Cells by which both sides of a window must be divisible; divides `height` and `width`.
    """
    if height * width <= tolerance * native_area:
        return (Window(0, 0, height, width),)
    short = min(height, width, math.isqrt(native_area))
    short -= short % multiple
    long = native_area // max(short, multiple)
    long -= long % multiple
    sides = (short, long) if height <= width else (long, short)
    rows, columns = (
        _spans(length, max(side, multiple)) for length, side in zip((height, width), sides, strict=True)
    )
    return tuple(Window(top, left, h, w) for top, h in rows for left, w in columns)


def moving_box(start: Float[Tensor, "pictures 1 rows columns"], multiple: int) -> Window:
    """The cells that move in any picture of a batch, with `CONTEXT` around them, in steps of `multiple` cells.

    Args:
        start: Node at which each cell starts; 0 for one that stays.
    """
    rows, columns = start.shape[-2:]
    moving = (start > 0).any(0)[0].cpu()

    def span(cells: Tensor, length: int) -> tuple[int, int]:
        (places,) = torch.nonzero(cells, as_tuple=True)
        low = max(int(places[0]) - CONTEXT, 0) // multiple * multiple
        high = math.ceil((int(places[-1]) + 1 + CONTEXT) / multiple) * multiple
        return low, min(high, length) - low

    top, height = span(moving.any(1), rows)
    left, width = span(moving.any(0), columns)
    return Window(top, left, height, width)


def _tent(length: int, like: Tensor) -> Float[Tensor, " length"]:
    """Weight that rises linearly from both ends to the middle, and is never 0."""
    offsets = torch.arange(length, dtype=like.dtype, device=like.device)
    return torch.minimum(offsets, length - 1 - offsets) + 0.5


def evaluate(
    function: Callable[[int, Window], Tensor], windows: Sequence[Window], scale: int = 1
) -> Float[Tensor, "batch channels height width"]:
    """Evaluate `function(index, window)` on every window and blend the parts into one plane.

    Args:
        scale: Pixels of the result along a latent cell.
    """
    if len(windows) == 1:
        return function(0, windows[0])
    total = weights = None
    for index, window in enumerate(windows):
        part = function(index, window)
        if total is None or weights is None:
            height = max(w.top + w.height for w in windows) * scale
            width = max(w.left + w.width for w in windows) * scale
            total = part.new_zeros(*part.shape[:2], height, width)
            weights = part.new_zeros(height, width)
        weight = _tent(part.shape[-2], part)[:, None] * _tent(part.shape[-1], part)[None, :]
        window.cut(total, scale).add_(part * weight)
        window.cut(weights, scale).add_(weight)
    assert total is not None and weights is not None
    return total / weights
