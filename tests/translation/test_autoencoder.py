# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import pytest
import torch
from diffusers import AutoencoderKL

from backend.translation import autoencoder


@torch.inference_mode()
def test_attention_in_parts_is_the_librarys(monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(0)
    module = AutoencoderKL(
        block_out_channels=(32, 64),
        down_block_types=("DownEncoderBlock2D",) * 2,
        up_block_types=("UpDecoderBlock2D",) * 2,
        norm_num_groups=8,
    ).eval()
    image = torch.rand(2, 3, 24, 32) * 2 - 1
    latents = module.encode(image).latent_dist.mode()
    decoded = module.decode(latents).sample
    replaced = autoencoder.Autoencoder(module).module
    for scores in (autoencoder.SCORES, 50 * 12 * 16):
        monkeypatch.setattr(autoencoder, "SCORES", scores)
        torch.testing.assert_close(replaced.encode(image).latent_dist.mode(), latents, atol=1e-5, rtol=1e-4)
        torch.testing.assert_close(replaced.decode(latents).sample, decoded, atol=1e-5, rtol=1e-4)
