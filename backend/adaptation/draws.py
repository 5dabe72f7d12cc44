# SPDX-License-Identifier: GPL-3.0-or-later
"""Random draws that follow from keys alone: a step's draws are the same whether or not a run was interrupted."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import torch
from jaxtyping import Int
from torch import Tensor

TRANSLATION_PART = 0.52
"""Of the schedule: a translation at strength 0.5 stays within it."""
TRANSLATION_SHARE = 0.8


def generator(device: torch.device, *keys: int) -> torch.Generator:
    """A generator on `device` that depends on the keys and nothing else."""
    seed = int(np.random.SeedSequence(keys).generate_state(1, np.uint64)[0] >> np.uint64(1))
    return torch.Generator(device).manual_seed(seed)


def shuffled(count: int, batch: int, number: int, *keys: int) -> Int[Tensor, " batch"]:
    """Indices of batch `number` when `count` entries are gone through again and again, each time shuffled."""
    positions = range(number * batch, (number + 1) * batch)
    return torch.tensor([_order(count, position // count, keys)[position % count] for position in positions])


@lru_cache(maxsize=4)
def _order(count: int, epoch: int, keys: tuple[int, ...]) -> list[int]:
    order: list[int] = np.random.default_rng([*keys, epoch]).permutation(count).tolist()
    return order


def translation_timesteps(timesteps: int) -> int:
    """How many of the schedule's timesteps, from the clean end, a translation may visit."""
    return round(timesteps * TRANSLATION_PART)


def draw_timesteps(count: int, timesteps: int, draws: torch.Generator) -> Int[Tensor, " count"]:
    """`TRANSLATION_SHARE` of them where translation happens, the others uniform over the schedule; never 0.

    Args:
        timesteps: Of the whole schedule.
    """
    low_end = translation_timesteps(timesteps)
    low = torch.randint(1, low_end, (count,), generator=draws, device=draws.device)
    anywhere = torch.randint(1, timesteps, (count,), generator=draws, device=draws.device)
    chosen = torch.rand(count, generator=draws, device=draws.device) < TRANSLATION_SHARE
    return torch.where(chosen, low, anywhere)
