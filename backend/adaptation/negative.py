# SPDX-License-Identifier: GPL-3.0-or-later
"""The negative domain embedding (FashionR2R, equation 2): token vectors that mean a render.

    v_nd = argmin E |eps - eps*_theta(z_t, t, v)|^2

Only the vectors change. They stand in the prompt alone, without a template: with one, as many vectors as the
encoder has room for would be cut off at its end. They begin as the tokens of the empty prompt, so that training
starts where guidance has no effect, or of a prompt that is given.
"""

from __future__ import annotations

from collections.abc import Sequence

from jaxtyping import Float
from torch import Tensor, nn

from backend.translation.text import TextEncoder, domain_conditioning

from .bank import Bank
from .denoising import Denoiser, repeated
from .settings import Settings

STAGE = 1


def initial_vectors(encoders: Sequence[TextEncoder], prompt: str, vectors: int) -> dict[str, nn.Parameter]:
    """Vectors for each encoder, by its key: the embeddings of the prompt's tokens and of those that pad it.

    Args:
        vectors: How many; at most as many as an encoder has free slots.
    """
    begun = {}
    for encoder in encoders:
        tokens = encoder.tokenize(prompt)[0, 1 : 1 + min(vectors, encoder.free_slots)]
        table = encoder.encoder.get_input_embeddings().weight
        begun[encoder.key] = nn.Parameter(table[tokens].detach().clone())
    return begun


def negative_loss(
    denoiser: Denoiser,
    renders: Bank,
    encoders: Sequence[TextEncoder],
    vectors: dict[str, nn.Parameter],
    settings: Settings,
    number: int,
) -> Float[Tensor, ""]:
    """Loss of batch `number`."""
    batch = denoiser.draw(renders, settings.batch, number, settings.seed, STAGE)
    with denoiser.accelerator.autocast():
        text = domain_conditioning(encoders, vectors)
    return denoiser.losses(batch, repeated(text, settings.batch)).mean()
