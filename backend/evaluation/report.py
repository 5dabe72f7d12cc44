# SPDX-License-Identifier: GPL-3.0-or-later
"""From the methods' results to `benchmark.json`, a Markdown table, the curve over the strength, and pictures."""

from __future__ import annotations

import json
import platform
import shutil
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from .baselines import RELEASED_STRENGTH
from .checks import check
from .features import PictureFeatures
from .generate import FIDELITY_COLUMNS, RunFolder
from .methods import CONTROLS, METHODS
from .pictures import Render, UnusableFolderError
from .plan import Plan
from .scores import Column, Run, Scorer, to_row

TITLES = {
    "kid_patch": "KID patches",
    "kid_image": "KID pictures",
    "photo_vote": "photo vote",
    "ssim_garment": "SSIM",
    "highpass_garment": "high-pass",
    "ciede2000_garment": "CIEDE2000",
    "shift_px": "shift px",
    "rest_change": "rest",
    "seconds": "seconds",
}
DIGITS = {
    "kid_patch": 1,
    "kid_image": 1,
    "ciede2000_garment": 2,
    "shift_px": 2,
    "rest_change": 2,
    "seconds": 2,
}
"""After the point; other columns get three."""
PLAIN = ("shift_px", "rest_change", "seconds")
"""Columns whose interval is in the JSON alone, so that a line of the page can be read."""
SHOWN = ("released", "ours")
"""Methods beside the render in the pictures."""
CURVE, PICTURES = "curve.svg", "pictures"
"""In the benchmark's folder."""
TITLE_PX = 24
"""Height of the titles above the pictures."""


def score_all(
    plan: Plan, scorer: Scorer, network: PictureFeatures, seconds: Mapping[str, Sequence[float]]
) -> dict[str, dict[str, Column]]:
    """Every column of every method and control.

    Args:
        seconds: Timings of each method on an idle device; of a method without any, those of its pictures are taken.
    """
    table = {}
    for method in plan.scored:
        runs = plan.runs(method)
        table[method] = scorer.score([read_run(run, plan.renders, network) for run in runs])
        timed = np.array(seconds[method]) if method in seconds else runs[0].column(plan.renders, "seconds")
        table[method]["seconds"] = scorer.mean([timed])
    return table


def read_run(folder: RunFolder, renders: Sequence[Render], network: PictureFeatures) -> Run:
    """Features and figures of a run."""
    fidelity = {name: folder.column(renders, name) for name in FIDELITY_COLUMNS}
    return Run(folder.sample(renders, network), fidelity)


def score_sweep(plan: Plan, scorer: Scorer, network: PictureFeatures) -> list[dict[str, Any]]:
    """The curve: a row a method and strength."""
    return [
        {"strength": run.strength, **to_row(run.method, scorer.score([read_run(run, plan.swept, network)]))}
        for run in plan.sweep()
    ]


def to_map(
    plan: Plan, table: Mapping[str, Mapping[str, Column]], sweep: list[dict[str, Any]], about: dict[str, Any]
) -> dict[str, Any]:
    """Content of `benchmark.json`.

    Args:
        about: What the reader must know beside the figures: model, device, photos.
    """
    rows = [to_row(method, columns) for method, columns in table.items()]
    return {
        "rows": [{**row, "kid_inception": None} for row in rows if row["method"] in METHODS],
        "controls": [row for row in rows if row["method"] in CONTROLS],
        "checks": [claim.to_map() for claim in check(table)],
        "sweep": sweep,
        "about": {
            "date": datetime.now(UTC).date().isoformat(),
            "machine": f"{platform.system()} {platform.machine()}, Python {platform.python_version()}",
            "device": devices(plan),
            "renders": len(plan.renders),
            "swept_renders": len(plan.swept),
            "strength": plan.strength,
            "seeds": plan.seeds,
            "kid_inception": "null: torch-fidelity fetches its Inception weights from the network when it first runs",
            **about,
        },
    }


def devices(plan: Plan) -> str:
    """What the pictures were made on, in words."""
    names = {result["device"] for run in plan.rows() for result in run.results(plan.renders)}
    return " and ".join(sorted(names))


def to_markdown(content: dict[str, Any]) -> str:
    """The tables of the page."""
    about = content["about"]
    has_released = any(row["method"].startswith("released") for row in content["rows"])
    released = f", the released procedure's {RELEASED_STRENGTH:g}" if has_released else ""
    head = (
        f"{about['renders']} renders ({about['patches']} patches of cloth), {about['photos']} photos"
        f" ({about['photo_patches']}); model `{about['model']}`, strength {about['strength']:g}"
        f"{released};"
        f" {about['steps']} steps, rivals' {about['rival_steps']}; {about['device']}, {about['date']}."
        f" In brackets: 95 % of {about['replicates']} bootstrap draws. Seconds {about['seconds']}."
        f"\n\n    {about['command']}"
    )
    rows = [
        [f"`{row['method']}`", *(_cell(row, name, name not in PLAIN) for name in TITLES)]
        for row in content["rows"] + content["controls"]
    ]
    parts = [head, _grid(["method", *TITLES.values()], rows)]
    if content["checks"]:
        claims = [
            [
                c["claim"],
                f"{c['value']:.3f} [{c['low']:.3f}, {c['high']:.3f}]",
                ("yes" if c["met"] else "**no**") + ("" if c["sure"] else ", not sure"),
            ]
            for c in content["checks"]
        ]
        parts.append(_grid(["claim", "measured", "met"], claims))
    if content["sweep"]:
        curve = ("kid_patch", "photo_vote", "ssim_garment", "ciede2000_garment")
        rows = [
            [f"`{row['method']}`", f"{row['strength']:.1f}", *(_cell(row, name) for name in curve)]
            for row in content["sweep"]
        ]
        parts.append(f"Over the strength, {about['swept_renders']} renders:")
        parts.append(_grid(["method", "strength", *(TITLES[name] for name in curve)], rows))
    return "\n\n".join(parts) + "\n"


def _cell(row: dict[str, Any], name: str, interval: bool = True) -> str:
    value, low, high = (f"{row[name + end]:.{DIGITS.get(name, 3)}f}" for end in ("", "_low", "_high"))
    return f"{value} [{low}, {high}]" if interval else value


def _grid(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def show_pictures(folder: Path, place: str = "") -> str:
    """Markdown that shows the curve and the side-by-side pictures of a benchmark's folder, where there are any.

    Args:
        place: What leads from the Markdown to the folder.
    """
    shown = []
    if (folder / CURVE).is_file():
        shown.append(f"![SSIM and KID over the strength]({place}{CURVE})")
    for path in sorted((folder / PICTURES).glob("*.jpg")):
        shown.append(f"![{', '.join(('render', *SHOWN))}]({place}{PICTURES}/{path.name})")
    return "".join(f"\n{line}\n" for line in shown)


def put_into_page(page: Path, section: str, markdown: str, out: Path) -> None:
    """Replace what stands between `<!-- benchmark:SECTION -->` and `<!-- /benchmark:SECTION -->` of a page.

    The curve and the pictures in the benchmark's folder `out` go into `images/benchmark_SECTION` beside the page.

    Raises:
        UnusableFolderError: The page has no such section.
    """
    begin, end = f"<!-- benchmark:{section} -->", f"<!-- /benchmark:{section} -->"
    text = page.read_text(encoding="utf-8")
    before, found, rest = text.partition(begin)
    _, closed, after = rest.partition(end)
    if not found or not closed:
        raise UnusableFolderError(f"{page} has no section {begin} ... {end}")
    images = page.parent / "images" / f"benchmark_{section}"
    shutil.rmtree(images, ignore_errors=True)
    (images / PICTURES).mkdir(parents=True)
    for path in (out / CURVE, *(out / PICTURES).glob("*.jpg")):
        if path.is_file():
            shutil.copy(path, images / path.relative_to(out))
    shown = show_pictures(images, f"images/{images.name}/")
    page.write_text(f"{before}{begin}\n{markdown}{shown}{end}{after}", encoding="utf-8")


def draw_curve(sweep: list[dict[str, Any]], path: Path) -> None:
    """Realism over fidelity: one line a method, one point a strength."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7, 5), layout="constrained")
    axes = figure.subplots()
    for method in dict.fromkeys(row["method"] for row in sweep):
        points = [row for row in sweep if row["method"] == method]
        x, y = ([row[name] for row in points] for name in ("ssim_garment", "kid_patch"))
        band = [
            [row["kid_patch"] - row["kid_patch_low"], row["kid_patch_high"] - row["kid_patch"]]
            for row in points
        ]
        axes.errorbar(x, y, np.maximum(band, 0).T, marker="o", capsize=2, label=method)
        for row, left, up in zip(points, x, y, strict=True):
            axes.annotate(f"{row['strength']:.1f}", (left, up), xytext=(4, 4), textcoords="offset points")
    axes.set(xlabel="SSIM to the render inside the garment", ylabel="KID x 1000 to photos, patches of cloth")
    axes.legend(title="strength beside each point")
    figure.savefig(path)


def put_side_by_side(plan: Plan, folder: Path, count: int) -> None:
    """Render, released procedure and ours, as JPEG files: of `count` garments, one render each."""
    runs = {method: plan.runs(method)[0] for method in SHOWN if method in plan.methods}
    folder.mkdir(parents=True, exist_ok=True)
    one_each = {render.garment: render for render in reversed(plan.renders)}
    for render in sorted(one_each.values(), key=lambda render: render.name)[:count]:
        paths = {"render": render.picture} | {method: run.picture(render) for method, run in runs.items()}
        if all(path.is_file() for path in paths.values()):
            side_by_side(paths).save(folder / f"{render.name}.jpg", quality=92)


def side_by_side(paths: Mapping[str, Path]) -> Image.Image:
    """Pictures of one size beside each other, each under its title."""
    pictures = {title: Image.open(path).convert("RGB") for title, path in paths.items()}
    width, height = next(iter(pictures.values())).size
    sheet = Image.new("RGB", (width * len(pictures), height + TITLE_PX), "white")
    for number, (title, picture) in enumerate(pictures.items()):
        sheet.paste(picture, (number * width, TITLE_PX))
        place = ((number + 0.5) * width, TITLE_PX / 2)
        ImageDraw.Draw(sheet).text(place, title, "black", ImageFont.load_default(TITLE_PX * 0.6), anchor="mm")
    return sheet


def write_json(path: Path, content: dict[str, Any]) -> None:
    """Write indented JSON."""
    path.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
