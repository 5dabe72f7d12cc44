# SPDX-License-Identifier: GPL-3.0-or-later
"""The command `make-real evaluate`: it hands its options to `evaluate.evaluate` and reports."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from protocol import TranslationRequest

STRENGTHS = "0.1,0.2,0.3,0.4,0.5,0.6,0.7"
PHASES = ("generate", "sample", "report")


def evaluate(
    model: Annotated[Path, typer.Option(help="Model folder, with its domain.")],
    renders: Annotated[Path, typer.Option(help="Folder with NAME.png and NAME.mask.png.")],
    out: Annotated[
        Path, typer.Option(help="Folder for pictures, features and report; what is there is kept.")
    ],
    photos: Annotated[
        Path | None,
        typer.Option(
            help="Held-out photos: a folder, or a file of features. Default: features of the 500 that come with the"
            " program."
        ),
    ] = None,
    methods: Annotated[str, typer.Option(help="Rows, with commas between. Default: all.")] = "",
    strength: Annotated[
        float, typer.Option(help="Strength of every method.")
    ] = TranslationRequest.garment_strength,
    steps: Annotated[
        int, typer.Option(help="Steps of ours over the whole schedule.")
    ] = TranslationRequest.steps,
    rival_steps: Annotated[int, typer.Option(help="DDIM steps of the other methods.")] = 50,
    sweep: Annotated[int, typer.Option(help="Renders of the curve over the strength; 0: no curve.")] = 0,
    strengths: Annotated[str, typer.Option(help="Points of that curve, with commas between.")] = STRENGTHS,
    seeds: Annotated[int, typer.Option(help="Random seeds of a method that draws.")] = 3,
    limit: Annotated[int | None, typer.Option(help="Renders, at most.")] = None,
    pictures: Annotated[int, typer.Option(help="Garments in the side-by-side pictures.")] = 16,
    replicates: Annotated[int, typer.Option(help="Draws of the bootstrap.")] = 500,
    batch: Annotated[
        int, typer.Option(help="Renders of one size in the same passes of the network; helps a GPU.")
    ] = 1,
    part: Annotated[
        str,
        typer.Option(help="Do a part of generate and sample, as 3/8, beside processes that do the others."),
    ] = "1/1",
    phase: Annotated[
        list[str] | None,
        typer.Option(
            help="generate, time, sample or report; may be repeated. Default: all but time. `time` wants a device that"
            " does nothing else."
        ),
    ] = None,
    page: Annotated[Path | None, typer.Option(help="Markdown page to put the tables into.")] = None,
    section: Annotated[str, typer.Option(help="Section of the page: full or small.")] = "full",
    device: Annotated[str, typer.Option(help="cpu, cuda or cuda:<n>.")] = "cpu",
) -> None:
    """Measure a model: realism against photos, fidelity to the renders, beside other methods."""
    try:
        from backend.evaluation import evaluate as work
        from backend.evaluation.methods import METHODS
        from backend.evaluation.pictures import UnusableFolderError, find_renders
        from backend.evaluation.plan import Part, Plan
    except ImportError as error:
        raise typer.BadParameter(
            f"{error}. Install what it needs: pip install 'make-real[evaluate]'"
        ) from error
    names = [name for name in methods.split(",") if name] or list(METHODS)
    phases = phase or list(PHASES)
    for given, known, what in ((names, METHODS, "method"), (phases, list(work.Phase), "phase")):
        if unknown := [name for name in given if name not in known]:
            raise typer.BadParameter(f"no {what} {unknown[0]!r}; there are {', '.join(known)}")
    try:
        found = find_renders(renders, limit)
        points = [float(point) for point in strengths.split(",")]
        plan = Plan(out, names, found, found[:sweep], strength, points, seeds)
        options = work.Options(
            model,
            device,
            steps,
            rival_steps,
            photos,
            pictures,
            replicates,
            page,
            section,
            batch,
            Part.parse(part),
        )
        work.evaluate(plan, options, [work.Phase(name) for name in phases])
    except (UnusableFolderError, ValueError) as error:
        raise typer.BadParameter(str(error)) from error
