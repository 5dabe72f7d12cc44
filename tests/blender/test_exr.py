# SPDX-License-Identifier: GPL-3.0-or-later
"""The EXR reader against arrays that are known, against Blender's files, and against damaged ones."""

from __future__ import annotations

import gc
import struct
import weakref
import zlib
from collections.abc import Callable
from pathlib import Path

import bpy
import numpy as np
import pytest
from conftest import drained

TYPES = {"uint32": 0, "float16": 1, "float32": 2}
COMPRESSIONS = {"NONE": (0, 1), "ZIPS": (2, 1), "ZIP": (3, 16)}


def attribute(name: str, kind: str, value: bytes) -> bytes:
    return name.encode() + b"\0" + kind.encode() + b"\0" + struct.pack("<i", len(value)) + value


def header(channels: dict[str, np.ndarray], compression: int, name: str) -> bytes:
    height, width = next(iter(channels.values())).shape
    # A data window that does not begin at zero, as a cropped render has it.
    window = struct.pack("<4i", 7, -3, 7 + width - 1, -3 + height - 1)
    entries = b"".join(
        key.encode() + b"\0" + struct.pack("<iIii", TYPES[str(array.dtype)], 0, 1, 1)
        for key, array in sorted(channels.items())
    )
    text = attribute("channels", "chlist", entries + b"\0")
    text += attribute("compression", "compression", bytes([compression]))
    text += attribute("dataWindow", "box2i", window)
    return text + (attribute("name", "string", name.encode()) if name else b"") + b"\0"


def pack(raw: bytes) -> bytes:
    """The format's ZIP filter, written down once more and differently: byte by byte."""
    order = raw[0::2] + raw[1::2]
    deltas = bytes([order[0], *((order[i] - order[i - 1] + 128) % 256 for i in range(1, len(order)))])
    packed = zlib.compress(deltas)
    return packed if len(packed) < len(raw) else raw


def blocks(channels: dict[str, np.ndarray], compression: int, lines: int) -> list[bytes]:
    height = next(iter(channels.values())).shape[0]
    result = []
    for row in range(0, height, lines):
        raw = b"".join(
            channels[key][line].tobytes()
            for line in range(row, min(row + lines, height))
            for key in sorted(channels)
        )
        data = pack(raw) if compression else raw
        result.append(struct.pack("<ii", row - 3, len(data)) + data)
    return result


def exr_file(parts: dict[str, dict[str, np.ndarray]], compression: str) -> bytes:
    code, lines = COMPRESSIONS[compression]
    multi_part = len(parts) > 1
    head = struct.pack("<II", 20000630, 2 | (0x1000 if multi_part else 0))
    head += b"".join(header(channels, code, name) for name, channels in parts.items())
    head += b"\0" if multi_part else b""
    chunks = [
        [
            (struct.pack("<i", number) if multi_part else b"") + block
            for block in blocks(channels, code, lines)
        ]
        for number, channels in enumerate(parts.values())
    ]
    offset = len(head) + 8 * sum(map(len, chunks))
    table = b""
    for block in (block for part in chunks for block in part):
        table += struct.pack("<Q", offset)
        offset += len(block)
    return head + table + b"".join(block for part in chunks for block in part)


def arrays(seed: int, height: int = 37, width: int = 11) -> dict[str, np.ndarray]:
    random = np.random.default_rng(seed)
    return {
        "R": random.normal(size=(height, width)).astype(np.float16),
        "A": np.round(random.normal(size=(height, width)), 1).astype(np.float32),
        "Id": random.integers(0, 4, (height, width)).astype(np.uint32),
    }


@pytest.mark.parametrize("compression", COMPRESSIONS)
@pytest.mark.parametrize("part_names", [[""], ["Layer.One", "Layer.Two"]], ids=["one part", "two parts"])
def test_reads_known_arrays(addon: Callable, tmp_path: Path, compression: str, part_names: list[str]) -> None:
    parts = {name: arrays(seed) for seed, name in enumerate(part_names)}
    path = tmp_path / "known.exr"
    path.write_bytes(exr_file(parts, compression))
    found = addon("picture.exr").read(path)
    expected = {
        f"{part}.{key}".lstrip("."): a for part, channels in parts.items() for key, a in channels.items()
    }
    assert found.keys() == expected.keys()
    for key, array in expected.items():
        assert found[key].dtype == array.dtype
        assert np.array_equal(found[key], array), key


def test_what_was_read_is_given_back_at_once(addon: Callable, tmp_path: Path) -> None:
    """Not when Python next collects its garbage: of a 4K render that takes it milliseconds."""
    path = tmp_path / "known.exr"
    path.write_bytes(exr_file({"": arrays(0)}, "NONE"))
    gc.disable()
    try:
        with addon("picture.exr").opened(path) as channels:
            alive = [weakref.ref(channel) for channel in channels.values()]
            del channels
        assert [reference() for reference in alive] == [None] * 3
    finally:
        gc.enable()


def test_every_truncation_and_many_damages_give_the_one_error(addon: Callable, tmp_path: Path) -> None:
    exr, protocol = addon("picture.exr"), addon("protocol")
    whole = exr_file({"A": arrays(1, 5, 4), "B": arrays(2, 5, 4)}, "ZIP")
    path = tmp_path / "damaged.exr"
    random = np.random.default_rng(3)
    damaged = [whole[:length] for length in range(0, len(whole), 3)]
    for _ in range(300):
        copy = bytearray(whole)
        copy[random.integers(len(copy))] = random.integers(256)
        damaged.append(bytes(copy))
    refused = 0
    for data in damaged:
        path.write_bytes(data)
        try:
            exr.read(path)
        except protocol.MakeRealError as error:
            refused += 1
            assert error.code == protocol.ErrorCode.PICTURE_UNREADABLE
            assert str(path) in error.detail
    assert refused > len(whole) // 3


def test_a_header_that_asks_for_terabytes_is_refused_before_they_are_allocated(
    addon: Callable, tmp_path: Path
) -> None:
    data = exr_file({"": arrays(1, 5, 4)}, "NONE")
    position = data.index(b"box2i\0") + 6 + 4
    path = tmp_path / "huge.exr"
    path.write_bytes(data[:position] + struct.pack("<4i", 0, 0, 65535, 65535) + data[position + 16 :])
    with pytest.raises(addon("protocol").MakeRealError, match="more pixels"):
        addon("picture.exr").read(path)


def test_written_files_are_read_by_blender_and_by_us(addon: Callable, tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    channels = {name: random.normal(size=(40, 24)).astype(np.float32) for name in "RGB"}
    path = tmp_path / "written.exr"
    lines = np.stack(list(channels.values()), axis=-1)
    texts = {"make_real": "recipe ä"}
    pieces = addon("picture.exr_encode").encode(lines, "RGB", (40, 24), texts)
    drained(addon("picture.files").write_for_now(path, pieces))
    for name, array in addon("picture.exr").read(path).items():
        assert np.array_equal(array, channels[name])
    image = bpy.data.images.load(str(path))
    assert image.colorspace_settings.name in {"Linear Rec.709", "scene_linear"}
    pixels = np.empty(40 * 24 * 4, np.float32)
    image.pixels.foreach_get(pixels)
    rows = pixels.reshape(40, 24, 4)[::-1]
    for number, name in enumerate("RGB"):
        assert np.array_equal(rows[..., number], channels[name])


def test_a_long_line_is_compressed_with_pauses(addon: Callable, tmp_path: Path) -> None:
    encoder = addon("picture.exr_encode")
    lines = np.random.default_rng(0).normal(size=(2, 8192, 4)).astype(np.float32)
    pieces = list(encoder.encode(lines, "RGBA", (2, 8192), {}))
    pauses = sum(piece == b"" for piece in pieces)
    assert pauses >= lines.nbytes / encoder.BYTES_AT_ONCE
    path = tmp_path / "wide.exr"
    drained(addon("picture.files").write(path, pieces))
    read = addon("picture.exr").read(path)
    assert all(np.array_equal(read[name], lines[..., number]) for number, name in enumerate("RGBA"))
