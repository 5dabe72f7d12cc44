# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import contextlib
from typing import Any, get_args

import msgpack
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from message_strategies import instances, messages

from protocol import (
    Cancel,
    ErrorCode,
    Hello,
    JobState,
    Limits,
    MakeRealError,
    Message,
    Ping,
    PlaneName,
    Planes,
    Progress,
    Query,
    Result,
    Stage,
    Status,
)
from protocol.framing import MAGIC, MESSAGE_TYPES, decode, encode

JOB_ID = "0123456789abcdef" * 2
LIMITS = Limits()


def buffers_for(message: Message) -> list[bytes]:
    if isinstance(message, Planes):
        return [b"pixels"]
    return [bytes(spec.byte_length) for spec in message.planes] if isinstance(message, Result) else []


def refusal(parts: list[bytes], limits: Limits = LIMITS) -> MakeRealError:
    with pytest.raises(MakeRealError) as caught:
        decode(parts, limits)
    return caught.value


def parts_of(**header: Any) -> list[bytes]:
    return [MAGIC, msgpack.packb(header)]


def nested(depth: int) -> Any:
    return [nested(depth - 1)] if depth else 1


@pytest.mark.parametrize("kind", MESSAGE_TYPES.values(), ids=MESSAGE_TYPES)
def test_every_message_comes_back_equal(kind: type[Message]) -> None:
    @settings(max_examples=30, deadline=None)
    @given(instances(kind))
    def check(message: Message) -> None:
        buffers = buffers_for(message)
        decoded, received = decode(encode(message, buffers), LIMITS)
        assert decoded == message
        assert [bytes(buffer) for buffer in received] == buffers

    check()


def test_every_message_class_has_a_name_on_the_wire() -> None:
    assert set(MESSAGE_TYPES.values()) == set(get_args(Message))


@settings(max_examples=300, deadline=None)
@given(st.lists(st.binary(max_size=60), max_size=4), st.booleans())
def test_arbitrary_bytes_give_a_message_or_our_error(parts: list[bytes], has_magic: bool) -> None:
    with contextlib.suppress(MakeRealError):
        decode([MAGIC, *parts] if has_magic else parts, LIMITS)


ANYTHING = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats()
    | st.text(max_size=8)
    | st.binary(max_size=16),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.text(max_size=8) | st.binary(max_size=4), inner, max_size=4)
    ),
    max_leaves=10,
)


@settings(max_examples=300, deadline=None)
@given(messages, st.data())
def test_a_message_with_one_value_replaced_gives_a_message_or_our_error(
    message: Message, data: st.DataObject
) -> None:
    header = msgpack.unpackb(encode(message)[1])
    header[data.draw(st.sampled_from(sorted(header)))] = data.draw(ANYTHING)
    with contextlib.suppress(MakeRealError):
        decode([MAGIC, msgpack.packb(header), *buffers_for(message)], LIMITS)


@settings(max_examples=200, deadline=None)
@given(messages, st.data())
def test_a_message_with_damaged_bytes_gives_a_message_or_our_error(
    message: Message, data: st.DataObject
) -> None:
    header = bytearray(encode(message)[1])
    for _ in range(data.draw(st.integers(1, 4))):
        header[data.draw(st.integers(0, len(header) - 1))] = data.draw(st.integers(0, 255))
    cut = data.draw(st.integers(0, len(header)))
    for damaged in (bytes(header), bytes(header[:cut])):
        with contextlib.suppress(MakeRealError):
            decode([MAGIC, damaged, *buffers_for(message)], LIMITS)


@pytest.mark.parametrize(
    "header",
    [
        b"\xdd\xff\xff\xff\xff",  # a list of 4 G
        b"\xdf\xff\xff\xff\xff",  # a map of 4 G
        b"\xc6\xff\xff\xff\xff",  # 4 GiB of bytes
        b"\x91" * 60_000,  # nested 60,000 deep
        b"\x81\x91\x01\x01",  # a list for a key
        b"\x81\xa4type\xc7\x03\xff\x00\x00\x00",  # a broken timestamp
        b"\x81\xa4type\xa1\xff",  # no UTF-8
        b"",
    ],
)
def test_hostile_headers_are_malformed(header: bytes) -> None:
    assert refusal([MAGIC, header]).code is ErrorCode.MALFORMED_MESSAGE


def test_unknown_fields_are_ignored() -> None:
    assert decode(parts_of(type="query", job_id=JOB_ID, colour="red"), LIMITS) == (Query(JOB_ID), [])


def test_absent_fields_take_their_default() -> None:
    message, _ = decode(parts_of(type="status", job_id=JOB_ID, state="queued"), LIMITS)
    assert message == Status(JOB_ID, JobState.QUEUED, 0, None, "")


def test_an_unknown_type_is_unsupported_and_names_its_job() -> None:
    error = refusal(parts_of(type="teleport", job_id=JOB_ID))
    assert (error.code, error.detail, error.job_id) == (ErrorCode.UNSUPPORTED_MESSAGE, "teleport", JOB_ID)


def test_another_major_version_is_told_from_noise() -> None:
    header = encode(Ping())[1]
    assert refusal([b"MR2", bytes(header)]).code is ErrorCode.UNSUPPORTED_VERSION
    assert refusal([b"HTTP", bytes(header)]).code is ErrorCode.MALFORMED_MESSAGE


@pytest.mark.parametrize(
    ("header", "field"),
    [
        ({"type": "query"}, "query.job_id"),
        ({"type": "query", "job_id": 5}, "query.job_id"),
        ({"type": "query", "job_id": "../../etc/passwd"}, "query.job_id"),
        ({"type": "query", "job_id": JOB_ID.upper()}, "query.job_id"),
        ({"type": "hello", "versions": [1], "client": "x"}, "hello.versions"),
        ({"type": "hello", "versions": [1, True], "client": "x"}, "hello.versions[1]"),
        ({"type": "hello", "versions": [1, 1.0], "client": "x"}, "hello.versions[1]"),
        ({"type": "hello", "versions": [1, 1], "client": ""}, "hello.client"),
        ({"type": "hello", "versions": "11", "client": "x"}, "hello.versions"),
        ({"type": "status", "job_id": JOB_ID, "state": "paused"}, "status.state"),
        ({"type": "status", "job_id": JOB_ID, "state": "done", "position": -1}, "status.position"),
        ({"type": "status", "job_id": JOB_ID, "state": "done", "error": "oops"}, "status.error"),
    ],
)
def test_a_field_that_breaks_its_contract_is_named(header: dict[str, Any], field: str) -> None:
    error = refusal([MAGIC, msgpack.packb(header)])
    assert error.code is ErrorCode.MALFORMED_MESSAGE
    assert error.detail.startswith(field + " ")


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf"), 1.5, -0.1])
def test_a_number_that_is_not_finite_or_out_of_range_is_refused_at_both_ends(value: float) -> None:
    header = {
        "type": "progress",
        "job_id": JOB_ID,
        "stage": "denoising",
        "step": 1,
        "steps": 2,
        "fraction": value,
    }
    assert refusal(parts_of(**header)).code is ErrorCode.MALFORMED_MESSAGE
    with pytest.raises(MakeRealError):
        encode(Progress(JOB_ID, Stage.DENOISING, 1, 2, value))


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
@pytest.mark.parametrize("field", ["report", "seconds", "recipe"])
def test_a_result_has_finite_numbers(field: str, value: float) -> None:
    spec = {"name": "garment", "dtype": "u8", "shape": [1, 1], "byte_length": 1, "digest": bytes(16)}
    header = {"type": "result", "job_id": JOB_ID, "planes": [spec], "report": {}, "seconds": {}, "recipe": {}}
    assert decode([*parts_of(**header), b"0"], LIMITS)
    error = refusal([*parts_of(**{**header, field: {"a": value}}), b"0"])
    assert (error.code, error.detail.split()[0]) == (ErrorCode.MALFORMED_MESSAGE, f"result.{field}.a")


def test_a_request_outside_its_range_is_invalid_and_names_its_job() -> None:
    spec = {"name": "image", "dtype": "u8", "shape": [1, 1, 3], "byte_length": 3, "digest": bytes(16)}
    header = {"type": "submit", "job_id": JOB_ID, "request": {"steps": 0}, "planes": [spec]}
    error = refusal(parts_of(**header))
    assert (error.code, error.job_id) == (ErrorCode.INVALID_REQUEST, JOB_ID)
    assert "steps" in error.detail


@pytest.mark.parametrize("dtype", ["f64", "O", "<f4", "object"])
def test_an_element_type_outside_the_enum_is_refused(dtype: str) -> None:
    spec = {"name": "image", "dtype": dtype, "shape": [1, 1, 3], "byte_length": 3, "digest": bytes(16)}
    error = refusal(parts_of(type="submit", job_id=JOB_ID, request={}, planes=[spec]))
    assert error.code is ErrorCode.MALFORMED_MESSAGE


def test_limits_on_strings_depth_and_header() -> None:
    long_text = parts_of(type="error", code="internal", detail="x" * 4097)
    assert refusal(long_text).code is ErrorCode.LIMIT_EXCEEDED
    header = {
        "type": "result",
        "job_id": JOB_ID,
        "planes": [],
        "report": {},
        "seconds": {},
        "recipe": {"a": nested(40)},
    }
    spec = {"name": "garment", "dtype": "u8", "shape": [1, 1], "byte_length": 1, "digest": bytes(16)}
    assert refusal([*parts_of(**{**header, "planes": [spec]}), b"0"]).code is ErrorCode.LIMIT_EXCEEDED
    large = parts_of(type="ping", padding="x" * LIMITS.max_header_bytes)
    assert refusal(large).code is ErrorCode.LIMIT_EXCEEDED


def test_a_header_that_no_peer_would_take_is_not_sent() -> None:
    with pytest.raises(MakeRealError) as caught:
        encode(Result(JOB_ID, (), {}, {}, {}))
    assert caught.value.code is ErrorCode.MALFORMED_MESSAGE
    with pytest.raises(MakeRealError):
        encode(Hello((1, 1), "\ud800"))


def test_parts_must_be_those_that_the_header_announces() -> None:
    chunk = encode(Planes(JOB_ID, PlaneName.IMAGE, 0))
    assert refusal(chunk).code is ErrorCode.MALFORMED_MESSAGE
    assert refusal([*chunk, b""]).code is ErrorCode.MALFORMED_MESSAGE
    assert refusal([*chunk, b"1", b"2"]).code is ErrorCode.MALFORMED_MESSAGE
    assert refusal([*chunk, bytes(LIMITS.max_chunk_bytes + 1)]).code is ErrorCode.LIMIT_EXCEEDED
    assert refusal([*encode(Cancel(JOB_ID)), b"1"]).job_id == JOB_ID
    assert refusal([MAGIC]).code is ErrorCode.MALFORMED_MESSAGE
    assert refusal([]).code is ErrorCode.MALFORMED_MESSAGE


def test_a_result_must_have_the_bytes_of_its_planes() -> None:
    spec = {"name": "garment", "dtype": "u16", "shape": [2, 3], "byte_length": 12, "digest": bytes(16)}
    header = {"type": "result", "job_id": JOB_ID, "recipe": {}, "report": {}, "seconds": {}}
    right = parts_of(**header, planes=[spec])
    decode([*right, bytes(12)], LIMITS)
    for buffers in ([], [bytes(11)], [bytes(12), b""], [bytes(6), bytes(6)]):
        assert refusal([*right, *buffers]).code is ErrorCode.MALFORMED_MESSAGE
    lying = parts_of(**header, planes=[{**spec, "byte_length": 6}])
    assert refusal([*lying, bytes(6)]).code is ErrorCode.MALFORMED_MESSAGE
