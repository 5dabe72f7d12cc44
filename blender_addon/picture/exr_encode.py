# SPDX-License-Identifier: GPL-3.0-or-later
"""Write compressed float OpenEXR in small pieces, so that a large picture does not stop Blender's window.

Layout: "OpenEXR File Layout", openexr.com/en/latest.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Generator, Iterable, Iterator, Mapping

import numpy as np

from .exr import MAGIC, VERSION, ZIPS

BYTES_AT_ONCE = 1 << 14
"""Of a line, compressed between two pauses; about half a millisecond."""


def encode(
    lines: Iterable[np.ndarray | None], names: str, size: tuple[int, int], attributes: Mapping[str, str]
) -> Iterator[bytes | tuple[int, bytes]]:
    """Encode a picture, each scanline a block of its own (ZIPS).

    Args:
        lines: (width, channels) float32 each, the top one first; None marks a pause.
        names: Of the channels, one letter each.
        size: (height, width).
        attributes: Text attributes for the header, for example the recipe.

    Yields:
        The file's bytes, as `files.Piece`: the blocks' offsets, which precede them, come last. An empty piece marks a
        pause.
    """
    header = _encode_header(sorted(names), size, attributes)
    order = [names.index(name) for name in sorted(names)]
    yield header + bytes(8 * size[0])
    offsets = [len(header) + 8 * size[0]]
    for line in lines:
        if line is not None:
            raw = np.ascontiguousarray(line[:, order].T, "<f4").tobytes()
            packed = yield from _deflate(raw)
            data = packed if len(packed) < len(raw) else raw
            yield struct.pack("<ii", len(offsets) - 1, len(data)) + data
            offsets.append(offsets[-1] + 8 + len(data))
        yield b""
    yield len(header), np.array(offsets[:-1], "<u8").tobytes()


def _deflate(raw: bytes) -> Generator[bytes, None, bytes]:
    data = np.frombuffer(raw, np.uint8)
    values = np.concatenate([data[0::2], data[1::2]])
    deltas = values.copy()
    deltas[1:] = values[1:] - values[:-1] + np.uint8(128)
    deflater, packed = zlib.compressobj(4), []
    for start in range(0, len(deltas), BYTES_AT_ONCE):
        packed.append(deflater.compress(deltas[start : start + BYTES_AT_ONCE]))
        yield b""
    return b"".join([*packed, deflater.flush()])


def _encode_header(names: list[str], size: tuple[int, int], attributes: Mapping[str, str]) -> bytes:
    height, width = size
    window = struct.pack("<4i", 0, 0, width - 1, height - 1)
    channels = b"".join(name.encode() + b"\0" + struct.pack("<iIii", 2, 0, 1, 1) for name in names) + b"\0"
    entries: list[tuple[str, str, bytes]] = [
        ("channels", "chlist", channels),
        ("compression", "compression", bytes([ZIPS])),
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
