# SPDX-License-Identifier: GPL-3.0-or-later
"""The command line `make-real`. Commands are thin: each hands its options to one function and reports.

Exit status: 0 done, 2 wrong usage, 65 bad input, 70 a mistake of the backend or its installation, 75 try
again later, 130 interrupted. An error is one line on standard error.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from backend.places import default_data_dir
from protocol import RANGES, ErrorCode, MakeRealError, TranslationRequest

EXIT_BAD_INPUT = 65
EXIT_INTERNAL = 70
EXIT_TRY_AGAIN = 75
EXIT_INTERRUPTED = 130
EXIT_CODES = {
    ErrorCode.INVALID_REQUEST: EXIT_BAD_INPUT,
    ErrorCode.LIMIT_EXCEEDED: EXIT_BAD_INPUT,
    ErrorCode.PICTURE_UNREADABLE: EXIT_BAD_INPUT,
    ErrorCode.EMPTY_MASK: EXIT_BAD_INPUT,
    ErrorCode.MODEL_NOT_FOUND: EXIT_BAD_INPUT,
    ErrorCode.MODEL_BROKEN: EXIT_BAD_INPUT,
    ErrorCode.OUT_OF_MEMORY: EXIT_TRY_AGAIN,
    ErrorCode.DISK_FULL: EXIT_TRY_AGAIN,
    ErrorCode.CANCELLED: EXIT_INTERRUPTED,
}
"""Every other error is EXIT_INTERNAL."""

app = typer.Typer(
    help="Photoreal fashion renders.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
models_app = typer.Typer(help="Models that a translation may use.", no_args_is_help=True)
app.add_typer(models_app, name="models")

DataDir = Annotated[
    Path | None,
    typer.Option(help="Folder for jobs, results and logs. Default: this user's, or MAKE_REAL_DATA_DIR."),
]
ModelDirs = Annotated[
    list[Path] | None,
    typer.Option("--model-dir", help="A model folder, or a folder of them. May be repeated."),
]
Device = Annotated[str, typer.Option(help="auto, cpu, cuda or cuda:<n>.")]


def setting(name: str, text: str) -> Any:
    """The option for a field of `TranslationRequest`; the request itself checks the range."""
    bounds = "{:g} to {:g}".format(*RANGES[name]) if name in RANGES else ""
    return typer.Option(help=f"{text} {bounds}".strip(), rich_help_panel="Translation")


@app.command()
def serve(
    parent_pid: Annotated[int | None, typer.Option(help="End when this process ends.")] = None,
    model_dir: ModelDirs = None,
    device: Device = "auto",
    data_dir: DataDir = None,
) -> None:
    """Wait for pictures from Blender. Prints a log and nothing else."""
    from backend.service.process import AlreadyRunningError
    from backend.service.serve import ServeOptions, serve

    options = ServeOptions(data_dir or default_data_dir(), device, model_dir or (), parent_pid)
    try:
        serve(options)
    except AlreadyRunningError as error:
        fail(f"the backend is running already: {error} is in use", EXIT_TRY_AGAIN)


@app.command()
def convert(
    images: Annotated[list[Path], typer.Argument(help="PNG, JPEG or OpenEXR files.", metavar="IMAGE...")],
    output: Annotated[Path, typer.Option("--output", "-o", help="Folder for the results.")],
    mask: Annotated[
        Path | None,
        typer.Option(
            help="Garment mask: a picture, or a folder with NAME.mask.png. Default: beside the image."
        ),
    ] = None,
    protect: Annotated[
        Path | None,
        typer.Option(help="Mask of what must not change: a picture, or a folder with NAME.protect.png."),
    ] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace existing results.")] = False,
    model: Annotated[str, setting("model", "Name of an installed model.")] = TranslationRequest.model,
    steps: Annotated[int, setting("steps", "DDIM steps over the whole schedule.")] = TranslationRequest.steps,
    garment_strength: Annotated[
        float, setting("garment_strength", "How far the garment may change.")
    ] = TranslationRequest.garment_strength,
    rest_strength: Annotated[
        float, setting("rest_strength", "How far everything else may change.")
    ] = TranslationRequest.rest_strength,
    guidance_scale: Annotated[
        float, setting("guidance_scale", "Push away from the look of a render.")
    ] = TranslationRequest.guidance_scale,
    texture_lock: Annotated[
        float, setting("texture_lock", "Hold on the garment's texture.")
    ] = TranslationRequest.texture_lock,
    texture_steps: Annotated[
        float, setting("texture_steps", "Part of the steps under that hold.")
    ] = TranslationRequest.texture_steps,
    detail: Annotated[
        float, setting("detail", "Fine detail taken back from the render.")
    ] = TranslationRequest.detail,
    model_dir: ModelDirs = None,
    device: Device = "auto",
    data_dir: DataDir = None,
) -> None:
    """Translate pictures without Blender."""
    from backend.convert import convert, plan

    request = TranslationRequest(
        model, steps, garment_strength, rest_strength, guidance_scale, texture_lock, texture_steps, detail
    )
    tasks = plan(images, output, mask, protect, overwrite)
    convert(tasks, request, model_dir or (), data_dir or default_data_dir(), device)


@app.command()
def doctor(data_dir: DataDir = None, model_dir: ModelDirs = None) -> None:
    """Say what is wrong with this installation, and how to mend it."""
    from backend.doctor import examine, report

    if not report(examine(data_dir or default_data_dir(), model_dir or ())):
        raise typer.Exit(1)


@models_app.command("list")
def list_models(model_dir: ModelDirs = None, data_dir: DataDir = None) -> None:
    """Print the name and folder of every installed model."""
    from backend.models import installed_models

    for name, folder in installed_models(model_dir or (), data_dir or default_data_dir()).items():
        typer.echo(f"{name}\t{folder}")


@models_app.command("add")
def add_model(
    folder: Annotated[
        Path, typer.Argument(help="Folder in Stable Diffusion's layout, weights in safetensors.")
    ],
    data_dir: DataDir = None,
) -> None:
    """Make a model folder known under its own name. Nothing is copied."""
    from backend.models import add_model

    typer.echo(f"added {add_model(folder, data_dir or default_data_dir())}")


def fail(text: str, status: int) -> None:
    """Print one line of error and end."""
    print(f"make-real: error: {' '.join(text.split())}", file=sys.stderr)
    raise SystemExit(status)


def main() -> None:
    """Entry point of the program."""
    try:
        app()
    except MakeRealError as error:
        fail(f"{error.message} [{error.code}]", EXIT_CODES.get(error.code, EXIT_INTERNAL))
    except KeyboardInterrupt:
        fail("interrupted", EXIT_INTERRUPTED)


if __name__ == "__main__":
    main()
