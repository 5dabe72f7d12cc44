# SPDX-License-Identifier: GPL-3.0-or-later
"""The table of a run, as JSON and as a Markdown section.

    python -m backend.speed.table out/speed/performance.json docs/performance.md

puts a run into the page, between the two marks, and its JSON beside the page.
"""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

BEGIN, END = "<!-- speed: begin -->", "<!-- speed: end -->"
COLUMNS = ("model", "size", "batch", "GPUs", "method", "s a picture", "GiB", "passes", "TFLOP/s", "where")


def write_table(folder: Path, record: dict[str, Any]) -> None:
    """Write `performance.json` and `performance.md` into a folder."""
    (folder / "performance.json").write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
    (folder / "performance.md").write_text("\n".join(_lines(record)) + "\n", encoding="utf-8")


def put_into_page(recorded: Path, page: Path) -> None:
    """Exchange what stands between the page's marks for the table of a recorded run.

    Raises:
        ValueError: The page has no marks.
    """
    record = json.loads(recorded.read_text(encoding="utf-8"))
    text = page.read_text(encoding="utf-8")
    before, begin, rest = text.partition(BEGIN)
    _old, end, after = rest.partition(END)
    if not (begin and end):
        raise ValueError(f"{page} has no lines {BEGIN!r} and {END!r}")
    table = "\n".join(_lines(record))
    page.write_text(f"{before}{begin}\n{table}\n{end}{after}", encoding="utf-8")
    shutil.copyfile(recorded, page.with_name("performance.json"))


def _lines(record: dict[str, Any]) -> Iterator[str]:
    versions = ", ".join(f"{name} {number}" for name, number in record["versions"].items())
    yield f"`{record['command']}`, {record['date']}, {record['device']}, {versions}"
    yield ""
    order = {
        method: place for place, method in enumerate(dict.fromkeys(row["model"] for row in record["rows"]))
    }
    rows = sorted(
        record["rows"], key=lambda row: (order[row["model"]], row["width"] * row["height"], row["batch"])
    )
    names = ("batch", "gpus", "method", "seconds_per_image", "peak_gib", "unet_passes", "tflops")
    yield from _table(
        COLUMNS,
        [
            [
                row["model"],
                f"{row['width']}x{row['height']}",
                *(row[name] for name in names),
                row.get("note", ""),
            ]
            for row in rows
        ],
    )
    if record["equality"]:
        yield ""
        yield from _table(
            ("difference to eager float32, in 1/255", "mean", "max"),
            [[each["optimisation"], each["mean"], each["max"]] for each in record["equality"]],
        )
    if record["ceilings"]:
        yield ""
        yield from _table(("ceiling", "measured"), list(record["ceilings"].items()))
    yield ""
    yield from (f"- {line}" for line in record["log"])


def _table(head: Sequence[str], rows: Sequence[Sequence[Any]]) -> Iterator[str]:
    yield f"| {' | '.join(head)} |"
    yield f"|{'---|' * len(head)}"
    for row in rows:
        yield f"| {' | '.join('' if cell is None else str(cell) for cell in row)} |"


if __name__ == "__main__":
    put_into_page(*(Path(argument) for argument in sys.argv[1:3]))
