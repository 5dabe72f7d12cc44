# SPDX-License-Identifier: GPL-3.0-or-later
"""From dataclasses to plain maps and back, trusting nothing on the way back.

A field's annotation is its contract: type, and by `Annotated` its range, length or pattern. The same walk
reads headers off the wire, the connection file, and rows of the backend's journal.

    from_plain  raises  MakeRealError(MALFORMED_MESSAGE)   missing field, wrong type, outside its range
                        MakeRealError(INVALID_REQUEST)     a TranslationRequest outside its ranges
"""

from __future__ import annotations

import math
import re
from dataclasses import MISSING, Field, dataclass, fields, is_dataclass
from enum import Enum
from functools import cache
from types import NoneType, UnionType
from typing import Annotated, Any, TypeVar, Union, cast, get_args, get_origin, get_type_hints

from .errors import ErrorCode, MakeRealError

MAX_TEXT = 4096
"""Characters of any string in a header."""
MAX_DEPTH = 16
"""Nesting of any value in a header."""

T = TypeVar("T")


@dataclass(frozen=True)
class Range:
    """Inclusive range of a number."""

    low: float
    high: float

    def admits(self, value: Any) -> bool:
        return bool(self.low <= value <= self.high)

    def __str__(self) -> str:
        return f"{self.low}..{self.high}"


@dataclass(frozen=True)
class Length:
    """Inclusive range of the number of characters, bytes or items."""

    low: int
    high: int

    def admits(self, value: Any) -> bool:
        return self.low <= len(value) <= self.high

    def __str__(self) -> str:
        return f"length {self.low}..{self.high}"


@dataclass(frozen=True)
class Pattern:
    """Regular expression that the whole string matches."""

    expression: str

    def admits(self, value: Any) -> bool:
        return re.fullmatch(self.expression, value) is not None

    def __str__(self) -> str:
        return self.expression


JobId = Annotated[str, Pattern("[0-9a-f]{32}")]
MaybeJobId = Annotated[str, Pattern("([0-9a-f]{32})?")]
Name = Annotated[str, Length(1, 255)]
Label = Annotated[str, Length(0, 255)]
Count = Annotated[int, Range(0, 2**53)]
Version = Annotated[int, Range(1, 65535)]
Fraction = Annotated[float, Range(0.0, 1.0)]


@cache
def field_types(kind: type) -> dict[str, Any]:
    """Resolved annotation of every field of a dataclass, `Annotated` kept."""
    return get_type_hints(kind, include_extras=True)


def to_plain(value: Any) -> Any:
    """Maps, lists, strings, numbers and bytes that say the same as `value`, ready for msgpack."""
    if is_dataclass(value) and not isinstance(value, type):
        return {field.name: to_plain(getattr(value, field.name)) for field in fields(value)}
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, tuple | list):
        return [to_plain(item) for item in value]
    if isinstance(value, dict):
        return {to_plain(key): to_plain(item) for key, item in value.items()}
    return value


def from_plain(kind: type[T], value: Any, where: str) -> T:
    """Inverse of `to_plain`. Unknown fields are ignored, absent ones take their default.

    Args:
        kind: Dataclass or any annotation that the messages use.
        value: Plain value from outside.
        where: Name of the value in an error's detail.
    """
    return cast("T", _read(kind, value, where))


def _read(kind: Any, value: Any, where: str) -> Any:
    origin = get_origin(kind)
    if origin is Annotated:
        return _read_bounded(kind, value, where)
    if origin is Union or origin is UnionType:
        (inner,) = (option for option in get_args(kind) if option is not NoneType)
        return None if value is None else _read(inner, value, where)
    if origin is tuple:
        return _read_tuple(get_args(kind), value, where)
    if origin is dict:
        return _read_map(get_args(kind)[1], value, where)
    if kind is Any:
        return _read_anything(value, where, depth=0)
    if is_dataclass(kind):
        return _read_dataclass(cast("type", kind), value, where)
    if issubclass(kind, Enum):
        return _read_choice(kind, value, where)
    return _read_scalar(kind, value, where)


def _read_bounded(kind: Any, value: Any, where: str) -> Any:
    base, *bounds = get_args(kind)
    result = _read(base, value, where)
    for bound in bounds:
        if not bound.admits(result):
            raise _refusal(where, str(bound), value)
    return result


def _read_tuple(kinds: tuple[Any, ...], value: Any, where: str) -> tuple[Any, ...]:
    if not isinstance(value, list):
        raise _refusal(where, "a list", value)
    if kinds[-1] is Ellipsis:
        kinds = (kinds[0],) * len(value)
    if len(value) != len(kinds):
        raise _refusal(where, f"a list of {len(kinds)}", value)
    return tuple(
        _read(kind, item, f"{where}[{index}]")
        for index, (kind, item) in enumerate(zip(kinds, value, strict=True))
    )


def _read_map(kind: Any, value: Any, where: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise _refusal(where, "a map", value)
    return {_read_scalar(str, key, where): _read(kind, item, f"{where}.{key}") for key, item in value.items()}


def _read_anything(value: Any, where: str, depth: int) -> Any:
    if depth > MAX_DEPTH:
        raise MakeRealError(ErrorCode.LIMIT_EXCEEDED, f"{where} is nested deeper than {MAX_DEPTH}")
    if isinstance(value, list):
        return [_read_anything(item, where, depth + 1) for item in value]
    if isinstance(value, dict):
        return {
            _read_scalar(str, key, where): _read_anything(item, where, depth + 1)
            for key, item in value.items()
        }
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, str | int | float):
        return _read_scalar(type(value), value, where)
    raise _refusal(where, "a map, list, string or number", value)


def _read_dataclass(kind: type, value: Any, where: str) -> Any:
    if not isinstance(value, dict):
        raise _refusal(where, "a map", value)
    types = field_types(kind)
    given = {
        field.name: _read(types[field.name], value[field.name], f"{where}.{field.name}")
        for field in fields(kind)
        if field.name in value or _is_required(field, where)
    }
    return kind(**given)


def _is_required(field: Field[Any], where: str) -> bool:
    if field.default is MISSING and field.default_factory is MISSING:
        raise MakeRealError(ErrorCode.MALFORMED_MESSAGE, f"{where}.{field.name} is missing")
    return False


def _read_choice(kind: type[Enum], value: Any, where: str) -> Enum:
    for member in kind:
        if type(value) is str and member.value == value:
            return member
    raise _refusal(where, "one of " + ", ".join(str(member.value) for member in kind), value)


def _read_scalar(kind: type, value: Any, where: str) -> Any:
    if kind is float and type(value) in (int, float):
        if not math.isfinite(value):
            raise _refusal(where, "a finite number", value)
        return float(value)
    # An exact comparison: True is no whole number here.
    if type(value) is not kind:
        raise _refusal(
            where, {str: "a string", int: "a whole number", float: "a number", bytes: "bytes"}[kind], value
        )
    if isinstance(value, str) and len(value) > MAX_TEXT:
        raise MakeRealError(ErrorCode.LIMIT_EXCEEDED, f"{where} is longer than {MAX_TEXT} characters")
    return value


def _refusal(where: str, wanted: str, value: Any) -> MakeRealError:
    return MakeRealError(ErrorCode.MALFORMED_MESSAGE, f"{where} must be {wanted}, not {repr(value)[:80]}")
