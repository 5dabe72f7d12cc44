# SPDX-License-Identifier: GPL-3.0-or-later
"""Features of one pass of a network put into another: the mechanism of the attention-editing baselines.

It works by hooks on single modules, so that the baselines share nothing with our own attention control and neither
can hide a fault of the other.
"""

from __future__ import annotations

from collections.abc import Sequence
from types import TracebackType
from typing import Any

from torch import Tensor, nn


class Injection:
    """Outputs of modules, kept from one pass and put into rows of later passes, as often as these hold them.

    Use as a context: after it the network is as it was.

    Args:
        modules: Whose outputs are kept.
    """

    def __init__(self, modules: Sequence[nn.Module]) -> None:
        self._modules = modules
        self._kept: dict[nn.Module, Tensor] = {}
        self._rows: slice | None = None
        self._keeping = False
        self._handles: list[Any] = []

    def keep(self) -> None:
        """The next passes leave their outputs here."""
        self._keeping, self._rows = True, None

    def put(self, rows: slice) -> None:
        """The next passes get the kept outputs in these rows: once, or once for each text of the batch."""
        self._keeping, self._rows = False, rows

    def rest(self) -> None:
        """The next passes are the network's own."""
        self._keeping, self._rows = False, None

    def __enter__(self) -> Injection:
        self._handles = [module.register_forward_hook(self._hook) for module in self._modules]
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for handle in self._handles:
            handle.remove()
        self._kept = {}

    def _hook(self, module: nn.Module, _arguments: Any, output: Tensor) -> Tensor:
        if self._keeping:
            self._kept[module] = output
        elif self._rows is not None:
            output, kept = output.clone(), self._kept[module]
            rows = output[self._rows]
            rows.copy_(kept.repeat(len(rows) // len(kept), *[1] * (kept.ndim - 1)))
        return output
