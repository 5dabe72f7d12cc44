# SPDX-License-Identifier: GPL-3.0-or-later
"""The pictures of a batch, laid out for the network: what moves, how far, and in which windows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Float32
from torch import Tensor

from protocol.errors import ErrorCode, MakeRealError
from protocol.planes import PlaneName
from protocol.request import TranslationRequest

from .attention import TextureControl
from .model import Model
from .picture import Picture, read_picture
from .regions import divide
from .schedule import Walk, count_steps, low_noise_walk
from .sizes import pad_to_multiple
from .texture import TextureLock, locked_steps
from .windows import Window, cover, moving_box

WHOLE_TOLERANCE = 1.5
"""Times its native area that the network still takes in one piece."""
BOX_STEP = 16
"""Latent cells by which the sides of a garment's box grow, so that few sizes occur."""


@dataclass(frozen=True)
class Batch:
    """Pictures of one size under one request.

    Args:
        request: What is asked for.
        pictures: The checked planes.
        coverage: Share of the translation in each pixel, of each picture.
        box: Latent cells that are translated; pixels outside it stay.
        start: Node at which each cell of the box starts.
        garment: Coverage of the garment in each cell of the box.
        garment_steps: The start of the garment where its factor is 1.
        walk: The nodes.
        windows: Windows of the network, within the box.
        pixel_multiple: Pixels to whose multiple pictures are padded.
        factor: Pixels along a latent cell.
    """

    request: TranslationRequest
    pictures: list[Picture]
    coverage: list[Float32[Tensor, "height width"]]
    box: Window
    start: Float[Tensor, "pictures 1 rows columns"]
    garment: Float[Tensor, "pictures 1 rows columns"]
    garment_steps: int
    walk: Walk
    windows: tuple[Window, ...]
    pixel_multiple: int
    factor: int

    @classmethod
    def read(
        cls,
        request: TranslationRequest,
        batch: Sequence[Mapping[PlaneName, np.ndarray[Any, Any]]],
        model: Model,
    ) -> Batch:
        """Check the planes and lay the pictures out.

        A picture that the network takes in one piece is translated whole; of a larger one, the box of what
        moves.

        Raises:
            MakeRealError: INVALID_REQUEST naming the plane; EMPTY_MASK.
        """
        pictures = [read_picture(planes, model.device) for planes in batch]
        if len({picture.garment.shape for picture in pictures}) != 1:
            raise MakeRealError(ErrorCode.INVALID_REQUEST, "the pictures of a batch must have one size")
        regions = [divide(picture, request, model) for picture in pictures]
        start = torch.cat([region.start for region in regions])
        rows, columns = start.shape[-2:]
        box = Window(0, 0, rows, columns)
        if rows * columns > WHOLE_TOLERANCE * model.native_area and bool(start.any()):
            box = moving_box(start, max(BOX_STEP, model.latent_multiple))
        return cls(
            request=request,
            pictures=pictures,
            coverage=[region.coverage for region in regions],
            box=box,
            start=box.cut(start),
            garment=box.cut(torch.cat([region.garment for region in regions])),
            garment_steps=regions[0].garment_steps,
            walk=low_noise_walk(model.alphas_cumprod, request.steps, regions[0].steps),
            windows=cover(box.height, box.width, model.native_area, WHOLE_TOLERANCE, model.latent_multiple),
            pixel_multiple=model.pixel_multiple,
            factor=model.autoencoder.factor,
        )

    @property
    def moves(self) -> bool:
        """Whether any cell is translated at all."""
        return bool(self.start.any())

    def renders(self) -> list[Float[Tensor, "1 3 box_height box_width"]]:
        """The box of every picture as the network sees it."""
        return [self._cut(picture.seen) for picture in self.pictures]

    def garments(self) -> list[Float[Tensor, "1 1 box_height box_width"]]:
        """The box of every garment's coverage."""
        return [self._cut(picture.garment[None]) for picture in self.pictures]

    def paste(
        self, picture: Picture, result: Float[Tensor, "1 3 box_height box_width"]
    ) -> Float32[Tensor, "3 height width"]:
        """The whole picture, with the box exchanged for its result."""
        image = picture.seen.clone()
        place = self.box.cut(image, self.factor)
        place.copy_(result[0, :, : place.shape[1], : place.shape[2]])
        return image

    def texture_lock(self, control: TextureControl) -> TextureLock:
        """Which nodes hold the garment's texture, and how firmly in each window."""
        return TextureLock(control, self.windows, self.garment, self.held_nodes, self.request.texture_lock)

    @property
    def held_nodes(self) -> range:
        """The nodes at which texture is held."""
        if self.request.texture_lock == 0:
            return range(0)
        return locked_steps(self.garment_steps, count_steps(self.request.texture_steps, self.garment_steps))

    def _cut(
        self, plane: Float32[Tensor, "channels height width"]
    ) -> Float[Tensor, "1 channels box_height box_width"]:
        return self.box.cut(pad_to_multiple(plane, self.pixel_multiple), self.factor)[None]
