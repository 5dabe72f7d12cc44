# SPDX-License-Identifier: GPL-3.0-or-later
"""Picture files in and out: PNG (8 and 16 bits), JPEG and OpenEXR, read by OpenImageIO.

The translation sees display-referred colour, 0..1, with straight alpha. PNG and JPEG hold just that. An EXR
holds scene-linear colour with premultiplied alpha; it is shown to the translation through the standard sRGB
curve (IEC 61966-2-1), cut at 1, and the *change* is what comes back:

    result = linear + alpha * (decode(translated) - decode(shown))

A pixel that the translation left alone changes by zero, so it returns exactly; light above 1 is cut only in
what the translation sees and stays in the result.

A file is believed only after its name, its first bytes and its size agreed with each other and the limits; no
other decoder than the one for its name is ever tried.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import OpenImageIO as oiio  # noqa: N813  its own documentation calls it so

from protocol import ErrorCode, Limits, MakeRealError

LIMITS = Limits()
MAX_CHANNELS = 256
"""Channels of one file: a multilayer EXR has many."""

RECIPE_ATTRIBUTE = "make_real:recipe"


@dataclass(frozen=True)
class FileFormat:
    """A picture format: OpenImageIO's name for it, the first bytes of its files, the suffix of the result."""

    name: str
    signature: bytes
    result_suffix: str


PNG = FileFormat("png", b"\x89PNG\r\n\x1a\n", ".png")
# A JPEG would lose the result again, so it becomes a PNG.
JPEG = FileFormat("jpeg", b"\xff\xd8\xff", ".png")
EXR = FileFormat("openexr", b"\x76\x2f\x31\x01", ".exr")
FORMATS = {".png": PNG, ".jpg": JPEG, ".jpeg": JPEG, ".exr": EXR}
"""Format by file name suffix."""

oiio.attribute("limits:channels", MAX_CHANNELS)
oiio.attribute("try_all_readers", 0)
oiio.attribute("limits:imagesize_MB", 8 * LIMITS.max_job_bytes // 2**20)


@dataclass(frozen=True)
class Picture:
    """A picture that was read, and what writing its translation needs.

    Args:
        path: Where it came from.
        shown: (height, width, 3 or 4) what the translation gets: uint8, uint16 or float32.
        linear: (height, width, 3 or 4) scene-linear float32, premultiplied, of an EXR; else None.
        spec: OpenImageIO's description of the file, its metadata included.
        suffix: File name suffix of the result.
    """

    path: Path
    shown: np.ndarray
    linear: np.ndarray | None
    spec: oiio.ImageSpec
    suffix: str


def read_picture(path: Path) -> Picture:
    """Read a PNG, JPEG or EXR file. Grey becomes RGB; of an EXR's layers the picture itself is taken.

    Raises:
        MakeRealError: PICTURE_UNREADABLE or LIMIT_EXCEEDED, naming the file.
    """
    file_format, spec, pixels = _read(path)
    channels = _colour_channels(spec)
    if not channels:
        raise _unreadable(path, f"no RGB among its channels {', '.join(spec.channelnames[:8])}")
    pixels = pixels[..., channels]
    if file_format is not EXR:
        return Picture(path, np.ascontiguousarray(pixels), None, spec, file_format.result_suffix)
    linear = np.ascontiguousarray(pixels, dtype=np.float32)
    return Picture(path, show(linear), linear, spec, file_format.result_suffix)


def read_mask(path: Path, shape: tuple[int, int]) -> np.ndarray:
    """Read a mask, (height, width) in uint8, uint16 or float32 (0..1); of a colour picture the first channel.

    Raises:
        MakeRealError: PICTURE_UNREADABLE, also when its size is not the picture's `shape` (height, width).
    """
    _, _, pixels = _read(path)
    if pixels.shape[:2] != shape:
        height, width = pixels.shape[:2]
        raise MakeRealError(
            ErrorCode.PICTURE_UNREADABLE,
            f"{path} is {width}x{height} but its picture {shape[1]}x{shape[0]}",
        )
    mask = pixels[..., 0]
    if mask.dtype.kind == "f":
        mask = np.nan_to_num(mask).astype(np.float32).clip(0.0, 1.0)
    return np.ascontiguousarray(mask)


def write_picture(path: Path, picture: Picture, translated: np.ndarray, recipe: dict[str, Any]) -> None:
    """Write a translation in the format, bit depth and metadata of the picture that it was made from.

    Args:
        translated: As `picture.shown`.

    Raises:
        MakeRealError: DISK_FULL when the file cannot be written.
    """
    pixels = (
        translated if picture.linear is None else change_linear(picture.linear, picture.shown, translated)
    )
    spec = _spec_for(pixels, picture.spec)
    if picture.linear is not None:
        spec.set_format(picture.spec.format)
    spec.attribute(RECIPE_ATTRIBUTE, json.dumps(recipe))
    _write(path, EXR if picture.linear is not None else PNG, spec, pixels)


def write_display_png(path: Path, image: np.ndarray, recipe: dict[str, Any]) -> None:
    """Write display-referred RGB(A) of any plane dtype as a PNG of 16 bits a channel, the recipe inside.

    Raises:
        MakeRealError: DISK_FULL when the file cannot be written.
    """
    if image.dtype == np.uint8:
        pixels = image.astype(np.uint16) * 257
    elif image.dtype == np.uint16:
        pixels = image
    else:
        pixels = np.rint(np.nan_to_num(image.astype(np.float32)).clip(0.0, 1.0) * 65535.0).astype(np.uint16)
    spec = oiio.ImageSpec(pixels.shape[1], pixels.shape[0], pixels.shape[2], "uint16")
    spec.attribute("oiio:UnassociatedAlpha", 1)
    spec.attribute(RECIPE_ATTRIBUTE, json.dumps(recipe))
    # Level 1 is six times as fast as the default and costs a tenth more space.
    spec.attribute("png:compressionLevel", 1)
    _write(path, PNG, spec, pixels)


def show(linear: np.ndarray) -> np.ndarray:
    """Scene-linear premultiplied RGB(A) as display-referred float32 RGB(A) with straight alpha, 0..1."""
    shown = np.nan_to_num(linear, posinf=np.inf, neginf=0.0)
    if shown.shape[2] == 4:
        alpha = shown[..., 3:].clip(0.0, 1.0)
        colour = np.divide(shown[..., :3], alpha, out=np.zeros_like(shown[..., :3]), where=alpha > 0.0)
        shown = np.concatenate([colour, alpha], axis=2)
    shown = shown.clip(0.0, 1.0)
    shown[..., :3] = _encode_srgb(shown[..., :3])
    return np.ascontiguousarray(shown, dtype=np.float32)


def change_linear(linear: np.ndarray, shown: np.ndarray, translated: np.ndarray) -> np.ndarray:
    """Carry the change from `shown` to `translated` over to the scene-linear picture; see above."""
    result = linear.copy()
    change = _decode_srgb(translated[..., :3]) - _decode_srgb(shown[..., :3])
    if linear.shape[2] == 4:
        change *= linear[..., 3:]
    # Not `linear + 0`, which would turn -0 into 0 and is no identity for NaN.
    np.add(linear[..., :3], change, out=result[..., :3], where=translated[..., :3] != shown[..., :3])
    return result


def _encode_srgb(linear: np.ndarray) -> np.ndarray:
    return np.where(linear <= 0.0031308, linear * 12.92, 1.055 * np.power(linear, 1 / 2.4) - 0.055)


def _decode_srgb(encoded: np.ndarray) -> np.ndarray:
    encoded = encoded.astype(np.float32)
    return np.where(encoded <= 0.04045, encoded / 12.92, np.power((encoded + 0.055) / 1.055, 2.4))


def _read(path: Path) -> tuple[FileFormat, oiio.ImageSpec, np.ndarray]:
    """Format, description and pixels (height, width, channels) of the first part that has a picture."""
    file_format = _format_of(path)
    hints = oiio.ImageSpec()
    hints.attribute("oiio:UnassociatedAlpha", 1)
    reader = oiio.ImageInput.open(str(path), hints)
    if reader is None:
        raise _unreadable(path, oiio.geterror())
    try:
        spec = _seek_picture(reader)
        _check_size(path, spec)
        element = {"uint8": "uint8", "uint16": "uint16"}.get(str(spec.format), "float")
        pixels = reader.read_image(element)
        if pixels is None:
            raise _unreadable(path, reader.geterror())
    finally:
        reader.close()
    return file_format, spec, pixels.reshape(spec.height, spec.width, spec.nchannels)


def _seek_picture(reader: oiio.ImageInput) -> oiio.ImageSpec:
    """Go to the first part of the file that holds colour, else the first: Blender writes one part a pass."""
    part = 0
    while reader.seek_subimage(part, 0):
        if _colour_channels(reader.spec()):
            return reader.spec()
        part += 1
    reader.seek_subimage(0, 0)
    return reader.spec()


def _format_of(path: Path) -> FileFormat:
    file_format = FORMATS.get(path.suffix.lower())
    if file_format is None:
        raise _unreadable(path, f"not one of {', '.join(FORMATS)}")
    try:
        with path.open("rb") as file:
            head = file.read(len(file_format.signature))
    except OSError as error:
        raise _unreadable(path, error.strerror or str(error)) from error
    if head != file_format.signature:
        raise _unreadable(path, f"its content is not what {path.suffix} promises")
    return file_format


def _check_size(path: Path, spec: oiio.ImageSpec) -> None:
    if max(spec.width, spec.height) > LIMITS.max_side or spec.width * spec.height > LIMITS.max_pixels:
        raise MakeRealError(
            ErrorCode.LIMIT_EXCEEDED,
            f"{path} is {spec.width}x{spec.height}; the most is {LIMITS.max_side} a side and"
            f" {LIMITS.max_pixels // 2**20} megapixels",
        )


def _colour_channels(spec: oiio.ImageSpec) -> list[int]:
    """Indices of R, G, B and, if there is one, A: the bare ones, else those of Blender's Combined pass.

    Grey, with or without alpha, counts as R, G and B. Empty when there is no colour.
    """
    names = list(spec.channelnames)
    if names[0] == "Y":
        return [0, 0, 0, *range(1, len(names))]
    for prefix in ("", *(name[:-1] for name in names if name.endswith("Combined.R"))):
        if all(prefix + channel in names for channel in "RGB"):
            return [names.index(prefix + channel) for channel in "RGBA" if prefix + channel in names]
    return []


def _spec_for(pixels: np.ndarray, source: oiio.ImageSpec) -> oiio.ImageSpec:
    """A description with the source's metadata and windows and the pixels' size and type."""
    height, width, channels = pixels.shape
    spec = oiio.ImageSpec(
        width, height, channels, oiio.TypeDesc(str(pixels.dtype).replace("float32", "float"))
    )
    spec.x, spec.y = source.x, source.y
    spec.full_x, spec.full_y = source.full_x, source.full_y
    spec.full_width, spec.full_height = source.full_width, source.full_height
    for attribute in source.extra_attribs:
        if not attribute.name.startswith(("oiio:", "openexr:", "jpeg:", "Exif:")):
            spec.attribute(attribute.name, attribute.type, attribute.value)
    spec.attribute("oiio:UnassociatedAlpha", int(str(pixels.dtype) != "float32"))
    return spec


def _write(path: Path, file_format: FileFormat, spec: oiio.ImageSpec, pixels: np.ndarray) -> None:
    writer = oiio.ImageOutput.create(file_format.name)
    assert writer is not None, oiio.geterror()
    written = writer.open(str(path), spec) and writer.write_image(pixels)
    written = writer.close() and written
    if not written:
        path.unlink(missing_ok=True)
        raise MakeRealError(ErrorCode.DISK_FULL, f"{path}: {writer.geterror() or 'could not be written'}")


def _unreadable(path: Path, why: str) -> MakeRealError:
    # OpenImageIO often names the file itself, quoted or not.
    reason = why.replace(f'"{path}"', "it").replace(str(path), "it").strip() or "damaged"
    return MakeRealError(ErrorCode.PICTURE_UNREADABLE, f"{path}: {reason.splitlines()[0]}")
