# SPDX-License-Identifier: GPL-3.0-or-later
"""Folders of pictures: what counts, what is held out, what is refused, and what a crop shows."""

from __future__ import annotations

import random
from pathlib import Path

import numpy as np
import pytest
from adapt_request import PICTURES
from PIL import Image

from backend.adaptation.crops import check_size, load_upright, middle_crop, random_crop
from backend.adaptation.folders import LEAST_PICTURES, PictureFile, folder_digest, hold_out, read_folder
from protocol import ErrorCode, MakeRealError


def test_captions_come_from_text_files_else_from_the_template(pictures: Path) -> None:
    files = read_folder(pictures / "photos", "--photos", "a photo of a garment")
    assert [file.caption for file in files[:2]] == ["a picture of a dress", "a photo of a garment"]
    assert {file.caption for file in read_folder(pictures / "renders", "--renders", None)} == {""}


def test_masks_beside_renders_are_no_renders(pictures: Path) -> None:
    assert len(read_folder(pictures / "renders", "--renders", None)) == PICTURES


def test_too_few_pictures_are_refused_with_how_many_are_needed(tmp_path: Path) -> None:
    for name in ("a.png", "b.jpg", "notes.txt"):
        (tmp_path / name).touch()
    with pytest.raises(MakeRealError, match=rf"holds 2 pictures .* at least {LEAST_PICTURES} are") as caught:
        read_folder(tmp_path, "--photos", "")
    assert caught.value.code is ErrorCode.INVALID_REQUEST
    with pytest.raises(MakeRealError, match=r"--photos: there is no folder .*nowhere"):
        read_folder(tmp_path / "nowhere", "--photos", "")


def test_a_caption_that_is_no_text_is_named(tmp_path: Path) -> None:
    for number in range(LEAST_PICTURES):
        (tmp_path / f"{number}.png").touch()
    (tmp_path / "7.txt").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(MakeRealError, match=r"the caption .*7\.txt") as caught:
        read_folder(tmp_path, "--photos", "")
    assert caught.value.code is ErrorCode.PICTURE_UNREADABLE


def named(*names: str) -> list[PictureFile]:
    return [PictureFile(Path(name), name, name.split("/")[0], "") for name in names]


def test_a_tenth_is_held_out_the_same_whatever_the_order() -> None:
    files = named(*(f"{number}.png" for number in range(100)))
    kept, held = hold_out(files)
    assert (len(kept), len(held)) == (90, 10)
    assert set(hold_out(files[::-1])[1]) == set(held)


def test_no_subfolder_is_on_both_sides() -> None:
    files = named(*(f"sender{number % 7}/{number}.png" for number in range(70)))
    kept, held = hold_out(files)
    assert len(held) == 10
    assert not {file.group for file in kept} & {file.group for file in held}


def test_one_subfolder_alone_is_divided_picture_by_picture() -> None:
    kept, held = hold_out(named(*(f"all/{number}.png" for number in range(30))))
    assert (len(kept), len(held)) == (27, 3)


def test_two_subfolders_leave_one_to_train_on() -> None:
    kept, held = hold_out(named(*(f"{side}/{number}.png" for side in "ab" for number in range(10))))
    assert (len(kept), len(held)) == (10, 10)


def test_the_digest_sees_a_changed_caption(pictures: Path) -> None:
    one, other = (read_folder(pictures / "photos", "--photos", template) for template in ("a", "b"))
    assert folder_digest(one) == folder_digest(one)
    assert folder_digest(one) != folder_digest(other)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_photos_are_set_upright_as_their_exif_says(tmp_path: Path, orientation: int) -> None:
    """Up to a mirror image, as Pillow does it."""
    stored = np.zeros((32, 64, 3), np.uint8)
    stored[:8] = 200
    exif = Image.Exif()
    exif[0x0112] = orientation
    path = tmp_path / "photo.jpg"
    Image.fromarray(stored).save(path, exif=exif, quality=95)
    from PIL import ImageOps

    with Image.open(path) as opened:
        expected = np.asarray(ImageOps.exif_transpose(opened)).astype(int)
    upright = np.asarray(load_upright(path)).astype(int)
    mirrored = [np.abs(upright[:, ::step] - expected).max() for step in (1, -1)]
    assert min(mirrored) <= 3


def test_a_transparent_backdrop_becomes_grey(tmp_path: Path) -> None:
    pixels = np.zeros((8, 8, 4), np.uint8)
    pixels[:4] = (200, 100, 50, 255)
    Image.fromarray(pixels).save(tmp_path / "render.png")
    read = np.asarray(load_upright(tmp_path / "render.png"))
    assert read[0, 0].tolist() == [200, 100, 50]
    assert read[7, 0].tolist() == [128, 128, 128]


def test_a_picture_smaller_than_a_crop_is_refused(tmp_path: Path) -> None:
    with pytest.raises(MakeRealError, match=r"small\.png is 40x90, smaller than a training crop of 64x64"):
        check_size(Image.new("RGB", (40, 90)), tmp_path / "small.png", 64, 64)


def test_a_crop_lies_within_the_picture_and_says_where() -> None:
    """On a picture whose red is x and whose green is y, the crop's corner is where its size says."""
    x, y = np.meshgrid(np.arange(200), np.arange(120))
    picture = Image.fromarray(np.stack([x, y, 0 * x], -1).astype(np.uint8))
    rng = random.Random(0)
    parts = []
    for _ in range(40):
        crop = random_crop(picture, 48, 64, 1.6, rng)
        height, width, top, left, rows, columns = crop.size
        assert (height, width, rows, columns) == (120, 200, 64, 48)
        reds, greens = crop.pixels[..., 0].astype(float), crop.pixels[..., 1].astype(float)
        part = (greens[60, 5] - greens[4, 5]) / 56
        parts.append(part)
        assert greens[4, 5] == pytest.approx((top + 4.5) * part - 0.5, abs=1.1)
        columns_from_left = reds[4, 5] if reds[4, 40] > reds[4, 5] else 199 - reds[4, 5]
        assert columns_from_left == pytest.approx((left + 5.5) * part - 0.5, abs=1.1)
    assert 120 / 64 / 1.6 - 0.05 < min(parts) < max(parts) < 120 / 64 + 0.05


def test_the_middle_crop_is_the_largest_of_its_shape() -> None:
    crop = middle_crop(Image.new("RGB", (200, 100)), 64, 64)
    assert crop.size.tolist() == [100, 200, 0, 32, 64, 64]
