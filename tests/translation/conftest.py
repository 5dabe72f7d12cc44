# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from garment_samples import box_mask, picture
from tiny_models import write_sd15, write_sdxl, write_starter_shape

from backend.translation import Translator
from protocol.planes import PlaneName


@pytest.fixture(scope="session", autouse=True)
def one_thread() -> Iterator[None]:
    """Networks this small lose more by waiting for a second thread than it does for them."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="session")
def models(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Folders of the tiny models, by the family whose shape they have."""
    root = tmp_path_factory.mktemp("models")
    writers = {"sd15": write_sd15, "sdxl": write_sdxl, "starter": write_starter_shape}
    for name, write in writers.items():
        (root / name).mkdir()
        write(root / name)
    return {name: root / name for name in writers}


@pytest.fixture(scope="session")
def translators(models: dict[str, Path]) -> dict[str, Translator]:
    return {name: Translator.load(folder) for name, folder in models.items()}


@pytest.fixture
def planes() -> dict[PlaneName, np.ndarray]:
    """A small garment picture with its mask."""
    return {PlaneName.IMAGE: picture(128, 96), PlaneName.GARMENT: box_mask(128, 96)}
