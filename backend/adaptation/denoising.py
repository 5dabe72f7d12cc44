# SPDX-License-Identifier: GPL-3.0-or-later
"""The loss of both stages, and what is measured with the same network."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields
from typing import Any

import torch
from accelerate import Accelerator
from jaxtyping import Float, Int
from torch import Tensor

from backend.translation.domain import MAX_GAIN
from backend.translation.guidance import REFERENCE_CONTRAST
from backend.translation.text import Conditioning

from .bank import Bank
from .bridge import noisy_pair
from .draws import draw_timesteps, generator, shuffled, translation_timesteps

CALIBRATION_SHARE = 0.281
"""Of the schedule: about the middle of a translation's way."""
DRAW_ORDER, DRAW_NOISE, DRAW_VALIDATION, DRAW_CALIBRATION = range(2, 6)


@dataclass(frozen=True)
class Batch:
    """Crops with the noise that is to be found in them; see `Bank`."""

    latents: Float[Tensor, "batch channels rows columns"]
    rendered: Float[Tensor, "batch channels rows columns"]
    noise: Float[Tensor, "batch channels rows columns"]
    timesteps: Int[Tensor, " batch"]
    sizes: Float[Tensor, "batch 6"]
    captions: Int[Tensor, " batch"]


@dataclass(frozen=True)
class Denoiser:
    """A network under training or just trained, as a noise predictor.

    Args:
        unet: The network, or what it was compiled to.
        accelerator: Decides the arithmetic's precision.
        alphas_cumprod: alpha_bar of every timestep, float32 on the network's device.
        prediction: `epsilon` or `v_prediction`.
    """

    unet: Callable[..., Any]
    accelerator: Accelerator
    alphas_cumprod: Float[Tensor, " timesteps"]
    prediction: str

    def draw(self, bank: Bank, count: int, number: int, seed: int, stage: int) -> Batch:
        """Batch `number` of a stage: crops, noise and timesteps, which depend on the arguments alone."""
        device = self.alphas_cumprod.device
        chosen = shuffled(len(bank), count, number, seed, DRAW_ORDER, stage)
        draws = generator(device, seed, DRAW_NOISE, stage, number)
        latents, rendered = (
            kept[chosen.to(kept.device)].to(device).float() for kept in (bank.latents, bank.rendered)
        )
        return Batch(
            latents,
            rendered,
            torch.randn(latents.shape, generator=draws, device=device),
            draw_timesteps(count, len(self.alphas_cumprod), draws),
            bank.sizes[chosen].to(device),
            bank.captions[chosen],
        )

    def losses(self, batch: Batch, text: Conditioning) -> Float[Tensor, " batch"]:
        """Mean of |eps - eps_theta(z_t, t, v)|^2 (FashionR2R, equation 1) of every crop, with the noise of `bridge`.

        A v-prediction network is held to v = (eps - sqrt(1 - a) z_t) / sqrt(a) instead (arXiv 2202.00512).

        Args:
            text: v, one for each crop.
        """
        alpha = self.alphas_cumprod[batch.timesteps].view(-1, 1, 1, 1)
        noisy, target = noisy_pair(
            batch.latents, batch.rendered, batch.noise, batch.timesteps, self.alphas_cumprod
        )
        if self.prediction == "v_prediction":
            target = (target - (1 - alpha).sqrt() * noisy) / alpha.sqrt()
        predicted = self._predict(noisy, batch.timesteps, text, batch.sizes)
        return (predicted - target).square().mean((1, 2, 3))

    @torch.no_grad()
    def validate(self, bank: Bank, text: Conditioning, seed: int, at_once: int) -> float:
        """Mean loss over a bank at fixed timesteps, spread over those of translations, and fixed noise."""
        device = self.alphas_cumprod.device
        draws = generator(device, seed, DRAW_VALIDATION)
        noise = torch.randn(bank.latents.shape, generator=draws, device=device)
        # Far steps, so that neighbours in the folder get distant levels.
        spread = torch.arange(len(bank), device=device) * 89
        timesteps = 1 + spread % (translation_timesteps(len(self.alphas_cumprod)) - 1)
        losses = [
            self.losses(
                Batch(
                    bank.latents[part].to(device).float(),
                    bank.rendered[part].to(device).float(),
                    noise[part],
                    timesteps[part],
                    bank.sizes[part].to(device),
                    bank.captions[part],
                ),
                repeated(text, len(bank.latents[part])),
            )
            for part in (slice(start, start + at_once) for start in range(0, len(bank), at_once))
        ]
        return float(torch.cat(losses).mean())

    @torch.no_grad()
    def guidance_gain(
        self, bank: Bank, empty: Conditioning, negative: Conditioning, seed: int, at_once: int
    ) -> float:
        """The domain's `guidance_gain`: reference contrast over this domain's, measured on renders.

        The contrast is the root mean square between the noise predicted under the two sides of guidance.
        """
        device = self.alphas_cumprod.device
        timestep = round(CALIBRATION_SHARE * len(self.alphas_cumprod))
        alpha = self.alphas_cumprod[timestep]
        noise = torch.randn(
            bank.latents.shape, generator=generator(device, seed, DRAW_CALIBRATION), device=device
        )
        squares = []
        for start in range(0, len(bank), at_once):
            part = slice(start, start + at_once)
            latents = bank.latents[part].to(device).float()
            noisy = alpha.sqrt() * latents + (1 - alpha).sqrt() * noise[part]
            timesteps = torch.full((len(latents),), timestep, device=device)
            sides = [
                self._predict(noisy, timesteps, repeated(text, len(latents)), bank.sizes[part].to(device))
                for text in (empty, negative)
            ]
            squares.append((sides[0] - sides[1]).square().mean((1, 2, 3)))
        contrast = float(torch.cat(squares).mean().sqrt())
        if self.prediction == "v_prediction":
            # eps = sqrt(a) v + sqrt(1 - a) z, and z is the same on both sides.
            contrast *= float(alpha.sqrt())
        return round(min(REFERENCE_CONTRAST / max(contrast, 1e-9), MAX_GAIN), 2)

    def _predict(self, noisy: Tensor, timesteps: Tensor, text: Conditioning, sizes: Tensor) -> Tensor:
        added = None if text.pooled is None else {"text_embeds": text.pooled, "time_ids": sizes}
        with self.accelerator.autocast():
            predicted: Tensor = self.unet(
                noisy.contiguous(memory_format=torch.channels_last),
                timesteps,
                text.hidden,
                added_cond_kwargs=added,
                return_dict=False,
            )[0]
        return predicted.float()


def joined(first: Batch, second: Batch) -> Batch:
    """Both in one."""
    pairs = ((getattr(first, field.name), getattr(second, field.name)) for field in fields(Batch))
    return Batch(*(torch.cat(pair) for pair in pairs))


def repeated(text: Conditioning, count: int) -> Conditioning:
    """One text for each of `count` crops."""
    pooled = None if text.pooled is None else text.pooled.expand(count, -1)
    return Conditioning(text.hidden.expand(count, -1, -1), pooled)
