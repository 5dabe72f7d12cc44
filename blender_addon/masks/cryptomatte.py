# SPDX-License-Identifier: GPL-3.0-or-later
"""Coverage of named objects and materials, from the Cryptomatte passes of a finished render.

Cryptomatte specification 1.2 (Psyop): each pass holds two ranks of (id, coverage); the id is the float whose
bits are the MurmurHash3 of the name. The ids are decoded here because Blender's Cryptomatte node splits its
list of names at commas, so that an object called "Shirt, blue" is silently never found. No manifest is needed:
Blender knows the names.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

import numpy as np

from ..protocol import ErrorCode, MakeRealError


class Layer(StrEnum):
    """The two Cryptomatte passes that are used; the values are Blender's pass names in every version."""

    OBJECT = "CryptoObject"
    MATERIAL = "CryptoMaterial"


_MASK = 0xFFFFFFFF


def _rotate(value: int, bits: int) -> int:
    return (value << bits | value >> (32 - bits)) & _MASK


def murmur3(data: bytes) -> int:
    """MurmurHash3_x86_32 of the bytes with seed 0."""
    state = 0
    whole = len(data) & ~3
    for (word,) in struct.iter_unpack("<I", data[:whole]):
        word = _rotate(word * 0xCC9E2D51 & _MASK, 15) * 0x1B873593 & _MASK
        state = (_rotate(state ^ word, 13) * 5 + 0xE6546B64) & _MASK
    tail = int.from_bytes(data[whole:], "little")
    state ^= _rotate(tail * 0xCC9E2D51 & _MASK, 15) * 0x1B873593 & _MASK
    state ^= len(data)
    state = (state ^ state >> 16) * 0x85EBCA6B & _MASK
    state = (state ^ state >> 13) * 0xC2B2AE35 & _MASK
    return state ^ state >> 16


def name_id(name: str) -> int:
    """Bits of the id that the render stores for a name: its hash, kept clear of infinities, NaN and denormals."""
    bits = murmur3(name.encode("utf-8"))
    return bits ^ 1 << 23 if (bits >> 23) & 0xFF in (0, 0xFF) else bits


class Channel(Protocol):
    """(height, width) values, of which a few rows at a time are read: an array, or a file's `exr.Channel`."""

    shape: tuple[int, ...]
    dtype: np.dtype

    def __getitem__(self, rows: slice) -> np.ndarray: ...


@dataclass(frozen=True)
class Rank:
    """One thing in each pixel: its id, and how much of the pixel it covers.

    Args:
        ids: (height, width) float32, whose bits are the id.
        amounts: (height, width) float, 0..1.
    """

    ids: Channel
    amounts: Channel


def ranks(channels: Mapping[str, Channel], layer: Layer) -> list[list[Rank]]:
    """The ranks of a pass, by view layer; empty when the render has no such pass.

    Args:
        channels: Channels of the render by name (`exr.opened`), such as `ViewLayer.CryptoObject00.r`.

    Raises:
        MakeRealError: NO_MASK_PASSES when the pass is there but is damaged.
    """
    pattern = re.compile(rf"(?:(.*)\.)?{layer.value}(\d\d)\.([rgbaRGBA])")
    found: dict[str, dict[str, dict[str, Channel]]] = {}
    for name, array in channels.items():
        if match := pattern.fullmatch(name):
            view_layer, number, component = match.groups(default="")
            found.setdefault(view_layer, {}).setdefault(number, {})[component.lower()] = array
    return [[rank for pair in passes.values() for rank in _split(pair)] for passes in found.values()]


def _split(pair: Mapping[str, Channel]) -> tuple[Rank, Rank]:
    if missing := set("rgba") - pair.keys():
        detail = f"a Cryptomatte pass lacks {', '.join(sorted(missing))}"
        raise MakeRealError(ErrorCode.NO_MASK_PASSES, detail)
    # A half-float id has lost its lower bits and would match nothing, or the wrong thing.
    if not pair["r"].dtype == pair["b"].dtype == np.float32:
        raise MakeRealError(ErrorCode.NO_MASK_PASSES, "the Cryptomatte ids are not 32-bit floats")
    return Rank(pair["r"], pair["g"]), Rank(pair["b"], pair["a"])


class Owners:
    """Which part each id belongs to.

    Args:
        parts: Name of an object or material -> number of its part.
        count: Number of parts.
    """

    def __init__(self, parts: Mapping[str, int], count: int) -> None:
        by_id = sorted((name_id(name), part) for name, part in parts.items())
        self._ids = np.array([identity for identity, _ in by_id], np.uint32)
        # Whatever belongs to no part is collected in one row more, and dropped.
        self._parts = np.array([part for _, part in by_id], np.intp)
        self._count = count

    def coverage(self, view_layers: list[list[Rank]], rows: slice) -> np.ndarray:
        """Part of each pixel that each part covers: within a view layer the sum of the ranks, which keeps soft
        edges and motion blur; of several view layers the greatest.

        Args:
            rows: From the top.

        Returns:
            (parts, pixels of the rows) float32, 0..1.
        """
        greatest = None
        for layer_ranks in view_layers:
            covered = self._sum(layer_ranks, rows)
            greatest = covered if greatest is None else np.maximum(greatest, covered, out=greatest)
        return np.minimum(greatest[: self._count], 1.0)

    def _sum(self, layer_ranks: list[Rank], rows: slice) -> np.ndarray:
        pixels = np.arange((rows.stop - rows.start) * layer_ranks[0].ids.shape[1])
        covered = np.zeros((self._count + 1, pixels.size), np.float32)
        for rank in layer_ranks:
            amounts = rank.amounts[rows].reshape(-1)
            if not amounts.any():
                # As in most of a picture: few pixels have more than two things in them.
                continue
            ids = np.ascontiguousarray(rank.ids[rows]).view(np.uint32).reshape(-1)
            places = np.minimum(np.searchsorted(self._ids, ids), len(self._ids) - 1)
            parts = np.where(self._ids[places] == ids, self._parts[places], self._count)
            # Each pixel occurs once in a rank, so that nothing is added twice to one place.
            covered[parts, pixels] += amounts
        return covered
