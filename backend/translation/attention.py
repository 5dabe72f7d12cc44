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
  here, so every denoising pass is the same to a compiler. Features and gates lie in memory that does not move,
  so a recorded pass (a CUDA graph) finds them too.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import Enum, auto
from types import TracebackType
from typing import Any, TypeAlias

import torch
from diffusers import UNet2DConditionModel
from diffusers.models.attention_processor import Attention
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention

from .filters import resize_by_area

SHALLOW_FACTOR = 2
"""Latent cells along the side of a shallow layer's token, at most: the paper's f > F, tokens >= H W / 256."""


class Mode(Enum):
    """What a controlled layer does with its queries and keys."""

    CAPTURE = auto()
    LOCK = auto()


Features: TypeAlias = list[tuple[Tensor, Tensor]]
"""Queries and keys of every controlled layer, as one source pass left them."""


@dataclass(frozen=True)
class LayerMemory:
    """Where a layer's features and gate lie.

    Args:
        query, key: Features of the source, shape `pictures heads tokens head_channels`.
        gate: Their share in the mixture, 0..1, shape `pictures 1 tokens 1`.
    """

    query: Tensor
    key: Tensor
    gate: Tensor


class ControlledAttention:
    """Self-attention that copies its queries and keys out, or mixes captured ones in.

    A locked batch holds all pictures under one text, then all under the next.
    """

    mode: Mode
    memory: LayerMemory

    def __call__(
        self,
        attn: Attention,
        hidden_states: Float[Tensor, "batch tokens channels"],
        encoder_hidden_states: None = None,
        attention_mask: None = None,
        temb: None = None,
    ) -> Float[Tensor, "batch tokens channels"]:
        query, key, value = project_heads(attn, hidden_states)
        if self.mode is Mode.CAPTURE:
            self.memory.query.copy_(query)
            self.memory.key.copy_(key)
        else:
            query = _mix(query, self.memory.query, self.memory.gate)
            key = _mix(key, self.memory.key, self.memory.gate)
        attended = scaled_dot_product_attention(query, key, value)
        output: Tensor = attn.to_out[0](attended.transpose(1, 2).flatten(-2))
        return output


def project_heads(
    attn: Attention, hidden_states: Float[Tensor, "batch tokens channels"]
) -> tuple[Tensor, Tensor, Tensor]:
    """Queries, keys and values of self-attention, each (batch heads tokens channels)."""
    query, key, value = (
        project(hidden_states).unflatten(-1, (attn.heads, -1)).transpose(1, 2)
        for project in (attn.to_q, attn.to_k, attn.to_v)
    )
    return query, key, value


def _mix(own: Tensor, captured: Tensor, gate: Tensor) -> Tensor:
    """The captured features are one text's; every text of the batch takes them."""
    texts = own.unflatten(0, (-1, len(captured)))
    return torch.lerp(texts, captured, gate).flatten(0, 1)


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
    """The controlled layers of a network, and the switch between capturing and locking.

    Use as a context: inside, the network's shallow layers are controlled; after it the network is as it was.
    """

    def __init__(self, unet: UNet2DConditionModel) -> None:
        self._layers = list(shallow_self_attention(unet))
        self._processors = [ControlledAttention() for _ in self._layers]
        self._originals: list[Any] = []

    def inject(self) -> None:
        """Replace the layers' attention processors."""
        self._originals = [attn.processor for attn, _ in self._layers]
        for (attn, _), processor in zip(self._layers, self._processors, strict=True):
            attn.set_processor(processor)

    def eject(self) -> None:
        """Put the layers' own processors back."""
        for (attn, _), original in zip(self._layers, self._originals, strict=True):
            attn.set_processor(original)
        self._originals = []

    def __enter__(self) -> TextureControl:
        self.inject()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.eject()

    def feature_bytes(self, rows: int, columns: int) -> int:
        """Bytes of the features of one picture in a window of `rows` x `columns` latent cells."""
        return sum(
            2 * attn.inner_dim * _tokens(rows, columns, factor) * attn.to_q.weight.element_size()
            for attn, factor in self._layers
        )

    def allocate(self, pictures: int, rows: int, columns: int, device: torch.device) -> list[LayerMemory]:
        """Memory for passes over windows of this size; features and gates are 0.

        Args:
            device: Where the passes will be made; the network may wait elsewhere.
        """
        memory = []
        for attn, factor in self._layers:
            tokens = _tokens(rows, columns, factor)
            shape = (pictures, attn.heads, tokens, attn.inner_dim // attn.heads)
            query, key, gate = (
                torch.zeros(each, dtype=attn.to_q.weight.dtype, device=device)
                for each in (shape, shape, (pictures, 1, tokens, 1))
            )
            memory.append(LayerMemory(query, key, gate))
        return memory

    def switch(self, mode: Mode, memory: Sequence[LayerMemory]) -> None:
        """The next passes capture into `memory`, or mix in what it holds."""
        for processor, layer in zip(self._processors, memory, strict=True):
            processor.mode, processor.memory = mode, layer

    def gates(
        self, mask: Float[Tensor, "pictures 1 height width"], amount: float
    ) -> list[Float[Tensor, "pictures 1 tokens 1"]]:
        """One gate a layer: the garment's coverage of each token, times `amount`.

        Args:
            mask: Coverage of the garment in a window's latent cells, 0..1.
            amount: Step schedule times the request's amount, 0..1.
        """
        height, width = mask.shape[-2:]
        return [
            (resize_by_area(mask, height // factor, width // factor) * amount)
            .reshape(len(mask), 1, -1, 1)
            .to(attn.to_q.weight.dtype)
            for attn, factor in self._layers
        ]


def _tokens(rows: int, columns: int, factor: int) -> int:
    return (rows // factor) * (columns // factor)
