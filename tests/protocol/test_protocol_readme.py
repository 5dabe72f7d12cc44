# SPDX-License-Identifier: GPL-3.0-or-later
"""The specification and the dataclasses say the same."""

from __future__ import annotations

import dataclasses
import re
from enum import Enum
from pathlib import Path

import pytest

import protocol
from protocol import (
    EXPLANATIONS,
    Connection,
    DType,
    JobState,
    Limits,
    PlaneName,
    PlaneSpec,
    Stage,
    TranslationRequest,
    WorkerState,
)
from protocol.framing import MESSAGE_TYPES

README = Path(protocol.__file__).with_name("README.md").read_text(encoding="utf-8")
DOCUMENTED = {**MESSAGE_TYPES, "TranslationRequest": TranslationRequest, "PlaneSpec": PlaneSpec}


def section(title: str) -> str:
    """Text under a heading whose first word is `title`, down to the next heading."""
    found = re.search(rf"^##+ {title}\b.*?\n(.*?)(?=^##|\Z)", README, re.MULTILINE | re.DOTALL)
    assert found, f"no section {title}"
    return found[1]


def rows(title: str) -> list[list[str]]:
    """Cells of the rows of the section's tables that begin with a name in backquotes."""
    lines = [line for line in section(title).splitlines() if line.startswith("| `")]
    return [[cell.strip() for cell in line[1:-1].split("|")] for line in lines]


@pytest.mark.parametrize("name", DOCUMENTED)
def test_every_field_is_specified_with_its_default_meaning_and_since(name: str) -> None:
    fields = dataclasses.fields(DOCUMENTED[name])
    table = rows(name)
    assert [row[0] for row in table] == [f"`{field.name}`" for field in fields]
    for row, field in zip(table, fields, strict=True):
        _, kind, default, meaning, since = row
        assert kind
        assert meaning
        assert re.fullmatch(r"[0-9]+\.[0-9]+", since)
        assert default == written(field.default)


def written(default: object) -> str:
    """A field's default as the tables write it."""
    if default is dataclasses.MISSING:
        return ""
    if default is None:
        return "nil"
    return f'`"{default}"`' if isinstance(default, str) else f"`{default}`"


def test_no_message_is_specified_that_does_not_exist() -> None:
    assert re.findall(r"^### ([a-z]+)", README, re.MULTILINE) == list(MESSAGE_TYPES)


def test_every_error_code_is_specified_with_its_words() -> None:
    expected = [[f"`{code}`", text.sentence, text.remedy] for code, text in EXPLANATIONS.items()]
    assert rows("Errors") == expected


def test_every_limit_is_specified_with_its_default() -> None:
    expected = [[f"`{field.name}`", str(field.default)] for field in dataclasses.fields(Limits)]
    assert [row[:2] for row in rows("Limits")] == expected


@pytest.mark.parametrize(
    ("title", "enumeration"),
    [
        ("job state", JobState),
        ("stage", Stage),
        ("worker state", WorkerState),
        ("plane name", PlaneName),
        ("dtype", DType),
    ],
)
def test_every_enumeration_is_specified(title: str, enumeration: type[Enum]) -> None:
    found = re.search(rf"^\| {title} \| (.*) \|$", section("Enumerations"), re.MULTILINE)
    assert found
    assert found[1] == " ".join(f"`{member.value}`" for member in enumeration)


def test_the_connection_file_is_specified() -> None:
    names = [f"`{field.name}`" for field in dataclasses.fields(Connection)]
    assert [row[0] for row in rows("Connection")] == ["`format`", "`started`", *names]
