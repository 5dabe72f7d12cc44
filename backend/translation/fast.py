# SPDX-License-Identifier: GPL-3.0-or-later
"""The fast path on CUDA: compiled functions, and passes recorded as a CUDA graph for one shape and replayed.

A recorded pass reads and writes memory that never moves, and costs the host one call. Compiled kernels round
differently from the libraries' own, by less than a level of an 8-bit picture; a result's recipe says which of the
two made it. What was compiled before is found in the compiler's cache on the disk.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor

WARM_UPS = 2
"""Runs before a recording: the first compiles, and libraries choose and allocate."""
RECOMPILE_LIMIT = 1024
"""Shapes that one function may be compiled for; torch's own limit is meant for mistakes."""

Pass = Callable[[Float[Tensor, "pictures channels rows columns"], Int[Tensor, ""]], Tensor]


def compiled(function: Callable[..., Tensor]) -> Callable[..., Tensor]:
    """The function with kernels of its own for every shape that it is called with; the first call takes long."""
    torch._dynamo.config.recompile_limit = RECOMPILE_LIMIT
    torch._dynamo.config.accumulated_recompile_limit = RECOMPILE_LIMIT
    quick: Callable[..., Tensor] = torch.compile(function, fullgraph=True, dynamic=False)
    return quick


class Replay:
    """A recorded pass.

    Args:
        graph: Reads `latents` and `timestep`, writes `output`.
    """

    def __init__(
        self, graph: torch.cuda.CUDAGraph, latents: Tensor, timestep: Tensor, output: Tensor
    ) -> None:
        self._graph = graph
        self._latents = latents
        self._timestep = timestep
        self._output = output

    @property
    def pool(self) -> Any:
        """Where the recording's memory is."""
        return self._graph.pool()

    def __call__(self, latents: Tensor, timestep: int) -> Tensor:
        self._latents.copy_(latents)
        self._timestep.fill_(timestep)
        self._graph.replay()
        return self._output.clone()


def record(
    run: Pass, latents: Float[Tensor, "pictures channels rows columns"], beside: Replay | None = None
) -> Replay:
    """Compile and record a pass for the shape of `latents`, whose memory becomes the recording's input.

    Args:
        beside: Another recording, with whose memory this one makes do: they never replay at once, and what they
            give is copied at once.
    """
    run = compiled(run)
    timestep = torch.zeros((), dtype=torch.int64, device=latents.device)
    stream = torch.cuda.Stream(latents.device)
    stream.wait_stream(torch.cuda.current_stream(latents.device))
    with torch.cuda.stream(stream):
        for _ in range(WARM_UPS):
            run(latents, timestep)
    torch.cuda.current_stream(latents.device).wait_stream(stream)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph, pool=None if beside is None else beside.pool):
        output = run(latents, timestep)
    return Replay(graph, latents, timestep, output)
