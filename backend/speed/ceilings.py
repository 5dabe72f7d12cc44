# SPDX-License-Identifier: GPL-3.0-or-later
"""What a device can do at most, measured: matrix products, convolution, memory, and attention by kernel."""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable
from functools import partial

import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.nn.functional import conv2d, scaled_dot_product_attention

from backend.translation.autoencoder import attend_widely

HEADS = (
    (8, 40, 12288),
    (8, 80, 3072),
    (8, 160, 768),
    (1, 512, 12288),
    (10, 64, 4096),
    (20, 64, 1024),
    (3, 32, 3072),
)
"""Heads, channels of a head and tokens in SD 1.5 and its autoencoder at 768x1024, SDXL at 1024x1024 and the starter
at 512x384."""


def _by(backend: SDPBackend) -> Callable[..., object]:
    def attend(query: torch.Tensor, key: torch.Tensor, value: torch.Tensor) -> object:
        with sdpa_kernel(backend):
            return scaled_dot_product_attention(query, key, value)

    return attend


KERNELS = {
    "flash": _by(SDPBackend.FLASH_ATTENTION),
    "cudnn": _by(SDPBackend.CUDNN_ATTENTION),
    "efficient": _by(SDPBackend.EFFICIENT_ATTENTION),
    "products": attend_widely,
}


@torch.inference_mode()
def measure_ceilings(device: str) -> dict[str, float]:
    """TFLOP/s and GB/s; on CUDA also milliseconds of attention by kernel, heads, channels and tokens."""
    is_cuda = device.startswith("cuda")
    dtype, side = (torch.float16, 8192) if is_cuda else (torch.float32, 1536)
    left, right = torch.randn(2, side, side, device=device, dtype=dtype)
    image = torch.randn(2, 320, 96, 128, device=device, dtype=dtype).to(memory_format=torch.channels_last)
    kernel = torch.randn(320, 320, 3, 3, device=device, dtype=dtype).to(memory_format=torch.channels_last)
    data = torch.empty(1 << (28 if is_cuda else 24), device=device)
    copy = torch.empty_like(data)
    work = 2 * 2 * 320 * 320 * 9 * 96 * 128
    ceilings = {
        "matrix_tflops": 2 * side**3 / seconds(lambda: left @ right, is_cuda) / 1e12,
        "convolution_tflops": work / seconds(lambda: conv2d(image, kernel, padding=1), is_cuda) / 1e12,
        "memory_gb_s": 2 * data.nbytes / seconds(lambda: copy.copy_(data), is_cuda) / 1e9,
    }
    del left, right, data, copy
    if is_cuda:
        ceilings |= _attention(device)
        torch.cuda.empty_cache()
    return {name: round(value, 3) for name, value in ceilings.items()}


def _attention(device: str) -> dict[str, float]:
    times = {}
    for heads, channels, tokens in HEADS:
        qkv = torch.randn(3, 2, tokens, heads, channels, device=device, dtype=torch.float16).transpose(2, 3)
        for name, attend in KERNELS.items():
            try:
                with warnings.catch_warnings():
                    # At length, why a kernel does not take this shape.
                    warnings.simplefilter("ignore")
                    value = seconds(partial(attend, *qkv), is_cuda=True) * 1e3
            except RuntimeError:
                continue
            times[f"attention_{heads}x{channels}@{tokens}_{name}_ms"] = value
    return times


def seconds(run: Callable[[], object], is_cuda: bool, repeats: int = 5) -> float:
    """Mean time of a call, after one that is not counted."""
    run()
    if is_cuda:
        torch.cuda.synchronize()
    start = time.perf_counter()
    for _ in range(repeats):
        run()
    if is_cuda:
        torch.cuda.synchronize()
    return (time.perf_counter() - start) / repeats
