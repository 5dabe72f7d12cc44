# SPDX-License-Identifier: GPL-3.0-or-later
"""Small matrices of numbers on a device. To copy one there makes the host wait for the device, so each goes once."""

from __future__ import annotations

from functools import lru_cache
from typing import TypeAlias

import torch
from torch import Tensor

Numbers: TypeAlias = tuple[float, ...] | tuple[tuple[float, ...], ...]


def constant(numbers: Numbers, like: Tensor) -> Tensor:
    """The numbers as a tensor of the element type of `like`, on its device."""
    return _kept(numbers, like.dtype, like.device)


@lru_cache(maxsize=64)
def _kept(numbers: Numbers, dtype: torch.dtype, device: torch.device) -> Tensor:
    # What is kept is used within inference mode and without.
    with torch.inference_mode(False):
        return torch.tensor(numbers, dtype=dtype, device=device)
