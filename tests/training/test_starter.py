# SPDX-License-Identifier: GPL-3.0-or-later
"""The shipped starter is what its card says: small, complete, licensed, and a Stable Diffusion directory."""

from __future__ import annotations

import json
import warnings
from importlib.resources import files
from pathlib import Path

import torch
from diffusers import StableDiffusionPipeline

STARTER = Path(str(files("backend"))) / "starter"
MAX_MODEL_BYTES = 96_000_000
MAX_FILE_BYTES = 50_000_000


def test_it_is_small_enough_to_ship():
    sizes = [file.stat().st_size for file in STARTER.rglob("*") if file.is_file()]
    assert sum(sizes) <= MAX_MODEL_BYTES
    assert max(sizes) <= MAX_FILE_BYTES


def test_it_holds_safetensors_and_text_only_and_names_no_folder_of_its_maker():
    for file in STARTER.rglob("*"):
        assert file.is_dir() or file.suffix in {".safetensors", ".json", ".md", ".txt", ".TAEF2"}, file
        if file.suffix == ".json":
            assert "_name_or_path" not in file.read_text()


def test_its_card_names_every_data_source_and_licence():
    card = (STARTER / "README.md").read_text()
    for named in (
        "CC0 1.0",
        "CC BY 4.0",
        "CC BY 3.0",
        "MIT",
        "Clothing dataset",
        "MakeHuman",
        "VALID",
        "TAEF2",
    ):
        assert named in card
    assert "Ollin Boer Bohan" in (STARTER / "vae" / "LICENSE.TAEF2").read_text()


def test_its_domain_fills_every_free_slot_of_the_text_encoder():
    from safetensors.torch import load_file

    vectors = load_file(STARTER / "domain" / "negative_embedding.safetensors")["text_encoder"]
    config = json.loads((STARTER / "text_encoder" / "config.json").read_text())
    assert vectors.shape == (config["max_position_embeddings"] - 2, config["hidden_size"])


def test_diffusers_loads_and_runs_it():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # diffusers' own deprecations
        pipeline = StableDiffusionPipeline.from_pretrained(STARTER, local_files_only=True)
        pipeline.set_progress_bar_config(disable=True)
        pictures = pipeline(
            "a photo of a dress", num_inference_steps=1, height=128, width=96, output_type="pt",
            generator=torch.Generator().manual_seed(0),
        ).images  # fmt: skip
    assert pictures.shape == (1, 3, 128, 96)
    assert pictures.isfinite().all()
    assert pictures.std() > 0.01
