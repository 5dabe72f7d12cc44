# SPDX-License-Identifier: GPL-3.0-or-later
"""From the artist's parts and the render's passes to the planes that travel.

Where parts overlap, each pixel is shared out: protected before free before garment, and among parts of one role
the later in the list before the earlier, so that a part added for a detail takes it from the part around it.
Things of one kind are told apart exactly; where an object and a material meet within one edge pixel, no pass tells
how they overlap there, and they are taken to lie side by side.
"""

from __future__ import annotations

from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from .. import pace
from ..protocol import ErrorCode, MakeRealError, PlaneName
from . import cryptomatte
from .cryptomatte import Channel, Layer, Owners, Rank
from .picked import Part, Role

BAND_WORK = 1 << 16
WORK_OF_A_PIXEL = 16
"""Between two pauses rows are worked on whose pixels are worth `BAND_WORK`, about half a millisecond: each costs this,
and 1 more for each part."""
PLANES = {Role.PROTECTED: PlaneName.PROTECTED, Role.FREE: PlaneName.FREE, Role.GARMENT: PlaneName.GARMENT}
"""Roles in the order in which they take their pixels -> the plane that each becomes."""
PASS_WORDS = {Layer.OBJECT: "Cryptomatte object", Layer.MATERIAL: "Cryptomatte material"}


@dataclass(frozen=True)
class Masks:
    """What the parts come to.

    Args:
        planes: (height, width) uint16 each: `garment`, `free` and `protected` where a part has that role,
            `strength` where one has less than the whole strength.
        remarks: Sentences on what is missing or empty although the picture can be made.
        problem: EMPTY_MASK when there are parts of the garment and none covers a pixel: such planes may be looked
            at, but not be sent.
    """

    planes: dict[PlaneName, np.ndarray]
    remarks: tuple[str, ...] = ()
    problem: MakeRealError | None = None


def decode(
    parts: Sequence[Part], channels: Mapping[str, Channel], size: tuple[int, int]
) -> Generator[None, None, Masks]:
    """Planes of the parts, pausing every millisecond or so.

    A part of the garment, or a free one, whose pass the render lacks is left out with a remark; without any part
    of the garment the whole picture is garment, as it is for an artist who picks nothing.

    Args:
        parts: As `picked.parts` read them.
        channels: Channels of the render, arrays or an open file's (`exr.opened`).
        size: (height, width) of the display picture.

    Raises:
        MakeRealError: NO_MASK_PASSES when a protected part cannot be found, MASK_SIZE when an image does not fit,
            PICTURE_UNREADABLE.
    """
    mattes = {layer: cryptomatte.ranks(channels, layer) for layer in named_layers(parts)}
    _check_sizes(parts, mattes, size)
    found, remarks = _findable(parts, mattes)
    if not found:
        return Masks({}, remarks)
    owners = _share_names(found)
    planes = _blank_planes(found, size)
    largest = np.zeros(len(found), np.float32)
    lookups = {
        layer: Owners(owners[layer], len(found)) for layer in mattes if owners[layer] and mattes[layer]
    }
    height, width = size
    for rows in pace.slices(height, max(1, BAND_WORK // ((WORK_OF_A_PIXEL + len(found)) * width))):
        shares = _share_pixels(found, _coverage(found, mattes, lookups, rows, width))
        np.maximum(largest, shares.max(axis=1), out=largest)
        for name, values in _plane_values(found, shares, planes).items():
            planes[name][rows] = np.rint(values * 65535.0).astype(np.uint16).reshape(-1, width)
        yield
    empty = [number for number, share in enumerate(largest) if share * 65535.0 < 0.5]
    reasons = {number: _why_empty(found, number, owners) for number in empty}
    garment = [number for number, part in enumerate(found) if part.role is Role.GARMENT]
    problem = None
    if garment and set(garment) <= reasons.keys():
        problem = MakeRealError(ErrorCode.EMPTY_MASK, "; ".join(reasons.pop(number) for number in garment))
    return Masks(planes, (*remarks, *reasons.values()), problem)


def named_layers(parts: Sequence[Part]) -> list[Layer]:
    """The passes that the parts need."""
    return [layer for layer in Layer if any(part.names.get(layer) for part in parts)]


def _check_sizes(
    parts: Sequence[Part], mattes: Mapping[Layer, list[list[Rank]]], size: tuple[int, int]
) -> None:
    if any(rank.ids.shape != size for layers in mattes.values() for ranks in layers for rank in ranks):
        raise MakeRealError(ErrorCode.NO_MASK_PASSES, "the compositor changes the picture's size")
    for part in parts:
        for name, values in part.images.items():
            if values.shape != size:
                (height, width), (own_height, own_width) = size, values.shape
                raise MakeRealError(
                    ErrorCode.MASK_SIZE,
                    f"{name} of part {part.name}: {own_width} x {own_height}, the render: {width} x {height}",
                )


def _findable(
    parts: Sequence[Part], mattes: Mapping[Layer, list[list[Rank]]]
) -> tuple[list[Part], tuple[str, ...]]:
    """The parts that the render can tell, and what is to be said about the others."""
    found, remarks = [], []
    for part in parts:
        lacking = [layer for layer, names in part.names.items() if names and not mattes[layer]]
        if lacking and part.role is Role.PROTECTED:
            # What shall be protected may not be changed just because it was not found.
            raise MakeRealError(ErrorCode.NO_MASK_PASSES, f"part {part.name} is to be protected")
        if lacking:
            words = " and no ".join(PASS_WORDS[layer] for layer in lacking)
            remarks.append(
                f"The render has no {words} pass, so part {part.name} cannot be found: click Enable Passes and "
                "render again"
            )
        if not lacking or part.images or any(names and mattes[layer] for layer, names in part.names.items()):
            found.append(part)
    lost_garment = any(part.role is Role.GARMENT for part in parts) and not any(
        part.role is Role.GARMENT for part in found
    )
    if lost_garment:
        remarks.append("No part of the garment can be found, so the whole picture is taken as garment")
    return found, tuple(remarks)


def _order(parts: Sequence[Part]) -> list[int]:
    """Numbers of the parts in the order in which they take their pixels."""
    roles = list(PLANES)
    return sorted(range(len(parts)), key=lambda number: (roles.index(parts[number].role), -number))


def _share_names(parts: Sequence[Part]) -> dict[Layer, dict[str, int]]:
    """Name -> the one part that it belongs to: exact even where two things share a pixel."""
    owners: dict[Layer, dict[str, int]] = {layer: {} for layer in Layer}
    for number in _order(parts):
        for layer, names in parts[number].names.items():
            for name in names:
                owners[layer].setdefault(name, number)
    return owners


def _blank_planes(parts: Sequence[Part], size: tuple[int, int]) -> dict[PlaneName, np.ndarray]:
    roles = {part.role for part in parts}
    names = [plane for role, plane in PLANES.items() if role in roles]
    if any(part.strength < 1.0 for part in parts if part.role is not Role.PROTECTED):
        names.append(PlaneName.STRENGTH)
    return {name: np.empty(size, np.uint16) for name in names}


def _coverage(
    parts: Sequence[Part],
    mattes: Mapping[Layer, list[list[Rank]]],
    lookups: Mapping[Layer, Owners],
    rows: slice,
    width: int,
) -> np.ndarray:
    """(parts, pixels of the rows) float32, 0..1: what each part covers, by whatever was picked for it."""
    # A pixel may be covered by a picked object and by its picked material: the union is no sum.
    covered = np.zeros((len(parts), (rows.stop - rows.start) * width), np.float32)
    for layer, owners in lookups.items():
        np.maximum(covered, owners.coverage(mattes[layer], rows), out=covered)
    for own, part in zip(covered, parts, strict=True):
        for values in part.images.values():
            np.maximum(own, values[rows].reshape(-1), out=own)
    return covered


def _share_pixels(parts: Sequence[Part], coverage: np.ndarray) -> np.ndarray:
    """The coverages, cut so that none takes what an earlier one has: their sum is at most 1."""
    room = np.ones(coverage.shape[1], np.float32)
    shares = np.empty_like(coverage)
    for number in _order(parts):
        np.minimum(coverage[number], room, out=shares[number])
        room -= shares[number]
    return shares


def _plane_values(
    parts: Sequence[Part], shares: np.ndarray, planes: Mapping[PlaneName, np.ndarray]
) -> dict[PlaneName, np.ndarray]:
    """Values, 0..1, of each of the `planes` in a band of pixels."""
    none = np.zeros(shares.shape[1], np.float32)
    totals = {
        plane: sum((shares[n] for n, part in enumerate(parts) if part.role is role), none)
        for role, plane in PLANES.items()
    }
    protected = totals[PlaneName.PROTECTED]
    # The backend takes the protected share off the others, so these are shares of what is left.
    left = np.where(protected < 1.0, 1.0 - protected, 1.0)
    values = {PlaneName.PROTECTED: protected}
    for name in (PlaneName.GARMENT, PlaneName.FREE):
        values[name] = np.minimum(totals[name] / left, 1.0)
    moving = totals[PlaneName.GARMENT] + totals[PlaneName.FREE]
    weighted = sum(
        (shares[n] * part.strength for n, part in enumerate(parts) if part.role is not Role.PROTECTED), none
    )
    values[PlaneName.STRENGTH] = np.divide(weighted, moving, out=np.ones_like(moving), where=moving > 0)
    return {name: values[name] for name in planes}


def _why_empty(parts: Sequence[Part], number: int, owners: Mapping[Layer, Mapping[str, int]]) -> str:
    part = parts[number]
    taken = any(owners[layer][name] != number for layer, names in part.names.items() for name in names)
    why = part.excuse or ("other parts take all of it" if taken else "it is not in view")
    return f"Part {part.name} is empty: {why}"
