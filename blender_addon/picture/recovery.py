# SPDX-License-Identifier: GPL-3.0-or-later
"""The light of a result: what the compositor needs so that the artist's view shows the result as it is.

Where the result is the render, it keeps the render's own light, exactly: also the brightness of a highlight that
the display clips. Where it is another colour, its light is that which the view shows as this colour. In between,
within one step of an 8-bit display, one goes over into the other, so that there is no seam.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator

import numpy as np

from .. import pace
from ..protocol import ErrorCode, MakeRealError
from .render_passes import straight
from .source import Source
from .view_inverse import POINTS_AT_ONCE, Inverse, invert

PIXELS_AT_ONCE = POINTS_AT_ONCE
"""Between two pauses, which an inverted colour itself makes more of; about half a millisecond."""
STEP = 65535.0 / 255.0
"""One step of an 8-bit display in 16-bit values."""


def prepare(source: Source) -> Generator[None, None, None]:
    """What `lines` does first, with pauses: under a view that was not seen lately it takes a while."""
    if source.response.is_invertible:
        yield
        yield from invert(source.response)


def lines(picture: np.ndarray, source: Source) -> Iterator[np.ndarray | None]:
    """The light of a result.

    Args:
        picture: (height, width, 3 or 4) uint16 display values, straight alpha: the source's picture, changed.

    Yields:
        (width, 4) float32, scene-linear, alpha multiplied in, the top line first; None marks a pause.

    Raises:
        MakeRealError: UNSUPPORTED_VIEW when the view shows different colours as one.
    """
    if not source.response.is_invertible:
        what_to_do = "choose a view transform and a look that do not show different colours as one"
        raise MakeRealError(ErrorCode.UNSUPPORTED_VIEW, what_to_do)
    yield None
    inverse = yield from invert(source.response)
    for wanted, before, light in zip(picture, source.picture, source.light, strict=True):
        line = light.copy()
        for part in pace.slices(len(line), PIXELS_AT_ONCE):
            changed = part.start + np.flatnonzero((wanted[part] != before[part]).any(axis=1))
            if len(changed):
                line[changed] = yield from _recovered(
                    wanted[changed], before[changed], light[changed], inverse
                )
            yield None
        yield line


def _recovered(
    wanted: np.ndarray, before: np.ndarray, light: np.ndarray, inverse: Inverse
) -> Generator[None, None, np.ndarray]:
    alpha = wanted[:, 3:] / np.float32(65535.0) if wanted.shape[1] == 4 else light[:, 3:]
    color = yield from inverse.light(np.ascontiguousarray(wanted[:, :3]))
    yield
    distance = np.abs(wanted[:, :3].astype(np.float32) - before[:, :3]).max(axis=1)
    near = np.flatnonzero(distance < STEP)
    if len(near):
        weight = (1.0 - distance[near, None] / STEP).astype(np.float32)
        usual = yield from inverse.light(np.ascontiguousarray(before[near, :3]))
        color[near] += weight * (straight(light[near]) - usual)
    return np.concatenate([color * np.where(alpha > 0.0, alpha, 1.0), alpha], axis=1)
