# SPDX-License-Identifier: GPL-3.0-or-later
"""Copy a trained model directory into the package: half precision, files under 50 MB, `model_index.json`.

python -m backend.training.assemble --model DIR --out backend/starter
"""

from __future__ import annotations

import argparse
import json
import shutil
from pathlib import Path

import torch
from diffusers import AutoencoderTiny, StableDiffusionPipeline, UNet2DConditionModel
from safetensors.torch import load_file, save_file
from torch import Tensor
from transformers import CLIPTextModel, CLIPTokenizer

from .data import NATIVE_SIZE
from .denoiser import new_scheduler

MAX_SHARD = "45MB"
SHIPPED_LORA_RANK = 24
"""Keeps the directory under 96 MB; the update's lesser singular directions are left out."""


def reduce_rank(lora: dict[str, Tensor], rank: int) -> dict[str, Tensor]:
    """The closest LoRA of a lower rank: B A is cut to its `rank` largest singular values (Eckart and Young)."""
    reduced = {}
    for key, down in lora.items():
        if not key.endswith("lora_A.weight"):
            continue
        up_key = key.replace("lora_A", "lora_B")
        u, s, v = torch.linalg.svd(lora[up_key].float() @ down.float(), full_matrices=False)
        root = s[:rank].sqrt()
        reduced[key] = (root[:, None] * v[:rank]).to(down.dtype).contiguous()
        reduced[up_key] = (u[:, :rank] * root).to(down.dtype).contiguous()
    return reduced


def assemble(model: Path, out: Path) -> int:
    """Write the directory that `StableDiffusionPipeline.from_pretrained` loads; returns its size in bytes."""
    half = torch.float16
    pipeline = StableDiffusionPipeline(
        vae=AutoencoderTiny.from_pretrained(model / "vae", torch_dtype=half),
        text_encoder=CLIPTextModel.from_pretrained(model / "text_encoder", dtype=half),
        tokenizer=CLIPTokenizer.from_pretrained(model / "tokenizer"),
        unet=UNet2DConditionModel.from_pretrained(model / "unet", torch_dtype=half),
        scheduler=new_scheduler(),
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )
    pipeline.save_pretrained(out, safe_serialization=True, max_shard_size=MAX_SHARD)
    for config in out.glob("*/config.json"):
        # diffusers notes the folder that a part was loaded from; nobody else has it.
        content = json.loads(config.read_text())
        content.pop("_name_or_path", None)
        if "dtype" in content:
            # Without a word from the caller transformers would take the stored type and diffusers float32.
            content["dtype"] = "float32"
        config.write_text(json.dumps(content, indent=2) + "\n")
    shutil.copytree(model / "domain", out / "domain", dirs_exist_ok=True)
    lora = load_file(model / "domain" / "unet_lora.safetensors")
    save_file(reduce_rank(lora, SHIPPED_LORA_RANK), out / "domain" / "unet_lora.safetensors")
    (out / "make_real.json").write_text(json.dumps({"native": list(NATIVE_SIZE)}) + "\n")
    return sum(file.stat().st_size for file in out.rglob("*") if file.is_file())


def main() -> None:
    """Command line; see the module's docstring."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    arguments = parser.parse_args()
    size = assemble(arguments.model, arguments.out)
    print(f"{arguments.out}: {size / 1e6:.1f} MB")


if __name__ == "__main__":
    main()
