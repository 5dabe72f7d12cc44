# SPDX-License-Identifier: GPL-3.0-or-later
"""Read scanline OpenEXR with numpy and zlib alone: Blender 4.2 ships no EXR module for Python.

Reads what `Image.save_render` writes: one part (Blender 4) or one part for each pass (Blender 5), half, float
and uint channels, compression NONE, ZIPS or ZIP. Layout: "OpenEXR File Layout", openexr.com/en/latest.
"""

from __future__ import annotations

import os
import struct
import zlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

import numpy as np

from ..protocol import ErrorCode, MakeRealError

MAGIC = 20000630
VERSION = 2
TILED, DEEP, MULTI_PART = 0x200, 0x800, 0x1000
NONE, ZIPS, ZIP = 0, 2, 3
LINES_PER_BLOCK = {NONE: 1, ZIPS: 1, ZIP: 16}
"""Scanlines of one block, by compression."""
PIXEL_TYPES = {0: np.dtype("<u4"), 1: np.dtype("<f2"), 2: np.dtype("<f4")}
LONGEST_NAME = 256
MAX_SIDE = 65536
MAX_BYTES = 16 << 30
"""A header asking for more than this is refused before memory is allocated for it."""


class Channel:
    """One channel of an open file, read when rows of it are asked for.

    Args:
        part: The file's part that it belongs to.
        column: Where its values begin in a line of the part, in bytes.
        dtype: uint32, float16 or float32.
    """

    def __init__(self, part: _Part, column: int, dtype: np.dtype) -> None:
        self.dtype = dtype
        self.shape = (part.height, part.width)
        self._part = part
        self._bytes = slice(column, column + dtype.itemsize * part.width)

    def __getitem__(self, rows: slice) -> np.ndarray:
        """Rows from the top, (rows, width). Raises MakeRealError: PICTURE_UNREADABLE."""
        first, last, _ = rows.indices(self.shape[0])
        lines = self._part.lines(first, max(first, last))
        return np.ascontiguousarray(lines[:, self._bytes]).view(self.dtype)


class _Part:
    """One part of a file.

    Args:
        first_line: Number of its top line.
        types: Channel -> type, in the file's order.
    """

    def __init__(
        self, name: str, size: tuple[int, int], first_line: int, compression: int, types: dict[str, np.dtype]
    ) -> None:
        self.name = name
        self.height, self.width = size
        self.line_bytes = sum(dtype.itemsize for dtype in types.values()) * self.width
        self.block_lines = LINES_PER_BLOCK[compression]
        self._first_line = first_line
        self._is_packed = compression != NONE
        self._reader: _Reader
        self._number: int | None = None
        self._offsets: tuple[int, ...] = ()
        self._last: tuple[tuple[int, int], np.ndarray] = ((0, 0), np.empty((0, self.line_bytes), np.uint8))
        self._types = types

    def channels(self) -> dict[str, Channel]:
        """Its channels by their names.

        A part does not keep them, for they keep it: a ring of both, and all the lines that it remembers, would stay
        until Python looks for such rings, in the middle of something else.
        """
        columns = np.cumsum([0, *(dtype.itemsize * self.width for dtype in self._types.values())])
        return {
            name: Channel(self, int(column), dtype)
            for (name, dtype), column in zip(self._types.items(), columns, strict=False)
        }

    def read_table(self, reader: _Reader, number: int | None) -> None:
        """Read where the blocks are.

        Args:
            number: Of the part; None in a file of one part.
        """
        count = -(-self.height // self.block_lines)
        self._reader, self._number = reader, number
        self._offsets = struct.unpack(f"<{count}Q", reader.take(8 * count))

    def lines(self, first: int, last: int) -> np.ndarray:
        """(last - first, line_bytes) uint8. The last lines are remembered: other channels will ask for the same."""
        if self._last[0] != (first, last):
            start = first // self.block_lines
            blocks = [self._block(number) for number in range(start, -(-last // self.block_lines))]
            skipped = first - start * self.block_lines
            found = np.concatenate([np.empty((0, self.line_bytes), np.uint8), *blocks])
            self._last = (first, last), found[skipped : skipped + last - first]
        return self._last[1]

    def _block(self, block: int) -> np.ndarray:
        reader, offset = self._reader, self._offsets[block]
        if self._number is not None:
            if struct.unpack("<i", reader.take(4, offset)) != (self._number,):
                raise reader.broken("a block belongs to another part")
            offset += 4
        line, size = struct.unpack("<ii", reader.take(8, offset))
        row = block * self.block_lines
        if line - self._first_line != row:
            raise reader.broken("a block lies at another place of the picture")
        lines = min(self.block_lines, self.height - row)
        expected = self.line_bytes * lines
        data = reader.take(size, offset + 8)
        if self._is_packed and size != expected:
            data = _inflate(reader, data, expected)
        if len(data) != expected:
            raise reader.broken("a block has the wrong length")
        return np.frombuffer(data, np.uint8).reshape(lines, self.line_bytes)


class _Reader:
    """Cursor over an open file; any step outside of it is an error of the file."""

    def __init__(self, path: Path, file: BinaryIO) -> None:
        self.path = path
        self.offset = 0
        self._file = file
        self._size = os.fstat(file.fileno()).st_size

    def broken(self, why: str) -> MakeRealError:
        return MakeRealError(ErrorCode.PICTURE_UNREADABLE, f"{self.path}: {why}")

    def take(self, size: int, offset: int | None = None) -> bytes:
        start = self.offset if offset is None else offset
        if size < 0 or start + size > self._size:
            raise self.broken("the file ends early")
        if offset is None:
            self.offset += size
        try:
            self._file.seek(start)
            return self._file.read(size)
        except OSError as error:
            raise self.broken(error.strerror or "unreadable") from error

    def text(self) -> str:
        start = self.offset
        head = self.take(min(LONGEST_NAME, self._size - start), start)
        end = head.find(b"\0")
        if end < 0:
            raise self.broken("a name in the header has no end")
        self.offset = start + end + 1
        return head[:end].decode("utf-8", "replace")


def read(path: Path, wanted: Callable[[str], bool] = lambda name: True) -> dict[str, np.ndarray]:
    """Read whole channels of an EXR file at once.

    Args:
        wanted: Told a channel's full name, whether it shall be read.

    Returns:
        Channel name -> (height, width) array, as `opened` names them.

    Raises:
        MakeRealError: PICTURE_UNREADABLE, naming the file and what is wrong with it.
    """
    with opened(path) as channels:
        return {name: channel[:] for name, channel in channels.items() if wanted(name)}


@contextmanager
def opened(path: Path) -> Iterator[dict[str, Channel]]:
    """The channels of an EXR file, top row first, while the block has it open.

    A channel of a multi-part file is named `part.channel`, unless its name begins with the part's already.

    Raises:
        MakeRealError: PICTURE_UNREADABLE, naming the file and what is wrong with it.
    """
    try:
        file = path.open("rb")
    except OSError as error:
        why = f"{path}: {error.strerror or 'unreadable'}"
        raise MakeRealError(ErrorCode.PICTURE_UNREADABLE, why) from error
    with file:
        parts = _read_parts(_Reader(path, file))
        yield {
            _full_name(part.name, name): channel
            for part in parts
            for name, channel in part.channels().items()
        }


def _read_parts(reader: _Reader) -> list[_Part]:
    magic, version = struct.unpack("<II", reader.take(8))
    if magic != MAGIC:
        raise reader.broken("not an OpenEXR file")
    if version & 0xFF != VERSION or version & (TILED | DEEP):
        raise reader.broken("tiled and deep files are not supported")
    multi_part = bool(version & MULTI_PART)
    parts = list(_read_headers(reader, multi_part))
    for number, part in enumerate(parts):
        part.read_table(reader, number if multi_part else None)
    return parts


def _full_name(part: str, channel: str) -> str:
    return channel if not part or channel.startswith(f"{part}.") else f"{part}.{channel}"


def _read_headers(reader: _Reader, multi_part: bool) -> Iterator[_Part]:
    budget = MAX_BYTES
    while True:
        attributes = _read_attributes(reader)
        if not attributes:
            return
        part = _make_part(reader, attributes, budget)
        budget -= part.line_bytes * part.height
        yield part
        if not multi_part:
            return


def _read_attributes(reader: _Reader) -> dict[str, bytes]:
    attributes: dict[str, bytes] = {}
    while name := reader.text():
        reader.text()  # the attribute's type
        (size,) = struct.unpack("<i", reader.take(4))
        attributes[name] = reader.take(size)
    return attributes


def _make_part(reader: _Reader, attributes: Mapping[str, bytes], budget: int) -> _Part:
    try:
        left, top, right, bottom = struct.unpack("<4i", attributes["dataWindow"])
        compression = attributes["compression"][0]
        types = _channel_types(attributes["channels"])
    except (KeyError, IndexError, ValueError, struct.error) as error:
        raise reader.broken(f"the header is incomplete: {error}") from error
    width, height = right - left + 1, bottom - top + 1
    if compression not in LINES_PER_BLOCK:
        raise reader.broken("its compression is none of NONE, ZIPS and ZIP")
    if not (0 < width <= MAX_SIDE and 0 < height <= MAX_SIDE):
        raise reader.broken(f"its size is {width} x {height}")
    if sum(dtype.itemsize for dtype in types.values()) * width * height > budget:
        raise reader.broken("its header announces more pixels than this reader takes")
    name = attributes.get("name", b"").decode("utf-8", "replace")
    return _Part(name, (height, width), top, compression, types)


def _channel_types(block: bytes) -> dict[str, np.dtype]:
    types: dict[str, np.dtype] = {}
    offset = 0
    while block[offset] != 0:
        end = block.index(b"\0", offset)
        name = block[offset:end].decode("utf-8", "replace")
        kind, _linear, x_sampling, y_sampling = struct.unpack_from("<iIii", block, end + 1)
        if kind not in PIXEL_TYPES or (x_sampling, y_sampling) != (1, 1):
            raise ValueError(f"channel {name} has an unknown type or is subsampled")
        types[name] = PIXEL_TYPES[kind]
        offset = end + 17
    return types


def _inflate(reader: _Reader, data: bytes, expected: int) -> bytes:
    inflater = zlib.decompressobj()
    try:
        # One byte more than expected tells a block that is too long without inflating it whole.
        raw = inflater.decompress(data, expected + 1)
    except zlib.error as error:
        raise reader.broken("a compressed block is damaged") from error
    if len(raw) != expected:
        raise reader.broken("a block has the wrong length")
    deltas = np.frombuffer(raw, np.uint8).copy()
    deltas[1:] -= np.uint8(128)
    values = np.cumsum(deltas, dtype=np.uint8)
    half = (expected + 1) // 2
    result = np.empty(expected, np.uint8)
    result[0::2] = values[:half]
    result[1::2] = values[half:]
    return result.tobytes()
