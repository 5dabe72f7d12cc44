# SPDX-License-Identifier: GPL-3.0-or-later
"""Grain that smooth cloth hides: what the network draws there stays as faint as real cloth's.

To the network a photo's cloth has a texture. What it draws in a weave or a knit is the yarn, and is not seen as new. On
satin, jersey or leather it is: a contrast shows where no other hides it (visual masking), and while a little of it is
cloth, more is fleece, another material.

Let s be the render and o the output, both without what is coarser than `SIGMA`. What the network drew itself, n, is
what the render does not explain of it. The render's own pattern may fade, as its noise does; what makes it stronger
than it was counts as drawn:

    o = alpha s + n            alpha = <o, s> / <s, s>,   0 <= alpha <= 1

Around each pixel n stays below a floor and a share of the render's own contrast, as firmly as the texture is held:

    out <- out - lock (1 - min(1, (FLOOR + SHARE rms(s)) / rms(n))) n
"""

from __future__ import annotations

from jaxtyping import Float
from torch import Tensor

from .filters import gaussian_blur, local_product, slope

SIGMA = 4.0
"""Pixels up to which structure is texture; half a latent cell of an f8 autoencoder."""
AROUND = 2 * SIGMA
"""Width in pixels of a neighbourhood."""
FLOOR = 1.5 / 255
"""Root mean square of the grain that looks natural on the smoothest cloth; at three times as much it is terry."""
SHARE = 0.3
"""Part of the render's own contrast that it hides."""
TINY = 1e-12


def hide_grain(
    output: Float[Tensor, "1 3 height width"],
    render: Float[Tensor, "1 3 height width"],
    lock: Float[Tensor, "1 1 height width"],
) -> Float[Tensor, "1 3 height width"]:
    """The output with less of what was drawn where it would show.

    Args:
        output, render: Display-referred sRGB, 0..1.
        lock: How firmly the texture is held at each pixel, 0..1.
    """
    fine, own = (image - gaussian_blur(image, SIGMA) for image in (output, render))
    energy = local_product(own, own, AROUND)
    drawn = fine - slope(local_product(fine, own, AROUND), energy).clamp(0, 1) * own
    hidden = (FLOOR + SHARE * _rms(energy)) / _rms(local_product(drawn, drawn, AROUND))
    return output - lock * (1 - hidden.clamp(max=1)) * drawn


def _rms(energy: Float[Tensor, "1 1 height width"]) -> Float[Tensor, "1 1 height width"]:
    """Root mean square around each pixel, of the three channels."""
    return (energy / 3).clamp_min(TINY).sqrt()
