# SPDX-License-Identifier: GPL-3.0-or-later
"""What a translation computes from the render alone, kept for the next look at the same render.

Guidance, texture lock, detail, seed and any strength up to the depth that was reached change nothing here, so a
look that differs in them runs only the guided steps. A `Source` grows in place: a deeper look goes on where the
last one stopped.
"""

from __future__ import annotations

import hashlib
import json
from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from .attention import Features

HOST_BYTES = 4 << 30
"""Kept in the host's memory beside a CUDA device."""
CPU_BYTES = 256 << 20
"""Kept where the host's memory is all there is."""
DEVICE_SHARE = 0.25
"""Part of a CUDA device's memory that may be kept between translations."""


@dataclass
class Source:
    """The inverted trajectory of a batch of pictures, as far as it was needed.

    Attributes:
        latents: z_0, z_1, ... of the walk.
        noise: eps(z_i, t_i) of those nodes.
        features: What the controlled layers saw, by node and window.
        round_trip: The decoded z_0.
        feature_bytes: Bytes of all features.
    """

    latents: list[Float[Tensor, "pictures channels rows columns"]] = field(default_factory=list)
    noise: list[Float[Tensor, "pictures channels rows columns"]] = field(default_factory=list)
    features: dict[tuple[int, int], Features] = field(default_factory=dict)
    round_trip: Float[Tensor, "pictures 3 height width"] | None = None
    feature_bytes: int = 0

    def keep(self, node: int, window: int, features: Features) -> None:
        """Keep what the source pass over a window captured at a node."""
        self.features[node, window] = features
        self.feature_bytes += sum(tensor.nbytes for pair in features for tensor in pair)

    def forget_features(self) -> None:
        """Let the most of the bytes go; a pass of the source at each locked node captures them again."""
        self.features, self.feature_bytes = {}, 0

    @property
    def byte_length(self) -> int:
        """Bytes of all tensors."""
        return sum(tensor.nbytes for tensor in self._tensors())

    def is_on(self, device: torch.device) -> bool:
        """Whether everything is on a device."""
        return all(tensor.device == device for tensor in self._tensors())

    def move(self, device: torch.device) -> None:
        """Take everything to a device. The bytes stay the same."""
        self.latents = [tensor.to(device) for tensor in self.latents]
        self.noise = [tensor.to(device) for tensor in self.noise]
        self.features = {
            place: [(query.to(device), key.to(device)) for query, key in features]
            for place, features in self.features.items()
        }
        if self.round_trip is not None:
            self.round_trip = self.round_trip.to(device)

    def _tensors(self) -> Iterator[Tensor]:
        yield from self.latents
        yield from self.noise
        for features in self.features.values():
            for pair in features:
                yield from pair
        if self.round_trip is not None:
            yield self.round_trip


def source_key(**parts: Any) -> str:
    """Identifies a source by all that its bytes depend on, given as plain maps, lists, strings and numbers."""
    return hashlib.blake2b(json.dumps(parts, sort_keys=True).encode(), digest_size=16).hexdigest()


class SourceCache:
    """Sources by key, the one used last first to stay: on the device, then in the host's memory.

    Args:
        device: Where translations are computed.
        device_bytes: Kept there between translations.
        host_bytes: Kept in the host's memory besides; of no use where that is the device.
    """

    def __init__(self, device: torch.device, device_bytes: int, host_bytes: int) -> None:
        self._device = device
        self._limits = {device: device_bytes, torch.device("cpu"): host_bytes}
        if device.type == "cpu":
            self._limits = {device: device_bytes}
        self._sources: OrderedDict[str, Source] = OrderedDict()

    @classmethod
    def for_device(cls, device: torch.device) -> SourceCache:
        """A cache of a size that suits the device."""
        if device.type == "cpu":
            return cls(device, CPU_BYTES, 0)
        memory = torch.cuda.get_device_properties(device).total_memory
        return cls(device, int(DEVICE_SHARE * memory), HOST_BYTES)

    def __len__(self) -> int:
        return len(self._sources)

    def open(self, key: str) -> Source:
        """The source of a key, on the device; an empty one where there is none yet."""
        source = self._sources.setdefault(key, Source())
        self._sources.move_to_end(key)
        if not source.is_on(self._device):
            source.move(self._device)
        return source

    def settle(self, device_bytes: int | None = None) -> None:
        """Keep within the limits: what was used longest ago loses its features, moves to the host, then goes.

        A capture takes less time than the way to the host and back, and none where nobody looks again: at an animation.

        Args:
            device_bytes: Another limit for the device, for this time.
        """
        left = dict(self._limits)
        if device_bytes is not None:
            left[self._device] = device_bytes
        for key, source in reversed(list(self._sources.items())):
            if device_bytes is None and source.byte_length > left[self._device]:
                source.forget_features()
            size = source.byte_length
            place = next((device for device, room in left.items() if size <= room), None)
            if place is None:
                del self._sources[key]
                continue
            left[place] -= size
            if not source.is_on(place):
                source.move(place)

    def make_room(self) -> None:
        """Move everything from the device to the host's memory, where these are two."""
        if len(self._limits) > 1:
            self.settle(device_bytes=0)

    def clear(self) -> None:
        """Forget everything."""
        self._sources.clear()
