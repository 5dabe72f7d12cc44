# SPDX-License-Identifier: GPL-3.0-or-later
"""Conditioning of the network: prompts and the negative domain embedding, as the encoders give them.

A translation needs the empty prompt and the embedding alone, so both are computed once at load and the text
encoders are let go.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor
from transformers import CLIPTextModel, CLIPTextModelWithProjection, CLIPTokenizer


@dataclass(frozen=True)
class Conditioning:
    """What the network is told beside the latents and the timestep.

    Args:
        hidden: Hidden states of the text encoder(s), side by side along the channels.
        pooled: Projected text embedding of the second encoder; SDXL only.
    """

    hidden: Float[Tensor, "texts tokens channels"]
    pooled: Float[Tensor, "texts channels"] | None = None

    def to(self, device: torch.device, dtype: torch.dtype) -> Conditioning:
        """The same on a device and in an element type."""
        return Conditioning(
            self.hidden.to(device, dtype), None if self.pooled is None else self.pooled.to(device, dtype)
        )


@dataclass(frozen=True)
class TextEncoder:
    """One tokenizer and encoder of a model: one in SD 1.x and 2.x, two in SDXL."""

    key: str
    tokenizer: CLIPTokenizer
    encoder: CLIPTextModel | CLIPTextModelWithProjection

    @property
    def free_slots(self) -> int:
        """Vectors that fit between the begin and the end token."""
        return int(self.tokenizer.model_max_length) - 2

    @property
    def width(self) -> int:
        """Numbers of a token embedding."""
        return int(self.encoder.config.hidden_size)

    def encode(self, vectors: Float[Tensor, "vectors channels"]) -> Any:
        """Encode `[begin, *vectors, end, padding...]`; no vectors make the empty prompt."""
        count, length = len(vectors), self.tokenizer.model_max_length
        tokens = [self.tokenizer.bos_token_id] * (count + 1) + [self.tokenizer.eos_token_id]
        tokens += [self.tokenizer.pad_token_id] * (length - len(tokens))
        with _embeddings_replaced(self.encoder, vectors):
            return self.encoder(torch.tensor([tokens], device=self.encoder.device), output_hidden_states=True)

    def tokenize(self, prompt: str) -> Int[Tensor, "1 tokens"]:
        """Token ids of a prompt, cut or padded to the encoder's length."""
        ids: Tensor = self.tokenizer(
            prompt, padding="max_length", truncation=True, return_tensors="pt"
        ).input_ids
        return ids.to(self.encoder.device)

    def encode_prompt(self, prompt: str) -> Any:
        """Encode a prompt as diffusers' pipelines do."""
        return self.encoder(self.tokenize(prompt), output_hidden_states=True)


@contextmanager
def _embeddings_replaced(
    encoder: CLIPTextModel | CLIPTextModelWithProjection, vectors: Float[Tensor, "vectors channels"]
) -> Iterator[None]:
    """Within, the token embeddings at positions 1, 2, ... are `vectors`, whatever the tokens are."""

    def replace(_module: torch.nn.Module, _arguments: Any, embeddings: Tensor) -> Tensor:
        embeddings = embeddings.clone()
        embeddings[:, 1 : 1 + len(vectors)] = vectors
        return embeddings

    handle = encoder.get_input_embeddings().register_forward_hook(replace)
    try:
        yield
    finally:
        handle.remove()


def load_text_encoders(folder: Path) -> list[TextEncoder]:
    """The one or two text encoders of an SD-format directory, float32 on the CPU."""
    kinds = {"text_encoder": CLIPTextModel, "text_encoder_2": CLIPTextModelWithProjection}
    encoders = []
    for key, kind in kinds.items():
        if not (folder / key).is_dir():
            continue
        tokenizer = CLIPTokenizer.from_pretrained(
            folder / key.replace("text_encoder", "tokenizer"), local_files_only=True
        )
        encoder = (
            kind.from_pretrained(
                folder / key, local_files_only=True, use_safetensors=True, dtype=torch.float32
            )
            .eval()
            .requires_grad_(False)
        )
        encoders.append(TextEncoder(key, tokenizer, encoder))
    return encoders


def empty_conditioning(encoders: Sequence[TextEncoder], zeros: bool) -> Conditioning:
    """Conditioning of the empty prompt.

    Args:
        zeros: SDXL base was trained with zeros for the empty prompt (`force_zeros_for_empty_prompt`).
    """
    conditioning = prompt_conditioning(encoders, "")
    if not zeros or conditioning.pooled is None:
        return conditioning
    return Conditioning(torch.zeros_like(conditioning.hidden), torch.zeros_like(conditioning.pooled))


@torch.no_grad()
def prompt_conditioning(encoders: Sequence[TextEncoder], prompt: str) -> Conditioning:
    """Conditioning of a prompt, the empty one without SDXL's zeros."""
    return _combine([e.encode_prompt(prompt) for e in encoders])


def domain_conditioning(
    encoders: Sequence[TextEncoder], embedding: Mapping[str, Float[Tensor, "vectors channels"]]
) -> Conditioning:
    """Conditioning of a domain embedding: one set of vectors for each text encoder, by the encoder's key.

    Gradients reach the vectors.
    """
    return _combine([e.encode(embedding[e.key]) for e in encoders])


def _combine(outputs: Sequence[Any]) -> Conditioning:
    """SD takes the last hidden state; SDXL the last but one of both encoders, and the second's projection."""
    if len(outputs) == 1:
        return Conditioning(outputs[0].last_hidden_state)
    return Conditioning(torch.cat([o.hidden_states[-2] for o in outputs], dim=-1), outputs[-1].text_embeds)
