# SPDX-License-Identifier: GPL-3.0-or-later
"""Between pictures and latents: encode (posterior mean) and decode, large pictures by windows.

z = (E(2 x - 1) - shift) * scale        x = (D(z / scale + shift) + 1) / 2
"""

from __future__ import annotations

from diffusers import AutoencoderKL, AutoencoderTiny
from jaxtyping import Float
from torch import Tensor

from .windows import Window, cover, evaluate

WHOLE_AREA = 160 * 160
"""Latent cells (1280 x 1280 pixels at factor 8) up to which the whole picture goes through at once."""
TILE_AREA = 64 * 64
"""The same where memory is short."""


class Autoencoder:
    """Either autoencoder that SD-format directories hold, behind one pair of functions.

    Args:
        module: The loaded network.

    Attributes:
        factor: Pixels along the side of a latent cell.
    """

    def __init__(self, module: AutoencoderKL | AutoencoderTiny) -> None:
        self._module = module
        self._scale = float(module.config.scaling_factor)
        self._shift = float(module.config.get("shift_factor") or 0.0)
        self.factor = 1 << (len(module.config.block_out_channels) - 1)

    @property
    def module(self) -> AutoencoderKL | AutoencoderTiny:
        """The network itself."""
        return self._module

    def encode(
        self, image: Float[Tensor, "1 3 height width"], area: int = WHOLE_AREA
    ) -> Float[Tensor, "1 channels rows columns"]:
        """Latents of a picture with values 0..1 whose sides are multiples of `factor`. No random draw.

        Args:
            area: Latent cells up to which it goes through at once.
        """
        rows, columns = image.shape[-2] // self.factor, image.shape[-1] // self.factor

        def encode_window(_index: int, window: Window) -> Tensor:
            output = self._module.encode((window.cut(image, self.factor) * 2 - 1).to(self._module.dtype))
            tiny = isinstance(self._module, AutoencoderTiny)
            latents: Tensor = output.latents if tiny else output.latent_dist.mode()
            return latents.float()

        return (evaluate(encode_window, _windows(rows, columns, area)) - self._shift) * self._scale

    def decode(
        self, latents: Float[Tensor, "1 channels rows columns"], area: int = WHOLE_AREA
    ) -> Float[Tensor, "1 3 height width"]:
        """Picture of latents, values clipped to 0..1. `area` as in `encode`."""
        latents = latents.float() / self._scale + self._shift

        def decode_window(_index: int, window: Window) -> Tensor:
            sample: Tensor = self._module.decode(window.cut(latents).to(self._module.dtype)).sample
            return sample.float()

        rows, columns = latents.shape[-2:]
        windows = _windows(rows, columns, area)
        return (evaluate(decode_window, windows, self.factor) / 2 + 0.5).clamp(0, 1)


def _windows(rows: int, columns: int, area: int) -> tuple[Window, ...]:
    return cover(rows, columns, area, tolerance=1.0, multiple=1)
