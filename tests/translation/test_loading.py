# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from diffusers import UNet2DConditionModel
from safetensors.torch import load_file, save_file

from backend.translation import Translator
from backend.translation.loading import load_model, weights_digest
from protocol.errors import ErrorCode, MakeRealError


@pytest.fixture
def copy(models: dict[str, Path], tmp_path: Path) -> Path:
    """A model folder to be spoilt."""
    return shutil.copytree(models["sd15"], tmp_path / "copy")


def test_a_missing_folder(tmp_path: Path) -> None:
    with pytest.raises(MakeRealError) as caught:
        load_model(tmp_path / "nowhere")
    assert caught.value.code is ErrorCode.MODEL_NOT_FOUND and "nowhere" in caught.value.detail


def test_too_little_memory_is_no_fault_of_the_model(copy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(UNet2DConditionModel, "from_pretrained", lambda *_, **__: torch.empty(1 << 60))
    with pytest.raises(MakeRealError) as caught:
        load_model(copy)
    assert caught.value.code is ErrorCode.OUT_OF_MEMORY and "allocate memory" in caught.value.detail


def cut_short(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:1000])


def drop_a_tensor(path: Path) -> None:
    tensors = load_file(path)
    tensors.pop(next(iter(tensors)))
    save_file(tensors, path)


def put(**values: object) -> Callable[[Path], None]:
    return lambda path: path.write_text(json.dumps(json.loads(path.read_text()) | values))


UNET = "unet/diffusion_pytorch_model.safetensors"


@pytest.mark.parametrize(
    ("name", "spoil", "word"),
    [
        ("model_index.json", Path.unlink, "model_index.json"),
        ("unet", shutil.rmtree, "unet: is missing"),
        ("tokenizer", shutil.rmtree, "tokenizer: is missing"),
        ("unet/config.json", lambda path: path.write_text("{"), "unet"),
        (UNET, Path.unlink, "unet"),
        (UNET, cut_short, "unet"),
        (UNET, drop_a_tensor, "no fitting weights"),
        ("vae/diffusion_pytorch_model.safetensors", cut_short, "vae"),
        ("vae/config.json", put(_class_name="AutoencoderOobleck"), "AutoencoderOobleck"),
        ("text_encoder/model.safetensors", cut_short, "text_encoder"),
        ("scheduler/scheduler_config.json", put(prediction_type="sample"), "prediction_type"),
        ("scheduler/scheduler_config.json", put(beta_schedule="squaredcos_cap_v2"), "beta_schedule"),
        ("domain/domain.json", put(format=2), "format 2"),
        ("domain/domain.json", put(guidance_gain=-1), "guidance_gain"),
        ("domain/domain.json", put(guidance_gain="strong"), "domain.json"),
        ("domain/domain.json", put(negative_embedding="../secret.safetensors"), "is not a file name"),
        ("domain/negative_embedding.safetensors", Path.unlink, "negative_embedding.safetensors"),
        ("domain/negative_embedding.safetensors", cut_short, "negative_embedding.safetensors"),
        (
            "domain/negative_embedding.safetensors",
            lambda path: save_file({"text_encoder": torch.zeros(76, 32)}, path),
            "up to 75 vectors of 32 numbers",
        ),
    ],
)
def test_a_broken_folder_is_named(copy: Path, name: str, spoil: Callable[[Path], object], word: str) -> None:
    spoil(copy / name)
    with pytest.raises(MakeRealError) as caught:
        load_model(copy)
    assert caught.value.code is ErrorCode.MODEL_BROKEN
    assert word in caught.value.detail and "\n" not in caught.value.detail


def test_a_domain_may_carry_a_guidance_gain(translators: dict[str, Translator], copy: Path) -> None:
    assert translators["sd15"].model.guidance_gain == 1
    put(guidance_gain=4.5)(copy / "domain" / "domain.json")
    assert load_model(copy).guidance_gain == 4.5


def test_only_half_precision_files_are_enough(copy: Path) -> None:
    """Many published folders hold `*.fp16.safetensors` alone."""
    for part in ("unet", "vae"):
        path = copy / part / "diffusion_pytorch_model.safetensors"
        save_file({key: tensor.half() for key, tensor in load_file(path).items()}, path)
        path.rename(path.with_suffix(".fp16.safetensors"))
    assert load_model(copy).unet.dtype is torch.float32


def test_weights_in_shards(copy: Path) -> None:
    unet = UNet2DConditionModel.from_pretrained(copy / "unet")
    (copy / UNET).unlink()
    unet.save_pretrained(copy / "unet", max_shard_size="500KB")
    assert len(list((copy / "unet").glob("*.safetensors"))) > 1
    loaded = load_model(copy).unet
    assert all(torch.equal(tensor, unet.state_dict()[key]) for key, tensor in loaded.state_dict().items())


def test_the_digest_is_of_the_weights(copy: Path, models: dict[str, Path]) -> None:
    assert weights_digest(copy) == weights_digest(models["sd15"])
    tensors = load_file(copy / UNET)
    first = min(tensors)
    tensors[first] = tensors[first] + 1e-3
    save_file(tensors, copy / UNET)
    assert weights_digest(copy) != weights_digest(models["sd15"])


def test_native_area(translators: dict[str, Translator], copy: Path) -> None:
    assert translators["sd15"].model.native_area == 16 * 16, "the network's sample size"
    assert translators["starter"].model.native_area == 16 * 24, "make_real.json"
    (copy / "make_real.json").write_text('{"native": 5}')
    with pytest.raises(MakeRealError, match=r"make_real\.json"):
        load_model(copy)


def test_a_v_prediction_network_is_read_as_noise(translators: dict[str, Translator]) -> None:
    """With v = sqrt(a) eps - sqrt(1 - a) x0 of a known pair, eps comes back."""
    model = translators["sd15"].model
    clean, noise = torch.randn(2, 1, 4, 16, 16, generator=torch.Generator().manual_seed(0))
    alpha = float(model.alphas_cumprod[300])
    noisy = alpha**0.5 * clean + (1 - alpha) ** 0.5 * noise
    velocity = alpha**0.5 * noise - (1 - alpha) ** 0.5 * clean
    with torch.inference_mode():
        handle = model.unet.register_forward_hook(lambda _m, _a, _output: (velocity,))
        predicted = replace(model, prediction="v_prediction").predict_noise(noisy, 300, model.empty)
        handle.remove()
    torch.testing.assert_close(predicted, noise, rtol=0, atol=1e-5)


def test_a_v_prediction_folder(tmp_path: Path) -> None:
    from tiny_models import write_sd15

    assert load_model(write_sd15(tmp_path, prediction_type="v_prediction")).prediction == "v_prediction"
