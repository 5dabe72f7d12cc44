# SPDX-License-Identifier: GPL-3.0-or-later
"""No leakage between what trains, what tunes and what reports."""

from __future__ import annotations

import csv
import io
import tarfile
from collections import Counter

import pytest
from PIL import Image

from backend.training import pack
from backend.training.splits import TEST_SHARE, TUNE_SHARE, split_of_sender


def test_the_shares_of_many_senders():
    counts = Counter(split_of_sender(str(sender)) for sender in range(20_000))
    assert counts["test"] / 20_000 == pytest.approx(TEST_SHARE, abs=0.01)
    assert counts["tune"] / 20_000 == pytest.approx(TUNE_SHARE, abs=0.01)


def test_the_sides_never_move():
    """Weights were trained on one side of this line; whoever moves it reports on what was trained on."""
    senders = ("204", "181", "48", "260", "4", "6")
    assert [split_of_sender(sender) for sender in senders] == ["train"] * 4 + ["test", "tune"]


def test_only_training_senders_are_packed(tmp_path):
    photo = io.BytesIO()
    Image.new("RGB", (40, 53)).save(photo, "JPEG")
    senders = [str(number) for number in range(60)]
    with tarfile.open(tmp_path / "a.tar", "w") as shard, (tmp_path / "train.csv").open("w") as table:
        writer = csv.writer(table)
        writer.writerow(["image_id", "label", "sender_id"])
        for sender in senders:
            member = tarfile.TarInfo(f"{sender}.jpg")
            member.size = len(photo.getvalue())
            shard.addfile(member, io.BytesIO(photo.getvalue()))
            writer.writerow([sender, "dress", sender])
    out = tmp_path / "pack"
    out.mkdir()
    packed = {entry.name.removesuffix(".jpg") for entry in pack.pack_photos(tmp_path, out, seed=0)}
    assert packed == {sender for sender in senders if split_of_sender(sender) == "train"} != set(senders)
