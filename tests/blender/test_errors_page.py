# SPDX-License-Identifier: GPL-3.0-or-later
"""docs/errors.md has a row for every error, with the program's own words and the panel's button."""

from __future__ import annotations

from collections.abc import Callable

import bpy
from conftest import ROOT


def rows() -> dict[str, list[str]]:
    """Cells after the code, by code."""
    lines = (ROOT / "docs" / "errors.md").read_text(encoding="utf-8").splitlines()
    cells = ([cell.strip() for cell in line[1:-1].split("|")] for line in lines if line.startswith("| `"))
    return {row[0].strip("`"): row[1:] for row in cells}


def label(operator: str) -> str:
    category, name = operator.split(".")
    return getattr(getattr(bpy.ops, category), name).get_rna_type().name if operator else ""


def test_every_error_has_its_row(addon: Callable) -> None:
    protocol, fixes = addon("protocol"), addon("session.status_line").FIXES
    page = rows()
    assert list(page) == [code.value for code in protocol.EXPLANATIONS] == list(protocol.ErrorCode)
    for code, (sentence, why, remedy, button) in page.items():
        explanation = protocol.EXPLANATIONS[protocol.ErrorCode(code)]
        assert (sentence, remedy) == (explanation.sentence, explanation.remedy), code
        assert len(why) > 10, code
        assert button == (label(fixes[code]) if code in fixes else ""), code


def test_a_button_that_a_sentence_names_is_a_button(addon: Callable) -> None:
    protocol = addon("protocol")
    labels = {label(f"make_real.{name}") for name in dir(bpy.ops.make_real) if name[0] != "_"}
    for words in ("Install Backend", "Repair Backend", "Start Backend", "Enable Passes", "Make Real"):
        assert words in labels
        assert any(words in explanation.remedy for explanation in protocol.EXPLANATIONS.values())
