# SPDX-License-Identifier: GPL-3.0-or-later
"""Loading a Stable-Diffusion-format directory: local files and safetensors only, every fault named."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from diffusers import AutoencoderKL, AutoencoderTiny, UNet2DConditionModel
from diffusers.utils import logging as diffusers_logging
from jaxtyping import Float64
from safetensors import SafetensorError
from safetensors.torch import load_file
from transformers.utils import logging as transformers_logging

from protocol.errors import ErrorCode, MakeRealError

from .autoencoder import Autoencoder
from .domain import Domain, merge_lora, read_domain
from .model import Model
from .schedule import linear_alphas, scaled_linear_alphas
from .shortage import is_shortage, what_ran_out
from .text import Conditioning, TextEncoder, domain_conditioning, empty_conditioning, load_text_encoders

COMPONENTS = ("unet", "vae", "text_encoder", "tokenizer", "scheduler")
AUTOENCODERS = {"AutoencoderKL": AutoencoderKL, "AutoencoderTiny": AutoencoderTiny}
ALPHAS = {"scaled_linear": scaled_linear_alphas, "linear": linear_alphas}
PREDICTIONS = {name: name for name in ("epsilon", "v_prediction")}
LOADING_FAULTS = (OSError, ValueError, KeyError, TypeError, RuntimeError, SafetensorError)
"""What the libraries raise for files that are missing, cut short or of another model."""


def load_model(folder: Path, device: str = "cpu", domain_folder: Path | None = None) -> Model:
    """Load a model and its domain.

    Args:
        folder: SD-format directory.
        device: `cpu`, `cuda` or `cuda:n`.
        domain_folder: A domain that lies elsewhere; else the model's own `domain/`, if there is one.

    Raises:
        MakeRealError: MODEL_NOT_FOUND when the folder is missing; MODEL_BROKEN, naming the part, when it is
            incomplete, unreadable or of a kind that this version does not run, or when the domain does not
            fit it; OUT_OF_MEMORY.
    """
    if not folder.is_dir():
        raise MakeRealError(ErrorCode.MODEL_NOT_FOUND, str(folder))
    index = _read_json(folder / "model_index.json")
    for component in COMPONENTS:
        if not (folder / component).is_dir():
            raise _broken(folder / component, "is missing")
    quieten_libraries()
    target = torch.device(device)
    used = domain_folder or (folder / "domain" if (folder / "domain").is_dir() else None)
    domain = read_domain(used) if used else None
    # float16 keeps 3 bits more than bfloat16, which an inversion needs; attention sums in float32 anyway.
    unet = load_unet(folder, torch.float16 if target.type == "cuda" else torch.float32, domain)
    unet.to(target, memory_format=torch.channels_last)
    empty, negative = _load_texts(folder, domain, zeros=bool(index.get("force_zeros_for_empty_prompt")))
    alphas_cumprod, prediction = read_schedule(folder)
    autoencoder = load_autoencoder(folder, target, _autoencoder_dtype(folder, unet, target))
    return Model(
        name=(domain_folder or folder).name,
        digest=weights_digest(folder, domain_folder) if domain_folder else weights_digest(folder),
        unet=unet,
        autoencoder=autoencoder,
        alphas_cumprod=alphas_cumprod,
        prediction=prediction,
        empty=empty.to(target, unet.dtype),
        negative=None if negative is None else negative.to(target, unet.dtype),
        domain=None if domain is None else domain.name,
        guidance_gain=1.0 if domain is None else domain.guidance_gain,
        native_area=math.prod(native_size(folder, unet.config.sample_size, autoencoder.factor)),
    )


def quieten_libraries() -> None:
    """Silence the libraries' own notes: what is missing is an error here, and they would say it twice."""
    diffusers_logging.set_verbosity_error()
    diffusers_logging.disable_progress_bar()
    transformers_logging.set_verbosity_error()
    transformers_logging.disable_progress_bar()


def weights_digest(*folders: Path) -> str:
    """BLAKE2b over name, size and samples of every safetensors file below `folders`, as 32 hexadecimal digits.

    Samples are the first 64 KiB (the header, with every tensor's name, shape and place) and 64 KiB of every
    8 MiB after that: any training changes them, and 7 GB are identified in a fraction of a second.
    """
    digest = hashlib.blake2b(digest_size=16)
    for folder in folders:
        for path in sorted(folder.rglob("*.safetensors")):
            size = path.stat().st_size
            digest.update(f"{path.relative_to(folder).as_posix()}:{size};".encode())
            with path.open("rb") as file:
                for offset in range(0, size, 8 << 20):
                    file.seek(offset)
                    digest.update(file.read(64 << 10))
    return digest.hexdigest()


def _load_network(kind: Any, part: Path, dtype: torch.dtype) -> Any:
    """Load one diffusers network; what is missing from its files is an error, never a random weight."""
    plain = [path for path in part.glob("*.safetensors") if ".fp16" not in path.name]
    try:
        network, report = kind.from_pretrained(
            part,
            torch_dtype=dtype,
            use_safetensors=True,
            local_files_only=True,
            variant=None if plain else "fp16",
            output_loading_info=True,
        )
    except LOADING_FAULTS as error:
        raise _broken(part, error) from error
    if lost := report["missing_keys"] or report["mismatched_keys"]:
        raise _broken(part, f"no fitting weights for {lost[0]}")
    return network.eval().requires_grad_(False)


def load_unet(folder: Path, dtype: torch.dtype, domain: Domain | None = None) -> UNet2DConditionModel:
    """A model's network on the CPU, frozen, with what a domain changes in it.

    Raises:
        MakeRealError: MODEL_BROKEN, naming the part.
    """
    unet: UNet2DConditionModel = _load_network(UNet2DConditionModel, folder / "unet", dtype)
    if domain is not None and domain.unet is not None:
        try:
            unet.load_state_dict(load_file(domain.unet))
        except LOADING_FAULTS as error:
            raise _broken(domain.unet, f"does not fit the model {folder}, or is damaged: {error}") from error
    if domain is not None:
        merge_lora(unet, domain.unet_lora)
    return unet


def load_autoencoder(folder: Path, device: torch.device, dtype: torch.dtype = torch.float32) -> Autoencoder:
    """A model's autoencoder. Raises MakeRealError (MODEL_BROKEN), naming the part."""
    part = folder / "vae"
    kind = _one_of(part / "config.json", "_class_name", AUTOENCODERS)
    return Autoencoder(_load_network(kind, part, dtype).to(device, memory_format=torch.channels_last))


def _autoencoder_dtype(folder: Path, unet: UNet2DConditionModel, device: torch.device) -> torch.dtype:
    """16 bits on CUDA, but for SDXL's first autoencoder, whose inner values exceed them.

    SDXL's configuration says which (`force_upcast`); for the older families the library's default says nothing.
    """
    config = _read_json(folder / "vae" / "config.json")
    too_wide = unet.config.addition_embed_type == "text_time" and config.get("force_upcast", True)
    return torch.float32 if device.type == "cpu" or too_wide else torch.float16


def _load_texts(folder: Path, domain: Domain | None, zeros: bool) -> tuple[Conditioning, Conditioning | None]:
    """Conditioning of the empty prompt and of the domain."""
    encoders = load_encoders(folder)
    empty = empty_conditioning(encoders, zeros)
    if domain is None:
        return empty, None
    for encoder in encoders:
        vectors = domain.negative_embedding.get(encoder.key, torch.empty(0))
        if vectors.ndim != 2 or vectors.shape[1] != encoder.width or len(vectors) > encoder.free_slots:
            wanted = f"up to {encoder.free_slots} vectors of {encoder.width} numbers"
            raise _broken(
                folder,
                f"the negative embedding for {encoder.key} of the domain {domain.name} is not {wanted};"
                " the domain was made on another model",
            )
    return empty, domain_conditioning(encoders, domain.negative_embedding)


def load_encoders(folder: Path) -> list[TextEncoder]:
    """A model's text encoders, on the CPU. Raises MakeRealError (MODEL_BROKEN)."""
    try:
        return load_text_encoders(folder)
    except LOADING_FAULTS as error:
        raise _broken(folder / "text_encoder", error) from error


def read_schedule(folder: Path) -> tuple[Float64[np.ndarray, " timesteps"], str]:
    """alpha_bar of every training timestep, and what the network predicts.

    Raises:
        MakeRealError: MODEL_BROKEN when this version does not know the schedule.
    """
    path = folder / "scheduler" / "scheduler_config.json"
    table = _one_of(path, "beta_schedule", ALPHAS)
    prediction = _one_of(path, "prediction_type", PREDICTIONS, default="epsilon")
    config = _read_json(path)
    try:
        return table(config["beta_start"], config["beta_end"], config["num_train_timesteps"]), prediction
    except (KeyError, TypeError, ValueError) as error:
        raise _broken(path, error) from error


def native_size(folder: Path, sample_size: int | Sequence[int], factor: int) -> tuple[int, int]:
    """Columns and rows of latent cells that the network was trained on.

    Those of {"native": [width, height]} (pixels) in `make_real.json`, else the network's sample size.

    Args:
        sample_size: Of the network's configuration: a side, or rows and columns.
        factor: Pixels along the side of a latent cell.

    Raises:
        MakeRealError: MODEL_BROKEN when `make_real.json` cannot be read.
    """
    path = folder / "make_real.json"
    if not path.is_file():
        rows, columns = (sample_size, sample_size) if isinstance(sample_size, int) else sample_size
        return int(columns), int(rows)
    try:
        width, height = _read_json(path)["native"]
        return int(width) // factor, int(height) // factor
    except (KeyError, TypeError, ValueError) as error:
        raise _broken(path, error) from error


def _read_json(path: Path) -> dict[str, Any]:
    try:
        content: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise _broken(path, error) from error
    return content


def _one_of(path: Path, key: str, known: Mapping[str, Any], default: str | None = None) -> Any:
    """What `known` has for the value of `key` in a configuration file."""
    value: Any = _read_json(path).get(key, default)
    if value not in known:
        raise _broken(path, f"{key} {value!r} is none of {', '.join(known)}")
    return known[value]


def _broken(path: Path, reason: object) -> MakeRealError:
    if isinstance(reason, Exception) and is_shortage(reason):
        return MakeRealError(ErrorCode.OUT_OF_MEMORY, what_ran_out(reason))
    text = str(reason).strip() or type(reason).__name__
    return MakeRealError(ErrorCode.MODEL_BROKEN, f"{path}: {text.splitlines()[0]}")
