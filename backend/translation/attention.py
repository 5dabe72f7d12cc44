# SPDX-License-Identifier: GPL-3.0-or-later
"""Texture-preserving attention control (TAC; FashionR2R, arXiv 2410.14429, section 3.3).

The shallow self-attention layers of the network see where one thread of a pattern looks at another. While the
render is inverted their queries and keys are captured; while the real picture is denoised they take the place
of its own, the values staying its own:

    (Q^, K^) = lerp((Q, K), (Q_cg, K_cg), gate)        attention = softmax(Q^ K^T / sqrt(d)) V
    gate     = step schedule x garment mask x amount

Three differences from the released code, each for a reason:

- the source branch is not computed again: the inversion evaluates the network at the same (z_i, t_i), so its
  own features are the source branch's, exactly;
- both halves of the guidance batch are controlled, so that they differ by the domain and not by the maps;
- the gate is a tensor, one per layer and always of the same shape: no counter and no branch on the step lives
  here, so every denoising pass is the same to a compiler.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from enum import Enum, auto
from types import TracebackType
from typing import Any

import torch
from diffusers import UNet2DConditionModel
from diffusers.models.attention_processor import Attention
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention

from .filters import resize_by_area
from .windows import Window

SHALLOW_FACTOR = 2
"""Latent cells along the side of a shallow layer's token, at most: the paper's f > F, tokens >= H W / 256."""


class Mode(Enum):
    """What a controlled layer does with its queries and keys."""

    OWN = auto()
    CAPTURE = auto()
    LOCK = auto()


class ControlledAttention:
    """Self-attention that can copy its queries and keys out, or mix captured ones in.

    Attributes:
        query, key: The captured features of one pass, shape `1 heads tokens head_channels`.
        gate: Share of the captured features, 0..1, shape `1 1 tokens 1`.
    """

    def __init__(self) -> None:
        self.mode = Mode.OWN
        self.query = torch.empty(0)
        self.key = torch.empty(0)
        self.gate = torch.empty(0)

    def __call__(
        self,
        attn: Attention,
        hidden_states: Float[Tensor, "batch tokens channels"],
        encoder_hidden_states: None = None,
        attention_mask: None = None,
        temb: None = None,
    ) -> Float[Tensor, "batch tokens channels"]:
        query, key, value = (
            project(hidden_states).unflatten(-1, (attn.heads, -1)).transpose(1, 2)
            for project in (attn.to_q, attn.to_k, attn.to_v)
        )
        if self.mode is Mode.CAPTURE:
            self.query.copy_(query)
            self.key.copy_(key)
        elif self.mode is Mode.LOCK:
            query = torch.lerp(query, self.query, self.gate)
            key = torch.lerp(key, self.key, self.gate)
        attended = scaled_dot_product_attention(query, key, value)
        output: Tensor = attn.to_out[0](attended.transpose(1, 2).flatten(-2))
        return output


def shallow_self_attention(unet: UNet2DConditionModel) -> Iterator[tuple[Attention, int]]:
    """Self-attention at the two highest resolutions, with the latent cells along the side of a token."""
    levels = len(unet.config.block_out_channels)
    factors = {f"down_blocks.{i}.": 2**i for i in range(levels)}
    factors |= {f"up_blocks.{i}.": 2 ** (levels - 1 - i) for i in range(levels)}
    factors |= {"mid_block.": 2 ** (levels - 1)}
    for name, module in unet.named_modules():
        if isinstance(module, Attention) and name.endswith(".attn1"):
            factor = next(factor for prefix, factor in factors.items() if name.startswith(prefix))
            if factor <= SHALLOW_FACTOR:
                yield module, factor


class TextureControl:
    """Captured features of all shallow layers, and the switch that puts them to use.

    Use as a context: inside, the network's shallow layers are controlled; after it the network is as it was.
    Features are kept in slots, allocated once; a slot holds what one pass over one window captured.
    """

    def __init__(self, unet: UNet2DConditionModel) -> None:
        self._layers = list(shallow_self_attention(unet))
        self._processors = [ControlledAttention() for _ in self._layers]
        self._originals: list[Any] = []
        self._slots: list[tuple[Tensor, Tensor]] = []

    def inject(self) -> None:
        """Replace the layers' attention processors."""
        self._originals = [attn.processor for attn, _ in self._layers]
        for (attn, _), processor in zip(self._layers, self._processors, strict=True):
            attn.set_processor(processor)

    def eject(self) -> None:
        """Put the layers' own processors back and drop the captured features."""
        for (attn, _), original in zip(self._layers, self._originals, strict=True):
            attn.set_processor(original)
        self._originals = []
        self._slots = []
        self.release()

    def __enter__(self) -> TextureControl:
        self.inject()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.eject()

    def feature_bytes(self, window: Window) -> int:
        """Bytes of one slot for windows of this size."""
        return sum(
            2 * attn.inner_dim * _tokens(window, factor) * attn.to_q.weight.element_size()
            for attn, factor in self._layers
        )

    def allocate(self, slots: int, window: Window) -> None:
        """Make room for `slots` passes over windows of this size."""
        self._slots = []
        for attn, factor in self._layers:
            shape = (slots, 1, attn.heads, _tokens(window, factor), attn.inner_dim // attn.heads)
            weight = attn.to_q.weight
            self._slots.append((weight.new_zeros(shape), weight.new_zeros(shape)))

    def gates(
        self, mask: Float[Tensor, "1 1 height width"], amount: float
    ) -> list[Float[Tensor, "1 1 tokens 1"]]:
        """One gate a layer: the garment's coverage of each token, times `amount`.

        Args:
            mask: Coverage of the garment in a window's latent cells, 0..1.
            amount: Step schedule times the request's amount, 0..1.
        """
        height, width = mask.shape[-2:]
        return [
            (resize_by_area(mask, height // factor, width // factor) * amount)
            .reshape(1, 1, -1, 1)
            .to(attn.to_q.weight.dtype)
            for attn, factor in self._layers
        ]

    def capture(self, slot: int) -> None:
        """The next passes, of batch 1, leave their queries and keys in `slot`."""
        self._use(slot, Mode.CAPTURE)

    def lock(self, slot: int, gates: Sequence[Float[Tensor, "1 1 tokens 1"]]) -> None:
        """The next passes, of any batch, mix the features of `slot` in."""
        self._use(slot, Mode.LOCK)
        for processor, gate in zip(self._processors, gates, strict=True):
            processor.gate = gate

    def release(self) -> None:
        """The next passes use their own queries and keys."""
        for processor in self._processors:
            processor.mode = Mode.OWN

    def _use(self, slot: int, mode: Mode) -> None:
        for processor, (query, key) in zip(self._processors, self._slots, strict=True):
            processor.mode, processor.query, processor.key = mode, query[slot], key[slot]


def _tokens(window: Window, factor: int) -> int:
    return (window.height // factor) * (window.width // factor)
