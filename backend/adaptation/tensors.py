# SPDX-License-Identifier: GPL-3.0-or-later
"""Tensors on disk: safetensors files that are there whole or not at all."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from backend import files
from protocol import ErrorCode, MakeRealError


def write_tensors(path: Path, tensors: Mapping[str, Tensor]) -> None:
    """Replace a file in one step, also when the process is killed or the power fails. Raises OSError."""
    partial = path.with_name(path.name + ".part")
    save_file({name: tensor.detach().contiguous() for name, tensor in tensors.items()}, partial)
    files.sync_file(partial)
    partial.replace(path)
    files.sync_dir(path.parent)


def read_tensors(path: Path) -> dict[str, Tensor]:
    """Read a file of `write_tensors`, on the CPU.

    Raises:
        MakeRealError: MODEL_BROKEN when it is damaged.
    """
    try:
        return load_file(path)
    except (OSError, SafetensorError) as error:
        raise MakeRealError(
            ErrorCode.MODEL_BROKEN, f"{path}: {error}; remove it, and that part of the work is done again"
        ) from error
