# SPDX-License-Identifier: GPL-3.0-or-later
"""Hypothesis strategies for every message, made from the dataclasses' annotations."""

from __future__ import annotations

from dataclasses import fields, is_dataclass
from enum import Enum
from types import NoneType, UnionType
from typing import Annotated, Any, get_args, get_origin

from hypothesis import strategies as st

from protocol import RANGES, WHOLE_NUMBERS, DType, PlaneName, PlaneSpec, Result, TranslationRequest
from protocol.framing import MESSAGE_TYPES
from protocol.schema import Length, Pattern, Range, field_types

text = st.text(st.characters(exclude_categories=["Cs"]), max_size=40)
finite = st.floats(allow_nan=False, allow_infinity=False)
plain = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | finite | text,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(text, inner, max_size=3),
    max_leaves=8,
)


def _strategy(kind: Any) -> st.SearchStrategy[Any]:
    origin, arguments = get_origin(kind), get_args(kind)
    if origin is Annotated:
        return _bounded(arguments[0], arguments[1])
    if origin is UnionType:
        (inner,) = (option for option in arguments if option is not NoneType)
        return st.none() | _strategy(inner)
    if origin is tuple and arguments[-1] is Ellipsis:
        return st.lists(_strategy(arguments[0]), max_size=3).map(tuple)
    if origin is tuple:
        return st.tuples(*[_strategy(item) for item in arguments])
    if origin is dict:
        return st.dictionaries(text, plain if arguments[1] is Any else _strategy(arguments[1]), max_size=4)
    if kind is TranslationRequest:
        return requests
    if is_dataclass(kind):
        return instances(kind)
    if issubclass(kind, Enum):
        return st.sampled_from(kind)
    return {str: text, float: finite}[kind]


def _bounded(base: Any, bound: Range | Length | Pattern) -> st.SearchStrategy[Any]:
    if isinstance(bound, Pattern):
        return st.from_regex(bound.expression, fullmatch=True)
    if isinstance(bound, Range):
        whole = base is int
        return st.integers(int(bound.low), int(bound.high)) if whole else st.floats(bound.low, bound.high)
    if base is str:
        return st.text(
            st.characters(exclude_categories=["Cs"]), min_size=bound.low, max_size=min(bound.high, 40)
        )
    if base is bytes:
        return st.binary(min_size=bound.low, max_size=bound.high)
    item = get_args(base)[0]
    return st.lists(_strategy(item), min_size=bound.low, max_size=min(bound.high, 3)).map(tuple)


def instances(kind: type) -> st.SearchStrategy[Any]:
    """Instances of a dataclass whose every field keeps its contract."""
    types = field_types(kind)
    return st.builds(
        kind, **{field.name: _field(kind, field.name, types[field.name]) for field in fields(kind)}
    )


def _field(kind: type, name: str, annotation: Any) -> st.SearchStrategy[Any]:
    # The one message whose parts are checked against its specs.
    if kind is Result and name == "planes":
        return st.lists(consistent_specs, min_size=1, max_size=3).map(tuple)
    return _strategy(annotation)


requests = st.builds(
    TranslationRequest,
    model=st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=40),
    **{
        name: st.integers(low, high) if name in WHOLE_NUMBERS else st.floats(low, high)
        for name, (low, high) in RANGES.items()
    },
)


@st.composite
def _consistent_spec(draw: st.DrawFn) -> PlaneSpec:
    name, dtype = draw(st.sampled_from(PlaneName)), draw(st.sampled_from(DType))
    height, width = draw(st.integers(1, 9)), draw(st.integers(1, 9))
    shape = (height, width, draw(st.sampled_from([3, 4]))) if name is PlaneName.IMAGE else (height, width)
    elements = height * width * (shape[2] if len(shape) == 3 else 1)
    return PlaneSpec(name, dtype, shape, elements * dtype.itemsize, draw(st.binary(min_size=16, max_size=16)))


consistent_specs = _consistent_spec()
messages = st.one_of([instances(kind) for kind in MESSAGE_TYPES.values()])
