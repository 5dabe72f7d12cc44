# SPDX-License-Identifier: GPL-3.0-or-later
"""What a benchmark consists of, and how its work is divided."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from .generate import RunFolder
from .methods import CONTROLS, METHODS
from .pictures import Render, group_by_size

T = TypeVar("T")


@dataclass(frozen=True)
class Plan:
    """What a benchmark consists of.

    Args:
        out: Its folder.
        methods: Rows.
        renders: Pictures of the rows.
        swept: Pictures of the curve over the strength, some of `renders`.
        strength: Of the rows whose method has none of its own.
        strengths: Of the curve.
        seeds: Random seeds of the methods that draw.
    """

    out: Path
    methods: Sequence[str]
    renders: Sequence[Render]
    swept: Sequence[Render]
    strength: float
    strengths: Sequence[float]
    seeds: int

    def runs(self, method: str) -> list[RunFolder]:
        """The runs of a row."""
        known = (METHODS | CONTROLS)[method]
        strength = self.strength if known.strength is None else known.strength
        return [
            RunFolder(self.out, method, strength, seed) for seed in range(self.seeds if known.random else 1)
        ]

    @property
    def scored(self) -> tuple[str, ...]:
        """The methods, and beside `no_op` the controls."""
        return (*self.methods, *(CONTROLS if "no_op" in self.methods else ()))

    def rows(self) -> list[RunFolder]:
        """The runs of all rows."""
        return [run for method in self.scored for run in self.runs(method)]

    def sweep(self) -> list[RunFolder]:
        """The runs of the curve, one seed each; some of them are of the rows too."""
        swept = [method for method in self.methods if METHODS[method].swept] if self.swept else []
        return [RunFolder(self.out, method, s, 0) for method in swept for s in self.strengths]

    def work(self) -> list[tuple[RunFolder, Sequence[Render]]]:
        """Every run with the renders that the report reads it of; a row's run that is on the curve too with both."""
        return [(run, self.renders) for run in self.rows()] + [(run, self.swept) for run in self.sweep()]

    def batches(self, most: int) -> list[tuple[RunFolder, list[Render]]]:
        """The same work in batches of up to `most` renders of one size; all methods of the first renders come first.

        So a benchmark that was stopped early has whole rows of some renders, not some rows.
        """
        rows = self.rows()
        beside = [run for run in self.sweep() if run not in rows]
        return [
            (run, batch)
            for runs, renders in ((rows, self.renders), (beside, self.swept))
            for batch in group_by_size(renders, most)
            for run in runs
        ]


@dataclass(frozen=True)
class Part:
    """One of several equal parts of the work, each for its own process.

    Args:
        number: 1 to `parts`.
        parts: How many.
    """

    number: int = 1
    parts: int = 1

    @classmethod
    def parse(cls, text: str) -> Part:
        """Read `NUMBER/PARTS`. Raises ValueError."""
        number, _, parts = text.partition("/")
        if not (number.isdecimal() and parts.isdecimal() and 1 <= int(number) <= int(parts)):
            raise ValueError(f"--part {text} is not NUMBER/PARTS, as 1/8 to 8/8")
        return cls(int(number), int(parts))

    def of(self, work: Sequence[T]) -> Sequence[T]:
        """What of the work is this part's: every so many, so that all parts advance together."""
        return work[self.number - 1 :: self.parts]
