# SPDX-License-Identifier: GPL-3.0-or-later
"""From planes to what the network sees, and back to the planes' own shape and element type."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Bool, Float32, Shaped

from protocol.errors import ErrorCode, MakeRealError
from protocol.planes import PlaneName

BACKDROP = 0.8
"""Grey behind transparent pixels, as of studio paper; display-referred."""

FULL_RANGE = {"uint8": 255.0, "uint16": 65535.0, "float16": 1.0, "float32": 1.0}
"""Value of 1.0 in each element type that a plane may have."""


@dataclass(frozen=True)
class Picture:
    """A checked job's pixels.

    Args:
        pixels: The image plane as it came.
        seen: RGB as the network sees it, 0..1, transparent pixels over `BACKDROP`.
        visible: Where alpha is above 0.
        garment: Coverage of the garment, 0..1.
        protected: Coverage of the pixels that must come back as they are, 0..1.
        free: Coverage of what moves as far as the garment without a hold on its texture, 0..1.
        strength: Factor of the request's strengths, 0..1.
    """

    pixels: Shaped[np.ndarray, "height width channels"]
    seen: Float32[np.ndarray, "height width 3"]
    visible: Bool[np.ndarray, "height width"]
    garment: Float32[np.ndarray, "height width"]
    protected: Float32[np.ndarray, "height width"]
    free: Float32[np.ndarray, "height width"]
    strength: Float32[np.ndarray, "height width"]


def read_picture(planes: Mapping[PlaneName, Shaped[np.ndarray, "*shape"]]) -> Picture:
    """Check the planes of a job and make the network's view of them.

    Without a garment plane everything that is not free is garment; without a protected plane nothing is
    protected, without a free plane nothing is free, and without a strength plane the factor is 1.

    Raises:
        MakeRealError: INVALID_REQUEST, naming the plane; EMPTY_MASK when the garment covers nothing.
    """
    if PlaneName.IMAGE not in planes:
        raise _invalid(PlaneName.IMAGE, "is missing")
    pixels = planes[PlaneName.IMAGE]
    if pixels.ndim != 3 or pixels.shape[2] not in (3, 4) or 0 in pixels.shape:
        raise _invalid(PlaneName.IMAGE, f"must be (height, width, 3 or 4), not {pixels.shape}")
    shape = pixels.shape[:2]
    visible = pixels[..., 3] > 0 if pixels.shape[2] == 4 else np.ones(shape, np.bool_)
    free = _fractions(planes, PlaneName.FREE, shape, default=0.0)
    garment = _fractions(planes, PlaneName.GARMENT, shape, default=1 - free)
    if not garment.any():
        raise MakeRealError(ErrorCode.EMPTY_MASK)
    return Picture(
        pixels=pixels,
        seen=see(pixels),
        visible=visible,
        garment=garment,
        protected=_fractions(planes, PlaneName.PROTECTED, shape, default=0.0),
        free=free,
        strength=_fractions(planes, PlaneName.STRENGTH, shape, default=1.0),
    )


def see(pixels: Shaped[np.ndarray, "height width channels"]) -> Float32[np.ndarray, "height width 3"]:
    """RGB 0..1 of an image plane, over `BACKDROP` where it is transparent."""
    values = _to_float(PlaneName.IMAGE, pixels).clip(0, 1)
    return (
        values[..., :3] * values[..., 3:] + BACKDROP * (1 - values[..., 3:])
        if values.shape[2] == 4
        else values
    )


def compose(
    picture: Picture,
    result: Float32[np.ndarray, "height width 3"],
    coverage: Float32[np.ndarray, "height width"],
) -> Shaped[np.ndarray, "height width channels"]:
    """The image plane with the change from `picture.seen` to `result` added where `coverage` says so.

        out = in + coverage * (result - seen)

    Where coverage or alpha is 0, and in the alpha channel, the bytes are the input's.
    """
    scale = FULL_RANGE[picture.pixels.dtype.name]
    change = coverage[..., None].astype(np.float64) * (result - picture.seen) * scale
    values = np.clip(picture.pixels[..., :3] + change, 0, scale)
    if picture.pixels.dtype.kind == "u":
        values = np.rint(values)
    translated = (coverage > 0) & picture.visible
    output = picture.pixels.copy()
    output[translated, :3] = values[translated].astype(output.dtype)
    return output


def _fractions(
    planes: Mapping[PlaneName, Shaped[np.ndarray, "*shape"]],
    name: PlaneName,
    shape: tuple[int, ...],
    default: float | Float32[np.ndarray, "height width"],
) -> Float32[np.ndarray, "height width"]:
    if name not in planes:
        return np.full(shape, default, np.float32)
    if planes[name].shape != shape:
        raise _invalid(name, f"must be {shape} like the image, not {planes[name].shape}")
    fractions = _to_float(name, planes[name])
    if fractions.min() < 0 or fractions.max() > 1:
        raise _invalid(name, "must have values from 0 to 1")
    return fractions


def _to_float(name: PlaneName, plane: Shaped[np.ndarray, "*shape"]) -> Float32[np.ndarray, "*shape"]:
    scale = FULL_RANGE.get(plane.dtype.name)
    if scale is None:
        raise _invalid(name, f"must be one of {', '.join(FULL_RANGE)}, not {plane.dtype.name}")
    values: np.ndarray[Any, np.dtype[np.float32]] = plane.astype(np.float32) / np.float32(scale)
    if not np.isfinite(values).all():
        raise _invalid(name, "must have finite values")
    return values


def _invalid(name: PlaneName, reason: str) -> MakeRealError:
    return MakeRealError(ErrorCode.INVALID_REQUEST, f"plane {name.value} {reason}")
