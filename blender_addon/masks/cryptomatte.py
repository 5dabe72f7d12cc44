# SPDX-License-Identifier: GPL-3.0-or-later
"""Coverage of named objects and materials, from the Cryptomatte passes of a finished render.

Cryptomatte specification 1.2 (Psyop): each pass holds two ranks of (id, coverage); the id is the float whose
bits are the MurmurHash3 of the name. The ids are decoded here because Blender's Cryptomatte node splits its
list of names at commas, so that an object called "Shirt, blue" is silently never found.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Iterable, Mapping
from enum import StrEnum

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


def name_id(name: str) -> np.float32:
    """The id that the render stores for a name: its hash, kept clear of infinities, NaN and denormals."""
    bits = murmur3(name.encode("utf-8"))
    if (bits >> 23) & 0xFF in (0, 0xFF):
        bits ^= 1 << 23
    return np.uint32(bits).view(np.float32)


def coverage(channels: Mapping[str, np.ndarray], layer: Layer, names: Iterable[str]) -> np.ndarray:
    """Part of each pixel that the named things cover together.

    Args:
        channels: Channels of the render by name (`exr.read`), such as `ViewLayer.CryptoObject00.r`.
        layer: Whether the names are objects' or materials'.
        names: Full names of the data-blocks.

    Returns:
        (height, width) float32, 0..1. With several view layers, the greatest coverage in any of them.

    Raises:
        MakeRealError: NO_MASK_PASSES when the render has no such pass.
    """
    ids = np.array([name_id(name) for name in names], np.float32)
    layers = _ranked_channels(channels, layer)
    if not layers:
        raise MakeRealError(ErrorCode.NO_MASK_PASSES, f"there is no {layer.value} pass")
    total: np.ndarray | None = None
    for passes in layers.values():
        covered = sum(_rank_pair_coverage(rank_pair, ids) for rank_pair in passes.values())
        total = covered if total is None else np.maximum(total, covered)
    return np.clip(total, 0.0, 1.0)


def _ranked_channels(
    channels: Mapping[str, np.ndarray], layer: Layer
) -> dict[str, dict[str, dict[str, np.ndarray]]]:
    """View layer -> pass number -> component (r, g, b, a) -> array."""
    pattern = re.compile(rf"(?:(.*)\.)?{layer.value}(\d\d)\.([rgbaRGBA])")
    found: dict[str, dict[str, dict[str, np.ndarray]]] = {}
    for name, array in channels.items():
        if match := pattern.fullmatch(name):
            view_layer, number, component = match.groups(default="")
            found.setdefault(view_layer, {}).setdefault(number, {})[component.lower()] = array
    return found


def _rank_pair_coverage(rank_pair: Mapping[str, np.ndarray], ids: np.ndarray) -> np.ndarray:
    if missing := set("rgba") - rank_pair.keys():
        detail = f"a Cryptomatte pass lacks {', '.join(sorted(missing))}"
        raise MakeRealError(ErrorCode.NO_MASK_PASSES, detail)
    covered = np.zeros(rank_pair["r"].shape, np.float32)
    for identity, amount in (("r", "g"), ("b", "a")):
        # A half-float id has lost its lower bits and would match nothing, or the wrong thing.
        if rank_pair[identity].dtype != np.float32:
            raise MakeRealError(ErrorCode.NO_MASK_PASSES, "the Cryptomatte ids are not 32-bit floats")
        covered += np.where(np.isin(rank_pair[identity], ids), rank_pair[amount].astype(np.float32), 0.0)
    return covered
