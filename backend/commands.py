# SPDX-License-Identifier: GPL-3.0-or-later
"""The commands of `make-real`. They are thin: each hands its options to one function and reports."""

from __future__ import annotations

import logging
import sys
from pathlib import Path
from typing import Annotated, Any, NoReturn

import typer

from backend.adaptation.command import adapt
from backend.evaluation.command import evaluate
from backend.places import default_data_dir
from protocol import RANGES, ErrorCode, MakeRealError, PlaneName, TranslationRequest

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
app.command()(adapt)
app.command()(evaluate)

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
    bounds = " From {:.10g} to {:.10g}.".format(*RANGES[name]) if name in RANGES else ""
    return typer.Option(help=text + bounds, rich_help_panel="Translation")


@app.command()
def serve(
    parent_pid: Annotated[int | None, typer.Option(help="End when this process ends.")] = None,
    model_dir: ModelDirs = None,
    device: Annotated[
        str,
        typer.Option(help="auto, cpu, cuda or cuda:<n>; several with commas, or cuda:all, share the work."),
    ] = "auto",
    data_dir: DataDir = None,
    listen: Annotated[
        str | None,
        typer.Option(
            metavar="HOST[:PORT]",
            help="Let other machines connect to this one under this name or address. Default: this machine alone.",
        ),
    ] = None,
) -> None:
    """Wait for pictures from Blender. Prints a log and nothing else."""
    from backend.service.process import AlreadyRunningError
    from backend.service.remote import ListenAddress
    from backend.service.serve import ServeOptions, serve

    address = ListenAddress.parse(listen) if listen else None
    options = ServeOptions(data_dir or default_data_dir(), device, model_dir or (), parent_pid, address)
    try:
        serve(options)
    except AlreadyRunningError as error:
        fail(f"the backend is running already: {error} is in use", EXIT_TRY_AGAIN)


@app.command()
def convert(
    images: Annotated[list[Path], typer.Argument(help="PNG, JPEG or OpenEXR files.", metavar="IMAGE")],
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
    free: Annotated[
        Path | None,
        typer.Option(
            help="Mask of what changes with no hold on its texture; or a folder with NAME.free.png."
        ),
    ] = None,
    strength_map: Annotated[
        Path | None,
        typer.Option(help="Factor of the strengths, black 0 to white 1; or a folder with NAME.strength.png."),
    ] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace existing results.")] = False,
    model: Annotated[str, setting("model", "Name of an installed model.")] = TranslationRequest.model,
    steps: Annotated[int, setting("steps", "Steps over the whole schedule.")] = TranslationRequest.steps,
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
    seed: Annotated[int, setting("seed", "Which of the variations.")] = TranslationRequest.seed,
    variation: Annotated[
        float, setting("variation", "How far this seed's picture may differ from the others.")
    ] = TranslationRequest.variation,
    batch: Annotated[
        int,
        typer.Option(
            min=1, max=16, help="Pictures of one size in the same passes of the network; helps a GPU."
        ),
    ] = 1,
    model_dir: ModelDirs = None,
    device: Device = "auto",
    data_dir: DataDir = None,
) -> None:
    """Translate pictures without Blender."""
    from backend.convert import UnusablePathError, chosen_model, convert, plan
    from backend.engine import TorchEngine

    request = TranslationRequest(
        model,
        steps,
        garment_strength,
        rest_strength,
        guidance_scale,
        texture_lock,
        texture_steps,
        detail,
        seed,
        variation,
    )
    masks = {
        PlaneName.GARMENT: mask,
        PlaneName.FREE: free,
        PlaneName.PROTECTED: protect,
        PlaneName.STRENGTH: strength_map,
    }
    try:
        tasks = plan(images, output, masks, overwrite)
    except UnusablePathError as error:
        fail(str(error), EXIT_BAD_INPUT)
    chosen = chosen_model(request, model_dir or (), data_dir or default_data_dir())
    errors: list[MakeRealError] = []

    def on_error(error: MakeRealError) -> None:
        errors.append(error)
        print(error_line(coded(error)), file=sys.stderr)

    convert(tasks, request, chosen, lambda: TorchEngine(device), on_error, batch)
    if errors:
        raise typer.Exit(EXIT_CODES.get(errors[0].code, EXIT_INTERNAL))


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
        Path,
        typer.Argument(
            help="Folder in Stable Diffusion's layout, weights in safetensors; or a domain's, made by adapt."
        ),
    ],
    data_dir: DataDir = None,
) -> None:
    """Make the folder of a model or a domain known under its own name. Nothing is copied."""
    from backend.models import add_model

    typer.echo(f"added {add_model(folder, data_dir or default_data_dir())}")


def error_line(text: str) -> str:
    """One line for standard error, whatever the text holds."""
    return f"make-real: error: {' '.join(text.split())}"


def fail(text: str, status: int) -> NoReturn:
    """Print one line of error and end."""
    print(error_line(text), file=sys.stderr)
    raise SystemExit(status)


def coded(error: MakeRealError) -> str:
    """An error's sentence, detail, remedy and code."""
    return f"{error.message} [{error.code}]"


def run() -> int:
    """Run the command that the arguments name; returns the exit status."""
    try:
        app()
    except MakeRealError as error:
        fail(coded(error), EXIT_CODES.get(error.code, EXIT_INTERNAL))
    except Exception as error:
        mistake = MakeRealError(ErrorCode.INTERNAL, f"{type(error).__name__}: {error}")
        if logging.getLogger().handlers:
            logging.getLogger(__name__).exception("a mistake of the backend")
        fail(coded(mistake), EXIT_INTERNAL)
    return 0
