# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import numpy as np

from backend.evaluation.kid import Sample


def normal_sample(pictures: int, rows: int, shift: float = 0.0, seed: int = 0, channels: int = 8) -> Sample:
    """Normal features, all rows independent."""
    features = np.random.default_rng(seed).normal(shift, 1, (pictures * rows, channels))
    return Sample(features, np.repeat(np.arange(pictures), rows))
