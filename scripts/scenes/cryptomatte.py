# SPDX-License-Identifier: GPL-3.0-or-later
"""Coverage of named materials, read from the Cryptomatte layers of a finished render.

Source: Psyop, Cryptomatte specification 1.2.0 (MurmurHash3_x86_32 of the name, stored as a float).
"""

from __future__ import annotations

import struct

import numpy as np


def name_to_id(name: str) -> float:
    """The float that stands for `name` in the ID channels."""
    hashed = _murmur3(name.encode("utf-8"))
    if (hashed >> 23) & 0xFF in (0, 0xFF):  # no denormal, infinity or NaN
        hashed ^= 1 << 23
    return struct.unpack("<f", struct.pack("<I", hashed))[0]


def coverage(pairs: list[tuple[np.ndarray, np.ndarray]], names: list[str]) -> np.ndarray:
    """Sum over the ranks of the coverage of the named things; pairs of (id, coverage), shape (height, width)."""
    wanted = np.array([name_to_id(name) for name in names], dtype=np.float32)
    return np.clip(sum(np.isin(ids, wanted) * part for ids, part in pairs), 0.0, 1.0)


def _murmur3(data: bytes) -> int:
    def rotate(value: int, bits: int) -> int:
        return ((value << bits) | (value >> (32 - bits))) & 0xFFFFFFFF

    def scramble(block: int) -> int:
        return rotate(block * 0xCC9E2D51 & 0xFFFFFFFF, 15) * 0x1B873593 & 0xFFFFFFFF

    state = 0
    whole = len(data) // 4 * 4
    for start in range(0, whole, 4):
        state ^= scramble(int.from_bytes(data[start : start + 4], "little"))
        state = (rotate(state, 13) * 5 + 0xE6546B64) & 0xFFFFFFFF
    state ^= scramble(int.from_bytes(data[whole:], "little"))
    state ^= len(data)
    for factor, shift in ((0x85EBCA6B, 16), (0xC2B2AE35, 13), (1, 16)):
        state = (state ^ (state >> shift)) * factor & 0xFFFFFFFF
    return state
