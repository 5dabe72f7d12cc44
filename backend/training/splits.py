# SPDX-License-Identifier: GPL-3.0-or-later
"""Which photos train, which tune and which report: by sender, so that no home is on two sides.

A sender's photos share a floor, a lamp and a phone; two splits that share a sender would share those. The side of
a sender follows from the sender's id alone, so every script agrees without a list. The salt was picked, before
anything was measured, for the sizes it gives on the *Clothing dataset*: its four largest senders (1,686 of
4,382 photos) train, no sender has more than 115 photos on another side.
"""

from __future__ import annotations

import hashlib
from typing import Literal, TypeAlias

Split: TypeAlias = Literal["train", "tune", "test"]

SALT = "make-real 322"
TEST_SHARE = 0.25
TUNE_SHARE = 0.12
TUNE_GARMENTS_SHARE = 0.2


def split_of_sender(sender_id: str) -> Split:
    """The side of a sender: `train` for weights, `tune` for choices and calibration, `test` for reported figures.

    Args:
        sender_id: As the table of the photos has it, such as `"204"`.
    """
    position = _position(sender_id)
    if position < TEST_SHARE:
        return "test"
    return "tune" if position < TEST_SHARE + TUNE_SHARE else "train"


def is_tune_garment(garment: str) -> bool:
    """Whether renders of a training garment are kept for choices and calibration.

    Held-out garments are none of these: `scripts/scenes/catalogue.py` keeps them from all training renders.
    """
    return _position(f"garment {garment}") < TUNE_GARMENTS_SHARE


def _position(key: str) -> float:
    """A number from 0 to 1 that only the key decides."""
    digest = hashlib.sha256(f"{SALT} {key}".encode()).digest()
    return int.from_bytes(digest[:8], "big") / 2**64
