# SPDX-License-Identifier: GPL-3.0-or-later
"""The starter's text side: a byte-level CLIP tokenizer of the caption words and a small CLIP text encoder."""

from __future__ import annotations

import json
from pathlib import Path

from tokenizers.pre_tokenizers import ByteLevel
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer

WIDTH = 256
LAYERS = 3
MAX_TOKENS = 77


def write_tokenizer(words: list[str], out: Path) -> CLIPTokenizer:
    """Write a tokenizer in which each of `words` is one token and any other text falls back to bytes.

    Merges build a word from its left; the order of the words makes the result the same on every machine.
    """
    alphabet = sorted(ByteLevel.alphabet())
    vocabulary = [*alphabet, *(f"{symbol}</w>" for symbol in alphabet)]
    merges: list[tuple[str, str]] = []
    for word in sorted(set(words)):
        symbols = [*word[:-1], f"{word[-1]}</w>"]
        left = symbols[0]
        for right in symbols[1:]:
            if (left, right) not in merges:
                merges.append((left, right))
                vocabulary.append(left + right)
            left += right
    vocabulary = list(dict.fromkeys([*vocabulary, "<|startoftext|>", "<|endoftext|>"]))
    out.mkdir(parents=True, exist_ok=True)
    vocabulary_file, merges_file = out / "vocab.json", out / "merges.txt"
    vocabulary_file.write_text(json.dumps({token: index for index, token in enumerate(vocabulary)}))
    merges_file.write_text("#version: 0.2\n" + "".join(f"{left} {right}\n" for left, right in merges))
    tokenizer = CLIPTokenizer(
        vocab=str(vocabulary_file),
        merges=str(merges_file),
        model_max_length=MAX_TOKENS,
        pad_token="<|endoftext|>",
    )
    tokenizer.save_pretrained(out)
    return tokenizer


def new_text_encoder(tokenizer: CLIPTokenizer) -> CLIPTextModel:
    """An untrained CLIP text encoder of 2.4 M parameters for that tokenizer."""
    return CLIPTextModel(
        CLIPTextConfig(
            vocab_size=len(tokenizer),
            hidden_size=WIDTH,
            intermediate_size=4 * WIDTH,
            projection_dim=WIDTH,
            num_hidden_layers=LAYERS,
            num_attention_heads=4,
            max_position_embeddings=MAX_TOKENS,
            bos_token_id=tokenizer.bos_token_id,
            eos_token_id=tokenizer.eos_token_id,
            pad_token_id=tokenizer.pad_token_id,
        )
    )
