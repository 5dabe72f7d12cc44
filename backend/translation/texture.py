# SPDX-License-Identifier: GPL-3.0-or-later
"""When texture is locked: the step schedule of TAC, and which features belong to which step and window.

Denoising step i evaluates the network at timestep t_i, so it uses what the inversion captured at (z_i, t_i).
The first `texture_steps` (the paper's gamma) of the garment's steps are locked, the last ones run free.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from .attention import TextureControl
from .windows import Window

KEPT_BYTES = 2 << 30
"""Captured features are kept up to this size; beyond it each step captures its own, one pass more a step."""


def locked_steps(garment_steps: int, locked: int) -> range:
    """Nodes i of the denoising steps under control: the first `locked` of the garment's `garment_steps`."""
    return range(garment_steps - locked + 1, garment_steps + 1)


class TextureLock:
    """Points the attention control at the right features and gates before each network pass.

    Args:
        control: Injected into the network.
        windows: The windows of every evaluation.
        garment: Coverage of the garment in each latent cell.
        locked: Nodes under control.
        amount: The request's `texture_lock`, 0..1; at 0 nothing is captured.
        keep: Keep features from the inversion if they fit; else every step captures its own.

    Attributes:
        plan: `features kept`, `features recaptured` or `no texture lock`, for the recipe.
    """

    def __init__(
        self,
        control: TextureControl,
        windows: Sequence[Window],
        garment: Float[Tensor, "1 1 rows columns"],
        locked: range,
        amount: float,
        keep: bool = True,
    ) -> None:
        self._control = control
        self._locked = locked if amount > 0 else range(0)
        self._windows = len(windows)
        slots = len(self._locked) * len(windows)
        self._kept = keep and slots * control.feature_bytes(windows[0]) <= KEPT_BYTES
        self._gates = [control.gates(window.cut(garment), amount) for window in windows]
        self._open = [torch.zeros_like(gate) for gate in self._gates[0]]
        if self._locked:
            control.allocate(slots if self._kept else 1, windows[0])
        self.plan = (
            ("features kept" if self._kept else "features recaptured") if self._locked else "no texture lock"
        )

    def _slot(self, node: int, window: int) -> int:
        return (node - self._locked.start) * self._windows + window if self._kept else 0

    def inverting(self, node: int, window: int) -> None:
        """Before the inversion's pass at a node."""
        if self._kept and node in self._locked:
            self._control.capture(self._slot(node, window))
        else:
            self._control.release()

    def recapturing(self, node: int) -> bool:
        """Before a denoising pass whose features were not kept: whether the source must be passed again."""
        if self._kept or node not in self._locked:
            return False
        self._control.capture(0)
        return True

    def denoising(self, node: int, window: int) -> None:
        """Before the denoising pass at a node. Past the schedule the gates are 0, the passes the same."""
        if node in self._locked:
            self._control.lock(self._slot(node, window), self._gates[window])
        elif self._locked:
            self._control.lock(0, self._open)
        else:
            self._control.release()
