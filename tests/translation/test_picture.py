# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import numpy as np
import pytest
import torch
from garment_samples import box_mask, picture

from backend.translation.picture import BACKDROP, Picture, read_picture, to_plane
from backend.translation.picture import compose as compose_elements
from protocol.errors import ErrorCode, MakeRealError
from protocol.planes import PlaneName

IMAGE, GARMENT, PROTECTED = PlaneName.IMAGE, PlaneName.GARMENT, PlaneName.PROTECTED


def compose(read: Picture, result: torch.Tensor, coverage: torch.Tensor) -> np.ndarray:
    elements, seen = compose_elements(read, result, coverage)
    plane = to_plane(elements, read.pixels.dtype)
    torch.testing.assert_close(seen, read_picture({IMAGE: plane}).seen, atol=0, rtol=0)
    return plane


@pytest.mark.parametrize(
    ("planes", "word"),
    [
        ({}, "image is missing"),
        ({IMAGE: np.zeros((4, 4), np.uint8)}, "plane image must be"),
        ({IMAGE: np.zeros((4, 4, 2), np.uint8)}, "plane image must be"),
        ({IMAGE: np.zeros((0, 4, 3), np.uint8)}, "plane image must be"),
        ({IMAGE: np.zeros((4, 4, 3), np.int64)}, "not int64"),
        ({IMAGE: np.full((4, 4, 3), np.nan, np.float32)}, "plane image must have finite"),
        ({IMAGE: picture(4, 4), GARMENT: np.ones((4, 5), np.uint8)}, "plane garment must be (4, 4)"),
        ({IMAGE: picture(4, 4), GARMENT: np.full((4, 4), 1.5, np.float32)}, "plane garment must have values"),
        (
            {IMAGE: picture(4, 4), PROTECTED: np.full((4, 4), -1, np.float16)},
            "plane protected must have values",
        ),
        ({IMAGE: picture(4, 4), PROTECTED: np.ones((4, 4), np.bool_)}, "not bool"),
        (
            {IMAGE: picture(4, 4), PlaneName.STRENGTH: np.ones((4, 3), np.float32)},
            "plane strength must be (4, 4)",
        ),
    ],
)
def test_a_bad_plane_is_named(planes: dict[PlaneName, np.ndarray], word: str) -> None:
    with pytest.raises(MakeRealError) as caught:
        read_picture(planes)
    assert caught.value.code is ErrorCode.INVALID_REQUEST
    assert word in caught.value.detail


def test_an_empty_garment_is_its_own_error() -> None:
    with pytest.raises(MakeRealError) as caught:
        read_picture({IMAGE: picture(4, 4), GARMENT: np.zeros((4, 4), np.uint8)})
    assert caught.value.code is ErrorCode.EMPTY_MASK


def test_without_masks_all_is_garment_and_nothing_protected() -> None:
    read = read_picture({IMAGE: picture(8, 8)})
    assert (read.garment == 1).all() and (read.protected == 0).all() and read.visible.all()
    assert (read.free == 0).all() and (read.strength == 1).all()


def test_without_a_garment_mask_all_that_is_not_free_is_garment() -> None:
    free = np.linspace(0, 255, 64).reshape(8, 8).astype(np.uint8)
    read = read_picture({IMAGE: picture(8, 8), PlaneName.FREE: free})
    torch.testing.assert_close(read.garment + read.free, torch.ones(8, 8))
    with pytest.raises(MakeRealError) as caught:
        read_picture({IMAGE: picture(8, 8), PlaneName.FREE: np.full((8, 8), 255, np.uint8)})
    assert caught.value.code is ErrorCode.EMPTY_MASK


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float16", "float32"])
def test_every_element_type_there_and_back(dtype: str) -> None:
    values = np.random.default_rng(0).random((16, 16, 3))
    scale = {"uint8": 255, "uint16": 65535}.get(dtype, 1)
    pixels = (values * scale).astype(dtype)
    read = read_picture({IMAGE: pixels})
    same = compose(read, read.seen, torch.ones(16, 16))
    assert same.dtype == pixels.dtype and np.array_equal(same, pixels)
    inverted = compose(read, 1 - read.seen, torch.ones(16, 16))
    np.testing.assert_allclose(
        inverted / scale, 1 - pixels / scale, atol=1e-3 if dtype == "float16" else 1e-6 + 0.5 / scale
    )


def test_where_coverage_is_zero_the_bytes_stay() -> None:
    pixels = picture(32, 32).astype(np.float32) / 200  # some values are above 1
    coverage = box_mask(32, 32).astype(np.float32) / 255
    read = read_picture({IMAGE: pixels})
    result = compose(read, 1 - read.seen, torch.from_numpy(coverage))
    assert np.array_equal(result[coverage == 0], pixels[coverage == 0])
    assert not np.array_equal(result[coverage == 1], pixels[coverage == 1])


def test_alpha_stays_and_transparent_pixels_stay() -> None:
    pixels = np.dstack([picture(32, 32), box_mask(32, 32)])
    read = read_picture({IMAGE: pixels})
    assert read.seen[:, 0, 0].tolist() == pytest.approx([BACKDROP] * 3)
    result = compose(read, torch.zeros_like(read.seen), torch.ones(32, 32))
    assert np.array_equal(result[..., 3], pixels[..., 3])
    assert np.array_equal(result[pixels[..., 3] == 0], pixels[pixels[..., 3] == 0])
    assert (result[pixels[..., 3] == 255][:, :3] == 0).all()
