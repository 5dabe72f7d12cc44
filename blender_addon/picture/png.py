# SPDX-License-Identifier: GPL-3.0-or-later
"""Write 16-bit PNG in small pieces, so that a large picture does not stop Blender's window.

PNG specification, third edition (w3.org/TR/png-3).
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np

from .. import pace

SIGNATURE = b"\x89PNG\r\n\x1a\n"
HEAD_BYTES = 26
"""Up to the colour type: signature, chunk head, width, height, bit depth, colour type."""
COLOR_TYPES = {1: 0, 3: 2, 4: 6}
"""Channels -> colour type: grey, RGB, RGBA."""
BYTES_AT_ONCE = 1 << 16
"""Pixels compressed between two pauses; about half a millisecond."""
MACHINE_MADE = {
    "XML:com.adobe.xmp": """<?xpacket begin="\ufeff" id="W5M0MpCehiHzreSzNTczkc9d"?>
<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#"><rdf:Description
 rdf:about="" xmlns:Iptc4xmpExt="http://iptc.org/std/Iptc4xmpExt/2008-02-29/" Iptc4xmpExt:DigitalSourceType=
"http://cv.iptc.org/newscodes/digitalsourcetype/compositeWithTrainedAlgorithmicMedia"/></rdf:RDF></x:xmpmeta>
<?xpacket end="r"?>"""
}
"""Text that tells other programs that a trained model has worked on a picture (IPTC's digital source type)."""
UP = 2
"""Filter type: each byte is stored as its difference to the byte above."""


def encode(picture: np.ndarray, texts: Mapping[str, str]) -> Iterator[bytes]:
    """Encode a picture.

    Args:
        picture: (height, width), (height, width, 3) or (height, width, 4) uint16, straight alpha.
        texts: Keyword -> text, stored as uncompressed iTXt chunks.

    Yields:
        The file's bytes, in order.
    """
    height, width = picture.shape[:2]
    channels = 1 if picture.ndim == 2 else picture.shape[2]
    header = struct.pack(">IIBBBBB", width, height, 16, COLOR_TYPES[channels], 0, 0, 0)
    yield SIGNATURE + _chunk(b"IHDR", header)
    for keyword, text in texts.items():
        yield _chunk(b"iTXt", keyword.encode("latin-1") + b"\0\0\0\0\0" + text.encode("utf-8"))
    deflater = zlib.compressobj(4)
    line_bytes = width * channels * 2
    above = np.zeros((1, line_bytes), np.uint8)
    for part in pace.slices(height, max(1, BYTES_AT_ONCE // line_bytes)):
        rows = np.ascontiguousarray(picture[part], dtype=">u2")
        lines = rows.view(np.uint8).reshape(-1, line_bytes)
        filtered = np.empty((len(lines), line_bytes + 1), np.uint8)
        filtered[:, 0] = UP
        filtered[:, 1:] = lines - np.concatenate([above, lines[:-1]])
        above = lines[-1:]
        yield _chunk(b"IDAT", deflater.compress(filtered.tobytes()))
    yield _chunk(b"IDAT", deflater.flush()) + _chunk(b"IEND", b"")


def channels(path: Path) -> int:
    """Channels of a PNG file: 1 (grey), 3 or 4.

    Raises:
        OSError: It cannot be read.
        ValueError: It is no PNG of these kinds.
    """
    with path.open("rb") as file:
        head = file.read(HEAD_BYTES)
    for number, color_type in COLOR_TYPES.items():
        if head.startswith(SIGNATURE) and head[-1:] == bytes([color_type]):
            return number
    raise ValueError(f"{path} is no grey, RGB or RGBA PNG")


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
