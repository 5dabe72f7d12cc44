# SPDX-License-Identifier: GPL-3.0-or-later
"""What the benchmark must show before anybody may call the method better: a bench that can say no."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from .scores import Column

Table = Mapping[str, Mapping[str, Column]]
"""Columns of each method."""


@dataclass(frozen=True)
class Check:
    """A claim and what was measured.

    Args:
        claim: In words, with the bar.
        measured: The figure that the bar is for.
        met: Whether the claim holds: the estimate is on the right side of the bar, and where two methods are
            compared that only by a part of ours, the whole interval is.
    """

    claim: str
    measured: Column
    met: bool

    def to_map(self) -> dict[str, Any]:
        """For the JSON."""
        low, high = self.measured.interval
        return {"claim": self.claim, "value": self.measured.value, "low": low, "high": high, "met": self.met}


ABLATIONS = {
    "ours_no_positive": ("kid_patch", 1),
    "ours_no_negative": ("kid_patch", 1),
    "ours_no_tac": ("highpass_garment", -1),
    "ours_no_mask": ("rest_change", 1),
    "ours_no_detail": ("ssim_garment", -1),
}
"""The column that each part exists for, and the sign of a change for the worse."""


def combine(a: Column, b: Column, rule: Callable[[Any, Any], Any]) -> Column:
    """A figure of two columns, draw by draw: what the two share cancels in the interval."""
    return Column(float(rule(a.value, b.value)), rule(a.replicates, b.replicates))


def check(table: Table) -> list[Check]:
    """Every claim that the rows at hand can decide."""
    return [*_against_rivals(table), *_against_nothing(table), *_against_parts(table)]


def _against_rivals(table: Table) -> Iterator[Check]:
    if not {"ours", "released"} <= table.keys():
        return
    ours, released = table["ours"], table["released"]
    lower = combine(ours["kid_patch"], released["kid_patch"], lambda a, b: 1 - a / b)
    yield Check(
        "patch KID is lower than the released procedure's by at least 15 %", lower, lower.value >= 0.15
    )
    closer = combine(ours["ssim_garment"], released["ssim_garment"], lambda a, b: a - b)
    yield Check("SSIM is higher than the released procedure's by at least 0.05", closer, closer.value >= 0.05)
    if "sdedit" in table:
        sdedit = table["sdedit"]
        closer = combine(ours["ssim_garment"], sdedit["ssim_garment"], lambda a, b: a - b)
        yield Check("SSIM is higher than SDEdit's by at least 0.11", closer, closer.value >= 0.11)
        kid = combine(ours["kid_patch"], sdedit["kid_patch"], lambda a, b: a - b)
        yield Check("patch KID is no worse than SDEdit's", kid, kid.value <= 0)


def _against_nothing(table: Table) -> Iterator[Check]:
    if not {"ours", "no_op"} <= table.keys():
        return
    ours, nothing = table["ours"], table["no_op"]
    yield Check(
        "SSIM inside the garment is at least 0.90", ours["ssim_garment"], ours["ssim_garment"].value >= 0.9
    )
    colour = ours["ciede2000_garment"]
    yield Check("CIEDE2000 inside the garment is at most 3", colour, colour.value <= 3)
    fall = combine(ours["kid_patch"], nothing["kid_patch"], lambda a, b: 1 - a / b)
    yield Check("patch KID falls at least 20 % from the render's", fall, fall.value >= 0.2)
    rise = combine(ours["photo_vote"], nothing["photo_vote"], lambda a, b: a / b)
    yield Check("the photo vote is at least three times the render's", rise, rise.value >= 3)


def _against_parts(table: Table) -> Iterator[Check]:
    for method, (column, sign) in ABLATIONS.items():
        if {"ours", method} <= table.keys():
            without, ours = table[method][column], table["ours"][column]
            harm = (
                combine(without, ours, lambda a, b: a - b)
                if sign > 0
                else combine(ours, without, lambda a, b: a - b)
            )
            yield Check(f"{method} is worse than ours in {column}", harm, harm.interval[0] > 0)
