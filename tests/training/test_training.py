# SPDX-License-Identifier: GPL-3.0-or-later
"""Parts of the training that a run of minutes would not show to be wrong."""

from __future__ import annotations

import csv
import io
import tarfile

import numpy as np
import pytest
import torch
from PIL import Image

from backend.adaptation.recolour import recolour
from backend.training import pack
from backend.training.assemble import reduce_rank
from backend.training.autoencoder import EXTRA_BLOCKS, student_from_teacher
from backend.training.data import crop, read_pack
from backend.training.denoiser import Average
from backend.training.domain import lay_out
from backend.training.text import write_tokenizer


def _jpeg(colour: tuple[int, int, int], size: tuple[int, int] = (400, 533)) -> bytes:
    stored = io.BytesIO()
    Image.new("RGB", size, colour).save(stored, "JPEG")
    return stored.getvalue()


@pytest.fixture
def packed(tmp_path):
    photos, renders, out = tmp_path / "photos", tmp_path / "renders", tmp_path / "pack"
    for folder in (photos, renders, out):
        folder.mkdir()
    with tarfile.open(photos / "train-000.tar", "w") as shard, (photos / "train.csv").open("w") as table:
        writer = csv.writer(table)
        writer.writerow(["image_id", "label", "sender_id"])
        for number in range(pack.PHOTOS_PER_SENDER + 5):
            member, content = tarfile.TarInfo(f"{number}.jpg"), _jpeg((200, 100, 50), (40, 53))
            member.size = len(content)
            shard.addfile(member, io.BytesIO(content))
            writer.writerow([number, "dress", "one sender"])
    Image.new("RGB", (512, 384), (10, 200, 30)).save(renders / "000007.png")
    (renders / "renders.csv").write_text("index,garment,category\n7,skirt_01,skirt\n")
    entries = pack.pack_photos(photos, out, seed=0) + pack.pack_renders(renders, out)
    with (out / "pack.csv").open("w", newline="") as table:
        writer = csv.writer(table)
        writer.writerow(["name", "domain", "garment"])
        writer.writerows((entry.name, entry.domain, entry.garment) for entry in entries)
    return out


def test_no_sender_dominates_the_pack(packed):
    assert len(read_pack(packed, "photo").pixels) == pack.PHOTOS_PER_SENDER


def test_a_render_is_packed_upright_with_its_category(packed):
    renders = read_pack(packed, "render")
    assert renders.captions("photo") == ["a photo of a skirt"]
    assert renders.pixels.shape == (1, 3, 532, 400)
    assert renders.pixels.float().mean((0, 2, 3)).tolist() == pytest.approx([10, 200, 30], abs=4)


def test_a_pack_is_laid_out_as_adapt_wants_it(packed, tmp_path):
    lay_out(read_pack(packed, "render"), tmp_path / "work" / "renders")
    [picture] = (tmp_path / "work" / "renders").glob("*.jpg")
    assert picture.with_suffix(".txt").read_text() == "a render of a skirt"
    with Image.open(picture) as opened:
        assert opened.size == (400, 532)
        assert np.asarray(opened).mean((0, 1)) == pytest.approx([10, 200, 30], abs=4)
    assert not (tmp_path / "work" / "renders.part").exists()


def test_a_crop_at_zoom_one_is_a_window_of_the_picture():
    picture = torch.randint(0, 256, (1, 3, 24, 20), dtype=torch.uint8)
    cut = crop(picture, (20, 24), (1.0, 1.0), torch.Generator().manual_seed(3))
    whole = picture.float() / 255
    assert min((cut - whole).abs().max(), (cut - whole.flip(3)).abs().max()) < 1e-4


def test_recolouring_leaves_grey_pictures_without_hue():
    grey = torch.rand(8, 1, 6, 6).expand(-1, 3, -1, -1) * 0.5 + 0.25
    turned = recolour(grey, torch.Generator().manual_seed(0))
    # White balance alone may tint it, by at most 12 % a channel and 1.5 times that in saturation.
    assert (turned - turned.mean(1, keepdim=True)).abs().max() < 0.25


def test_known_words_are_one_token_and_unknown_ones_are_bytes(tmp_path):
    tokenizer = write_tokenizer(["photo", "dress", "render"], tmp_path)
    assert tokenizer.tokenize("photo dress") == ["photo</w>", "dress</w>"]
    assert tokenizer.tokenize("xyz") == ["x", "y", "z</w>"]


def test_a_lora_of_low_rank_survives_the_reduction():
    torch.manual_seed(0)
    down, up = torch.randn(8, 30), torch.randn(20, 8)
    down[4:] = 0
    reduced = reduce_rank({"a.lora_A.weight": down, "a.lora_B.weight": up}, 4)
    assert reduced["a.lora_A.weight"].shape == (4, 30)
    product = reduced["a.lora_B.weight"] @ reduced["a.lora_A.weight"]
    assert torch.allclose(product, up @ down, atol=1e-4)


def test_the_average_begins_at_the_present_and_follows_slowly():
    parameter = torch.nn.Parameter(torch.zeros(3))
    average = Average([parameter])
    for _ in range(500):
        with torch.no_grad():
            parameter += 1
        average.update()
    average.apply()
    assert torch.all(parameter < 500)
    assert torch.all(parameter > 400)


def test_the_students_extra_blocks_begin_as_the_identity():
    from diffusers import AutoencoderTiny

    torch.manual_seed(0)
    donor = AutoencoderTiny(latent_channels=32)
    decoder = {}
    for key, value in donor.decoder.layers.state_dict().items():
        index, _, rest = key.partition(".")
        decoder[f"{int(index) + 1}.{rest}"] = value
    student = student_from_teacher(dict(donor.encoder.layers.state_dict()), decoder)
    picture = torch.rand(1, 3, 32, 24) * 2 - 1
    with torch.no_grad():
        latents = student.encode(picture).latents
        assert torch.allclose(latents, donor.encode(picture).latents, atol=1e-5)
        assert torch.allclose(student.decode(latents).sample, donor.decode(latents).sample, atol=1e-5)
    assert len(student.encoder.layers) == len(donor.encoder.layers) + EXTRA_BLOCKS
    assert np.isfinite(latents.numpy()).all()
