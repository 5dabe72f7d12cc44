# SPDX-License-Identifier: GPL-3.0-or-later
"""Files that keep their names: for each frame the latest result, beside the numbered ones.

    <folder>/0007_linear.exr                     a result, for ever
    <folder>/compositor/linear_0030.exr          what the compositor shows on frame 30

The second is another name of the first, and changes to another result in one step: no program ever reads half a
file, and no space is taken twice.
"""

from __future__ import annotations

import os
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

from ..picture.files import ResultPaths, unwritable, write_for_now

COPIED_AT_ONCE = 1 << 20
FOLDER = "compositor"
LINEAR, MASK = "linear_{:04}.exr", "mask_{:04}.png"


def runs(numbers: Sequence[int]) -> list[tuple[int, int]]:
    """First and last of each run of rising frames without a gap."""
    breaks = [(before, after) for before, after in pairwise(numbers) if after > before + 1]
    firsts = [*numbers[:1], *(after for _, after in breaks)]
    lasts = [*(before for before, _ in breaks), *numbers[-1:]]
    return list(zip(firsts, lasts, strict=True))


@dataclass(frozen=True)
class Published:
    """The frames that have a result.

    Args:
        folder: Where their files are.
        numbers: The frames, rising; at least one.
    """

    folder: Path
    numbers: tuple[int, ...]

    @property
    def linear(self) -> Path:
        """Picture of the first frame."""
        return self.folder / LINEAR.format(self.numbers[0])

    @property
    def mask(self) -> Path | None:
        """Mask of the first frame that has one."""
        found = (self.folder / MASK.format(number) for number in self.numbers)
        return next((path for path in found if path.exists()), None)


def publish(paths: ResultPaths, frame: int) -> Iterator[None]:
    """Make a result's files those of a frame. Pauses.

    Raises:
        MakeRealError: DISK_FULL, naming the file.
    """
    folder = paths.folder / FOLDER
    mask = folder / MASK.format(frame)
    yield from _give_name(paths.linear, folder / LINEAR.format(frame))
    if paths.mask.exists():
        yield from _give_name(paths.mask, mask)
    else:
        mask.unlink(missing_ok=True)


def published(folder: Path, numbers: Collection[int]) -> Published:
    """The frames of a history that have a result.

    Args:
        folder: The history's.
        numbers: Frames that had one; those whose file is gone are left out.
    """
    folder = folder / FOLDER
    return Published(
        folder, tuple(number for number in sorted(numbers) if (folder / LINEAR.format(number)).exists())
    )


def _give_name(path: Path, name: Path) -> Iterator[None]:
    part = name.with_name(f"{name.name}.part")
    try:
        name.parent.mkdir(exist_ok=True)
        part.unlink(missing_ok=True)
        try:
            os.link(path, part)
        except OSError:
            # Some file systems have one name for each file.
            yield from write_for_now(part, _content(path))
        yield
        part.replace(name)
    except OSError as error:
        raise unwritable(name, error) from error
    finally:
        part.unlink(missing_ok=True)


def _content(path: Path) -> Iterator[bytes]:
    with path.open("rb") as file:
        while piece := file.read(COPIED_AT_ONCE):
            yield piece
