# SPDX-License-Identifier: GPL-3.0-or-later
"""`make-real convert`: the same translation as Blender gets, on picture files, in this process."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from backend import files
from backend.engine import Engine, OnProgress
from backend.models import InstalledModel, find_model, installed_models
from backend.pictures import FORMATS, Picture, read_mask, read_picture, write_picture
from backend.service.jobs import fraction_done
from backend.service.worker import is_device_fault
from protocol import ErrorCode, MakeRealError, PlaneName, Stage, TranslationRequest


class UnusablePathError(Exception):
    """The files named on the command line do not make a plan; the text says which and why."""


MASK_SUFFIXES = {
    PlaneName.GARMENT: ".mask.png",
    PlaneName.FREE: ".free.png",
    PlaneName.PROTECTED: ".protect.png",
    PlaneName.STRENGTH: ".strength.png",
}
"""End of the name of a picture's mask beside it, by the plane that the mask becomes."""


@dataclass(frozen=True)
class Loaded:
    """A task's pixels.

    Args:
        task: What is to be done.
        picture: The file as it was read.
        planes: What the translation is given.
    """

    task: Task
    picture: Picture
    planes: dict[PlaneName, np.ndarray]


@dataclass(frozen=True)
class Task:
    """One picture to translate.

    Args:
        image: The picture.
        masks: Files of its masks, by plane; what an absent one means is the protocol's affair.
        result: Where the result goes.
    """

    image: Path
    masks: dict[PlaneName, Path]
    result: Path


def plan(
    images: Sequence[Path], output: Path, masks: Mapping[PlaneName, Path | None], overwrite: bool
) -> list[Task]:
    """Find each picture's masks and result, before anything is computed.

    A picture among `images` that is the mask of another one is not translated itself, so that `*.png`
    does what one means.

    Args:
        images: Picture files.
        output: Folder for the results.
        masks: By plane: one mask for all pictures, or a folder of them, named by `MASK_SUFFIXES`. A plane that
            is None or missing is looked for beside each picture.
        overwrite: Whether a result may replace a file; one of the pictures and masks it never replaces.

    Raises:
        UnusablePathError: A mask is missing, a result exists, would replace what it is made of, or two results
            would have one name.
    """
    masks_of = {image: dict(_masks(image, masks)) for image in images}
    # Resolved, for one file may be given by two names: absolute and relative, or through a link.
    companions = {path.resolve() for found in masks_of.values() for path in found.values()}
    sources = companions.union(image.resolve() for image in images)
    tasks: dict[Path, Task] = {}
    for image in images:
        if image.resolve() in companions:
            continue
        result = output / (image.stem + _result_suffix(image))
        if result in tasks:
            raise UnusablePathError(f"{tasks[result].image} and {image} would both become {result}")
        if result.resolve() in sources:
            raise UnusablePathError(
                f"{result} would replace a picture or mask that was given; give another folder with --output"
            )
        if result.exists() and not overwrite:
            raise UnusablePathError(f"{result} exists; give --overwrite to replace it, or another folder")
        tasks[result] = Task(image, masks_of[image], result)
    return list(tasks.values())


def convert(
    tasks: Sequence[Task],
    request: TranslationRequest,
    model: InstalledModel,
    make_engine: Callable[[], Engine],
    on_error: Callable[[MakeRealError], None],
    batch: int = 1,
) -> None:
    """Translate pictures one after the other, with a progress bar; where each went is printed.

    Args:
        tasks: The pictures.
        request: What decides the results.
        model: The model, checked.
        make_engine: Makes the translation; called once.
        on_error: Called with a picture's error; the next picture follows.
        batch: Pictures that may share the passes of the network, where they follow each other in one size.

    Raises:
        MakeRealError: What concerns all pictures, as when there is no such device.
    """
    with _progress_bar() as show:
        show("starting", 0.0)
        engine, prepares = make_engine(), True
        for number, group in enumerate(_groups(tasks, batch, on_error)):
            # Only now is it certain that another group follows those that are done.
            if number and prepares:
                prepares = _prepare(engine, lambda: show("preparing faster kernels", 0.0))
            title = f"{group[0].task.image.name} ({len(tasks)} pictures)"

            def on_progress(stage: Stage, step: int, steps: int, title: str = title) -> None:
                show(f"{title} {stage}", fraction_done(stage, step, steps))

            for line in _convert_group(group, request, model, engine, on_progress, on_error):
                print(line, flush=True)


def chosen_model(request: TranslationRequest, model_dirs: Sequence[Path], data_dir: Path) -> InstalledModel:
    """The request's model. Raises MakeRealError (MODEL_NOT_FOUND, MODEL_BROKEN)."""
    return find_model(request.model, installed_models(model_dirs, data_dir))


def _groups(
    tasks: Sequence[Task], batch: int, on_error: Callable[[MakeRealError], None]
) -> Iterator[list[Loaded]]:
    """The pictures that can be read, up to `batch` of one size and element type together."""
    group: list[Loaded] = []
    for task in tasks:
        try:
            loaded = _load(task)
        except MakeRealError as error:
            on_error(_about(task, error))
            continue
        if group and (len(group) == batch or _kind(loaded) != _kind(group[0])):
            yield group
            group = []
        group.append(loaded)
    if group:
        yield group


def _prepare(engine: Engine, on_part: Callable[[], None]) -> bool:
    """Make the pictures that follow faster; False when that failed, which costs the speed alone."""
    try:
        while engine.prepare():
            on_part()
    except Exception as error:
        if is_device_fault(error):
            raise
        reason = f"{type(error).__name__}: {error}".splitlines()[0]
        print(
            f"warning: faster kernels could not be prepared; pictures are made without them ({reason})",
            file=sys.stderr,
        )
        return False
    return True


def _kind(loaded: Loaded) -> tuple[tuple[int, ...], str]:
    return loaded.picture.shown.shape, loaded.picture.shown.dtype.name


def _convert_group(
    group: Sequence[Loaded],
    request: TranslationRequest,
    model: InstalledModel,
    engine: Engine,
    on_progress: OnProgress,
    on_error: Callable[[MakeRealError], None],
) -> Iterator[str]:
    """Translate and write pictures; gives the line that reports each.

    An error of several concerns one of them, so then each is translated alone.
    """
    begin = time.monotonic()
    try:
        batch = [loaded.planes for loaded in group]
        translations = engine.translate_batch(model, request, batch, on_progress, lambda: False)
    except MakeRealError as error:
        if len(group) == 1:
            on_error(_about(group[0].task, error))
            return
        for loaded in group:
            yield from _convert_group([loaded], request, model, engine, on_progress, on_error)
        return
    on_progress(Stage.WRITING, 0, 1)
    seconds = (time.monotonic() - begin) / len(group)
    for loaded, translation in zip(group, translations, strict=True):
        try:
            _write_whole(loaded.task.result, loaded.picture, translation.image, translation.recipe)
        except MakeRealError as error:
            on_error(_about(loaded.task, error))
            continue
        figures = [f"{name} {value:.4g}" for name, value in translation.report.items()]
        warnings = [f"\n  warning: {warning}" for warning in translation.recipe.get("warnings", ())]
        yield f"{loaded.task.result}: {', '.join(figures)}, {seconds:.1f} s" + "".join(warnings)


def _about(task: Task, error: MakeRealError) -> MakeRealError:
    return MakeRealError(error.code, f"{task.image}: {error.detail}")


def _load(task: Task) -> Loaded:
    picture = read_picture(task.image)
    return Loaded(task, picture, _planes(task, picture))


def _planes(task: Task, picture: Picture) -> dict[PlaneName, np.ndarray]:
    shape = picture.shown.shape[:2]
    masks = {name: read_mask(path, shape) for name, path in task.masks.items()}
    return {PlaneName.IMAGE: picture.shown, **masks}


def _write_whole(path: Path, picture: Picture, image: np.ndarray, recipe: dict[str, object]) -> None:
    partial = path.with_name(path.name + ".part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_picture(partial, picture, image, recipe)
        files.sync_file(partial)
        partial.replace(path)
        files.sync_dir(path.parent)
    except OSError as error:
        raise MakeRealError(
            ErrorCode.DISK_FULL, f"{error.filename or path}: {error.strerror or error}"
        ) from error
    finally:
        partial.unlink(missing_ok=True)


def _masks(image: Path, masks: Mapping[PlaneName, Path | None]) -> Iterator[tuple[PlaneName, Path]]:
    """A picture's masks: each is the given file, in the given folder, or else beside the picture."""
    for plane, suffix in MASK_SUFFIXES.items():
        name, given = image.stem + suffix, masks.get(plane)
        if given is None:
            path = image.with_name(name)
        else:
            path = given / name if given.is_dir() else given
            if not path.is_file():
                raise UnusablePathError(f"{image} has no mask {path}")
        if path.is_file():
            yield plane, path


def _result_suffix(image: Path) -> str:
    file_format = FORMATS.get(image.suffix.lower())
    # What is no picture is told when it is read.
    return file_format.result_suffix if file_format else image.suffix


@contextmanager
def _progress_bar() -> Iterator[Callable[[str, float], None]]:
    """A bar on standard error; gives a function of text and fraction 0..1."""
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn

    columns = (TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), TimeElapsedColumn())
    console = Console(file=sys.stderr)
    # A result's line goes above the bar on a terminal, and into the file where standard output is one.
    with Progress(*columns, console=console, transient=True, redirect_stdout=sys.stdout.isatty()) as progress:
        bar = progress.add_task("", total=1.0)
        yield lambda text, fraction: progress.update(bar, description=text, completed=fraction)
