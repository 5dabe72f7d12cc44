# SPDX-License-Identifier: GPL-3.0-or-later
"""From planes to what the network sees, and back to the planes' own shape and element type."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float32, Shaped
from torch import Tensor

from protocol.errors import ErrorCode, MakeRealError
from protocol.planes import PlaneName

BACKDROP = 0.8
"""Grey behind transparent pixels, as of studio paper; display-referred."""

FULL_RANGE = {"uint8": 255.0, "uint16": 65535.0, "float16": 1.0, "float32": 1.0}
"""Value of 1.0 in each element type that a plane may have."""
CPU = torch.device("cpu")


@dataclass(frozen=True)
class Picture:
    """A checked job's pixels, on the device where they are translated.

    Args:
        pixels: The image plane as it came, on the host.
        elements: The same on the device.
        seen: RGB as the network sees it, 0..1, transparent pixels over `BACKDROP`.
        visible: Where alpha is above 0.
        garment: Coverage of the garment, 0..1.
        protected: Coverage of the pixels that must come back as they are, 0..1.
        free: Coverage of what moves as far as the garment without a hold on its texture, 0..1.
        strength: Factor of the request's strengths, 0..1.
    """

    pixels: Shaped[np.ndarray, "height width channels"]
    elements: Shaped[Tensor, "height width channels"]
    seen: Float32[Tensor, "3 height width"]
    visible: Bool[Tensor, "height width"]
    garment: Float32[Tensor, "height width"]
    protected: Float32[Tensor, "height width"]
    free: Float32[Tensor, "height width"]
    strength: Float32[Tensor, "height width"]


def read_picture(
    planes: Mapping[PlaneName, Shaped[np.ndarray, "*shape"]], device: torch.device = CPU
) -> Picture:
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
    _check(PlaneName.IMAGE, pixels)
    elements = _upload(pixels, device)
    values = _numbers(elements)
    free = _fractions(planes, PlaneName.FREE, torch.zeros(shape, device=device))
    garment = _fractions(planes, PlaneName.GARMENT, 1 - free)
    if not garment.any():
        raise MakeRealError(ErrorCode.EMPTY_MASK)
    return Picture(
        pixels=pixels,
        elements=elements,
        seen=_see(values, pixels.dtype),
        visible=values[3] > 0 if len(values) == 4 else torch.ones(shape, dtype=torch.bool, device=device),
        garment=garment,
        protected=_fractions(planes, PlaneName.PROTECTED, torch.zeros(shape, device=device)),
        free=free,
        strength=_fractions(planes, PlaneName.STRENGTH, torch.ones(shape, device=device)),
    )


def compose(
    picture: Picture, result: Float32[Tensor, "3 height width"], coverage: Float32[Tensor, "height width"]
) -> tuple[Shaped[Tensor, "height width channels"], Float32[Tensor, "3 height width"]]:
    """The image plane with the change from `picture.seen` to `result` added where `coverage` says so.

        out = in + coverage * (result - seen)

    Where coverage or alpha is 0, and in the alpha channel, the bytes are the input's.

    Returns:
        The plane's elements, still on the device (`to_plane` brings them to the host), and what is seen of them.
    """
    dtype = picture.pixels.dtype
    scale = FULL_RANGE[dtype.name]
    values = _numbers(picture.elements)
    changed = (values[:3] + coverage * (result - picture.seen) * scale).clamp(0, scale)
    if dtype.kind == "u":
        changed = changed.round()
    translated = (coverage > 0) & picture.visible
    composed = torch.cat([torch.where(translated, changed, values[:3]), values[3:]])
    elements = _elements(composed.permute(1, 2, 0), dtype)
    return elements, _see(_numbers(elements), dtype)


def to_plane(
    elements: Shaped[Tensor, "height width channels"], dtype: np.dtype[Any]
) -> Shaped[np.ndarray, "height width channels"]:
    """A plane of `compose` on the host."""
    return np.ascontiguousarray(elements.cpu().numpy()).view(dtype)


def _see(values: Float32[Tensor, "channels height width"], dtype: np.dtype[Any]) -> Tensor:
    values = (values / FULL_RANGE[dtype.name]).clamp(0, 1)
    if len(values) == 3:
        return values
    return values[:3] * values[3] + BACKDROP * (1 - values[3])


def _fractions(
    planes: Mapping[PlaneName, Shaped[np.ndarray, "*shape"]],
    name: PlaneName,
    default: Float32[Tensor, "height width"],
) -> Float32[Tensor, "height width"]:
    if name not in planes:
        return default
    plane = planes[name]
    if plane.shape != default.shape:
        raise _invalid(name, f"must be {tuple(default.shape)} like the image, not {plane.shape}")
    _check(name, plane)
    if plane.dtype.kind == "f" and (plane.min() < 0 or plane.max() > 1):
        raise _invalid(name, "must have values from 0 to 1")
    return _numbers(_upload(plane[..., None], default.device))[0] / FULL_RANGE[plane.dtype.name]


def _check(name: PlaneName, plane: Shaped[np.ndarray, "*shape"]) -> None:
    if plane.dtype.name not in FULL_RANGE:
        raise _invalid(name, f"must be one of {', '.join(FULL_RANGE)}, not {plane.dtype.name}")
    if plane.dtype.kind == "f" and not np.isfinite(plane).all():
        raise _invalid(name, "must have finite values")


def _upload(
    plane: Shaped[np.ndarray, "height width channels"], device: torch.device
) -> Shaped[Tensor, "height width channels"]:
    """A plane in its own element type, which may lie in the plane's own memory; int16 stands for unsigned numbers."""
    wide = plane.dtype == np.uint16
    # Torch computes with signed 16 bits only.
    elements = np.require(plane.view(np.int16) if wide else plane, requirements=("C", "W"))
    return torch.from_numpy(elements).to(device)


def _numbers(elements: Shaped[Tensor, "height width channels"]) -> Float32[Tensor, "channels height width"]:
    """What the elements of a plane say."""
    values = elements.permute(2, 0, 1)
    return (values.int() & 0xFFFF).float() if values.dtype == torch.int16 else values.float()


def _elements(
    values: Float32[Tensor, "height width channels"], dtype: np.dtype[Any]
) -> Shaped[Tensor, "height width channels"]:
    """The inverse of `_numbers`."""
    if dtype == np.uint16:
        return values.int().to(torch.int16)
    return values.to({"uint8": torch.uint8, "float16": torch.float16, "float32": torch.float32}[dtype.name])


def _invalid(name: PlaneName, reason: str) -> MakeRealError:
    return MakeRealError(ErrorCode.INVALID_REQUEST, f"plane {name.value} {reason}")
