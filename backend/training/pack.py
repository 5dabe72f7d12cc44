# SPDX-License-Identifier: GPL-3.0-or-later
"""Pack photos and renders into tar files of JPEG bytes and one table: what every training step reads.

    python -m backend.training.pack --photos DIR --renders DIR --out DIR

Photos keep the bytes that the phone stored. Renders are stored with as little loss as their number allows: what a
lens and a phone do to a picture is part of what the translation is to learn.
"""

from __future__ import annotations

import argparse
import csv
import io
import random
import tarfile
from dataclasses import dataclass
from pathlib import Path

from PIL import Image

from .splits import split_of_sender

PHOTOS_PER_SENDER = 140
RENDER_QUALITY = 93


@dataclass(frozen=True)
class Entry:
    """One picture of the pack: its name in the tar, its domain (`photo` or `render`) and its garment word."""

    name: str
    domain: str
    garment: str


def pack_photos(photos: Path, out: Path, seed: int) -> list[Entry]:
    """Copy the JPEG bytes of the training senders, at most `PHOTOS_PER_SENDER` each, so that no home dominates."""
    with (photos / "train.csv").open(newline="") as table:
        rows = [row for row in csv.DictReader(table) if split_of_sender(row["sender_id"]) == "train"]
    random.Random(seed).shuffle(rows)
    kept: dict[str, str] = {}
    taken: dict[str, int] = {}
    for row in rows:
        sender = row["sender_id"]
        taken[sender] = taken.get(sender, 0) + 1
        if taken[sender] <= PHOTOS_PER_SENDER:
            kept[f"{row['image_id']}.jpg"] = row["label"]
    entries = []
    for number, shard in enumerate(sorted(photos.glob("*.tar"))):
        with tarfile.open(shard) as source, tarfile.open(out / f"photos-{number:03d}.tar", "w") as target:
            for member in source:
                if member.name in kept:
                    target.addfile(member, source.extractfile(member))
                    entries.append(Entry(member.name, "photo", kept[member.name]))
    return entries


def encode_jpeg(render: Image.Image) -> bytes:
    """JPEG bytes of a render with full chroma."""
    stored = io.BytesIO()
    render.convert("RGB").save(stored, "JPEG", quality=RENDER_QUALITY, subsampling=0)
    return stored.getvalue()


def pack_renders(renders: Path, out: Path) -> list[Entry]:
    """JPEG-encode the renders that `scripts/scenes/training_renders.py` made."""
    entries = []
    with (
        (renders / "renders.csv").open(newline="") as table,
        tarfile.open(out / "renders-000.tar", "w") as target,
    ):
        for row in csv.DictReader(table):
            index = int(row["index"])
            with Image.open(renders / f"{index:06d}.png") as picture:
                stored = encode_jpeg(picture)
            member = tarfile.TarInfo(f"{index:06d}.jpg")
            member.size = len(stored)
            target.addfile(member, io.BytesIO(stored))
            entries.append(Entry(member.name, "render", row["category"]))
    return entries


def main() -> None:
    """Command line; see the module's docstring."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--photos", type=Path, required=True, help="folder with train.csv and its tar shards")
    parser.add_argument(
        "--renders", type=Path, required=True, help="folder with renders.csv and its PNG files"
    )
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    arguments.out.mkdir(parents=True, exist_ok=True)
    entries = pack_photos(arguments.photos, arguments.out, arguments.seed)
    entries += pack_renders(arguments.renders, arguments.out)
    with (arguments.out / "pack.csv").open("w", newline="") as table:
        writer = csv.writer(table)
        writer.writerow(["name", "domain", "garment"])
        writer.writerows((entry.name, entry.domain, entry.garment) for entry in entries)
    print(
        f"{sum(e.domain == 'photo' for e in entries)} photos, {sum(e.domain == 'render' for e in entries)} renders"
    )


if __name__ == "__main__":
    main()
