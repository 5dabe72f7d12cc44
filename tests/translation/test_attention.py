# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from diffusers import UNet2DConditionModel
from direct_walk import EVERYTHING, walk_latents
from torch import Tensor

from backend.translation import Translator
from backend.translation.attention import Mode, TextureControl, shallow_self_attention
from backend.translation.guidance import guided_noise, hidden_contrast
from backend.translation.model import Model
from backend.translation.passes import Passes
from backend.translation.schedule import ddim, low_noise_walk, mean_noise
from protocol.request import TranslationRequest


def in_float64(model: Model) -> Model:
    """The same model with its network in float64; the caller's stays as it is."""
    unet = UNet2DConditionModel.from_config(model.unet.config).double().eval().requires_grad_(False)
    unet.load_state_dict(model.unet.state_dict())
    texts = [text.to(torch.device("cpu"), torch.float64) for text in (model.empty, model.negative) if text]
    return replace(model, unet=unet, empty=texts[0], negative=texts[1])


class SourceBranch:
    """The released code's way to control a layer: the source is in the batch and is computed at every step.

    The batch is [source, empty, negative]; the two others take the first's query and key, mixed by a gate. The
    attention is written out, to share nothing with the code under test.
    """

    def __init__(self, gate: Tensor) -> None:
        self.gate = gate

    def __call__(self, attn, hidden_states, encoder_hidden_states=None, attention_mask=None, temb=None):  # type: ignore[no-untyped-def]
        q, k, v = attn.to_q(hidden_states), attn.to_k(hidden_states), attn.to_v(hidden_states)
        gate = self.gate.flatten()[None, :, None]
        q = torch.cat([q[:1], q[1:] * (1 - gate) + q[:1] * gate])
        k = torch.cat([k[:1], k[1:] * (1 - gate) + k[:1] * gate])
        heads = []
        for query, key, value in zip(*(x.chunk(attn.heads, dim=-1) for x in (q, k, v)), strict=True):
            scores = query @ key.transpose(1, 2) / query.shape[-1] ** 0.5
            heads.append(scores.softmax(-1) @ value)
        return attn.to_out[0](torch.cat(heads, dim=-1))


def test_captured_features_equal_a_recomputed_source_branch(translators: dict[str, Translator]) -> None:
    """All of the algorithm in float64, against a plain version that recomputes the source at every step."""
    torch.manual_seed(0)
    model = in_float64(translators["sd15"].model)
    request = TranslationRequest(
        steps=10, garment_strength=0.5, rest_strength=0.5, guidance_scale=3.0, texture_lock=0.8
    )
    latents = torch.randn(1, 4, 16, 16, dtype=torch.float64)
    garment = torch.rand(1, 1, 16, 16, dtype=torch.float64)
    start = torch.full_like(garment, 5)
    expected = recompute(model, request, latents, garment)
    ours = {
        kept: walk_latents(Translator(model), request, latents, start, garment, 5, kept)
        for kept in (EVERYTHING, EVERYTHING >> 26, 0)
    }
    for kept, result in ours.items():
        assert (result - expected).abs().max() < 1e-8, f"{kept} bytes of features kept"
    uncontrolled = recompute(model, replace(request, texture_lock=0.0), latents, garment)
    assert (uncontrolled - expected).abs().max() > 1e-4, (
        "the control must matter for the comparison to mean anything"
    )


@pytest.mark.parametrize("family", ["sd15", "sdxl"])
def test_a_batch_is_its_pictures(translators: dict[str, Translator], family: str) -> None:
    """In float64: latents, starts and garments that differ, through the same passes and through their own."""
    torch.manual_seed(0)
    translator = Translator(in_float64(translators[family].model))
    request = TranslationRequest(steps=10, guidance_scale=3.0, texture_lock=0.8, variation=0.3)
    latents = torch.randn(2, 4, 16, 16, dtype=torch.float64)
    garment = torch.rand(2, 1, 16, 16, dtype=torch.float64)
    start = torch.randint(0, 5, garment.shape)
    start[:, :, 0, 0] = 4
    together = walk_latents(translator, request, latents, start, garment, 4)
    alone = [
        walk_latents(translator, request, *each, 4)
        for each in zip(latents.split(1), start.split(1), garment.split(1), strict=True)
    ]
    assert (together - torch.cat(alone)).abs().max() < 1e-8
    assert (together[0] - together[1]).abs().max() > 0.1


def recompute(model: Model, request: TranslationRequest, latents: Tensor, garment: Tensor) -> Tensor:
    """The translation with the source branch in the batch; steps 5..2 of 5 are locked (0.9 of 5, rounded down)."""
    walk = low_noise_walk(model.alphas_cumprod, request.steps, 5)
    a = walk.alphas

    def step(x: Tensor, noises: list[Tensor], nodes: tuple[int, int, int]) -> Tensor:
        before, here, there = nodes
        noise = noises[-1]
        if len(noises) > 1:
            noise = mean_noise(noises[-2], noise, (a[before], a[here], a[there]))
        return ddim(x, noise, a[here], a[there])

    z, noise = [latents], []
    for i in range(6):
        noise.append(model.predict_noise(z[i], walk.timesteps[i], model.empty))
        if i < 5:
            z.append(step(z[i], noise, (i - 1, i, i + 1)))
    hidden = torch.cat([model.empty.hidden, model.empty.hidden, model.negative.hidden])
    originals = {attn: attn.processor for attn, _ in shallow_self_attention(model.unet)}
    apart, pulls = torch.zeros_like(latents), []
    for i in range(5, 0, -1):
        for attn, factor in shallow_self_attention(model.unet):
            mask = torch.nn.functional.avg_pool2d(garment, factor) * request.texture_lock * (i > 1)
            attn.set_processor(SourceBranch(mask))
        x = z[i] + apart
        batch = torch.cat([z[i], x, x])
        predicted = model.unet(batch, walk.timesteps[i], encoder_hidden_states=hidden).sample
        both = predicted[len(latents) :]
        guided = guided_noise(
            lambda *_, both=both: both, model, request.guidance_scale, hidden_contrast(latents)
        )
        pulls.append(guided - noise[i])
        apart = step(apart, pulls, (min(i + 1, 5), i, i - 1))
    for attn, original in originals.items():
        attn.set_processor(original)
    return z[0] + apart


def test_eject_restores_the_network(translators: dict[str, Translator]) -> None:
    unet = translators["sd15"].model.unet
    torch.manual_seed(0)
    latents = torch.randn(1, 4, 16, 16)
    hidden = translators["sd15"].model.empty.hidden
    processors, structure = dict(unet.attn_processors), repr(unet)
    weights = {key: tensor.clone() for key, tensor in unet.state_dict().items()}
    with torch.inference_mode():
        before = unet(latents, 100, encoder_hidden_states=hidden).sample
        control = TextureControl(unet)
        control.inject()
        memory = control.allocate(1, 16, 16, torch.device("cpu"))
        control.switch(Mode.CAPTURE, memory)
        unet(latents + 1, 100, encoder_hidden_states=hidden)
        for layer in memory:
            layer.gate.fill_(1)
        control.switch(Mode.LOCK, memory)
        during = unet(latents, 100, encoder_hidden_states=hidden).sample
        control.eject()
        after = unet(latents, 100, encoder_hidden_states=hidden).sample
    assert not torch.equal(during, before)
    assert torch.equal(after, before)
    assert unet.attn_processors == processors and repr(unet) == structure
    assert all(torch.equal(tensor, weights[key]) for key, tensor in unet.state_dict().items())


def test_the_network_is_restored_after_an_error(translators: dict[str, Translator]) -> None:
    unet = translators["sd15"].model.unet
    processors = dict(unet.attn_processors)
    with pytest.raises(ZeroDivisionError), TextureControl(unet):
        assert unet.attn_processors != processors
        raise ZeroDivisionError
    assert unet.attn_processors == processors


def test_the_gate_decides_token_by_token(translators: dict[str, Translator]) -> None:
    """With the gate at 0 a controlled network is the network; at 1 the queries and keys are the captured ones."""
    model = translators["sd15"].model
    torch.manual_seed(0)
    source, latents = torch.randn(2, 1, 4, 16, 16)
    half = torch.zeros(1, 1, 16, 16)
    half[..., :8] = 1
    with torch.inference_mode():
        free = model.predict_noise(latents, 100, model.empty)
        of_source = model.predict_noise(source, 100, model.empty)
        with TextureControl(model.unet) as control:
            passes = Passes(model, control, 1, 16, 16)
            assert torch.equal(passes.source(source, 100), of_source)
            features = passes.captured()
            passes.source(latents, 100)
            passes.lock(control.gates(half, 0.0), features)
            assert torch.equal(passes.real(latents, 100, model.empty), free)
            passes.lock(control.gates(half, 1.0), features)
            locked = passes.real(latents, 100, model.empty)
            assert not torch.equal(locked, free)
            both = passes.real(latents, 100, model.empty, model.negative)
            torch.testing.assert_close(both[:1], locked, rtol=0, atol=1e-5)
            assert not torch.allclose(both[1:], locked, atol=1e-4)
            passes.unlock()
            assert torch.equal(passes.real(latents, 100, model.empty), free)
            passes.lock(control.gates(torch.ones_like(half), 1.0), features)
            torch.testing.assert_close(passes.real(source, 100, model.empty), of_source, rtol=0, atol=1e-5)


def test_gates_keep_the_coverage_of_the_mask(translators: dict[str, Translator]) -> None:
    mask = torch.zeros(1, 1, 16, 16)
    mask[..., 3:9, 5:] = 1
    for gate in TextureControl(translators["sd15"].model.unet).gates(mask, 0.5):
        assert gate.mean() == pytest.approx(0.5 * float(mask.mean()))


@pytest.mark.parametrize(
    ("settings", "layers"),
    [
        # SD 1.5: the paper's 10 of 16 layers.
        ({"block_out_channels": (320, 640, 1280, 1280), "cross_attention_dim": 768}, 10),
        # SDXL: its highest level has no attention; two layers deep at the second, in 2 + 3 blocks.
        (
            {
                "block_out_channels": (320, 640, 1280),
                "down_block_types": ("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
                "up_block_types": ("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"),
                "transformer_layers_per_block": (1, 2, 10),
                "cross_attention_dim": 2048,
            },
            10,
        ),
    ],
)
def test_shallow_layers_of_the_full_networks(settings: dict, layers: int) -> None:
    with torch.device("meta"):
        unet = UNet2DConditionModel(**settings)
    assert len(list(shallow_self_attention(unet))) == layers
