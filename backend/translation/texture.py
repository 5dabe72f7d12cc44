# SPDX-License-Identifier: GPL-3.0-or-later
"""When and where texture is locked: the step schedule of TAC times the garment times the request's amount.

Denoising step i evaluates the network at timestep t_i, so it uses what the inversion captured at (z_i, t_i).
The first `texture_steps` (the paper's gamma) of the garment's steps are locked, the last ones run free.
"""

from __future__ import annotations

from collections.abc import Sequence

from jaxtyping import Float
from torch import Tensor

from .attention import TextureControl
from .windows import Window


def locked_steps(garment_steps: int, locked: int) -> range:
    """Nodes i of the denoising steps under control: the first `locked` of the garment's `garment_steps`."""
    return range(garment_steps - locked + 1, garment_steps + 1)


class TextureLock:
    """The gates of each window, and the nodes at which they are closed.

    Args:
        control: Knows the layers.
        windows: The windows of every evaluation.
        garment: Coverage of the garment in each latent cell.
        locked: Nodes under control.
        amount: The request's `texture_lock`, 0..1.

    Attributes:
        gates: Of each window, one a layer.
    """

    def __init__(
        self,
        control: TextureControl,
        windows: Sequence[Window],
        garment: Float[Tensor, "pictures 1 rows columns"],
        locked: range,
        amount: float,
    ) -> None:
        self._locked = locked
        self.gates = [control.gates(window.cut(garment), amount) for window in windows]

    def holds(self, node: int) -> bool:
        """Whether the pass at a node is under control."""
        return node in self._locked
