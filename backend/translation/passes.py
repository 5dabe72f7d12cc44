# SPDX-License-Identifier: GPL-3.0-or-later
"""The network's two kinds of pass over equal windows of a batch, and the memory that they share.

source   the inverted latents under the empty prompt; queries and keys are captured
real     the denoised latents under one or two texts; captured queries and keys are mixed in

With the autoencoder's way there and back they are what the fast path makes faster.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from .attention import Features, Mode, TextureControl
from .fast import Replay, record
from .model import Model
from .text import Conditioning


class Passes:
    """Passes over `pictures` windows of `rows` x `columns` latent cells.

    Args:
        model: Its network is controlled by `control` while passes are made.
        control: Injected into the network.
        pictures: Pictures in a batch.

    Attributes:
        feature_bytes: Bytes of the features of one source pass.
    """

    def __init__(self, model: Model, control: TextureControl, pictures: int, rows: int, columns: int) -> None:
        self._model = model
        self._control = control
        self._shape = (pictures, rows, columns)
        self._coded: set[tuple[int, int]] = set()
        self._fast = False
        self._memory = control.allocate(pictures, rows, columns, model.device)
        self._told: dict[int, dict[str, Any]] = {}
        self._replays: dict[tuple[Mode, int], Replay] = {}
        self.feature_bytes = pictures * control.feature_bytes(rows, columns)

    def source(
        self, latents: Float[Tensor, "pictures channels rows columns"], timestep: int
    ) -> Float[Tensor, "pictures channels rows columns"]:
        """eps(z, t) under the empty prompt; afterwards `captured` has the features."""
        return self._pass(Mode.CAPTURE, latents, timestep, (self._model.empty,))

    def real(
        self, latents: Float[Tensor, "pictures channels rows columns"], timestep: int, *texts: Conditioning
    ) -> Float[Tensor, "batch channels rows columns"]:
        """eps(x, t) under each of the texts, held by what `lock` said last."""
        return self._pass(Mode.LOCK, latents, timestep, texts)

    def captured(self) -> Features:
        """A copy of what the last source pass left."""
        return [(layer.query.clone(), layer.key.clone()) for layer in self._memory]

    def lock(
        self, gates: Sequence[Float[Tensor, "pictures 1 tokens 1"]], features: Features | None = None
    ) -> None:
        """The next real passes mix features in: these, else what the last source pass left."""
        for layer, gate in zip(self._memory, gates, strict=True):
            layer.gate.copy_(gate)
        for layer, (query, key) in zip(self._memory, features or (), strict=features is not None):
            layer.query.copy_(query)
            layer.key.copy_(key)

    def unlock(self) -> None:
        """The next real passes use their own queries and keys: the same computation with closed gates."""
        for layer in self._memory:
            layer.gate.zero_()

    def begin(self, coded: tuple[int, int]) -> bool:
        """Begin a translation; the fast path makes all of it or nothing.

        Args:
            coded: Rows and columns of the windows that the autoencoder will see.

        Returns:
            Whether both kinds of pass, the real one under two texts, and the autoencoder are prepared.
        """
        self._coded.add(coded)
        self._fast = not self._unrecorded() and self._model.autoencoder.is_fast(*coded)
        return self._fast

    @property
    def waiting(self) -> bool:
        """Whether there is something to prepare."""
        return bool(self._unrecorded() or self._uncompiled())

    def prepare(self) -> None:
        """Make one part fast, on CUDA. Takes seconds to a minute."""
        if missing := self._unrecorded():
            mode, texts = missing[0]
            self._replays[mode, len(texts)] = self._record(mode, texts)
        else:
            self._model.autoencoder.prepare(*self._uncompiled()[0])

    def _unrecorded(self) -> list[tuple[Mode, tuple[Conditioning, ...]]]:
        empty, negative = self._model.empty, self._model.negative or self._model.empty
        kinds = [(Mode.LOCK, (empty, negative)), (Mode.CAPTURE, (empty,))]
        return [(mode, texts) for mode, texts in kinds if (mode, len(texts)) not in self._replays]

    def _uncompiled(self) -> list[tuple[int, int]]:
        return [coded for coded in self._coded if not self._model.autoencoder.is_fast(*coded)]

    def _record(self, mode: Mode, texts: Sequence[Conditioning]) -> Replay:
        pictures, rows, columns = self._shape
        channels = int(self._model.unet.config.in_channels)
        latents = torch.zeros(
            pictures, channels, rows, columns, dtype=self._model.latents_dtype, device=self._model.device
        )
        self._control.switch(mode, self._memory)
        told = self._tell(texts)
        beside = next(iter(self._replays.values()), None)
        return record(lambda latents, timestep: self._model.run(latents, timestep, told), latents, beside)

    def _pass(
        self, mode: Mode, latents: Tensor, timestep: int, texts: Sequence[Conditioning]
    ) -> Float[Tensor, "batch channels rows columns"]:
        replay = self._replays.get((mode, len(texts)))
        if replay is not None and self._fast:
            predicted = replay(latents, timestep)
        else:
            self._control.switch(mode, self._memory)
            at = torch.full((), timestep, device=latents.device)
            predicted = self._model.run(latents, at, self._tell(texts))
        return self._model.as_noise(predicted, latents, timestep)

    def _tell(self, texts: Sequence[Conditioning]) -> dict[str, Any]:
        """The first text is the empty one, the second the domain's: their number says which they are."""
        if len(texts) not in self._told:
            self._told[len(texts)] = self._model.tell(texts, *self._shape)
        return self._told[len(texts)]
