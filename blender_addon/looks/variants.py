# SPDX-License-Identifier: GPL-3.0-or-later
"""Which pictures a grid of variants has: one setting changes from row to row, another from column to column."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import bpy
from bpy.props import EnumProperty, FloatProperty, IntProperty, PointerProperty, StringProperty

from ..properties import MakeRealSettings, request
from ..protocol import RANGES, WHOLE_NUMBERS, ErrorCode, MakeRealError, TranslationRequest

MAX_COUNT = 8
NOTHING = "nothing"
LABELS = {name: MakeRealSettings.__annotations__[name].keywords["name"] for name in ("model", *RANGES)}
"""Field of the request -> the name that the panel gives it."""


@dataclass(frozen=True)
class Cell:
    """One picture of a grid.

    Args:
        request: What to ask for.
        words: What is different about it, for a person; empty for the one cell of an empty grid.
    """

    request: TranslationRequest
    words: str


def _field_chosen(axis: "VariantAxis", context: bpy.types.Context) -> None:
    """Suggest a span around what is set now."""
    if axis.field in RANGES and axis.field != "seed":
        low, high = RANGES[axis.field]
        present = getattr(context.scene.make_real, axis.field)
        axis.low = max(low, 0.5 * present)
        axis.high = min(high, 1.5 * present) if present else min(high, 0.5)


class VariantAxis(bpy.types.PropertyGroup):
    """What changes along the rows, or along the columns."""

    field: EnumProperty(
        name="Setting",
        description="The setting that changes",
        items=(
            (NOTHING, "Nothing", "One picture in this direction"),
            *((name, label, f"{label} changes from picture to picture") for name, label in LABELS.items()),
        ),
        default=NOTHING,
        update=_field_chosen,
    )
    low: FloatProperty(name="From", description="The first picture's value", default=0.2, precision=2)
    high: FloatProperty(name="To", description="The last picture's value", default=0.5, precision=2)
    count: IntProperty(name="Count", description="How many pictures", default=3, min=2, max=MAX_COUNT)
    models: StringProperty(
        name="Models",
        description="Names of models with commas between them; empty: every model that the backend has",
    )


class Variants(bpy.types.PropertyGroup):
    """A scene's grid of variants (`scene.make_real_variants`)."""

    rows: PointerProperty(type=VariantAxis, name="Rows", description="What changes from row to row")
    columns: PointerProperty(
        type=VariantAxis, name="Columns", description="What changes from column to column"
    )


def values(axis: VariantAxis, settings: MakeRealSettings, models: Sequence[str]) -> list[Any]:
    """The values along an axis, each once; [None] when nothing changes.

    Args:
        models: Names of the models that the backend has.

    Raises:
        MakeRealError: INVALID_REQUEST.
    """
    if axis.field == NOTHING:
        return [None]
    if axis.field == "model":
        named = [name.strip() for name in axis.models.split(",") if name.strip()]
        chosen = list(dict.fromkeys(named or models))
        if not chosen:
            raise _refused("name the models, or start the backend so that they are known")
        return chosen[:MAX_COUNT]
    if axis.field == "seed":
        if not settings.variation:
            raise _refused("seeds make a difference only where Variation is above 0")
        return [settings.seed + number for number in range(axis.count)]
    low, high = RANGES[axis.field]
    first, last = (min(max(end, low), high) for end in (axis.low, axis.high))
    span = [first + (last - first) * number / (axis.count - 1) for number in range(axis.count)]
    exact = [round(value) if axis.field in WHOLE_NUMBERS else round(value, 3) for value in span]
    return list(dict.fromkeys(exact))


def grid(variants: Variants, settings: MakeRealSettings, models: Sequence[str]) -> list[list[Cell]]:
    """Every picture of the grid, row by row.

    Raises:
        MakeRealError: INVALID_REQUEST, with what to change.
    """
    rows, columns = variants.rows, variants.columns
    if rows.field == columns.field != NOTHING:
        raise _refused(f"{LABELS[rows.field]} cannot change along the rows and the columns")
    base = request(settings)
    return [
        [
            _cell(base, {rows.field: down, columns.field: across})
            for across in values(columns, settings, models)
        ]
        for down in values(rows, settings, models)
    ]


def _cell(base: TranslationRequest, changes: dict[str, Any]) -> Cell:
    changes = {name: value for name, value in changes.items() if name != NOTHING}
    words = ", ".join(f"{LABELS[name]} {value}" for name, value in changes.items())
    return Cell(replace(base, **changes), words)


def _refused(what_to_do: str) -> MakeRealError:
    return MakeRealError(ErrorCode.INVALID_REQUEST, what_to_do)


CLASSES = (VariantAxis, Variants)


def register() -> None:
    """Give every scene a grid."""
    for cls in CLASSES:
        bpy.utils.register_class(cls)
    bpy.types.Scene.make_real_variants = PointerProperty(type=Variants)


def unregister() -> None:
    """Take it back; what a blend file holds of it stays in it."""
    del bpy.types.Scene.make_real_variants
    for cls in reversed(CLASSES):
        bpy.utils.unregister_class(cls)
