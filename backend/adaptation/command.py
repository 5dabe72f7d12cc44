# SPDX-License-Identifier: GPL-3.0-or-later
"""`make-real adapt`: its options, its progress bar, and its answers. Importing this module loads no torch."""

from __future__ import annotations

import math
import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from backend.engine import resolve_device
from backend.models import check_model, find_model, installed_models, is_domain
from backend.places import default_data_dir
from protocol import ErrorCode, MakeRealError

from .settings import Pace, Settings

if TYPE_CHECKING:
    import torch

    from .parts import Parts

EXIT_UNFINISHED = 75
LORA_RATE = 1e-4
FULL_RATE = 1e-5


def option(text: str, panel: str) -> Any:
    """An option's help, in its group."""
    return typer.Option(help=text, rich_help_panel=panel)


def adapt(
    model: Annotated[str, typer.Option(help="Model to adapt: a folder, or an installed model's name.")],
    photos: Annotated[Path, typer.Option(help="Folder of photographs, captions beside them in NAME.txt.")],
    renders: Annotated[Path, typer.Option(help="Folder of renders, as yours look.")],
    out: Annotated[Path, typer.Option(help="Folder to write; its name becomes the model's.")],
    full: Annotated[bool, option("Fine-tune the whole network, not LoRA layers.", "Training")] = False,
    rank: Annotated[int, option("Rank of the LoRA layers.", "Training")] = Settings.rank,
    positive_steps: Annotated[int, option("Steps on photos.", "Training")] = Settings.positive_steps,
    negative_steps: Annotated[int, option("Steps on renders.", "Training")] = Settings.negative_steps,
    batch: Annotated[int, option("Crops at once.", "Training")] = Settings.batch,
    accumulate: Annotated[int, option("Batches of one step.", "Training")] = Settings.accumulate,
    positive_rate: Annotated[
        float | None,
        option(f"Learning rate on photos. Default: {LORA_RATE:g}, full {FULL_RATE:g}.", "Training"),
    ] = None,
    negative_rate: Annotated[float, option("Learning rate on renders.", "Training")] = Settings.negative_rate,
    vectors: Annotated[
        int, option("Vectors of the negative embedding, at most.", "Training")
    ] = Settings.vectors,
    initial_prompt: Annotated[
        str, option("What the vectors begin as.", "Training")
    ] = Settings.initial_prompt,
    mixed_precision: Annotated[
        str | None, option("no, fp16 or bf16. Default: what the device is best at.", "Training")
    ] = None,
    seed: Annotated[int, option("Of every draw.", "Training")] = Settings.seed,
    resolution: Annotated[
        str | None, option("Size of a crop: 512, or 384x512. Default: the model's own.", "Pictures")
    ] = None,
    zoom: Annotated[float, option("Largest enlargement of a crop.", "Pictures")] = Settings.zoom,
    crops: Annotated[int, option("Crops of each kind, about.", "Pictures")] = Settings.crops,
    template: Annotated[str, option("Caption of a photo without NAME.txt.", "Pictures")] = Settings.template,
    caption_dropout: Annotated[
        float, option("Share of photos shown without their caption.", "Pictures")
    ] = Settings.caption_dropout,
    render_share: Annotated[
        float, option("Share of renders, under their captions, in a batch of photos.", "Pictures")
    ] = Settings.render_share,
    render_template: Annotated[
        str, option("Caption of a render without NAME.txt.", "Pictures")
    ] = Settings.render_template,
    bridge: Annotated[
        bool,
        typer.Option(
            "--bridge/--plain",
            help="Learn photos from pairs with their rendered look, or as in the paper.",
            rich_help_panel="Training",
        ),
    ] = Settings.bridge,
    checkpoint_every: Annotated[int, option("Steps between checkpoints.", "Run")] = Pace.checkpoint_every,
    sample_every: Annotated[int, option("Steps between sample sheets.", "Run")] = Pace.sample_every,
    minutes: Annotated[float, option("Stop after so long, to go on another time.", "Run")] = math.inf,
    compile: Annotated[
        bool, typer.Option("--compile", help="Compile the network (CUDA).", rich_help_panel="Run")
    ] = False,
    gradient_checkpointing: Annotated[
        bool,
        typer.Option("--gradient-checkpointing", help="Less memory, slower.", rich_help_panel="Run"),
    ] = False,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda or cuda:<n>.")] = "auto",
    data_dir: Annotated[
        Path | None,
        typer.Option(
            help="Folder with the list of added models. Default: this user's, or MAKE_REAL_DATA_DIR."
        ),
    ] = None,
) -> None:
    """Make a model your own: teach it photographs, and what your renders look like.

    The same command goes on where an interrupted one stopped.
    """
    settings = Settings(
        full=full, rank=rank, positive_steps=positive_steps, negative_steps=negative_steps, batch=batch,
        accumulate=accumulate, positive_rate=positive_rate or (FULL_RATE if full else LORA_RATE),
        negative_rate=negative_rate, vectors=vectors, initial_prompt=initial_prompt, seed=seed, zoom=zoom,
        crops=crops, template=template, caption_dropout=caption_dropout,
        render_share=render_share, render_template=render_template, bridge=bridge,
    )  # fmt: skip
    pace = Pace(checkpoint_every, sample_every, minutes, compile, gradient_checkpointing)
    request = Request(
        *find_base(model, data_dir or default_data_dir()),
        photos, renders, out, settings, pace, resolution, mixed_precision, device,
    )  # fmt: skip
    run(request)


@dataclass(frozen=True)
class Request:
    """The options, with the base found, before anything is loaded.

    Args:
        base: The model's folder.
        base_name: How the domain will name it: an installed model's name, or an absolute path.
        resolution: `512` or `384x512`; None: the model's own.
        mixed_precision: None: what the device is best at.
    """

    base: Path
    base_name: str
    photos: Path
    renders: Path
    out: Path
    settings: Settings
    pace: Pace
    resolution: str | None
    mixed_precision: str | None
    device: str


def find_base(model: str, data_dir: Path) -> tuple[Path, str]:
    """The folder of the model to adapt, checked, and how a domain names it.

    Raises:
        MakeRealError: MODEL_NOT_FOUND or MODEL_BROKEN; INVALID_REQUEST when it is itself a domain.
    """
    folder, name = Path(model).resolve(), str(Path(model).resolve())
    if not folder.is_dir():
        models = installed_models((), data_dir)
        found = find_model(model, models)
        folder, name = models[model], found.name
    if is_domain(folder):
        raise MakeRealError(
            ErrorCode.INVALID_REQUEST, f"--model: {folder} is a domain; give the model that it was made on"
        )
    check_model(folder)
    return folder, name


def run(request: Request) -> None:
    """Adapt, with a progress bar; ends with status 75 when the time was over before the work.

    Raises:
        MakeRealError: What is wrong with the options, the model, a picture or the machine.
    """
    try:
        from backend.translation.shortage import is_shortage, what_ran_out

        from .folders import read_folder
        from .parts import load_parts
        from .run import Task, adapt
        from .stage import UnfinishedError
        from .workplace import Workplace
    except ImportError as error:
        raise MakeRealError(
            ErrorCode.INSTALLATION_BROKEN, f"{error}; adapt needs `pip install 'make-real[adapt]'`"
        ) from error
    started = time.monotonic()
    photos = read_folder(request.photos, "--photos", request.settings.template)
    renders = read_folder(
        request.renders,
        "--renders",
        request.settings.render_template if request.settings.render_share else None,
    )
    device = use_device(request.device)
    try:
        place = Workplace(request.out.resolve())
        try:
            with progress_bar() as report:
                parts = load_parts(request.base, device)
                width, height = crop_size(request.resolution, parts)
                settings = replace(
                    request.settings,
                    width=width,
                    height=height,
                    mixed_precision=request.mixed_precision or best_precision(device),
                )
                task = Task(
                    parts, request.base_name, photos, renders, settings, request.pace,
                    lambda: time.monotonic() - started > 60 * request.pace.minutes, report,
                )  # fmt: skip
                adapt(task, place)
        finally:
            place.release()
    except UnfinishedError as error:
        print(f"stopped at {error}; run the same command again to go on", flush=True)
        raise typer.Exit(EXIT_UNFINISHED) from error
    except (RuntimeError, MemoryError) as error:
        if not is_shortage(error):
            raise
        raise MakeRealError(
            ErrorCode.OUT_OF_MEMORY,
            "give a smaller --batch and a larger --accumulate, or --gradient-checkpointing;"
            f" {what_ran_out(error)}",
        ) from error
    except OSError as error:
        raise MakeRealError(
            ErrorCode.DISK_FULL, f"{error.filename or request.out}: {error.strerror or error}"
        ) from error
    print(f"{place.out} is complete; `make-real models add {place.out}` makes it a model", flush=True)


def use_device(name: str) -> torch.device:
    """The device, made torch's current one. Raises MakeRealError (INVALID_REQUEST)."""
    # The libraries shall neither ask the network nor run code that came with a model.
    os.environ.update(HF_HUB_OFFLINE="1", DIFFUSERS_DISABLE_REMOTE_CODE="true")
    import torch

    device = torch.device(resolve_device(name))
    if device.type == "cuda":
        torch.cuda.set_device(device)
        torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = True
        torch.backends.cudnn.benchmark = True
    return device


def best_precision(device: torch.device) -> str:
    """bfloat16 where the device has it: unlike float16 it needs no scaling of gradients."""
    import torch

    if device.type == "cpu":
        return "no"
    return "bf16" if torch.cuda.is_bf16_supported(including_emulation=False) else "fp16"


def crop_size(resolution: str | None, parts: Parts) -> tuple[int, int]:
    """Width and height of a training crop.

    Raises:
        MakeRealError: INVALID_REQUEST when `resolution` is no size, or none that the network takes.
    """
    if resolution is None:
        return parts.native
    width, _, height = resolution.partition("x")
    sides = [width, height or width]
    if not all(side.isdecimal() and int(side) and int(side) % parts.pixel_multiple == 0 for side in sides):
        raise MakeRealError(
            ErrorCode.INVALID_REQUEST,
            f"--resolution must be a side or WIDTHxHEIGHT, in multiples of {parts.pixel_multiple},"
            f" not {resolution!r}",
        )
    return int(sides[0]), int(sides[1])


@contextmanager
def progress_bar() -> Iterator[Callable[[str, int, int, str], None]]:
    """A bar on standard error, and lines about it on standard output; see `stage.Course.report`."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    console = Console(file=sys.stderr)
    # A line goes above the bar on a terminal, and into the file where standard output is one.
    with Progress(*columns, console=console, transient=True, redirect_stdout=sys.stdout.isatty()) as bars:
        bar = bars.add_task("loading", total=None)
        described = "loading"

        def report(what: str, done: int, total: int, line: str) -> None:
            nonlocal described
            if what != described:
                described = what
                bars.reset(bar, description=what)
            bars.update(bar, completed=done, total=total)
            if line:
                print(line, flush=True)

        yield report
