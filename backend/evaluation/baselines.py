# SPDX-License-Identifier: GPL-3.0-or-later
"""What ours is compared with: latents in, latents out, on the same weights and the same schedule.

- `sdedit`: noise and denoise, nothing else (Meng et al., arXiv 2108.01073).
- `plug_and_play`: DDIM inversion, then denoising towards a style prompt with the render's own features and
  self-attention in the decoder, in both halves of the guidance batch (Tumanyan et al., arXiv 2211.12572; settings
  and layers of its public code). Begun at the common strength, as all methods here, not at pure noise.
- `released`: FashionR2R (arXiv 2410.14429) as its public code does it, with that code's two peculiarities: the
  inversion visits the timesteps from the noisiest to the cleanest, and queries and keys are put into the empty
  prompt's half of the guidance batch alone. Its stretching of every picture to 768 x 1024 and its JPEG files are
  left out: they would only make it look worse.
- `released_inversion_fixed`: the same with the timesteps of the inversion in their order.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

import torch
from diffusers import UNet2DConditionModel
from diffusers.models.attention_processor import Attention
from jaxtyping import Float
from torch import Tensor, nn

from backend.translation.attention import shallow_self_attention
from backend.translation.model import Model
from backend.translation.schedule import Walk, count_steps, ddim
from backend.translation.text import Conditioning

from .injection import Injection

GUIDANCE_SCALE = 7.5
"""Default of the released code, and of plug-and-play."""
RELEASED_STEPS, RELEASED_STRENGTH, RELEASED_TEXTURE_STEPS = 50, 0.3, 0.9
FEATURE_STEPS, ATTENTION_STEPS = 0.8, 0.5
"""Parts of the denoising under plug-and-play's two injections."""

Latents = Float[Tensor, "pictures channels rows columns"]


def sdedit(model: Model, render: Latents, walk: Walk, seed: int) -> Latents:
    """Noise the render's latents to the last node of the walk, and denoise them with the empty prompt.

    Every picture gets the same noise, so that it does not matter which pictures are together in a batch.
    """
    generator = torch.Generator().manual_seed(seed)
    noise = torch.randn(render.shape[1:], generator=generator).to(render)
    n, t, a = walk.steps, walk.timesteps, walk.alphas
    x = math.sqrt(a[n]) * render + math.sqrt(1 - a[n]) * noise
    for i in range(n, 0, -1):
        x = ddim(x, model.predict_noise(x, t[i], model.empty), a[i], a[i - 1])
    return x


def plug_and_play(
    model: Model, render: Latents, walk: Walk, wanted: Conditioning, unwanted: Conditioning
) -> Latents:
    """Denoise towards one prompt and away from another under the render's decoder features.

    Args:
        wanted, unwanted: Conditioning of the style prompts.
    """
    n, t, a = walk.steps, walk.timesteps, walk.alphas
    source = invert(model, render, walk)
    feature, attention = _decoder_feature(model.unet), _projections(_decoder_attention(model.unet))
    with Injection([feature]) as features, Injection(attention) as maps:
        x = source[n]
        for done, i in enumerate(range(n, 0, -1)):
            under_control = [
                (features, done < count_steps(FEATURE_STEPS, n)),
                (maps, done < count_steps(ATTENTION_STEPS, n)),
            ]
            for injection, _ in under_control:
                injection.keep()
            model.predict_noise(source[i], t[i], model.empty)
            for injection, active in under_control:
                injection.put(slice(None)) if active else injection.rest()
            toward, away = model.predict_noise(x, t[i], wanted, unwanted).chunk(2)
            x = ddim(x, away + GUIDANCE_SCALE * (toward - away), a[i], a[i - 1])
    return x


def released(model: Model, render: Latents, walk: Walk, *, descending: bool) -> Latents:
    """The released code of FashionR2R.

    Args:
        descending: Invert from the noisiest timestep to the cleanest, as released.

    Raises:
        ValueError: The model has no negative embedding.
    """
    if model.negative is None:
        raise ValueError(
            f"the model {model.name} has no negative embedding, which the released procedure needs"
        )
    n, t, a = walk.steps, walk.timesteps, walk.alphas
    source = invert(model, render, walk, descending=descending)
    layers = _projections(layer for layer, _ in shallow_self_attention(model.unet))
    with Injection(layers) as maps:
        x = source[n]
        for done, i in enumerate(range(n, 0, -1)):
            if done < count_steps(RELEASED_TEXTURE_STEPS, n):
                maps.keep()
                model.predict_noise(source[i], t[i], model.empty)
                maps.put(slice(len(render)))
            else:
                maps.rest()
            empty, negative = model.predict_noise(x, t[i], model.empty, model.negative).chunk(2)
            x = ddim(x, negative + GUIDANCE_SCALE * (empty - negative), a[i], a[i - 1])
    return x


def invert(model: Model, render: Latents, walk: Walk, *, descending: bool = False) -> list[Latents]:
    """DDIM inversion as in MasaCtrl's code: a step from node i - 1 to node i with eps(x, t_i).

    Args:
        descending: Take the nodes from the last to the first, each step still with its own two noise levels.

    Returns:
        The latents after 0..n steps.
    """
    nodes = range(1, walk.steps + 1)
    latents = [render]
    for i in reversed(nodes) if descending else nodes:
        noise = model.predict_noise(latents[-1], walk.timesteps[i], model.empty)
        latents.append(ddim(latents[-1], noise, walk.alphas[i - 1], walk.alphas[i]))
    return latents


def _projections(layers: Iterator[Attention]) -> list[nn.Module]:
    """What makes the queries and keys of attention layers."""
    return [projection for layer in layers for projection in (layer.to_q, layer.to_k)]


def _decoder_feature(unet: UNet2DConditionModel) -> nn.Module:
    """Plug-and-play's layer 4: what the second residual block of the decoder's second level adds."""
    feature: nn.Module = unet.up_blocks[1].resnets[1].conv2
    return feature


def _decoder_attention(unet: UNet2DConditionModel) -> Iterator[Attention]:
    """Self-attention of the decoder from that layer on."""
    for name, module in unet.up_blocks.named_modules():
        early = name.startswith(("0.", "1.attentions.0."))
        if isinstance(module, Attention) and name.endswith(".attn1") and not early:
            yield module
