# SPDX-License-Identifier: GPL-3.0-or-later
"""From a scene's finished render to a job: collected once, it can be sent with any number of requests."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import nullcontext
from dataclasses import dataclass, field, replace
from typing import TypeVar

import bpy

from . import compositor, pace
from .history import index, kept_renders, places, shelf
from .history.index import Entry
from .history.recorder import Recorder
from .masks import picked
from .masks import planes as mask_planes
from .picture import exr, files, render_passes, render_state, results, source
from .protocol import Finished, PlaneName, TranslationRequest
from .session.work import Collecting, Storing, Ticket


@dataclass(frozen=True)
class Collected:
    """A render that was taken, and where its results belong.

    Args:
        planes: What is sent.
        target: Where results go.
        when: When it was taken, as `index.now` gives it.
        remarks: Sentences on what is missing although the picture can be made.
    """

    planes: dict[PlaneName, np.ndarray] = field(repr=False)
    target: results.Destination
    when: str
    remarks: tuple[str, ...] = ()

    def ticket(self, request: TranslationRequest, cell: str = "", reproduces: Entry | None = None) -> Ticket:
        """A job on this render.

        Args:
            cell: Its place in a sheet of variants, in words.
            reproduces: The entry that it shall repeat.
        """

        preparing = results.prepare(self.target)

        def store(finished: Finished) -> Storing:
            told = finished.result
            recipe = told.recipe
            if self.remarks:
                # What was missing before the job is part of what is to be known about its result.
                recipe = {**recipe, "warnings": [*self.remarks, *recipe.get("warnings", ())]}
            picture = results.Picture(finished.planes[PlaneName.IMAGE], recipe, told.report, told.seconds)
            # An unsaved file may have been saved meanwhile, and its history moved beside it.
            target = replace(self.target, folder=places.follow(self.target.folder))
            recorder = Recorder(target, request, self.planes, self.when, cell, reproduces)
            problem = yield from results.store(target, picture, recorder.newest(), recorder.record, preparing)
            yield from pace.next_tick()
            shelf.result_arrived(target)
            return problem

        return Ticket(request, self.planes, store, preparing, self.remarks)


T = TypeVar("T")
Reading = Generator[None, None, Collected]
"""Reads a render that was saved, a few milliseconds of work at a time; raises MakeRealError."""


def label(scene: bpy.types.Scene, cell: str = "") -> str:
    """What the artist calls a job on the scene's render."""
    return ", ".join(filter(None, (scene.name, f"frame {render_state.frame(scene)}", cell)))


def collect(scene: bpy.types.Scene) -> Reading:
    """Take the scene's finished render: saved now, read in the steps that this returns.

    Raises:
        MakeRealError: NO_RENDER, PICTURE_UNREADABLE, UNSUPPORTED_VIEW; while it is read NO_MASK_PASSES, MASK_SIZE,
            EMPTY_MASK.
    """
    steps = _collect(scene)
    # Everything before the first pause needs Blender's data; nothing after it does.
    next(steps)
    return steps


def _collect(scene: bpy.types.Scene) -> Reading:
    render_state.check()
    parts, layer = picked.parts(scene), compositor.layer_before(scene)
    needs_passes = layer is not None or mask_planes.named_layers(parts)
    with render_passes.saved_passes(scene) if needs_passes else nullcontext() as path:
        rendered = source.collect(scene, layer, path)
        target, when = results.destination(scene, places.folder(scene), None, rendered), index.now()
        remarks = render_state.remarks(scene)
        yield
        image = rendered.picture
        with exr.opened(path) if path else nullcontext({}) as channels:
            masks = yield from mask_planes.decode(parts, channels, image.shape[:2])
        if path:
            yield from files.shrink(path)
    if masks.problem:
        raise masks.problem
    planes = {PlaneName.IMAGE: image, **masks.planes}
    target = replace(target, garment=masks.planes.get(PlaneName.GARMENT))
    return Collected(planes, target, when, (*remarks, *masks.remarks))


def look_at(scene: bpy.types.Scene, take: source.Take[T]) -> Generator[None, None, T]:
    """Give what `collect` would send as the picture to a function, as `source.look_at` does.

    Raises:
        MakeRealError: NO_RENDER.
    """
    return source.look_at(scene, compositor.layer_before(scene), take)


def recollect(scene: bpy.types.Scene, entry: Entry) -> Reading:
    """Take the kept render of an entry, to make its picture again.

    Raises:
        MakeRealError: PICTURE_UNREADABLE.
    """
    folder = places.folder(scene)
    planes = kept_renders.load(folder, entry.render)
    here = results.destination(scene, folder, planes.get(PlaneName.GARMENT))
    # Without its source it does not go into the compositor: its light stands beside the first one already.
    # A view that another release recorded may lack what this one knows, and the other way round.
    known = {name: value for name, value in entry.view.items() if hasattr(here.view, name)}
    target = replace(here, frame=entry.frame, view=replace(here.view, **known))
    return _at_once(Collected(planes, target, entry.collected))


def _at_once(collected: Collected) -> Reading:
    yield
    return collected


def single(reading: Reading, request: TranslationRequest, reproduces: Entry | None = None) -> Collecting:
    """One job on a render.

    Args:
        reproduces: The entry that it shall repeat.
    """
    collected = yield from reading
    return collected.ticket(request, reproduces=reproduces)
