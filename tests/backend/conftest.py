# SPDX-License-Identifier: GPL-3.0-or-later
"""Fixtures of the backend's tests."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from live_service import MODEL, Service, write_model


@pytest.fixture
def service(tmp_path: Path) -> Iterator[Service]:
    """Folders for a service, with one model; nothing runs until `start`."""
    made = Service(tmp_path)
    write_model(made.models_dir / MODEL)
    yield made
    made.close()


@pytest.fixture
def model_folder(tmp_path: Path) -> Path:
    """A model that passes every check and holds no network."""
    return write_model(tmp_path / "a-model")
