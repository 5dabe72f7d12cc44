# SPDX-License-Identifier: GPL-3.0-or-later
"""The report's figures in words for artists. Pure, without bpy."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum


class Level(StrEnum):
    """How good a figure is."""

    GOOD = "good"
    FAIR = "fair"
    BAD = "bad"


@dataclass(frozen=True)
class Line:
    """One figure.

    Args:
        words: What it means.
        figure: The number with its unit, as experts quote it.
    """

    words: str
    figure: str
    level: Level

    @property
    def text(self) -> str:
        """Both."""
        return f"{self.words} ({self.figure})"


@dataclass(frozen=True)
class Scale:
    """How a figure is read.

    Args:
        good, fair: Limits; beyond `fair` it is bad, and the backend warns.
        words: What good, fair and bad mean.
        form: How the number is written.
    """

    good: float
    fair: float
    words: tuple[str, str, str]
    form: str

    def line(self, value: float) -> Line:
        """The figure in words. Whether more or less is better follows from the order of the limits."""
        sign = 1.0 if self.good > self.fair else -1.0
        place = 0 if sign * value >= sign * self.good else 1 if sign * value >= sign * self.fair else 2
        return Line(self.words[place], self.form.format(value), list(Level)[place])


SCALES: dict[str, Scale] = {
    # Wang et al. 2004: the mean over the garment; two renders of one scene with other noise are above 0.95.
    "ssim_garment": Scale(
        0.95, 0.9, ("Shapes and folds kept", "Shapes and folds moved a little", "Shapes and folds changed"),
        "SSIM {:.3f}",
    ),
    # CIEDE2000 of the colours without the folds' light: 1 is just noticeable side by side, 2 to 3.5 is seen by anybody.
    "colour_garment": Scale(
        1.0, 2.0, ("Colour kept", "Colour shifted a little", "Colour drifted: check it against the fabric"),
        "CIEDE2000 {:.1f}",
    ),
    "highpass_garment": Scale(
        0.9, 0.8, ("Print and weave kept", "Print and weave softened", "Print and weave drifted: raise Texture Lock"),
        "fine detail {:.2f}",
    ),
    "alignment_px": Scale(
        0.1, 0.25, ("In place", "Slightly out of place", "Out of place"),
        "{:.2f} px",
    ),
}  # fmt: skip
"""Figure of the report -> how to read it. All are taken within the garment."""


def lines(report: Mapping[str, float]) -> list[Line]:
    """The report in words; figures that it lacks are left out."""
    return [scale.line(report[name]) for name, scale in SCALES.items() if name in report]
