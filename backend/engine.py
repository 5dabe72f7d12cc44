# SPDX-License-Identifier: GPL-3.0-or-later
"""The engine: the translation on one device, with the model that was used last kept loaded.

Used in-process by `make-real convert` and by the worker. Importing this module loads no torch; making a
`TorchEngine` does.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Protocol

import numpy as np

from backend.models import InstalledModel
from protocol import ErrorCode, MakeRealError, PlaneName, Stage, TranslationRequest

if TYPE_CHECKING:
    from backend.translation import Translation, Translator

OnProgress = Callable[[Stage, int, int], None]
"""Called with a stage, its complete steps and its steps in all."""


class Engine(Protocol):
    """What the worker needs of a translation."""

    device: str
    """The device in words."""
    devices: tuple[str, ...]
    """Every device that there is, in words that begin with its name."""

    def translate(
        self,
        model: InstalledModel,
        request: TranslationRequest,
        planes: Mapping[PlaneName, np.ndarray],
        on_progress: OnProgress,
        is_cancelled: Callable[[], bool],
    ) -> Translation:
        """Translate a picture; see `backend.translation.Translator.translate` for shapes and errors."""
        ...

    def translate_batch(
        self,
        model: InstalledModel,
        request: TranslationRequest,
        batch: Sequence[Mapping[PlaneName, np.ndarray]],
        on_progress: OnProgress,
        is_cancelled: Callable[[], bool],
    ) -> list[Translation]:
        """Translate pictures of one size in the same passes of the network."""
        ...

    def prepare(self) -> bool:
        """Do one part of what makes later pictures faster; returns whether more is left. Takes up to a minute."""
        ...


class TorchEngine:
    """The real one.

    Args:
        device: `auto` (CUDA where there is one, else the CPU), `cpu`, `cuda` or `cuda:<n>`.

    Raises:
        MakeRealError: INSTALLATION_BROKEN when a package is missing; INVALID_REQUEST when there is no such
            device.
    """

    def __init__(self, device: str = "auto") -> None:
        # The libraries shall neither ask the network nor run code that came with a model.
        os.environ.update(HF_HUB_OFFLINE="1", DIFFUSERS_DISABLE_REMOTE_CODE="true")
        try:
            import torch

            from backend.translation import Translator
        except (ImportError, OSError) as error:
            raise MakeRealError(ErrorCode.INSTALLATION_BROKEN, str(error)) from error
        self._load = Translator.load
        self._device = resolve_device(device)
        self._loaded: tuple[InstalledModel, Translator] | None = None
        cuda = (f"cuda:{number}" for number in range(torch.cuda.device_count()))
        self.devices = ("cpu", *(f"{name} {torch.cuda.get_device_name(name)}"[:255] for name in cuda))
        self.device = next(words for words in self.devices if words.split()[0] == self._device)

    def translate(
        self,
        model: InstalledModel,
        request: TranslationRequest,
        planes: Mapping[PlaneName, np.ndarray],
        on_progress: OnProgress,
        is_cancelled: Callable[[], bool],
    ) -> Translation:
        """Translate a picture, loading the model first where it is not the one that was used last."""
        (translation,) = self.translate_batch(model, request, [planes], on_progress, is_cancelled)
        return translation

    def translate_batch(
        self,
        model: InstalledModel,
        request: TranslationRequest,
        batch: Sequence[Mapping[PlaneName, np.ndarray]],
        on_progress: OnProgress,
        is_cancelled: Callable[[], bool],
    ) -> list[Translation]:
        """The same for pictures of one size."""
        on_progress(Stage.LOADING, 0, 1)
        if self._loaded is None or self._loaded[0] != model:
            # The old one goes first: two need not fit.
            self._loaded = None
            self._loaded = (model, self._load(model.base, self._device, model.domain))
        on_progress(Stage.LOADING, 1, 1)
        return self._loaded[1].translate_batch(
            request, batch, on_progress=on_progress, is_cancelled=is_cancelled
        )

    def prepare(self) -> bool:
        """Compile and record the next kind of pass for the sizes seen so far; on the CPU there is none."""
        return self._loaded is not None and self._loaded[1].prepare()


def resolve_device(device: str) -> str:
    """Torch's name of a device that exists: `cpu` or `cuda:<n>`.

    Raises:
        MakeRealError: INVALID_REQUEST when there is none of that name.
    """
    import torch

    if device == "cpu" or (device == "auto" and not torch.cuda.is_available()):
        return "cpu"
    kind, _, index = "cuda:0".partition(":") if device == "auto" else device.partition(":")
    number = int(index) if index.isdecimal() else 0
    if kind != "cuda" or (index and not index.isdecimal()):
        raise MakeRealError(
            ErrorCode.INVALID_REQUEST, f"device must be auto, cpu, cuda or cuda:<n>, not {device!r}"
        )
    if number >= torch.cuda.device_count():
        raise MakeRealError(
            ErrorCode.INVALID_REQUEST,
            f"device {device!r}: torch sees {torch.cuda.device_count()} CUDA devices",
        )
    return f"cuda:{number}"
