# SPDX-License-Identifier: GPL-3.0-or-later
"""Domain knowledge injection (DKI) for the starter: positive fine-tuning, then the negative domain embedding.

    python -m backend.training.domain --pack DIR --model DIR --positive-minutes 3 --negative-minutes 2

Positive: LoRA on the attention and feed-forward layers learns the photos, half the time without a caption, so that
the empty prompt comes to mean a photo (method, eq. 1), with the noise of `bridge`; under their own captions it
keeps the renders and the rendered looks as they are, so that a prompt can still mean a render. Negative: with that
network frozen, as many token vectors as the text encoder has free slots learn the renders (eq. 2). Both go to the
model directory's `domain/`.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable
from pathlib import Path

import torch
from diffusers import AutoencoderTiny, UNet2DConditionModel
from jaxtyping import Float, Int
from peft import LoraConfig, get_peft_model_state_dict
from safetensors.torch import save_file
from torch import Tensor, nn
from transformers import CLIPTextModel, CLIPTokenizer

from backend.adaptation.positive import LORA_LAYERS

from .data import read_pack
from .denoiser import (
    Bank,
    Banks,
    all_captions,
    caption_contrast,
    draw,
    draw_mixed,
    encode_banks,
    load_or_create,
    new_scheduler,
    noise_prediction_loss,
    tokenize,
)

LORA_RANK = 32
POSITIVE_CAPTION_DROPOUT = 0.5
SHARES = (0.58, 0.13, 0.29)
"""Of photos, of rendered looks and of renders in a batch of the positive training."""
GUIDANCE_GAIN = 0.28
"""Makes guidance 7.5, the paper's, walk 1.8 times the bridge: 1 / (7.5 - 1) would walk it once if the network had
found all of it. Chosen by eye on renders of the tune garments (`splits`): 0.15 is too shy, 0.46 roughens cloth."""


def minimise(
    parameters: list[nn.Parameter],
    loss_of_step: Callable[[], Float[Tensor, ""]],
    *,
    minutes: float,
    learning_rate: float,
    name: str,
) -> None:
    """AdamW on `loss_of_step` for a given time, the learning rate falling to a tenth."""
    optimizer = torch.optim.AdamW(parameters, weight_decay=0.0)
    started, step, losses = time.monotonic(), 0, []
    while (done := (time.monotonic() - started) / (60 * minutes)) < 1:
        for group in optimizer.param_groups:
            group["lr"] = learning_rate * min(1, (step + 1) / 50) * (1 - 0.9 * done)
        loss = loss_of_step()
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
        losses.append(loss.detach())
        step += 1
        if step % 50 == 0:
            print(f"{name} step {step}  loss {float(torch.stack(losses[-50:]).mean()):.4f}", flush=True)
    print(f"{name}: {step} steps", flush=True)


def fine_tune_on_photos(
    unet: UNet2DConditionModel,
    embeddings: Float[Tensor, "captions tokens width"],
    banks: Banks,
    *,
    minutes: float,
    batch: int,
    generator: torch.Generator,
) -> dict[str, Tensor]:
    """Positive DKI: add and train LoRA layers; returns their weights. The network keeps them."""
    device = generator.device
    unet.requires_grad_(False)
    unet.add_adapter(LoraConfig(r=LORA_RANK, lora_alpha=LORA_RANK, target_modules=LORA_LAYERS))
    alphas_cumprod = new_scheduler().alphas_cumprod.to(device)

    def loss_of_step() -> Float[Tensor, ""]:
        latents, rendered, captions, photos = draw_mixed(banks, SHARES, batch, generator)
        dropped = torch.rand(batch, generator=generator, device=device) < POSITIVE_CAPTION_DROPOUT
        dropped[photos:] = False
        text = embeddings[torch.where(dropped, torch.zeros_like(captions), captions)]
        return noise_prediction_loss(unet, latents, rendered, text, alphas_cumprod, generator)

    trained = [parameter for parameter in unet.parameters() if parameter.requires_grad]
    minimise(trained, loss_of_step, minutes=minutes, learning_rate=8e-4, name="positive")
    unet.requires_grad_(False)
    return {key: value.half().contiguous().cpu() for key, value in get_peft_model_state_dict(unet).items()}


def embed_vectors(
    text_encoder: CLIPTextModel,
    prompt: Int[Tensor, "1 tokens"],
    vectors: Float[Tensor, "vectors width"],
) -> Float[Tensor, "1 tokens width"]:
    """Encode a prompt whose tokens after the first are replaced by `vectors`."""

    def replace(_: nn.Module, __: object, embedded: Tensor) -> Tensor:
        return torch.cat([embedded[:, :1], vectors[None], embedded[:, 1 + len(vectors) :]], 1)

    handle = text_encoder.get_input_embeddings().register_forward_hook(replace)
    try:
        encoded: Tensor = text_encoder(prompt)[0]
        return encoded
    finally:
        handle.remove()


def learn_negative_embedding(
    unet: UNet2DConditionModel,
    text_encoder: CLIPTextModel,
    tokenizer: CLIPTokenizer,
    renders: Bank,
    *,
    minutes: float,
    batch: int,
    generator: torch.Generator,
) -> Float[Tensor, "vectors width"]:
    """Negative DKI: token vectors that make the frozen, fine-tuned network predict renders best."""
    device = generator.device
    free_slots = tokenizer.model_max_length - 2
    empty = tokenize(tokenizer, [""], device)
    word = tokenizer("render", add_special_tokens=False).input_ids[0]
    start = text_encoder.get_input_embeddings().weight[word].detach()
    jitter = 0.01 * torch.randn(free_slots, len(start), generator=generator, device=device)
    vectors = nn.Parameter(start + jitter)
    alphas_cumprod = new_scheduler().alphas_cumprod.to(device)

    def loss_of_step() -> Float[Tensor, ""]:
        latents, rendered, _ = draw(renders, batch, generator)
        text = embed_vectors(text_encoder, empty, vectors).expand(batch, -1, -1)
        return noise_prediction_loss(unet, latents, rendered, text, alphas_cumprod, generator)

    minimise([vectors], loss_of_step, minutes=minutes, learning_rate=5e-3, name="negative")
    return vectors.detach().float().cpu()


def main() -> None:
    """Command line; see the module's docstring."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pack", type=Path, required=True)
    parser.add_argument("--model", type=Path, required=True)
    parser.add_argument("--positive-minutes", type=float, default=3.0)
    parser.add_argument("--negative-minutes", type=float, default=2.0)
    parser.add_argument("--batch", type=int, default=96)
    parser.add_argument("--crops", type=int, default=12_000, help="encoded crops of each domain")
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    torch.manual_seed(arguments.seed)
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = True
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    generator = torch.Generator(device).manual_seed(arguments.seed + 1)
    photos, renders = (read_pack(arguments.pack, domain).to(device) for domain in ("photo", "render"))
    captions = all_captions([photos, renders])
    vae = AutoencoderTiny.from_pretrained(arguments.model / "vae", torch_dtype=torch.float32).to(device)
    vae = vae.to(torch.bfloat16) if device.type == "cuda" else vae
    banks = encode_banks(vae, photos, renders, captions, arguments.crops, generator)
    tokenizer, text_encoder, unet = load_or_create(arguments.model, [])
    unet.to(device, memory_format=torch.channels_last)
    text_encoder.to(device).requires_grad_(False)
    tokens = tokenize(tokenizer, captions, device)
    lora = fine_tune_on_photos(
        unet, text_encoder(tokens)[0], banks,
        minutes=arguments.positive_minutes, batch=arguments.batch, generator=generator,
    )  # fmt: skip
    caption_contrast(unet, text_encoder, tokens, banks, arguments.batch, generator)
    vectors = learn_negative_embedding(
        unet, text_encoder, tokenizer, banks.renders,
        minutes=arguments.negative_minutes, batch=arguments.batch, generator=generator,
    )  # fmt: skip
    out = arguments.model / "domain"
    out.mkdir(exist_ok=True)
    save_file(lora, out / "unet_lora.safetensors")
    save_file({"text_encoder": vectors}, out / "negative_embedding.safetensors")
    description = {
        "format": 1,
        "name": "garments",
        "negative_embedding": "negative_embedding.safetensors",
        "unet_lora": "unet_lora.safetensors",
        "guidance_gain": GUIDANCE_GAIN,
    }
    (out / "domain.json").write_text(json.dumps(description, indent=2) + "\n")


if __name__ == "__main__":
    main()
