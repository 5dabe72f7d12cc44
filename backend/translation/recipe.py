# SPDX-License-Identifier: GPL-3.0-or-later
"""The recipe of a result: everything that reproduces its bytes."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from functools import cache
from importlib.metadata import version
from typing import Any

import numpy as np
import torch

from protocol.planes import DIGEST_BYTES, PlaneName
from protocol.request import TranslationRequest

from .model import Model

PACKAGES = ("diffusers", "make-real", "numpy", "torch", "transformers")


@cache
def _versions() -> dict[str, str]:
    return {package: version(package) for package in PACKAGES}


def plane_digest(plane: np.ndarray[Any, Any]) -> str:
    """Identifies a plane's bytes. Several threads may do this at once."""
    return hashlib.blake2b(np.ascontiguousarray(plane).data, digest_size=DIGEST_BYTES).hexdigest()


def write_recipe(
    request: TranslationRequest, model: Model, digests: Mapping[PlaneName, str]
) -> dict[str, Any]:
    """Request, model, versions, device and digests of the planes, as plain maps, strings and numbers."""
    return {
        "request": request.to_map(),
        "model": {
            "name": model.name,
            "digest": model.digest,
            "domain": model.domain,
            "guidance_gain": model.guidance_gain,
        },
        "versions": dict(_versions()),
        "device": {
            "name": torch.cuda.get_device_name(model.device) if model.device.type == "cuda" else "cpu",
            "dtype": str(model.dtype).removeprefix("torch."),
            "threads": torch.get_num_threads(),
        },
        "planes": {name.value: digest for name, digest in sorted(digests.items())},
    }
