# SPDX-License-Identifier: GPL-3.0-or-later
"""What the benchmark must show before anybody may call the method better: a bench that can say no."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from .scores import Column

Table = Mapping[str, Mapping[str, Column]]
"""Columns of each method."""


class Sense(StrEnum):
    """Which side of its bar a figure must be on."""

    AT_LEAST = "at least"
    AT_MOST = "at most"


@dataclass(frozen=True)
class Check:
    """A claim and what was measured.

    Args:
        claim: In words.
        measured: The figure that the bar is for.
        sense, bar: Where the figure must be.
        surely: Whether the whole interval must be there, not the estimate alone.
    """

    claim: str
    measured: Column
    sense: Sense
    bar: float
    surely: bool = False

    @property
    def sure(self) -> bool:
        """Whether the whole interval is on one side of the bar."""
        low, high = self.measured.interval
        return not low <= self.bar <= high

    @property
    def met(self) -> bool:
        """Whether the claim holds."""
        value = self.measured.value
        right = value >= self.bar if self.sense is Sense.AT_LEAST else value <= self.bar
        return right and (self.sure or not self.surely)

    def to_map(self) -> dict[str, Any]:
        """For the JSON."""
        low, high = self.measured.interval
        return {
            "claim": f"{self.claim}: {self.sense} {self.bar:g}",
            "value": self.measured.value,
            "low": low,
            "high": high,
            "met": self.met,
            "sure": self.sure,
        }


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
    yield Check("part by which patch KID is below the released procedure's", lower, Sense.AT_LEAST, 0.15)
    closer = combine(ours["ssim_garment"], released["ssim_garment"], lambda a, b: a - b)
    yield Check("SSIM above the released procedure's", closer, Sense.AT_LEAST, 0.05)
    if "sdedit" in table:
        sdedit = table["sdedit"]
        closer = combine(ours["ssim_garment"], sdedit["ssim_garment"], lambda a, b: a - b)
        yield Check("SSIM above SDEdit's", closer, Sense.AT_LEAST, 0.11)
        kid = combine(ours["kid_patch"], sdedit["kid_patch"], lambda a, b: a - b)
        yield Check("patch KID above SDEdit's", kid, Sense.AT_MOST, 0)


def _against_nothing(table: Table) -> Iterator[Check]:
    if not {"ours", "no_op"} <= table.keys():
        return
    ours, nothing = table["ours"], table["no_op"]
    yield Check("SSIM inside the garment", ours["ssim_garment"], Sense.AT_LEAST, 0.9)
    yield Check("CIEDE2000 inside the garment", ours["ciede2000_garment"], Sense.AT_MOST, 3)
    fall = combine(ours["kid_patch"], nothing["kid_patch"], lambda a, b: 1 - a / b)
    yield Check("part by which patch KID is below the render's", fall, Sense.AT_LEAST, 0.2)
    rise = combine(ours["photo_vote"], nothing["photo_vote"], lambda a, b: a / b)
    yield Check("photo vote as a multiple of the render's", rise, Sense.AT_LEAST, 3)


def _against_parts(table: Table) -> Iterator[Check]:
    for method, (column, sign) in ABLATIONS.items():
        if {"ours", method} <= table.keys():
            pair = table[method][column], table["ours"][column]
            harm = combine(*(pair if sign > 0 else pair[::-1]), lambda a, b: a - b)
            worse = "above" if sign > 0 else "below"
            yield Check(
                f"{column} of {method} {worse} ours, the whole interval", harm, Sense.AT_LEAST, 0, surely=True
            )
