# SPDX-License-Identifier: GPL-3.0-or-later
"""A small adaptation, for tests in this process and for processes that are killed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from backend.adaptation.command import Request
from backend.adaptation.settings import Pace, Settings

PICTURES = 22


def small_request(
    model: Path,
    pictures: Path,
    out: Path,
    *,
    resolution: str = "64",
    pace: Pace | None = None,
    **settings: Any,
) -> Request:
    """An adaptation of a tiny model that takes a second or two."""
    chosen = {"positive_steps": 4, "negative_steps": 4, "batch": 2, "crops": 2 * PICTURES, **settings}
    return Request(
        base=model,
        base_name=str(model),
        photos=pictures / "photos",
        renders=pictures / "renders",
        out=out,
        settings=Settings(**chosen),
        pace=pace or Pace(checkpoint_every=3),
        resolution=resolution,
        mixed_precision=None,
        device="cpu",
    )


def run_alone(model: Path, pictures: Path, out: Path, steps: int) -> None:
    """Adapt in a process of its own."""
    import torch

    from backend.adaptation.command import run

    torch.set_num_threads(1)
    pace = Pace(checkpoint_every=3, sample_every=10)
    run(small_request(model, pictures, out, positive_steps=steps, negative_steps=steps, pace=pace))
