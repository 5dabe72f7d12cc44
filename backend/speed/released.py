# SPDX-License-Identifier: GPL-3.0-or-later
"""The work of the released code (FashionR2R, arXiv 2410.14429), pass for pass, to be timed beside ours.

Inversion passes the empty prompt twice a step for a guidance that does nothing; denoising passes source and result
under both texts, and the result's queries and keys are the source's in the empty prompt's half. Memory-efficient
attention stands in for xFormers, which does the same. What it computes of the picture is judged elsewhere
(`backend.evaluation`); loading, offloading and files are left out of the time.
"""

from __future__ import annotations

from typing import Any

import torch
from diffusers.models.attention_processor import Attention
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention

from backend.translation.attention import project_heads, shallow_self_attention
from backend.translation.model import Model
from backend.translation.schedule import count_steps, ddim, leading_walk

STEPS, STRENGTH, TEXTURE_STEPS, GUIDANCE_SCALE = 50, 0.3, 0.9, 7.5
"""Defaults of the released code."""

PASSES = 15 * 2 + 15 * 4
"""Pictures that go through the network."""


class SourceAttention:
    """Self-attention in a batch of [source, result] under the negative text, then under the empty one."""

    is_on = False

    def __call__(
        self,
        attn: Attention,
        hidden_states: Float[Tensor, "batch tokens channels"],
        encoder_hidden_states: None = None,
        attention_mask: None = None,
        temb: None = None,
    ) -> Float[Tensor, "batch tokens channels"]:
        query, key, value = project_heads(attn, hidden_states)
        if self.is_on:
            query, key = (torch.cat([each[:3], each[2:3]]) for each in (query, key))
        attended = scaled_dot_product_attention(query, key, value)
        output: Tensor = attn.to_out[0](attended.transpose(1, 2).flatten(-2))
        return output


@torch.inference_mode()
def translate_as_released(
    model: Model, image: Float[Tensor, "1 3 height width"]
) -> Float[Tensor, "1 3 height width"]:
    """Encode, invert, denoise and decode; whole pictures only."""
    assert model.negative is not None
    walk = leading_walk(model.alphas_cumprod, STEPS, count_steps(STRENGTH, STEPS))
    n, t, a = walk.steps, walk.timesteps, walk.alphas
    latents = model.autoencoder.encode(image).to(model.latents_dtype)
    source = [latents]
    for i in range(n, 0, -1):
        noise, _same = model.predict_noise(source[-1], t[i], model.empty, model.empty).chunk(2)
        source.append(ddim(source[-1], noise, a[i - 1], a[i]))
    layers = [attn for attn, _ in shallow_self_attention(model.unet)]
    originals: list[Any] = [attn.processor for attn in layers]
    attention = SourceAttention()
    for attn in layers:
        attn.set_processor(attention)
    x = source[n]
    for done, i in enumerate(range(n, 0, -1)):
        attention.is_on = done < count_steps(TEXTURE_STEPS, n)
        batch = torch.cat([source[i], x])
        predicted = model.predict_noise(batch, t[i], model.negative, model.empty)
        negative, empty = predicted[1::2].split(1)
        x = ddim(x, negative + GUIDANCE_SCALE * (empty - negative), a[i], a[i - 1])
    for attn, original in zip(layers, originals, strict=True):
        attn.set_processor(original)
    return model.autoencoder.decode(x)
