# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import runpy
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from adapt_request import PICTURES
from PIL import Image

TINY_MODELS = Path(__file__).parents[1] / "translation" / "tiny_models.py"


@pytest.fixture(scope="session", autouse=True)
def one_thread() -> Iterator[None]:
    """Networks this small lose more by waiting for a second thread than it does for them."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="session")
def write_tiny() -> Callable[[str, Path], Path]:
    """Writes a tiny random model of a family's shape."""
    written = runpy.run_path(str(TINY_MODELS))

    def write(family: str, folder: Path, **scheduler: object) -> Path:
        folder.mkdir(parents=True)
        path: Path = written[f"write_{family}"](folder, **scheduler)
        return path

    return write


@pytest.fixture(scope="session")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`photos` with some captions and `renders` with masks beside them: noise of two brightnesses."""
    root = tmp_path_factory.mktemp("pictures")
    draws = np.random.default_rng(0)
    for kind, suffix, brightness in (("photos", "jpg", 90), ("renders", "png", 170)):
        folder = root / kind
        folder.mkdir()
        for number in range(PICTURES):
            pixels = draws.normal(brightness, 30, (144, 136, 3)).clip(0, 255).astype(np.uint8)
            Image.fromarray(pixels).save(folder / f"{number:03d}.{suffix}")
        (folder / "000.txt").write_text("a  picture\nof a dress\n")
        Image.fromarray(pixels[..., 0]).save(folder / "000.mask.png")
    return root
