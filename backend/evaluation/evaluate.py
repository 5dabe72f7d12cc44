# SPDX-License-Identifier: GPL-3.0-or-later
"""`make-real evaluate`: generate, time, sample and report, each of which finds what the others left in the folder."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from .generate import generate, read_subject
from .methods import METHODS, Bench
from .plan import Part, Plan
from .report import (
    CURVE,
    PICTURES,
    draw_curve,
    put_into_page,
    put_side_by_side,
    score_all,
    score_sweep,
    show_pictures,
    to_map,
    to_markdown,
    write_json,
)
from .samples import PictureSample

TIMED_PICTURES = 3


class Phase(StrEnum):
    """A part of the benchmark."""

    GENERATE = "generate"
    TIME = "time"
    SAMPLE = "sample"
    REPORT = "report"


@dataclass(frozen=True)
class Options:
    """What `make-real evaluate` was told beside the plan.

    Args:
        model: SD-format directory with its domain.
        device: `cpu`, `cuda` or `cuda:n`.
        steps: Of ours, over the whole schedule.
        rival_steps: Of the others.
        photos: Folder of photos or file of their features; None for the features that the repository carries.
        pictures: Garments in the side-by-side pictures.
        replicates: Draws of the bootstrap.
        page: Markdown page whose section `section` gets the tables, or None.
        section: See `page`.
        batch: Renders of one size in the same passes of the network.
        part: Of the phases `generate` and `sample`.
    """

    model: Path
    device: str
    steps: int
    rival_steps: int
    photos: Path | None
    pictures: int
    replicates: int
    page: Path | None
    section: str
    batch: int
    part: Part


def make_pictures(plan: Plan, options: Options) -> None:
    """Phase `generate`: whatever is missing of the part's pictures."""
    bench = Bench(options.model, options.device, options.steps, options.rival_steps)
    batches = options.part.of(plan.batches(options.batch))
    start = time.monotonic()
    for number, (run, renders) in enumerate(batches, 1):
        generate(bench, run, renders)
        spent = time.monotonic() - start
        title = f"{run.method} strength {run.strength:.2f} seed {run.seed}"
        names = ", ".join(render.name for render in renders)
        print(f"{number}/{len(batches)}, {spent:.0f} s: {title}: {names}", file=sys.stderr, flush=True)


def time_methods(plan: Plan, options: Options) -> None:
    """Phase `time`: seconds of each method on the first pictures, after one that warms the device up."""
    bench = Bench(options.model, options.device, options.steps, options.rival_steps)
    subjects = [read_subject(render) for render in plan.renders[:TIMED_PICTURES]]
    path = plan.out / "seconds.json"
    known = read_seconds(plan.out)
    for method in plan.methods:
        run, strength = METHODS[method].run, plan.runs(method)[0].strength
        run(bench, subjects[:1], strength, 0)
        known[method] = [run(bench, [subject], strength, 0)[0].seconds for subject in subjects]
        path.write_text(json.dumps(known, indent=1))


def read_seconds(out: Path) -> dict[str, list[float]]:
    """What the phase `time` left."""
    path = out / "seconds.json"
    seconds: dict[str, list[float]] = json.loads(path.read_text()) if path.is_file() else {}
    return seconds


def sample_methods(plan: Plan, options: Options) -> None:
    """Phase `sample`: features of the part's runs, which is all of the pictures that the report reads."""
    from .features import PictureFeatures

    network = PictureFeatures(options.device)
    for run, renders in options.part.of(plan.work()):
        run.sample(renders, network)


def write_report(plan: Plan, options: Options) -> None:
    """Phase `report`: `benchmark.json`, `benchmark.md`, `curve.svg` and `pictures/` in the benchmark's folder."""
    from .features import PictureFeatures
    from .scores import Scorer, load_photos
    from .vote import PhotoVote

    network = PictureFeatures(options.device)
    photos: PictureSample = load_photos(options.photos, "test", network)
    scorer = Scorer(photos, PhotoVote.load(), options.replicates)
    seconds = read_seconds(plan.out)
    # Of half of the methods on an idle device and of the others amid their batches, nobody could compare them.
    timed = set(plan.methods) <= seconds.keys()
    table = score_all(plan, scorer, network, seconds if timed else {})
    sweep = score_sweep(plan, scorer, network)
    about = {
        "model": options.model.resolve().name,
        "steps": options.steps,
        "rival_steps": options.rival_steps,
        "patches": len(plan.rows()[0].sample(plan.renders, network).patches.owners),
        "photos": photos.pictures,
        "photo_patches": len(photos.patches.owners),
        "replicates": options.replicates,
        "seconds": "of one picture at a time on the idle device"
        if timed
        else "as made, a batch's divided among its pictures",
        "command": told_command(sys.argv),
    }
    content = to_map(plan, table, sweep, about)
    write_json(plan.out / "benchmark.json", content)
    if sweep:
        draw_curve(sweep, plan.out / CURVE)
    put_side_by_side(plan, plan.out / PICTURES, options.pictures)
    markdown = to_markdown(content)
    (plan.out / "benchmark.md").write_text(markdown + show_pictures(plan.out), encoding="utf-8")
    if options.page is not None:
        put_into_page(options.page, options.section, markdown, plan.out)


def told_command(arguments: Sequence[str]) -> str:
    """A command line for the page: of paths, which are of one machine alone, the last names."""
    return " ".join(["make-real", *(Path(a).name if Path(a).is_absolute() else a for a in arguments[1:])])


WORK = {
    Phase.GENERATE: make_pictures,
    Phase.TIME: time_methods,
    Phase.SAMPLE: sample_methods,
    Phase.REPORT: write_report,
}


def evaluate(plan: Plan, options: Options, phases: Sequence[Phase]) -> None:
    """Do the phases in their order.

    Raises:
        UnusableFolderError: Something is missing from a folder.
        MakeRealError: The model cannot be loaded.
    """
    plan.out.mkdir(parents=True, exist_ok=True)
    for phase, work in WORK.items():
        if phase in phases:
            work(plan, options)
