# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import dataclasses
import hashlib

import numpy as np
import pytest

from protocol import (
    DType,
    ErrorCode,
    Limits,
    MakeRealError,
    PlaneIntake,
    PlaneName,
    Planes,
    PlaneSpec,
    check_planes,
)
from protocol.planes import check_digest, describe, raw_bytes, view

JOB_ID = "f" * 32
IMAGE = np.arange(5 * 7 * 3, dtype=np.uint16).reshape(5, 7, 3)
GARMENT = np.linspace(0, 1, 35, dtype=np.float32).reshape(5, 7)


def code_of(caught: pytest.ExceptionInfo[MakeRealError]) -> ErrorCode:
    return caught.value.code


@pytest.mark.parametrize(
    ("numpy_type", "dtype"),
    [(np.uint8, DType.U8), (np.uint16, DType.U16), (np.float16, DType.F16), (np.float32, DType.F32)],
)
def test_an_array_is_described_and_seen_again(numpy_type: type, dtype: DType) -> None:
    array = np.arange(24).reshape(2, 4, 3).astype(numpy_type)
    spec = describe(PlaneName.IMAGE, array)
    assert spec == PlaneSpec(
        PlaneName.IMAGE,
        dtype,
        (2, 4, 3),
        array.nbytes,
        hashlib.blake2b(array.tobytes(), digest_size=16).digest(),
    )
    seen = view(spec, array.tobytes())
    assert seen.dtype == array.dtype
    assert np.array_equal(seen, array)
    assert not seen.flags.writeable


@pytest.mark.parametrize("dtype", [np.float64, np.int32, np.bool_, object, ">f4", ">u2"])
def test_an_element_type_that_cannot_travel_is_named(dtype: type) -> None:
    with pytest.raises(MakeRealError, match="plane garment must be uint8") as caught:
        describe(PlaneName.GARMENT, np.zeros((2, 2), dtype))
    assert code_of(caught) is ErrorCode.INVALID_REQUEST


def test_a_layout_that_cannot_travel_is_named() -> None:
    with pytest.raises(MakeRealError, match="plane image must be C-contiguous"):
        raw_bytes(PlaneName.IMAGE, IMAGE[::-1])


def test_raw_bytes_are_no_copy() -> None:
    array = np.zeros((2, 2), np.float32)
    raw = raw_bytes(PlaneName.GARMENT, array)
    array[0, 0] = 1.0
    assert bytes(raw[:4]) == np.float32(1.0).tobytes()


def test_a_buffer_of_another_length_is_no_plane() -> None:
    spec = describe(PlaneName.IMAGE, IMAGE)
    for buffer in (IMAGE.tobytes()[:-1], IMAGE.tobytes() + b"0"):
        with pytest.raises(MakeRealError) as caught:
            view(spec, buffer)
        assert code_of(caught) is ErrorCode.MALFORMED_MESSAGE


def test_one_wrong_bit_is_seen() -> None:
    spec = describe(PlaneName.IMAGE, IMAGE)
    check_digest(spec, IMAGE.tobytes())
    damaged = bytearray(IMAGE.tobytes())
    damaged[100] ^= 1
    with pytest.raises(MakeRealError, match="plane image") as caught:
        check_digest(spec, bytes(damaged))
    assert code_of(caught) is ErrorCode.DIGEST_MISMATCH


SPEC = describe(PlaneName.IMAGE, IMAGE)
MASK = describe(PlaneName.GARMENT, GARMENT)


@pytest.mark.parametrize(
    ("specs", "code", "words"),
    [
        ([], ErrorCode.INVALID_REQUEST, "one plane `image`"),
        ([MASK], ErrorCode.INVALID_REQUEST, "one plane `image`"),
        ([SPEC, SPEC], ErrorCode.INVALID_REQUEST, "at most once"),
        (
            [SPEC, dataclasses.replace(MASK, shape=(7, 5))],
            ErrorCode.INVALID_REQUEST,
            "plane garment is 5x7, the image 7x5",
        ),
        ([dataclasses.replace(SPEC, shape=(5, 21))], ErrorCode.INVALID_REQUEST, "plane image must be"),
        ([dataclasses.replace(SPEC, shape=(5, 7, 2))], ErrorCode.INVALID_REQUEST, "plane image must be"),
        (
            [SPEC, dataclasses.replace(MASK, shape=(5, 7, 1))],
            ErrorCode.INVALID_REQUEST,
            "plane garment must be",
        ),
        (
            [dataclasses.replace(SPEC, shape=(0, 7, 3), byte_length=0)],
            ErrorCode.INVALID_REQUEST,
            "plane image must be",
        ),
        (
            [dataclasses.replace(SPEC, byte_length=209)],
            ErrorCode.MALFORMED_MESSAGE,
            "209 bytes, its shape 210",
        ),
    ],
)
def test_planes_that_make_no_picture_are_refused(specs: list[PlaneSpec], code: ErrorCode, words: str) -> None:
    with pytest.raises(MakeRealError) as caught:
        check_planes(specs, Limits())
    assert code_of(caught) is code
    assert words in caught.value.detail


@pytest.mark.parametrize(
    "limit", [{"max_side": 6}, {"max_pixels": 34}, {"max_planes": 1}, {"max_job_bytes": 349}]
)
def test_each_limit_holds_to_the_last_unit(limit: dict[str, int]) -> None:
    just_enough = {name: value + 1 for name, value in limit.items()}
    check_planes([SPEC, MASK], dataclasses.replace(Limits(), **just_enough))
    with pytest.raises(MakeRealError) as caught:
        check_planes([SPEC, MASK], dataclasses.replace(Limits(), **limit))
    assert code_of(caught) is ErrorCode.LIMIT_EXCEEDED


def feed(intake: PlaneIntake, size: int = 64) -> bool:
    done = False
    for name, data in ((PlaneName.IMAGE, IMAGE.tobytes()), (PlaneName.GARMENT, GARMENT.tobytes())):
        for offset in range(0, len(data), size):
            assert not done
            done = intake.add(Planes(JOB_ID, name, offset), data[offset : offset + size])
    return done


def test_chunks_become_planes() -> None:
    intake = PlaneIntake((SPEC, MASK))
    assert feed(intake)
    planes = intake.planes()
    assert np.array_equal(planes[PlaneName.IMAGE], IMAGE)
    assert np.array_equal(planes[PlaneName.GARMENT], GARMENT)


def test_the_first_chunk_begins_anew() -> None:
    intake = PlaneIntake((SPEC, MASK))
    intake.add(Planes(JOB_ID, PlaneName.IMAGE, 0), bytes(100))
    assert feed(intake)
    assert np.array_equal(intake.planes()[PlaneName.IMAGE], IMAGE)


@pytest.mark.parametrize(
    ("plane", "offset", "length"),
    [
        (PlaneName.IMAGE, 1, 1),  # a gap
        (PlaneName.GARMENT, 0, 1),  # before its turn
        (PlaneName.PROTECTED, 0, 1),  # never announced
        (PlaneName.IMAGE, 0, 211),  # longer than announced
    ],
)
def test_a_chunk_out_of_turn_is_refused(plane: PlaneName, offset: int, length: int) -> None:
    with pytest.raises(MakeRealError) as caught:
        PlaneIntake((SPEC, MASK)).add(Planes(JOB_ID, plane, offset), bytes(length))
    assert (code_of(caught), caught.value.job_id) == (ErrorCode.MALFORMED_MESSAGE, JOB_ID)


def test_a_chunk_after_the_last_is_refused() -> None:
    intake = PlaneIntake((SPEC, MASK))
    feed(intake)
    with pytest.raises(MakeRealError):
        intake.add(Planes(JOB_ID, PlaneName.GARMENT, MASK.byte_length), b"1")


def test_a_damaged_chunk_is_seen() -> None:
    intake = PlaneIntake((MASK,))
    with pytest.raises(MakeRealError) as caught:
        intake.add(Planes(JOB_ID, PlaneName.GARMENT, 0), bytes(MASK.byte_length))
    assert (code_of(caught), caught.value.job_id) == (ErrorCode.DIGEST_MISMATCH, JOB_ID)
