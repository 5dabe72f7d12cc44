# SPDX-License-Identifier: GPL-3.0-or-later
"""The inverse of a measured view: which scene-linear light shows as a given display colour.

A view is any chain that Blender puts between light and the display: white balance, curves, exposure, look, view
transform, gamma, display device. Only a few of those chains have an inverse in Blender's configuration, so all of
them are measured (`view_transform.measure`) and the measurement is inverted, point by point of a display cube, by
Levenberg-Marquardt (Marquardt 1963, doi:10.1137/0111030). Between points both cubes are read by tetrahedral
interpolation (Kasson, Nin, Plouffe, Hafner 1995, doi:10.1117/12.206369), which keeps greys grey.

No bpy here, and no step of more than a few milliseconds.
"""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from collections.abc import Generator
from dataclasses import dataclass

import numpy as np

from .. import pace

CELL_BITS = 10
SIDE = (65536 >> CELL_BITS) + 1
"""Points on each edge of the display cube: one for every 1024 of 65536 display values, so that a value's cell and
its place in the cell are bits of it."""
AXIS = np.minimum(np.arange(SIDE) * (1 << CELL_BITS) / 65535.0, 1.0)
STRIDES = np.array([SIDE * SIDE, SIDE, 1], np.int32)
PLACE_BITS = 20
"""Of a place in a cell of the measured cube that tell which channel's is larger."""
ITERATIONS = {17: 20, 33: 6, SIDE: 1}
"""Side of a cube -> steps of the solver; each cube begins where the coarser one ended."""
POINTS_AT_ONCE = 1280
"""Solved half a step further between two pauses; about half a millisecond."""
COLOURS_AT_ONCE = 48
"""Compared with all measured ones between two pauses."""
VALUES_AT_ONCE = 1 << 15
"""Of a cube, doubled between two pauses."""
EXACT = 1e-7
"""Squared error in display values, a twelfth of an 8-bit step, below which a point is solved."""
LONGEST_STEP = 4.0
"""In cells of the measured cube: its slope says nothing about what is further away."""
SMALLEST_RESPONSE = 0.02
"""A view that answers some change of colour with less than this part of its answer to others shows different
colours as one."""
REMEMBERED = 4
TOLERANCE = 1.0 / 256.0
"""Largest error in display values of what is read between the cube's points; beyond, the colour is solved itself:
near the corners of a view, where it clips or desaturates."""
POLISHING_STEPS = 3


@dataclass(frozen=True)
class Response:
    """What a view makes of light.

    Args:
        levels: (SIDE,) float32, rising from 0: scene-linear values.
        table: (SIDE, SIDE, SIDE, 3) float32: display values, 0..1, of the light whose red, green and blue are
            `levels[i], levels[j], levels[k]`.
    """

    levels: np.ndarray
    table: np.ndarray

    @property
    def is_invertible(self) -> bool:
        """Whether different colours look different: not so in a view that shows brightness alone."""
        grey = self.table[range(SIDE), range(SIDE), range(SIDE)].mean(axis=1)
        middle = np.flatnonzero((grey > 0.1) & (grey < 0.8))
        if not len(middle):
            return False
        positions = np.repeat(middle[:, None], 3, axis=1).astype(np.float32)
        strengths = np.linalg.svd(_slopes(self.table.reshape(-1, 3), positions)[1], compute_uv=False)
        return bool(np.mean(strengths[:, 2] > SMALLEST_RESPONSE * strengths[:, 0]) > 0.5)


class Inverse:
    """From display values back to light.

    Args:
        response: The view.
        positions: (SIDE**3, 3) float32: for each point of the display cube the place in the response's levels,
            fractions included, of the light that shows as its colour.
    """

    def __init__(self, response: Response, positions: np.ndarray) -> None:
        self._levels = response.levels
        self._shown = np.ascontiguousarray(response.table.reshape(-1, 3))
        self._positions = positions

    def light(self, display: np.ndarray) -> Generator[None, None, np.ndarray]:
        """The light that shows as given colours; of colours that the view cannot show, as the nearest one.

        Args:
            display: (n, 3) uint16; n no more than `POINTS_AT_ONCE` for short steps.

        Returns:
            (n, 3) float32, scene-linear.
        """
        positions = _interpolate(self._positions, display.T.astype(np.int32))
        yield
        reached = np.minimum(np.rint(positions.T * (1 << CELL_BITS)), 65535).astype(np.int32)
        wanted = display * np.float32(1.0 / 65535.0)
        missed = np.flatnonzero(np.abs(_interpolate(self._shown, reached) - wanted).max(axis=1) > TOLERANCE)
        yield
        if len(missed):
            polished = _solve(self._shown, positions[missed], wanted[missed], POLISHING_STEPS)
            positions[missed] = yield from polished
        return np.interp(positions, np.arange(SIDE), self._levels).astype(np.float32)


def _interpolate(cube: np.ndarray, points: np.ndarray) -> np.ndarray:
    """Read a cube between its points.

    Args:
        cube: (SIDE**3, 3) float32.
        points: (3, n) int32, 0..65535 over each edge.

    Returns:
        (n, 3) float32.
    """
    cell, whole = points >> CELL_BITS, 1 << CELL_BITS
    top, middle, bottom = _sorted(points & (whole - 1))
    corner = STRIDES @ cell
    on_edge = corner + STRIDES[top & 3]
    on_face = on_edge + STRIDES[middle & 3]
    opposite = corner + STRIDES.sum(dtype=np.int32)
    shares = (whole - (top >> 2), (top >> 2) - (middle >> 2), (middle >> 2) - (bottom >> 2), bottom >> 2)
    values = np.zeros((points.shape[1], 3), np.float32)
    for point, share in zip((corner, on_edge, on_face, opposite), shares, strict=True):
        values += cube.take(point, axis=0) * (share * np.float32(1.0 / whole))[:, None]
    return values


def _sorted(places: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Places in a cell, for each point the largest first, with their channel in two bits below them.

    Args:
        places: (3, n) int32.
    """
    first, second, third = (places << 2) | np.arange(3, dtype=np.int32)[:, None]
    high, low = np.maximum(first, second), np.minimum(first, second)
    top, rest = np.maximum(high, third), np.minimum(high, third)
    return top, np.maximum(low, rest), np.minimum(low, rest)


_known: OrderedDict[bytes, Inverse] = OrderedDict()


def invert(response: Response) -> Generator[None, None, Inverse]:
    """Invert a view; pauses every few milliseconds. A view that was inverted lately is remembered.

    Args:
        response: One that `is_invertible`.
    """
    key = yield from _digest(response)
    if key not in _known:
        yield
        positions = yield from _solve_cube(response)
        _known[key] = Inverse(response, positions)
        if len(_known) > REMEMBERED:
            _known.popitem(last=False)
    _known.move_to_end(key)
    return _known[key]


def _digest(response: Response) -> Generator[None, None, bytes]:
    digest = hashlib.sha256(response.levels.tobytes())
    for plane in response.table:
        digest.update(plane.tobytes())
        yield
    return digest.digest()


def _solve_cube(response: Response) -> Generator[None, None, np.ndarray]:
    table = np.ascontiguousarray(response.table.reshape(-1, 3))
    positions = None
    for edge, iterations in ITERATIONS.items():
        axis = AXIS[:: (SIDE - 1) // (edge - 1)]
        if positions is None:
            positions = yield from _nearest_measured(response.table, cube(axis))
        else:
            finer = yield from _refine(positions.reshape(*(edge // 2 + 1,) * 3, 3))
            positions = finer.reshape(-1, 3)
        for points in pace.slices(len(positions), POINTS_AT_ONCE):
            colours = cube(axis, points)
            positions[points] = yield from _solve(table, positions[points], colours, iterations)
    return positions


def cube(axis: np.ndarray, points: slice = slice(None)) -> np.ndarray:
    """Points of a cube, (n**3, 3) float32, the last channel changing fastest; or some of them."""
    numbers = np.arange(*points.indices(len(axis) ** 3))
    places = np.unravel_index(numbers, (len(axis),) * 3)
    return np.stack([axis[place] for place in places], axis=1).astype(np.float32, copy=False)


def _nearest_measured(table: np.ndarray, colours: np.ndarray) -> Generator[None, None, np.ndarray]:
    """Of every fourth measured point, the darkest whose display colour comes nearest."""
    places = cube(np.arange(0, len(table), 4))
    shown = table[::4, ::4, ::4].reshape(-1, 3)
    red, green, blue = np.ascontiguousarray(shown.T)
    lengths = (shown**2).sum(axis=1)
    nearest = np.empty((len(colours), 3), np.float32)
    for points in pace.slices(len(colours), COLOURS_AT_ONCE):
        # No matrix product: numpy would have another thread help, and wait 4 ms for it where processors are busy.
        nearest[points] = [
            places[(lengths - r * red - g * green - b * blue).argmin()] for r, g, b in 2.0 * colours[points]
        ]
        yield
    return nearest


def _refine(grid: np.ndarray) -> Generator[None, None, np.ndarray]:
    """A cube with a point more between every two."""
    # The first axis last, when the cube is large: its slices lie together in memory.
    for axis in (2, 1, 0):
        shape = list(grid.shape)
        shape[axis] = 2 * shape[axis] - 1
        finer = np.empty(shape, grid.dtype)
        source, target = np.moveaxis(grid, axis, 0), np.moveaxis(finer, axis, 0)
        for part in pace.slices(len(source), max(1, VALUES_AT_ONCE // source[0].size)):
            between = slice(part.start, min(part.stop, len(source) - 1))
            target[::2][part] = source[part]
            target[1::2][between] = (source[between] + source[between.start + 1 : between.stop + 1]) / 2
            yield
        grid = finer
    return grid


def _solve(
    table: np.ndarray, start: np.ndarray, colours: np.ndarray, iterations: int
) -> Generator[None, None, np.ndarray]:
    """Levenberg-Marquardt, each point with its own damping."""
    places = start.copy()
    damping = np.full(len(places), 1e-4, np.float32)
    shown, slopes = _slopes(table, places)
    missing = colours - shown
    error = (missing**2).sum(axis=1)
    yield
    for _ in range(iterations):
        left = np.flatnonzero(error > EXACT)
        if not len(left):
            break
        step = np.clip(_damped_step(slopes[left], missing[left], damping[left]), -LONGEST_STEP, LONGEST_STEP)
        tried = np.clip(places[left] + step, 0.0, SIDE - 1.0).astype(np.float32)
        yield
        shown, tried_slopes = _slopes(table, tried)
        tried_missing = colours[left] - shown
        tried_error = (tried_missing**2).sum(axis=1)
        better = tried_error < error[left]
        moved = left[better]
        places[moved], slopes[moved] = tried[better], tried_slopes[better]
        missing[moved], error[moved] = tried_missing[better], tried_error[better]
        damping[left] *= np.where(better, np.float32(0.1), np.float32(8.0))
        np.clip(damping, 1e-8, 1e4, out=damping)
        yield
    return places


def _slopes(table: np.ndarray, positions: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Display values at positions of the measured cube, and how they change with each position.

    Returns:
        (n, 3) values and (n, 3, 3) slopes, indexed by point, light's channel, display's channel.
    """
    cell = np.minimum(positions.T.astype(np.int32), SIDE - 2)
    places = positions.T - cell
    points = np.arange(len(positions))
    reached = STRIDES @ cell
    values = shown = table.take(reached, axis=0)
    slopes = np.empty((len(positions), 3, 3), np.float32)
    for place in _sorted((places * (1 << PLACE_BITS)).astype(np.int32)):
        channel = place & 3
        reached = reached + STRIDES[channel]
        next_shown = table.take(reached, axis=0)
        edge = next_shown - shown
        slopes[points, channel] = edge
        values = values + edge * places[channel, points, None]
        shown = next_shown
    return values, slopes


def _damped_step(slopes: np.ndarray, missing: np.ndarray, damping: np.ndarray) -> np.ndarray:
    """Solve (J J^T + damping) step = J missing for many 3 x 3 matrices at once, by cofactors."""
    # Points last: for matrices as small as these, einsum takes five times as long.
    red, green, blue = rows = np.ascontiguousarray(slopes.transpose(1, 2, 0))
    a, b, c = ((row * row).sum(axis=0) + damping for row in rows)
    ab, ac, bc = ((row * other).sum(axis=0) for row, other in ((red, green), (red, blue), (green, blue)))
    wanted = (rows * missing.T).sum(axis=1)
    first = np.stack([b * c - bc * bc, ac * bc - ab * c, ab * bc - ac * b])
    second = np.stack([first[1], a * c - ac * ac, ab * ac - a * bc])
    third = np.stack([first[2], second[2], a * b - ab * ab])
    determinant = a * first[0] + ab * first[1] + ac * first[2]
    steps = [(cofactors * wanted).sum(axis=0) for cofactors in (first, second, third)]
    return np.stack(steps / np.maximum(determinant, 1e-20), axis=1)
