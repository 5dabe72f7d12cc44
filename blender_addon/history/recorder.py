# SPDX-License-Identifier: GPL-3.0-or-later
"""Takes a finished picture into the history: the kept render, a thumbnail, and the entry's line."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from ..picture import files, png
from ..picture.files import ResultPaths
from ..picture.results import Destination, Picture
from ..protocol import PlaneName, TranslationRequest
from . import fingerprint, index, kept_renders, thumbnails
from .index import Entry

THUMBNAIL_PIXELS = 256


@dataclass(frozen=True)
class Recorder:
    """What the history needs to know about one job beside its picture.

    Args:
        target: Where its result belongs.
        request: What was asked for.
        planes: What was sent.
        collected: When the render was taken, as `index.now` gives it.
        cell: Its place in a sheet of variants, in words.
        reproduces: The entry that it shall repeat.
    """

    target: Destination
    request: TranslationRequest
    planes: kept_renders.Planes = field(repr=False)
    collected: str
    cell: str = ""
    reproduces: Entry | None = None

    def newest(self) -> int:
        """The highest number that the history has given so far."""
        try:
            return index.read(self.target.folder).newest
        except (OSError, ValueError):
            # The files that are there tell the number; whether the history can be written, `record` tells.
            return 0

    def record(self, paths: ResultPaths, picture: Picture) -> Iterator[None]:
        """Write everything, the entry's line last. Pauses between steps of a few milliseconds.

        Raises:
            MakeRealError: DISK_FULL, naming the file.
        """
        digests = yield from kept_renders.keep(paths.folder, self.planes)
        small = yield from thumbnails.shrink(picture.image, THUMBNAIL_PIXELS)
        yield from files.write(paths.thumbnail, png.encode(small, {}))
        digest = yield from kept_renders.digest_slowly(PlaneName.IMAGE, picture.image)
        looks = yield from fingerprint.take(self.planes[PlaneName.IMAGE])
        garment = self.target.garment
        box = (yield from thumbnails.bounding_box(garment)) if garment is not None else None
        entry = self._entry(paths.number, kept_renders.key_of(digests), looks, digest, box, picture)
        yield
        write_events(paths.folder, entry.made())

    def _entry(
        self, number: int, render: str, looks: str, digest: str, box: index.Box | None, picture: Picture
    ) -> Entry:
        origin = self.reproduces
        return Entry(
            number=number,
            collected=self.collected,
            scene=self.target.scene,
            frame=self.target.frame,
            blend_file=Path(self.target.blend_file).name,
            request=self.request.to_map(),
            render=render,
            looks=looks,
            picture=digest,
            device=str(_within(picture.recipe, "device", "name")),
            model_digest=str(_within(picture.recipe, "model", "digest")),
            garment_box=box,
            view=asdict(self.target.view),
            report=dict(picture.report),
            warnings=tuple(map(str, picture.recipe.get("warnings", ()))),
            seconds=sum(picture.seconds.values()),
            cell=self.cell,
            reproduces=origin.number if origin else None,
            identical=origin.picture == digest if origin else None,
        )


def _within(recipe: Any, *names: str) -> Any:
    """A value of the backend's recipe, which another release may have laid out otherwise."""
    for name in names:
        recipe = recipe.get(name, "") if isinstance(recipe, dict) else ""
    return recipe


def write_events(folder: Path, *events: index.Event) -> None:
    """Add events to a history.

    Raises:
        MakeRealError: DISK_FULL, naming the file.
    """
    try:
        index.append(folder, *events)
    except OSError as error:
        raise files.unwritable(folder / index.FILE, error) from error
