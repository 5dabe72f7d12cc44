# SPDX-License-Identifier: GPL-3.0-or-later
"""The table of a run, as JSON and as a Markdown section.

    python -m backend.speed.table out/speed/performance.json docs/performance.md

puts a run into the page, or several, between the two marks, and `performance.json` beside it.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

BEGIN, END = "<!-- speed: begin -->", "<!-- speed: end -->"
METHODS = ("released_fp32", "released_fp16", "eager", "compiled", "variant")
EQUALITY = ("optimisation", "mean", "max")
COLUMNS = ("model", "size", "batch", "GPUs", "method", "s a picture", "GiB", "passes", "TFLOP/s", "where")


def write_table(folder: Path, record: dict[str, Any]) -> None:
    """Write `performance.json` and `performance.md` into a folder."""
    (folder / "performance.json").write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
    (folder / "performance.md").write_text("\n".join(_lines(record)) + "\n", encoding="utf-8")


def put_into_page(runs: Sequence[Path], page: Path) -> None:
    """Exchange what stands between the page's marks for the tables of recorded runs, and put all rows beside the page.

    Raises:
        ValueError: The page has no marks.
    """
    records = [json.loads(run.read_text(encoding="utf-8")) for run in runs]
    text = page.read_text(encoding="utf-8")
    before, begin, rest = text.partition(BEGIN)
    _old, end, after = rest.partition(END)
    if not (begin and end):
        raise ValueError(f"{page} has no lines {BEGIN!r} and {END!r}")
    tables = "\n\n".join("\n".join(_lines(record)) for record in records)
    page.write_text(f"{before}{begin}\n{tables}\n{end}{after}", encoding="utf-8")
    rows = [{**row, "run": number} for number, record in enumerate(records) for row in record["rows"]]
    abouts = [{key: value for key, value in record.items() if key != "rows"} for record in records]
    everything = json.dumps({"runs": abouts, "rows": rows}, indent=1) + "\n"
    page.with_name("performance.json").write_text(everything, encoding="utf-8")


def _lines(record: dict[str, Any]) -> Iterator[str]:
    versions = ", ".join(f"{name} {number}" for name, number in record["versions"].items())
    yield f"`{record['command']}`, {record['date']}, {record['device']}, {versions}"
    yield ""
    models = list(dict.fromkeys(row["model"] for row in record["rows"]))
    rows = sorted(record["rows"], key=lambda row: (models.index(row["model"]), *_place(row)))
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
            ("model", "size", "difference to eager float32, in 1/255", "mean", "max"),
            [
                [each["model"], f"{each['width']}x{each['height']}", *(each[name] for name in EQUALITY)]
                for each in record["equality"]
            ],
        )
    if record["ceilings"]:
        yield ""
        yield from _table(("ceiling", "measured"), list(record["ceilings"].items()))
    yield ""
    yield from (f"- {line}" for line in record["log"])


def _place(row: dict[str, Any]) -> tuple[int, ...]:
    """Rows of one size, batch and number of GPUs stand together, those under a smaller plan last."""
    is_small = row.get("note", "").partition(";")[0] not in ("", "full")
    return (
        row["width"] * row["height"],
        row["batch"],
        row["gpus"],
        int(is_small),
        METHODS.index(row["method"]),
    )


def _table(head: Sequence[str], rows: Sequence[Sequence[Any]]) -> Iterator[str]:
    yield f"| {' | '.join(head)} |"
    yield f"|{'---|' * len(head)}"
    for row in rows:
        yield f"| {' | '.join('' if cell is None else str(cell) for cell in row)} |"


if __name__ == "__main__":
    *recorded, target = (Path(argument) for argument in sys.argv[1:])
    put_into_page(recorded, target)
