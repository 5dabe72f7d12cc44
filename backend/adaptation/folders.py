# SPDX-License-Identifier: GPL-3.0-or-later
"""Folders of pictures: which there are, what they are called, and which are held out."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from backend.pictures import FORMATS
from protocol import ErrorCode, MakeRealError

LEAST_PICTURES = 20
GOOD_PICTURES = 500
HELD_OUT_SHARE = 0.1
LARGEST_CAPTION = 2000
"""Bytes of a caption file: an encoder reads 77 tokens."""
COMPANIONS = (".mask.png", ".protect.png")
"""Files beside a render that are no renders."""


@dataclass(frozen=True)
class PictureFile:
    """A picture of a folder.

    Args:
        path: The file.
        name: Its path within the folder, with slashes: what every draw for it depends on.
        group: What it may share a background, a light or a camera with: its subfolder, or itself.
        caption: Text of the file `NAME.txt` beside it, else the template; empty where none was asked for.
    """

    path: Path
    name: str
    group: str
    caption: str


def read_folder(folder: Path, option: str, template: str | None) -> list[PictureFile]:
    """All pictures in a folder and its subfolders, by name.

    Args:
        option: The option that named the folder, for the errors.
        template: Caption of a picture without a text file; None: no captions at all.

    Raises:
        MakeRealError: INVALID_REQUEST when there is no such folder or it holds too few pictures;
            PICTURE_UNREADABLE when a caption cannot be read.
    """
    if not folder.is_dir():
        raise MakeRealError(ErrorCode.INVALID_REQUEST, f"{option}: there is no folder {folder}")
    paths = sorted(
        path
        for path in folder.rglob("*")
        if path.suffix.lower() in FORMATS and not path.name.endswith(COMPANIONS) and path.is_file()
    )
    if len(paths) < LEAST_PICTURES:
        raise MakeRealError(
            ErrorCode.INVALID_REQUEST,
            f"{option}: {folder} holds {len(paths)} pictures ({', '.join(FORMATS)}); at least"
            f" {LEAST_PICTURES} are needed, and {GOOD_PICTURES} or more are good",
        )
    files = []
    for path in paths:
        inner = path.relative_to(folder)
        group = inner.parts[0] if len(inner.parts) > 1 else inner.stem
        caption = "" if template is None else _caption(path.with_suffix(".txt"), template)
        files.append(PictureFile(path, inner.as_posix(), group, caption))
    return files


def hold_out(files: Sequence[PictureFile]) -> tuple[list[PictureFile], list[PictureFile]]:
    """Training files and held-out ones, about a tenth, that share no group with them.

    Groups are held out in the order of their names' hashes, so that the same files are held out on every
    machine. A folder whose pictures all lie in one subfolder is divided picture by picture.
    """
    group_of = {file: file.group for file in files}
    if len(set(group_of.values())) == 1:
        group_of = {file: file.name for file in files}
    sizes = Counter(group_of.values())
    held: set[str] = set()
    count = 0
    for group in sorted(sizes, key=_hash)[: len(sizes) - 1]:
        if count >= HELD_OUT_SHARE * len(files):
            break
        held.add(group)
        count += sizes[group]
    return (
        [file for file in files if group_of[file] not in held],
        [file for file in files if group_of[file] in held],
    )


def folder_digest(files: Sequence[PictureFile]) -> str:
    """Identifies names, sizes and captions of the files, as 32 hexadecimal digits."""
    digest = hashlib.blake2b(digest_size=16)
    for file in files:
        digest.update(f"{file.name};{file.path.stat().st_size};{file.caption};".encode())
    return digest.hexdigest()


def _hash(name: str) -> bytes:
    return hashlib.blake2b(name.encode(), digest_size=8).digest()


def _caption(path: Path, template: str) -> str:
    if not path.is_file():
        return template
    try:
        with path.open(encoding="utf-8") as file:
            return " ".join(file.read(LARGEST_CAPTION).split())
    except (OSError, ValueError) as error:
        raise MakeRealError(ErrorCode.PICTURE_UNREADABLE, f"the caption {path}: {error}") from error
