# SPDX-License-Identifier: GPL-3.0-or-later
"""An adaptation from folders of pictures to a domain folder; it goes on from whatever a killed one left."""

from __future__ import annotations

import gc
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np
import torch
from accelerate import Accelerator
from diffusers import UNet2DConditionModel
from jaxtyping import UInt8

from backend.translation.domain import FORMAT, Domain
from backend.translation.loading import load_unet, weights_digest
from backend.translation.text import Conditioning, domain_conditioning

from .bank import Bank, Preparation
from .denoising import Denoiser
from .folders import PictureFile, folder_digest, hold_out
from .negative import initial_vectors, negative_loss
from .parts import Parts
from .positive import STORED_TYPES, WEIGHTS_FILES, positive_loss, trainable_network, trained, write_network
from .samples import sheet_renders, write_sheet
from .settings import Pace, Settings
from .stage import Course, Stage, UnfinishedError, train
from .tensors import read_tensors, write_tensors
from .workplace import Workplace

MODEL_PARTS = ("unet", "vae", "text_encoder", "text_encoder_2")


@dataclass(frozen=True)
class Task:
    """What an adaptation is made of.

    Args:
        parts: The base model's.
        base: How the domain names that model; see `backend.models`.
        photos: Pictures that the empty prompt is to mean.
        renders: Pictures that the negative embedding is to mean.
        settings: What else decides the weights.
        pace: How the run goes about it.
        is_over: Whether the time for this run is over.
        report: As in `stage.Course`.
    """

    parts: Parts
    base: str
    photos: list[PictureFile]
    renders: list[PictureFile]
    settings: Settings
    pace: Pace
    is_over: Callable[[], bool]
    report: Callable[[str, int, int, str], None]


@dataclass(frozen=True)
class Material:
    """What both stages learn and validate on."""

    captions: list[str]
    photos: Bank
    renders: Bank
    held_out_photos: Bank
    held_out_renders: Bank
    shown: list[UInt8[np.ndarray, "height width 3"]]


def adapt(task: Task, place: Workplace) -> None:
    """Adapt a model.

    Raises:
        UnfinishedError: The time is over before the work.
        MakeRealError: What is wrong with the model, a picture or a setting.
        OSError: Something cannot be written.
    """
    settings, parts = task.settings, task.parts
    place.begin(settings, _digests(task))
    material = prepare(task, place)
    course = Course(place.training, task.pace, task.is_over, task.report)
    weights = place.out / WEIGHTS_FILES[settings.full]
    if not weights.exists():
        fine_tune(task, material, course, weights)
        # The optimiser refers to itself: without this its state would lie beside the next network.
        gc.collect()
    if not place.embedding.exists():
        unet = adapted_network(parts, weights, settings)
        learn_negative(task, material, course, unet, place.embedding)
    place.finish(
        {
            "format": FORMAT,
            "name": place.out.name,
            "base": task.base,
            "negative_embedding": place.embedding.name,
            "unet_lora": None if settings.full else weights.name,
            "unet": weights.name if settings.full else None,
            "guidance_gain": measured_gain(task, material, weights, place.embedding),
        }
    )


def prepare(task: Task, place: Workplace) -> Material:
    """Divide the pictures and encode their crops."""
    done, total = 0, len(task.photos) + len(task.renders)

    def advance(count: int, worked: bool) -> None:
        nonlocal done
        done += count
        task.report("preparing", done, total, "")
        # What is there already is no progress: a run must make some, however short it is.
        if worked and task.is_over() and done < total:
            raise UnfinishedError(f"picture {done} of {total}")

    photos, held_out_photos = hold_out(task.photos)
    renders, held_out_renders = hold_out(task.renders)
    captions = ["", *sorted({file.caption for file in [*photos, *renders]} - {""})]
    banks = Preparation(place.crops, task.parts.autoencoder, task.settings, task.parts.device, advance)
    size = task.settings.width, task.settings.height
    return Material(
        captions,
        _placed(banks.training("photos", photos, captions), task.parts.device),
        _placed(banks.training("renders", renders, captions), task.parts.device),
        banks.held_out("photos", held_out_photos),
        banks.held_out("renders", held_out_renders),
        sheet_renders(held_out_renders, *size),
    )


def fine_tune(task: Task, material: Material, course: Course, weights: Path) -> None:
    """The positive stage; writes the trained weights."""
    settings, parts = task.settings, task.parts
    accelerator = _accelerator(task)
    unet = trainable_network(parts.base, settings, parts.device)
    if task.pace.gradient_checkpointing:
        unet.enable_gradient_checkpointing()
    denoiser = _denoiser(unet, accelerator, parts)
    empty = parts.empty.to(parts.device, torch.float32)

    def validate() -> tuple[float, float]:
        banks = material.held_out_photos, material.held_out_renders
        photos, renders = (denoiser.validate(bank, empty, settings.seed, settings.batch) for bank in banks)
        return photos, renders

    def sample(path: Path) -> None:
        write_sheet(parts.model("positive", unet, None, 1.0), material.shown, path)

    loss = partial(
        positive_loss, _compiled(denoiser, task), material.photos, material.renders,
        parts.captions(material.captions), settings,
    )  # fmt: skip
    stage = Stage(
        "positive", trained(unet), settings.positive_steps, settings.accumulate, settings.positive_rate,
        loss, validate, sample,
    )  # fmt: skip
    train(stage, course, accelerator)
    write_network(unet, settings.full, weights)


def learn_negative(
    task: Task, material: Material, course: Course, unet: UNet2DConditionModel, embedding: Path
) -> None:
    """The negative stage on the fine-tuned, frozen network; writes the vectors."""
    settings, parts = task.settings, task.parts
    accelerator = _accelerator(task)
    if task.pace.gradient_checkpointing:
        unet.enable_gradient_checkpointing()
    denoiser = _denoiser(unet, accelerator, parts)
    parts.place_encoders(parts.device)
    vectors = {
        key: torch.nn.Parameter(initial.to(parts.device))
        for key, initial in initial_vectors(parts.encoders, settings.initial_prompt, settings.vectors).items()
    }

    def validate() -> tuple[float, float]:
        banks = material.held_out_photos, material.held_out_renders
        with torch.no_grad():
            text = domain_conditioning(parts.encoders, vectors)
        photos, renders = (denoiser.validate(bank, text, settings.seed, settings.batch) for bank in banks)
        return photos, renders

    def sample(path: Path) -> None:
        with torch.no_grad():
            text = domain_conditioning(parts.encoders, vectors)
        gain = _gain(task, material, denoiser, text)
        write_sheet(parts.model("negative", unet, text, gain), material.shown, path)

    loss = partial(
        negative_loss, _compiled(denoiser, task), material.renders, parts.encoders, vectors, settings
    )
    stage = Stage(
        "negative", vectors, settings.negative_steps, settings.accumulate, settings.negative_rate,
        loss, validate, sample,
    )  # fmt: skip
    train(stage, course, accelerator)
    write_tensors(embedding, vectors)


def measured_gain(task: Task, material: Material, weights: Path, embedding: Path) -> float:
    """The domain's `guidance_gain`."""
    settings, parts = task.settings, task.parts
    denoiser = _denoiser(adapted_network(parts, weights, settings), _accelerator(task), parts)
    parts.place_encoders(torch.device("cpu"))
    with torch.no_grad():
        negative = domain_conditioning(parts.encoders, read_tensors(embedding))
    return _gain(task, material, denoiser, negative.to(parts.device, torch.float32))


def _gain(task: Task, material: Material, denoiser: Denoiser, negative: Conditioning) -> float:
    """The gain between the empty prompt and a negative side, measured on the held-out renders."""
    empty = task.parts.empty.to(task.parts.device, torch.float32)
    settings = task.settings
    return denoiser.guidance_gain(material.held_out_renders, empty, negative, settings.seed, settings.batch)


def adapted_network(parts: Parts, weights: Path, settings: Settings) -> UNet2DConditionModel:
    """The network as the positive stage left it and as a translation would load it, frozen."""
    if settings.full:
        domain = Domain("", {}, unet=weights)
    else:
        domain = Domain("", {}, {key: tensor.float() for key, tensor in read_tensors(weights).items()})
    unet = load_unet(parts.base, STORED_TYPES[settings.mixed_precision], domain)
    return unet.to(parts.device, memory_format=torch.channels_last)


def _accelerator(task: Task) -> Accelerator:
    """One a stage: each has its own gradient scaler."""
    return Accelerator(
        mixed_precision=task.settings.mixed_precision,
        cpu=task.parts.device.type == "cpu",
        device_placement=False,
    )


def _denoiser(unet: UNet2DConditionModel, accelerator: Accelerator, parts: Parts) -> Denoiser:
    alphas = torch.from_numpy(parts.alphas_cumprod).float().to(parts.device)
    return Denoiser(unet, accelerator, alphas, parts.prediction)


def _compiled(denoiser: Denoiser, task: Task) -> Denoiser:
    """The same, compiled where it was asked for; captured too, unless gradients of several batches add up."""
    if not task.pace.compile:
        return denoiser
    mode = "reduce-overhead" if task.settings.accumulate == 1 else "default"
    network = torch.compile(denoiser.unet, mode=mode)

    def step(*arguments: object, **named: object) -> object:
        torch.compiler.cudagraph_mark_step_begin()
        return network(*arguments, **named)

    return replace(denoiser, unet=step)


def _placed(bank: Bank, device: torch.device) -> Bank:
    """The bank's latents on the device where they take a tenth of its memory at most, else on the host."""
    if device.type != "cuda":
        return bank
    room = torch.cuda.get_device_properties(device).total_memory // 10
    if bank.latents.nbytes + bank.rendered.nbytes > room:
        return bank
    latents = bank.latents.to(device)
    rendered = latents if bank.rendered is bank.latents else bank.rendered.to(device)
    return replace(bank, latents=latents, rendered=rendered)


def _digests(task: Task) -> dict[str, str]:
    return {
        "the model": weights_digest(*(task.parts.base / part for part in MODEL_PARTS)),
        "the photos": folder_digest(task.photos),
        "the renders": folder_digest(task.renders),
    }
