# SPDX-License-Identifier: GPL-3.0-or-later
"""The page's table comes from a recorded run, and from nothing else."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from backend.speed.table import BEGIN, END, put_into_page

ROW = {
    "device": "a GPU",
    "gpus": 1,
    "model": "sd15",
    "width": 768,
    "height": 1024,
    "batch": 8,
    "method": "compiled",
    "seconds_per_image": 0.25,
    "peak_gib": None,
    "unet_passes": 25,
    "tflops": 300.0,
}
RECORD = {
    "command": "python -m backend.speed",
    "date": "2026-01-02",
    "device": "a GPU",
    "versions": {"torch": "2"},
    "ceilings": {},
    "log": ["sdxl: left out, out of time"],
    "equality": [
        {
            "model": "starter",
            "width": 384,
            "height": 512,
            "optimisation": "eager, float16",
            "mean": 0.07,
            "max": 0.6,
        }
    ],
    "rows": [{**ROW, "model": "starter"}, ROW, {**ROW, "batch": 1, "note": "full"}],
}
PAGE = f"# Performance\n\n{BEGIN}\nolder\n{END}\n\nThe rest.\n"


def test_a_run_replaces_the_one_before_it(tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    recorded, page = tmp_path / "run" / "performance.json", tmp_path / "performance.md"
    recorded.write_text(json.dumps(RECORD), encoding="utf-8")
    page.write_text(PAGE, encoding="utf-8")
    for _ in range(2):
        put_into_page([recorded], page)
    text = page.read_text(encoding="utf-8")
    assert text.startswith("# Performance\n") and text.endswith("\nThe rest.\n") and "older" not in text
    lines = [line for line in text.splitlines() if "| 768x1024 |" in line]
    assert [line.split(" | ")[:3] for line in lines] == [
        ["| starter", "768x1024", "8"],
        ["| sd15", "768x1024", "1"],
        ["| sd15", "768x1024", "8"],
    ]
    assert (
        "| starter | 384x512 | eager, float16 | 0.07 | 0.6 |" in text
        and "- sdxl: left out, out of time" in text
    )
    written = json.loads((tmp_path / "performance.json").read_text(encoding="utf-8"))
    assert written["rows"] == [{**row, "run": 0} for row in RECORD["rows"]]
    assert written["runs"][0]["log"] == RECORD["log"]


def test_a_page_without_marks_is_left_alone(tmp_path: Path) -> None:
    recorded, page = tmp_path / "performance.json", tmp_path / "page.md"
    recorded.write_text(json.dumps(RECORD), encoding="utf-8")
    page.write_text("text", encoding="utf-8")
    with pytest.raises(ValueError, match="has no lines"):
        put_into_page([recorded], page)
    assert page.read_text(encoding="utf-8") == "text"
