# SPDX-License-Identifier: GPL-3.0-or-later
"""Read and write scanline OpenEXR with numpy and zlib alone: Blender 4.2 ships no EXR module for Python.

Reads what `Image.save_render` writes: one part (Blender 4) or one part for each pass (Blender 5), half, float
and uint channels, compression NONE, ZIPS or ZIP. Layout: "OpenEXR File Layout", openexr.com/en/latest.
"""

from __future__ import annotations

import mmap
import struct
import zlib
from collections.abc import Callable, Generator, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ..protocol import ErrorCode, MakeRealError

MAGIC = 20000630
VERSION = 2
TILED, DEEP, MULTI_PART = 0x200, 0x800, 0x1000
LINES_PER_BLOCK = {0: 1, 2: 1, 3: 16}
"""Scanlines of one block, by compression: NONE, ZIPS, ZIP."""
NONE, ZIP = 0, 3
PIXEL_TYPES = {0: np.dtype("<u4"), 1: np.dtype("<f2"), 2: np.dtype("<f4")}
BYTES_AT_ONCE = 1 << 18
"""Pixels read between two pauses; about a millisecond when they are not compressed."""
MAX_SIDE = 65536
MAX_BYTES = 16 << 30
"""A header asking for more than this is refused before memory is allocated for it."""


@dataclass(frozen=True)
class _Part:
    name: str
    width: int
    height: int
    first_line: int
    compression: int
    channels: dict[str, np.ndarray]
    """Channels in the file's order, not yet filled."""

    @property
    def block_count(self) -> int:
        return -(-self.height // LINES_PER_BLOCK[self.compression])

    @property
    def line_bytes(self) -> int:
        return sum(array.itemsize for array in self.channels.values()) * self.width


class _Reader:
    """Cursor over the file's bytes; any step outside them is an error of the file."""

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            with path.open("rb") as file:
                self.data = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        except ValueError as error:  # mmap refuses an empty file
            raise self.broken("the file ends early") from error
        except OSError as error:
            raise self.broken(error.strerror or "unreadable") from error
        self.offset = 0

    def broken(self, why: str) -> MakeRealError:
        return MakeRealError(ErrorCode.PICTURE_UNREADABLE, f"{self.path}: {why}")

    def take(self, size: int, offset: int | None = None) -> bytes:
        start = self.offset if offset is None else offset
        if size < 0 or start < 0 or start + size > len(self.data):
            raise self.broken("the file ends early")
        if offset is None:
            self.offset += size
        return self.data[start : start + size]

    def text(self) -> str:
        end = self.data.find(b"\0", self.offset, self.offset + 256)
        if end < 0:
            raise self.broken("a name in the header has no end")
        text = self.data[self.offset : end].decode("utf-8", "replace")
        self.offset = end + 1
        return text


def read(path: Path, wanted: Callable[[str], bool] = lambda name: True) -> dict[str, np.ndarray]:
    """Read channels of an EXR file at once; see `read_in_steps`."""
    steps = read_in_steps(path, wanted)
    while True:
        try:
            next(steps)
        except StopIteration as end:
            return end.value


def read_in_steps(path: Path, wanted: Callable[[str], bool]) -> Generator[None, None, dict[str, np.ndarray]]:
    """Read channels of an EXR file, pausing after every few hundred kilobytes.

    Args:
        wanted: Told a channel's full name, whether it shall be read.

    Returns:
        Channel name -> (height, width) array, uint32, float16 or float32, top row first. A channel of a
        multi-part file is named `part.channel`, unless its name begins with the part's already.

    Raises:
        MakeRealError: PICTURE_UNREADABLE, naming the file and what is wrong with it.
    """
    reader = _Reader(path)
    magic, version = struct.unpack("<II", reader.take(8))
    if magic != MAGIC:
        raise reader.broken("not an OpenEXR file")
    if version & 0xFF != VERSION or version & (TILED | DEEP):
        raise reader.broken("tiled and deep files are not supported")
    multi_part = bool(version & MULTI_PART)
    parts = list(_read_headers(reader, multi_part))
    tables = [struct.unpack(f"<{part.block_count}Q", reader.take(8 * part.block_count)) for part in parts]
    read: dict[str, np.ndarray] = {}
    unpaused = 0
    for number, (part, table) in enumerate(zip(parts, tables, strict=True)):
        names = {name for name in part.channels if wanted(_full_name(part.name, name))}
        for offset in table if names else ():
            unpaused += _read_block(reader, part, number if multi_part else None, offset, names)
            if unpaused > BYTES_AT_ONCE:
                unpaused = 0
                yield
        read |= {_full_name(part.name, name): part.channels[name] for name in names}
    return read


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
    channels = {name: np.empty((height, width), dtype) for name, dtype in types.items()}
    name = attributes.get("name", b"").decode("utf-8", "replace")
    return _Part(name, width, height, top, compression, channels)


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


def _read_block(reader: _Reader, part: _Part, number: int | None, offset: int, names: set[str]) -> int:
    """Fill the named channels with the block's lines; returns the bytes that were gone through."""
    if number is not None:
        if struct.unpack("<i", reader.take(4, offset)) != (number,):
            raise reader.broken("a block belongs to another part")
        offset += 4
    line, size = struct.unpack("<ii", reader.take(8, offset))
    row = line - part.first_line
    if not 0 <= row < part.height or row % LINES_PER_BLOCK[part.compression]:
        raise reader.broken("a block lies outside the picture")
    lines = min(LINES_PER_BLOCK[part.compression], part.height - row)
    expected = part.line_bytes * lines
    data = reader.take(size, offset + 8)
    if part.compression != NONE and size != expected:
        data = _inflate(reader, data, expected)
    if len(data) != expected:
        raise reader.broken("a block has the wrong length")
    block = np.frombuffer(data, np.uint8).reshape(lines, part.line_bytes)
    column = 0
    for name, array in part.channels.items():
        end = column + array.itemsize * part.width
        if name in names:
            array[row : row + lines] = np.ascontiguousarray(block[:, column:end]).view(array.dtype)
        column = end
    return expected


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


def encode(channels: Mapping[str, np.ndarray], attributes: Mapping[str, str]) -> Iterator[bytes]:
    """Write an EXR file in pieces of at most 16 scanlines, so that the caller may pause between them.

    Args:
        channels: Channel name -> (height, width) float32 array, top row first; all of one shape.
        attributes: Text attributes for the header, for example the recipe.

    Yields:
        The file's bytes in order; ZIP-compressed blocks first gathered, since their offsets precede them.
        An empty piece marks a pause.
    """
    names = sorted(channels)
    height, width = channels[names[0]].shape
    header = _encode_header(names, width, height, attributes)
    blocks: list[bytes] = []
    for row in range(0, height, LINES_PER_BLOCK[ZIP]):
        rows = [channels[name][row : row + LINES_PER_BLOCK[ZIP]].astype("<f4", copy=False) for name in names]
        raw = np.concatenate(rows, axis=1).tobytes()
        packed = _deflate(raw)
        data = packed if len(packed) < len(raw) else raw
        blocks.append(struct.pack("<ii", row, len(data)) + data)
        yield b""
    offsets = np.cumsum([len(header) + 8 * len(blocks), *(len(block) for block in blocks[:-1])])
    yield header + offsets.astype("<u8").tobytes()
    yield from blocks


def _deflate(raw: bytes) -> bytes:
    data = np.frombuffer(raw, np.uint8)
    values = np.concatenate([data[0::2], data[1::2]])
    deltas = values.copy()
    deltas[1:] = values[1:] - values[:-1] + np.uint8(128)
    return zlib.compress(deltas.tobytes(), 4)


def _encode_header(names: list[str], width: int, height: int, attributes: Mapping[str, str]) -> bytes:
    window = struct.pack("<4i", 0, 0, width - 1, height - 1)
    channels = b"".join(name.encode() + b"\0" + struct.pack("<iIii", 2, 0, 1, 1) for name in names) + b"\0"
    entries: list[tuple[str, str, bytes]] = [
        ("channels", "chlist", channels),
        ("compression", "compression", bytes([ZIP])),
        ("dataWindow", "box2i", window),
        ("displayWindow", "box2i", window),
        ("lineOrder", "lineOrder", b"\0"),
        ("pixelAspectRatio", "float", struct.pack("<f", 1.0)),
        ("screenWindowCenter", "v2f", struct.pack("<2f", 0.0, 0.0)),
        ("screenWindowWidth", "float", struct.pack("<f", 1.0)),
        *((name, "string", text.encode()) for name, text in attributes.items()),
    ]
    body = b"".join(
        name.encode() + b"\0" + kind.encode() + b"\0" + struct.pack("<i", len(value)) + value
        for name, kind, value in entries
    )
    return struct.pack("<II", MAGIC, VERSION) + body + b"\0"
