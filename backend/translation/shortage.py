# SPDX-License-Identifier: GPL-3.0-or-later
"""How it shows that memory ran out, the device's or the host's."""

from __future__ import annotations

import torch

CPU_ALLOCATOR = "DefaultCPUAllocator: "
"""What torch's errors say before the words for memory that the host does not have: it has no class for them."""


def is_shortage(error: object) -> bool:
    """Whether an error says that memory ran out."""
    return isinstance(error, torch.OutOfMemoryError | MemoryError) or (
        isinstance(error, RuntimeError) and CPU_ALLOCATOR in str(error)
    )


def what_ran_out(error: BaseException) -> str:
    """The sentence of such an error that says it, without the place in torch before it."""
    return str(error).split(CPU_ALLOCATOR)[-1].split(". ")[0]
