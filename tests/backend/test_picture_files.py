# SPDX-License-Identifier: GPL-3.0-or-later
"""Picture files in and out: what is not changed comes back exactly, and a bad file is told by name."""

from __future__ import annotations

import json
import struct
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import OpenImageIO as oiio  # noqa: N813
import pytest
from live_service import picture
from PIL import Image

from backend.pictures import read_mask, read_picture, show, write_display_png, write_picture
from protocol import ErrorCode, MakeRealError

RECIPE = {"request": {"model": "tiny"}}


def write_exr(
    path: Path, pixels: np.ndarray, channels: str | list[str] = "RGBA", element: str = "float"
) -> Path:
    height, width, count = pixels.shape
    spec = oiio.ImageSpec(width, height, count, element)
    spec.channelnames = list(channels[:count])
    spec.attribute("Camera", "product shot")
    writer = oiio.ImageOutput.create("openexr")
    assert writer.open(str(path), spec)
    assert writer.write_image(pixels)
    writer.close()
    return path


def write_png(path: Path, pixels: np.ndarray) -> Path:
    element = {"uint8": "uint8", "uint16": "uint16"}[str(pixels.dtype)]
    spec = oiio.ImageSpec(pixels.shape[1], pixels.shape[0], pixels.shape[2], element)
    spec.attribute("oiio:UnassociatedAlpha", 1)
    writer = oiio.ImageOutput.create("png")
    assert writer.open(str(path), spec)
    assert writer.write_image(pixels)
    writer.close()
    return path


def linear_picture(channels: int) -> np.ndarray:
    """Scene-linear light: dark, bright beyond 1, negative, premultiplied where it has alpha."""
    pixels = picture(dtype=np.float32, channels=channels) ** 2 * 8
    pixels[0, 0, :3] = 60000.0
    pixels[0, 1, :3] = -0.25
    pixels[0, 2, :3] = -0.0
    if channels == 4:
        pixels[..., 3] = picture(dtype=np.float32, channels=1)[..., 0]
        pixels[1] = 0.0
        # Light without cover, as a glow has.
        pixels[2, :, 3] = 0.0
    return pixels


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("channels", [3, 4])
def test_a_png_comes_back_with_its_depth_and_straight_alpha(
    tmp_path: Path, dtype: type, channels: int
) -> None:
    pixels = picture(dtype=dtype, channels=channels)
    read = read_picture(write_png(tmp_path / "in.png", pixels))
    assert np.array_equal(read.shown, pixels)
    write_picture(tmp_path / "out.png", read, read.shown, RECIPE)
    again = read_picture(tmp_path / "out.png")
    assert again.shown.dtype == dtype
    assert np.array_equal(again.shown, pixels)
    assert json.loads(again.spec["make_real:recipe"]) == RECIPE


@pytest.mark.parametrize(("channels", "shown"), [(1, 3), (2, 4)])
def test_grey_becomes_colour(tmp_path: Path, channels: int, shown: int) -> None:
    pixels = picture(channels=channels)
    read = read_picture(write_png(tmp_path / "grey.png", pixels)).shown
    assert read.shape[2] == shown
    assert all(np.array_equal(read[..., channel], pixels[..., 0]) for channel in range(3))
    assert channels == 1 or np.array_equal(read[..., 3], pixels[..., 1])


def test_a_palette_becomes_colour(tmp_path: Path) -> None:
    Image.fromarray(picture()).quantize(8).save(tmp_path / "palette.png")
    expected = np.asarray(Image.open(tmp_path / "palette.png").convert("RGB"))
    assert np.array_equal(read_picture(tmp_path / "palette.png").shown, expected)


def test_a_jpeg_becomes_a_png(tmp_path: Path) -> None:
    Image.fromarray(picture()).save(tmp_path / "photo.jpeg", quality=95)
    read = read_picture(tmp_path / "photo.jpeg")
    assert read.suffix == ".png"
    assert read.shown.dtype == np.uint8
    write_picture(tmp_path / "out.png", read, read.shown, RECIPE)
    assert np.array_equal(read_picture(tmp_path / "out.png").shown, read.shown)


@pytest.mark.parametrize("element", ["half", "float"])
@pytest.mark.parametrize("channels", [3, 4])
def test_an_unchanged_exr_comes_back_bit_for_bit(tmp_path: Path, element: str, channels: int) -> None:
    source = read_picture(write_exr(tmp_path / "in.exr", linear_picture(channels), element=element))
    assert source.shown.dtype == np.float32
    assert 0.0 <= source.shown.min() <= source.shown.max() <= 1.0
    write_picture(tmp_path / "out.exr", source, source.shown, RECIPE)
    again = read_picture(tmp_path / "out.exr")
    assert source.linear is not None and again.linear is not None
    assert again.linear.tobytes() == source.linear.tobytes()
    assert str(again.spec.format) == element
    assert again.spec["Camera"] == "product shot"


def test_an_exr_keeps_the_light_above_one_and_changes_where_it_was_changed(tmp_path: Path) -> None:
    linear = np.full((4, 4, 4), 0.5, np.float32)
    linear[..., :3] *= np.float32([0.2, 0.4, 6.0])
    source = read_picture(write_exr(tmp_path / "in.exr", linear))
    translated = source.shown.copy()
    translated[:2, :, 0] = 1.0
    write_picture(tmp_path / "out.exr", source, translated, RECIPE)
    result = read_picture(tmp_path / "out.exr").linear
    assert result is not None
    # Half covered, so full light counts half; the blue of 6 stays.
    assert np.allclose(result[:2, :, :3], [0.5, 0.2, 3.0], atol=1e-6)
    assert np.array_equal(result[2:], linear[2:])


def test_the_curve_is_srgbs() -> None:
    # IEC 61966-2-1: 0.0031308 -> 0.040450, 0.18 -> 0.46136, 0.5 -> 0.73536
    grey = np.float32([0.0, 0.0031308, 0.18, 0.5, 1.0, 9.0])[:, None, None].repeat(3, axis=2)
    expected = [0.0, 0.04045, 0.461356, 0.735357, 1.0, 1.0]
    assert np.allclose(show(grey)[:, 0, 0], expected, atol=1e-5)


def test_the_picture_of_a_multilayer_exr_is_found(tmp_path: Path) -> None:
    layers = [
        f"ViewLayer.{name}" for name in ("Depth.Z", "Combined.R", "Combined.G", "Combined.B", "Combined.A")
    ]
    pixels = np.arange(2 * 2 * 5, dtype=np.float32).reshape(2, 2, 5) / 40
    read = read_picture(write_exr(tmp_path / "layers.exr", pixels, layers))
    assert read.linear is not None
    assert np.array_equal(read.linear, pixels[..., 1:])


def test_an_exr_without_colour_is_told(tmp_path: Path) -> None:
    path = write_exr(tmp_path / "depth.exr", np.ones((2, 2, 1), np.float32), ["Z"])
    with pytest.raises(MakeRealError, match="no RGB among its channels Z"):
        read_picture(path)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float16, np.float32])
def test_the_png_of_a_result_has_16_bits_and_the_same_colours(tmp_path: Path, dtype: type) -> None:
    pixels = picture(dtype=dtype, channels=4)
    write_display_png(tmp_path / "result.png", pixels, RECIPE)
    shown = read_picture(tmp_path / "result.png").shown
    assert shown.dtype == np.uint16
    top = np.iinfo(dtype).max if np.dtype(dtype).kind == "u" else 1.0
    assert np.abs(shown / 65535 - pixels.astype(np.float64) / top).max() <= 0.5 / 65535 + 1e-9


def test_a_mask_is_the_first_channel(tmp_path: Path) -> None:
    pixels = picture(dtype=np.uint16)
    path = write_png(tmp_path / "mask.png", pixels)
    assert np.array_equal(read_mask(path, (16, 12)), pixels[..., 0])
    path = write_exr(tmp_path / "mask.exr", np.float32([[[-1.0], [0.25], [3.0], [np.nan]]]), ["Y"])
    assert read_mask(path, (1, 4)).tolist() == [[0.0, 0.25, 1.0, 0.0]]


def test_a_mask_of_another_size_is_told(tmp_path: Path) -> None:
    path = write_png(tmp_path / "mask.png", picture(10, 20))
    with pytest.raises(MakeRealError, match=r"mask\.png is 20x10 but its picture 12x16") as caught:
        read_mask(path, (16, 12))
    assert caught.value.code is ErrorCode.PICTURE_UNREADABLE


def bomb(width: int, height: int) -> bytes:
    """A PNG of a few hundred bytes that says it is huge."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        return (
            struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))
        )

    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", zlib.compress(bytes(100_000))) + chunk(b"IEND", b"")


def bad_files() -> dict[str, Any]:
    whole = b"\x89PNG\r\n\x1a\n"
    return {
        "empty.png": (b"", "its content is not what .png promises"),
        "text.exr": (b"not a picture at all", "its content is not what .exr promises"),
        "other.jpg": (whole, "its content is not what .jpg promises"),
        "picture.gif": (whole, "not one of .png, .jpg, .jpeg, .exr"),
        "cut.png": (bomb(8, 8)[:40], "cut.png"),
        "cut.exr": (b"\x76\x2f\x31\x01\x02\x00\x00\x00", "cut.exr"),
        "cut.jpg": (b"\xff\xd8\xff\xe0\x00\x10JFIF", "cut.jpg"),
        "short.png": (bomb(6000, 6000), "Not enough image data"),
    }


@pytest.mark.parametrize("name", bad_files())
def test_a_bad_file_is_told_by_name(tmp_path: Path, name: str) -> None:
    content, why = bad_files()[name]
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(MakeRealError) as caught:
        read_picture(path)
    assert caught.value.code is ErrorCode.PICTURE_UNREADABLE
    assert str(path) in caught.value.detail
    assert why in caught.value.detail
    assert "\n" not in caught.value.detail


def test_a_file_that_is_not_there_is_told(tmp_path: Path) -> None:
    with pytest.raises(MakeRealError, match="No such file"):
        read_picture(tmp_path / "absent.png")


@pytest.mark.parametrize("side", [16385, 100_000])
def test_a_decompression_bomb_is_refused_before_it_is_read(tmp_path: Path, side: int) -> None:
    path = tmp_path / "bomb.png"
    path.write_bytes(bomb(side, side))
    with pytest.raises(MakeRealError) as caught:
        read_picture(path)
    assert caught.value.code in (ErrorCode.LIMIT_EXCEEDED, ErrorCode.PICTURE_UNREADABLE)


def test_a_picture_that_cannot_be_written_leaves_no_file(tmp_path: Path) -> None:
    read = read_picture(write_png(tmp_path / "in.png", picture()))
    with pytest.raises(MakeRealError) as caught:
        write_picture(tmp_path / "absent" / "out.png", read, read.shown, RECIPE)
    assert caught.value.code is ErrorCode.DISK_FULL
