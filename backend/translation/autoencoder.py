# SPDX-License-Identifier: GPL-3.0-or-later
"""Between pictures and latents: encode (posterior mean) and decode, large pictures by windows.

z = (E(2 x - 1) - shift) * scale        x = (D(z / scale + shift) + 1) / 2
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from diffusers import AutoencoderKL, AutoencoderTiny
from diffusers.models.attention_processor import Attention
from jaxtyping import Float
from torch import Tensor

from .attention import project_heads
from .fast import compiled
from .windows import Window, cover, evaluate

WHOLE_AREA = 160 * 160
"""Latent cells (1280 x 1280 pixels at factor 8) up to which the whole picture goes through at once."""
TILE_AREA = 64 * 64
"""The same where memory is short."""

SCORES = 1 << 25
"""Scores of queries and keys that the attention computes at once: 64 MiB in 16 bits."""

Coding = Callable[[Tensor], Tensor]


class WideAttention:
    """Self-attention between all cells, in one head of 512 channels, by `attend_widely`."""

    def __call__(
        self,
        attn: Attention,
        hidden_states: Float[Tensor, "batch channels rows columns"],
        encoder_hidden_states: None = None,
        attention_mask: None = None,
        temb: None = None,
    ) -> Float[Tensor, "batch channels rows columns"]:
        cells = attn.group_norm(hidden_states.flatten(2)).mT
        query, key, value = project_heads(attn, cells)
        attended = attend_widely(query, key, value)
        output: Tensor = attn.to_out[0](attended.transpose(1, 2).flatten(-2))
        changed: Tensor = hidden_states + output.mT.unflatten(-1, hidden_states.shape[-2:])
        return changed / float(attn.rescale_output_factor)


def attend_widely(
    query: Float[Tensor, "batch heads tokens channels"],
    key: Float[Tensor, "batch heads tokens channels"],
    value: Float[Tensor, "batch heads tokens channels"],
) -> Float[Tensor, "batch heads tokens channels"]:
    """Attention for wide heads, by plain products; a part of the queries at a time, so that the scores stay small.

    The fused kernels are made for up to 256 channels; the one that takes more is slower than products of matrices.
    """
    parts = (query * query.shape[-1] ** -0.5).split(max(1, SCORES // key.shape[-2]), dim=-2)
    return torch.cat([(part @ key.mT).softmax(-1) @ value for part in parts], -2)


class Autoencoder:
    """Either autoencoder that SD-format directories hold, behind one pair of functions.

    Args:
        module: The loaded network.

    Attributes:
        factor: Pixels along the side of a latent cell.
    """

    def __init__(self, module: AutoencoderKL | AutoencoderTiny) -> None:
        self._module = module
        for each in module.modules():
            if isinstance(each, Attention):
                each.set_processor(WideAttention())
        self._scale = float(module.config.scaling_factor)
        self._shift = float(module.config.get("shift_factor") or 0.0)
        self._fast: dict[tuple[int, int], tuple[Coding, Coding]] = {}
        self.factor = 1 << (len(module.config.block_out_channels) - 1)

    @property
    def module(self) -> AutoencoderKL | AutoencoderTiny:
        """The network itself."""
        return self._module

    def encode(
        self, image: Float[Tensor, "1 3 height width"], area: int = WHOLE_AREA, fast: bool = False
    ) -> Float[Tensor, "1 channels rows columns"]:
        """Latents of a picture with values 0..1 whose sides are multiples of `factor`. No random draw.

        Args:
            area: Latent cells up to which it goes through at once.
            fast: Whether by what was prepared.
        """
        rows, columns = image.shape[-2] // self.factor, image.shape[-1] // self.factor
        windows = _windows(rows, columns, area)
        encode, _ = self._ways(windows[0], fast)

        def encode_window(_index: int, window: Window) -> Tensor:
            return encode(self._as_input(window.cut(image, self.factor) * 2 - 1)).float()

        return (evaluate(encode_window, windows) - self._shift) * self._scale

    def decode(
        self, latents: Float[Tensor, "1 channels rows columns"], area: int = WHOLE_AREA, fast: bool = False
    ) -> Float[Tensor, "1 3 height width"]:
        """Picture of latents, values clipped to 0..1. `area` and `fast` as in `encode`."""
        latents = latents.float() / self._scale + self._shift
        rows, columns = latents.shape[-2:]
        windows = _windows(rows, columns, area)
        _, decode = self._ways(windows[0], fast)

        def decode_window(_index: int, window: Window) -> Tensor:
            return decode(self._as_input(window.cut(latents))).float()

        return (evaluate(decode_window, windows, self.factor) / 2 + 0.5).clamp(0, 1)

    def is_fast(self, rows: int, columns: int) -> bool:
        """Whether windows of this size were prepared."""
        return (rows, columns) in self._fast

    def prepare(self, rows: int, columns: int) -> None:
        """Compile both ways for windows of `rows` x `columns` latent cells; takes up to a minute."""
        encode, decode = compiled(self._encode), compiled(self._decode)
        device, channels = next(self._module.parameters()).device, int(self._module.config.latent_channels)
        encode(self._as_input(torch.zeros(1, 3, rows * self.factor, columns * self.factor, device=device)))
        decode(self._as_input(torch.zeros(1, channels, rows, columns, device=device)))
        self._fast[rows, columns] = encode, decode

    def _ways(self, window: Window, fast: bool) -> tuple[Coding, Coding]:
        """There and back."""
        return self._fast[window.height, window.width] if fast else (self._encode, self._decode)

    def _encode(self, image: Float[Tensor, "1 3 height width"]) -> Float[Tensor, "1 channels rows columns"]:
        output = self._module.encode(image)
        tiny = isinstance(self._module, AutoencoderTiny)
        latents: Tensor = output.latents if tiny else output.latent_dist.mode()
        return latents

    def _decode(self, latents: Float[Tensor, "1 channels rows columns"]) -> Float[Tensor, "1 3 height width"]:
        sample: Tensor = self._module.decode(latents).sample
        return sample

    def _as_input(self, plane: Float[Tensor, "1 channels height width"]) -> Tensor:
        return plane.to(next(self._module.parameters()).dtype, memory_format=torch.channels_last)


def window_size(rows: int, columns: int, area: int) -> tuple[int, int]:
    """Rows and columns of the windows in which a picture of `rows` x `columns` latent cells is coded."""
    window = _windows(rows, columns, area)[0]
    return window.height, window.width


def _windows(rows: int, columns: int, area: int) -> tuple[Window, ...]:
    return cover(rows, columns, area, tolerance=1.0, multiple=1)
