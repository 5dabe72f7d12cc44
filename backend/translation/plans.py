# SPDX-License-Identifier: GPL-3.0-or-later
"""Memory plans: what a translation keeps, and what it does again or elsewhere when memory is short.

    full                 everything at once
    tiled autoencoder    large pictures pass through the autoencoder in tiles
    chunked features     half of the captured features are kept; for the other half the source is passed again
    source recomputed    none are kept
    model offload        the network and the autoencoder wait in the host's memory for their turn

in the order of their cost; each saves what those before it save. The plan is chosen by an estimate before the
work begins, and a translation that runs out of memory nevertheless is tried once more under the last one.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import nn

from .attention import TextureControl
from .autoencoder import TILE_AREA, WHOLE_AREA, Autoencoder
from .batch import Batch
from .model import Model

PASS_BYTES_PER_CHANNEL = 40
"""Bytes that a guided pass takes for each cell and channel of the first level, in 16 bits; see docs/performance."""
CODER_BYTES_PER_CHANNEL = 10
"""Bytes that decoding takes for each pixel and channel of the widest level at full resolution, in 16 bits."""


@dataclass(frozen=True)
class Plan:
    """What a translation does about memory.

    Args:
        name: For the recipe.
        area: Latent cells up to which a picture passes the autoencoder at once.
        features: Part of the captured features that is kept, 0..1.
        offload: Whether what is not at work waits in the host's memory.
    """

    name: str
    area: int = WHOLE_AREA
    features: float = 1.0
    offload: bool = False


PLANS = (
    Plan("full"),
    Plan("tiled autoencoder", TILE_AREA),
    Plan("chunked features", TILE_AREA, 0.5),
    Plan("source recomputed", TILE_AREA, 0.0),
    Plan("model offload", TILE_AREA, 0.0, offload=True),
)


@dataclass(frozen=True)
class Needs:
    """Bytes that the parts of a translation take beside the loaded model.

    Args:
        features: Captured features of all nodes.
        trajectory: Latents and noise of all nodes, the pictures and their filters.
        walk: One guided pass.
        cell: The autoencoder's work on one latent cell.
        cells: Latent cells of the picture.
        network, coder: Weights of the network and of the autoencoder.
    """

    features: int
    trajectory: int
    walk: int
    cell: int
    cells: int
    network: int
    coder: int

    def under(self, plan: Plan) -> int:
        """Bytes that a plan takes beside the loaded model; below 0 where it frees more than it takes."""
        coding = self.cell * min(self.cells, plan.area)
        kept = int(self.features * plan.features)
        if plan.offload:
            return self.trajectory + max(self.walk - self.coder, coding - self.network)
        return self.trajectory + kept + max(self.walk, coding)


def needs_of(work: Batch, model: Model, control: TextureControl) -> Needs:
    """Estimate the needs of a translation."""
    unet, coder = model.unet, model.autoencoder.module
    pictures, cells = len(work.pictures), work.box.height * work.box.width
    rows, columns = work.windows[0].height, work.windows[0].width
    held = len(work.held_nodes) * len(work.windows) * pictures
    # A pass reads and writes one set of features that never moves.
    features = control.feature_bytes(rows, columns)
    # In float32: z and noise of every node, and some twenty planes of three colours in the filters.
    channels, nodes = int(unet.config.in_channels), work.walk.steps + 1
    trajectory = 4 * pictures * cells * (2 * nodes * channels + 60 * work.factor**2)
    first_level = int(unet.config.block_out_channels[0])
    widest = 2 * int(coder.config.block_out_channels[0])
    return Needs(
        features=held * features,
        trajectory=trajectory,
        walk=pictures
        * (features + int(PASS_BYTES_PER_CHANNEL * first_level * rows * columns * _width(unet))),
        cell=int(CODER_BYTES_PER_CHANNEL * widest * work.factor**2 * _width(coder)),
        cells=cells,
        network=model.network_bytes,
        coder=model.coder_bytes,
    )


def choose(needs: Needs, free: int | None) -> Plan:
    """The cheapest plan that fits into `free` bytes, or the last; the first where nobody knows what is free."""
    if free is None:
        return PLANS[0]
    return next((plan for plan in PLANS if needs.under(plan) <= free), PLANS[-1])


def free_bytes(device: torch.device) -> int | None:
    """Memory that a translation may take; None where the system does not tell."""
    if device.type == "cuda":
        free, _total = torch.cuda.mem_get_info(device)
        kept = torch.cuda.memory_stats(device)
        return int(free + kept["reserved_bytes.all.current"] - kept["allocated_bytes.all.current"])
    if sys.platform != "linux":
        return None
    lines = Path("/proc/meminfo").read_text(encoding="ascii").splitlines()
    (available,) = (line.split()[1] for line in lines if line.startswith("MemAvailable:"))
    return int(available) * 1024


@contextmanager
def network_at_work(model: Model, plan: Plan) -> Iterator[None]:
    """Within, the network is on the device; under an offloading plan the autoencoder is not, and after it neither."""
    if plan.offload:
        model.autoencoder.module.to("cpu")
    _at_work(model.unet, model)
    yield
    if plan.offload:
        model.unet.to("cpu")


@contextmanager
def autoencoder_at_work(model: Model, plan: Plan) -> Iterator[Autoencoder]:
    """The same for the autoencoder."""
    if plan.offload:
        model.unet.to("cpu")
    _at_work(model.autoencoder.module, model)
    yield model.autoencoder
    if plan.offload:
        model.autoencoder.module.to("cpu")


def _at_work(module: nn.Module, model: Model) -> None:
    if next(module.parameters()).device != model.device:
        module.to(model.device)


def _width(module: nn.Module) -> float:
    """Bytes of the module's numbers, in units of 16 bits."""
    return next(module.parameters()).element_size() / 2
