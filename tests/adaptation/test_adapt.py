# SPDX-License-Identifier: GPL-3.0-or-later
"""`make-real adapt` from folders of pictures to a domain that translates, on tiny models of each family's shape."""

from __future__ import annotations

import csv
import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import typer
from adapt_request import small_request
from PIL import Image
from safetensors.torch import load_file, save_file

from backend.adaptation.command import find_base, run
from backend.adaptation.settings import Pace
from backend.adaptation.workplace import Workplace
from backend.models import InstalledModel, add_model, find_model, installed_models
from backend.service.process import InstanceLock
from backend.translation import Translator
from protocol import ErrorCode, MakeRealError, PlaneName, TranslationRequest

WriteTiny = Callable[..., Path]


@pytest.fixture(scope="module")
def base(write_tiny: WriteTiny, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny("sd15", tmp_path_factory.mktemp("models") / "base")


def rows(out: Path, stage: str) -> list[dict[str, str]]:
    with (out / "training" / "losses.csv").open(newline="") as file:
        return [row for row in csv.DictReader(file) if row["stage"] == stage]


@pytest.mark.parametrize(
    ("family", "settings", "encoders", "weights"),
    [
        ("sd15", {}, {"text_encoder"}, "unet_lora.safetensors"),
        ("sdxl", {"full": True, "accumulate": 2}, {"text_encoder", "text_encoder_2"}, "unet.safetensors"),
        ("starter_shape", {"vectors": 8, "bridge": True}, {"text_encoder"}, "unet_lora.safetensors"),
    ],
)
@pytest.mark.slow
def test_a_domain_is_made_listed_and_translates(
    tmp_path: Path,
    pictures: Path,
    write_tiny: WriteTiny,
    family: str,
    settings: dict[str, Any],
    encoders: set[str],
    weights: str,
) -> None:
    model, out, data_dir = write_tiny(family, tmp_path / "base"), tmp_path / "knitwear", tmp_path / "data"
    run(small_request(model, pictures, out, resolution="64x128" if family == "sdxl" else "64", **settings))
    assert {path.name for path in out.iterdir()} == {
        "domain.json", "training", "negative_embedding.safetensors", weights
    }  # fmt: skip
    assert {path.name for path in (out / "training").iterdir()} == {
        "lock", "losses.csv", "run.json", "samples"
    }  # fmt: skip
    vectors = load_file(out / "negative_embedding.safetensors")
    assert {key: tuple(v.shape) for key, v in vectors.items()} == dict.fromkeys(
        encoders, (settings.get("vectors", 75), 32)
    )
    with Image.open(out / "training" / "samples" / "negative-000004.png") as sheet:
        # Two held-out renders of 22 are a tenth and more; three rows are the most.
        assert sheet.size == (128, 3 * (128 if family == "sdxl" else 64))

    assert add_model(out, data_dir) == "knitwear"
    installed = installed_models((), data_dir)
    found = find_model("knitwear", installed)
    assert found == InstalledModel("knitwear", model, out)
    translator = Translator.load(found.base, domain_dir=found.domain)
    described = json.loads((out / "domain.json").read_text())
    assert translator.model.guidance_gain == described["guidance_gain"]
    image = np.random.default_rng(0).integers(0, 255, (64, 64, 3), np.uint8)
    translation = translator.translate(
        TranslationRequest(steps=6, garment_strength=0.5), {PlaneName.IMAGE: image}
    )
    assert translation.recipe["model"]["domain"] == "knitwear"
    assert not np.array_equal(translation.image, image)


def heed_the_text(model: Path) -> None:
    """Make a random network's cross-attention strong: what vectors do to it is else lost in the rounding."""
    (file,) = (model / "unet").glob("*.safetensors")
    strong = ("attn2.to_v.weight", "attn2.to_out.0.weight")
    weights = {
        name: 12 * tensor if name.endswith(strong) else tensor for name, tensor in load_file(file).items()
    }
    save_file(weights, file, metadata={"format": "pt"})


@pytest.mark.slow
def test_both_stages_learn(tmp_path: Path, pictures: Path, write_tiny: WriteTiny) -> None:
    """The held-out photos' loss falls; the vectors lower the loss of the renders below that of vectors that stay."""
    base = write_tiny("sd15", tmp_path / "base")
    heed_the_text(base)

    def learn(name: str, negative_rate: float) -> Path:
        run(
            small_request(
                base, pictures, tmp_path / name, positive_steps=40, negative_steps=60, batch=8, positive_rate=5e-3,
                negative_rate=negative_rate, pace=Pace(checkpoint_every=10, sample_every=1000),
            )
        )  # fmt: skip
        return tmp_path / name

    out = learn("learnt", 0.01)
    photos = [float(row["photos"]) for row in rows(out, "positive") if row["photos"]]
    assert len(photos) == 4
    assert photos[-1] < photos[0] - 0.01
    # The same draws in both runs, so that the losses compare.
    learnt, still = (
        np.mean([float(row["loss"]) for row in rows(folder, "negative")[-10:]])
        for folder in (out, learn("still", 1e-9))
    )
    assert learnt < still - 0.005
    lora = load_file(out / "unet_lora.safetensors")
    assert all(tensor.abs().max() > 0 for tensor in lora.values())
    assert all(tensor.dtype is torch.float16 for tensor in lora.values())


@pytest.mark.slow
def test_a_run_stopped_by_the_clock_goes_on_as_if_it_had_not(
    tmp_path: Path, pictures: Path, base: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    whole, parts = (
        small_request(
            base, pictures, tmp_path / name / "domain", full=True, positive_steps=2, negative_steps=2
        )
        for name in ("whole", "parts")
    )
    run(whole)
    hasty = replace(parts, pace=replace(parts.pace, minutes=1e-9))
    stops = []
    for _ in range(20):
        try:
            run(hasty)
            break
        except typer.Exit as exit:
            assert exit.exit_code == 75
            stops.append(capsys.readouterr().out.splitlines()[-1])
    assert stops[0].startswith("stopped at picture ")
    assert "stopped at positive step 1 of 2; run the same command again to go on" in stops
    assert "stopped at negative step 1 of 2; run the same command again to go on" in stops
    for name in ("unet.safetensors", "negative_embedding.safetensors", "domain.json"):
        assert (whole.out / name).read_bytes() == (parts.out / name).read_bytes()


@pytest.fixture
def begun(tmp_path: Path, pictures: Path, base: Path) -> Path:
    """A run that was stopped while preparing, on pictures of its own."""
    shutil.copytree(pictures, tmp_path / "own")
    request = small_request(base, tmp_path / "own", tmp_path / "begun", pace=Pace(minutes=1e-9))
    with pytest.raises(typer.Exit):
        run(request)
    return tmp_path


@pytest.mark.slow
def test_another_run_in_the_same_folder_is_refused(begun: Path, base: Path) -> None:
    request = small_request(base, begun / "own", begun / "begun")
    with pytest.raises(MakeRealError, match="was begun with --positive-steps 4, --seed 0; give the same"):
        run(small_request(base, begun / "own", begun / "begun", seed=1, positive_steps=9))
    lock = InstanceLock(begun / "begun" / "training" / "lock")
    with pytest.raises(MakeRealError, match="another run is at work"):
        run(request)
    lock.release()
    (begun / "own" / "photos" / "001.txt").write_text("other words")
    with pytest.raises(MakeRealError, match="the photos changed since"):
        run(request)


def test_a_run_killed_before_it_noted_anything_can_be_started_again(tmp_path: Path) -> None:
    out = tmp_path / "domain"
    Workplace(out).release()
    (out / "training" / "run.json.part").touch()
    Workplace(out).release()
    (out / "training" / "notes.txt").touch()
    with pytest.raises(MakeRealError, match="holds no interrupted run"):
        Workplace(out)


@pytest.mark.parametrize(
    ("out", "told"),
    [
        ("with space", "may have letters"),
        ("notes", "is not empty and holds no interrupted run"),
        ("domain", "holds a complete domain already"),
    ],
)
def test_a_folder_that_cannot_be_written_is_refused(
    tmp_path: Path, pictures: Path, base: Path, out: str, told: str
) -> None:
    for name in ("notes/readme.txt", "domain/domain.json"):
        (tmp_path / name).parent.mkdir()
        (tmp_path / name).touch()
    with pytest.raises(MakeRealError, match=told) as caught:
        run(small_request(base, pictures, tmp_path / out))
    assert caught.value.code is ErrorCode.INVALID_REQUEST


def test_a_picture_that_cannot_be_read_is_named(tmp_path: Path, pictures: Path, base: Path) -> None:
    own = shutil.copytree(pictures, tmp_path / "own")
    damaged = own / "photos" / "004.jpg"
    damaged.write_bytes(damaged.read_bytes()[:30])
    with pytest.raises(MakeRealError, match=r"004\.jpg") as caught:
        run(small_request(base, own, tmp_path / "domain"))
    assert caught.value.code is ErrorCode.PICTURE_UNREADABLE


@pytest.mark.parametrize("resolution", ["60", "wide", "-64", "64x65", "0"])
def test_a_resolution_that_the_network_cannot_take_is_refused(
    tmp_path: Path, pictures: Path, base: Path, resolution: str
) -> None:
    with pytest.raises(MakeRealError, match=r"--resolution must be .* multiples of 64"):
        run(small_request(base, pictures, tmp_path / "domain", resolution=resolution))


def test_a_crop_larger_than_the_pictures_is_refused(tmp_path: Path, pictures: Path, base: Path) -> None:
    with pytest.raises(MakeRealError, match="is 136x144, smaller than a training crop of 192x192"):
        run(small_request(base, pictures, tmp_path / "domain", resolution="192"))


def test_a_base_is_a_folder_or_a_name_and_no_domain(tmp_path: Path, base: Path) -> None:
    add_model(base, tmp_path / "data")
    assert find_base(str(base), tmp_path / "data") == (base, str(base))
    assert find_base("base", tmp_path / "data") == (base, "base")
    with pytest.raises(MakeRealError) as caught:
        find_base("absent", tmp_path / "data")
    assert caught.value.code is ErrorCode.MODEL_NOT_FOUND
    domain = tmp_path / "domain"
    domain.mkdir()
    (domain / "domain.json").write_text("{}")
    with pytest.raises(MakeRealError, match="is a domain; give the model that it was made on"):
        find_base(str(domain), tmp_path / "data")


def test_foreign_weights_are_refused(tmp_path: Path, base: Path) -> None:
    copy = shutil.copytree(base, tmp_path / "copy")
    weights = copy / "unet" / "diffusion_pytorch_model.safetensors"
    weights.rename(weights.with_suffix(".bin"))
    with pytest.raises(MakeRealError, match=r"only safetensors weights are read"):
        find_base(str(copy), tmp_path / "data")
