# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from PIL import Image

sys.path.append(str(Path(__file__).parents[1] / "translation"))

from garment_samples import box_mask, picture
from noise_samples import normal_sample
from tiny_models import write_starter_shape

from backend.evaluation.samples import PictureSample

HEIGHT, WIDTH = 256, 192


@pytest.fixture(scope="session", autouse=True)
def one_thread() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="session")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny model with a negative embedding, which takes the pictures below in one window."""
    folder = tmp_path_factory.mktemp("models") / "tiny"
    folder.mkdir()
    write_starter_shape(folder)
    (folder / "make_real.json").write_text(f'{{"native": [{WIDTH}, {HEIGHT}]}}')
    return folder


@pytest.fixture(scope="session")
def renders(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three pictures large enough for a patch, with masks."""
    folder = tmp_path_factory.mktemp("renders")
    for number in range(3):
        Image.fromarray(picture(HEIGHT, WIDTH, seed=number)).save(folder / f"{number:06d}.png")
        Image.fromarray(box_mask(HEIGHT, WIDTH)).save(folder / f"{number:06d}.mask.png")
    return folder


@pytest.fixture(scope="session")
def photo_features(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file of features as of twelve photos."""
    path = tmp_path_factory.mktemp("photos") / "photos.safetensors"
    patches, wholes = normal_sample(12, 2, channels=1280), normal_sample(12, 1, seed=1, channels=1280)
    PictureSample(patches, wholes).save(path)
    return path
