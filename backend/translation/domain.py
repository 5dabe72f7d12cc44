# SPDX-License-Identifier: GPL-3.0-or-later
"""Domain knowledge injection (DKI; FashionR2R, arXiv 2410.14429, section 3.2): what a domain adds to a model.

- the negative domain embedding v_nd: token embeddings that say "rendered", for the guidance to lead away
  from;
- optionally the network fine-tuned on photographs, whole or as a LoRA: W' = W + (alpha / rank) B A, merged
  once at load.

A domain lies in a model's own `domain/` folder, or alone in a folder of its own, as `make-real adapt` writes
it; then its `domain.json` says in `base` which model it was made on.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from protocol.errors import ErrorCode, MakeRealError

FORMAT = 1
MAX_GAIN = 100.0


@dataclass(frozen=True)
class Domain:
    """Contents of a domain folder.

    Args:
        name: What the domain is called.
        negative_embedding: Vectors for each text encoder, by its key (`text_encoder`, `text_encoder_2`).
        unet_lora: LoRA tensors by key; empty without one.
        guidance_gain: Factor on the guidance difference, see `guidance`; 0..100.
        unet: File of the whole network's weights, fine-tuned; None: the model's own.
    """

    name: str
    negative_embedding: dict[str, Float[Tensor, "vectors channels"]]
    unet_lora: dict[str, Tensor] = field(default_factory=dict)
    guidance_gain: float = 1.0
    unet: Path | None = None


def read_domain(folder: Path) -> Domain:
    """Read a domain folder.

    Raises:
        MakeRealError: MODEL_BROKEN, naming the file.
    """
    path = folder / "domain.json"
    try:
        description: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        if description["format"] != FORMAT:
            raise MakeRealError(
                ErrorCode.MODEL_BROKEN,
                f"{path}: format {description['format']!r}, this version reads {FORMAT}",
            )
        name, embedding, lora = (description[key] for key in ("name", "negative_embedding", "unet_lora"))
        gain = float(description.get("guidance_gain", 1.0))
        unet = description.get("unet")
        if not 0 <= gain <= MAX_GAIN:
            raise MakeRealError(
                ErrorCode.MODEL_BROKEN, f"{path}: guidance_gain {gain} is not from 0 to {MAX_GAIN}"
            )
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise MakeRealError(ErrorCode.MODEL_BROKEN, f"{path}: {error}") from error
    tensors = _read_tensors(folder, embedding), _read_tensors(folder, lora) if lora else {}
    return Domain(str(name), *tensors, gain, _file_in(folder, unet) if unet else None)


def _file_in(folder: Path, name: object) -> Path:
    # Only a plain file name: a description must not point out of its folder.
    if not isinstance(name, str) or Path(name).name != name:
        raise MakeRealError(ErrorCode.MODEL_BROKEN, f"{folder / 'domain.json'}: {name!r} is not a file name")
    return folder / name


def _read_tensors(folder: Path, name: object) -> dict[str, Tensor]:
    path = _file_in(folder, name)
    try:
        return {key: tensor.float() for key, tensor in load_file(path).items()}
    except (OSError, SafetensorError) as error:
        raise MakeRealError(ErrorCode.MODEL_BROKEN, f"{path}: {error}") from error


@torch.no_grad()
def merge_lora(unet: nn.Module, lora: dict[str, Tensor]) -> None:
    """Add a LoRA to the weights of the network, in float32 and rounded once to the network's type.

    Args:
        lora: `<module path>.lora_A.weight` (rank, in, ...), `<module path>.lora_B.weight` (out, rank, ...)
        and a
            scalar `alpha`.

    Raises:
        MakeRealError: MODEL_BROKEN, naming the module that the network lacks or whose shape differs.
    """
    modules = dict(unet.named_modules())
    paths = sorted(key.removesuffix(".lora_A.weight") for key in lora if key.endswith(".lora_A.weight"))
    for path in paths:
        down, up = lora[f"{path}.lora_A.weight"], lora.get(f"{path}.lora_B.weight")
        weight = getattr(modules.get(path), "weight", None)
        if up is None or not isinstance(weight, Tensor) or weight.numel() != len(up) * down[0].numel():
            raise MakeRealError(
                ErrorCode.MODEL_BROKEN,
                f"unet_lora: {path} does not fit this model's network; the domain was made on another one",
            )
        scale = float(lora["alpha"]) / len(down) if "alpha" in lora else 1.0
        change = scale * (up.flatten(1) @ down.flatten(1))
        weight.copy_(weight.float() + change.view(weight.shape).to(weight.device))
