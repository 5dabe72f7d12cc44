# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import torch
from diffusers import StableDiffusionPipeline, UNet2DConditionModel
from peft import LoraConfig, get_peft_model_state_dict
from safetensors.torch import load_file, save_file

from backend.translation import Translator
from backend.translation.domain import merge_lora
from backend.translation.loading import load_model
from backend.translation.text import domain_conditioning, empty_conditioning, load_text_encoders
from protocol.errors import ErrorCode, MakeRealError


def test_the_empty_prompt_is_that_of_the_diffusers_pipeline(models: dict[str, Path]) -> None:
    [encoder] = load_text_encoders(models["sd15"])
    absent = dict.fromkeys(("vae", "unet", "scheduler", "safety_checker", "feature_extractor"))
    pipeline = StableDiffusionPipeline(
        text_encoder=encoder.encoder, tokenizer=encoder.tokenizer, requires_safety_checker=False, **absent
    )
    with torch.inference_mode():
        expected, _ = pipeline.encode_prompt("", "cpu", 1, do_classifier_free_guidance=False)
    assert torch.equal(empty_conditioning([encoder], zeros=False).hidden, expected)


def test_vectors_take_the_place_of_their_tokens(models: dict[str, Path]) -> None:
    """An embedding made of known tokens' vectors is the same as the prompt of these tokens."""
    [encoder] = load_text_encoders(models["sd15"])
    table = encoder.encoder.get_input_embeddings().weight
    letter = encoder.tokenizer.convert_tokens_to_ids("a</w>")
    prompt = encoder.tokenizer("a a a", padding="max_length", return_tensors="pt").input_ids
    assert (prompt == letter).sum() == 3
    with torch.inference_mode():
        expected = encoder.encoder(prompt).last_hidden_state
        embedded = domain_conditioning([encoder], {"text_encoder": table[letter].expand(3, -1)})
        after = encoder.encoder(prompt).last_hidden_state
    torch.testing.assert_close(embedded.hidden, expected, rtol=0, atol=1e-6)
    assert torch.equal(after, expected), "the text encoder is as it was"


def test_sdxl_has_both_encoders_and_zeros_for_the_empty_prompt(translators: dict[str, Translator]) -> None:
    model = translators["sdxl"].model
    assert model.empty.hidden.shape == (1, 77, 64) and not model.empty.hidden.any()
    assert model.empty.pooled is not None and not model.empty.pooled.any()
    assert model.negative is not None and model.negative.pooled is not None
    assert model.negative.hidden.any() and model.negative.pooled.any()


@pytest.fixture
def with_lora(models: dict[str, Path], tmp_path: Path) -> Path:
    """A model whose domain has a LoRA on attention and convolutions, written by peft."""
    folder = shutil.copytree(models["sd15"], tmp_path / "lora")
    torch.manual_seed(0)
    unet = UNet2DConditionModel.from_pretrained(folder / "unet")
    config = LoraConfig(r=4, lora_alpha=8, target_modules=["to_q", "to_v", "conv1"], init_lora_weights=False)
    unet.add_adapter(config)
    state = {key: tensor.contiguous() for key, tensor in get_peft_model_state_dict(unet).items()}
    save_file(state | {"alpha": torch.tensor(8.0)}, folder / "domain" / "unet_lora.safetensors")
    description = json.loads((folder / "domain" / "domain.json").read_text())
    (folder / "domain" / "domain.json").write_text(
        json.dumps(description | {"unet_lora": "unet_lora.safetensors"})
    )
    latents = torch.randn(1, 4, 16, 16)
    hidden = torch.randn(1, 77, 32)
    with torch.inference_mode():
        expected = unet.eval()(latents, 100, encoder_hidden_states=hidden).sample
    save_file({"latents": latents, "hidden": hidden, "expected": expected}, tmp_path / "expected.safetensors")
    return folder


def test_a_merged_lora_is_the_one_that_peft_applies(with_lora: Path, models: dict[str, Path]) -> None:
    case = load_file(with_lora.parent / "expected.safetensors")
    with torch.inference_mode():
        merged, plain = (
            load_model(folder).unet(case["latents"], 100, encoder_hidden_states=case["hidden"]).sample
            for folder in (with_lora, models["sd15"])
        )
    torch.testing.assert_close(merged, case["expected"], rtol=0, atol=1e-4)
    assert (plain - case["expected"]).abs().max() > 1e-2


@pytest.mark.parametrize("path", ["nowhere.to_q", "conv_in"])
def test_a_lora_of_another_network_is_named(translators: dict[str, Translator], path: str) -> None:
    lora = {f"{path}.lora_A.weight": torch.zeros(2, 7), f"{path}.lora_B.weight": torch.zeros(5, 2)}
    with pytest.raises(MakeRealError, match=path) as caught:
        merge_lora(translators["sd15"].model.unet, lora)
    assert caught.value.code is ErrorCode.MODEL_BROKEN


@pytest.fixture
def elsewhere(models: dict[str, Path], tmp_path: Path) -> Path:
    """The domain of `with_lora`'s kind in a folder of its own, with a whole network that was fine-tuned."""
    domain = shutil.copytree(models["sd15"] / "domain", tmp_path / "knitwear")
    weights = load_file(models["sd15"] / "unet" / "diffusion_pytorch_model.safetensors")
    save_file({key: (tensor + 0.01).half() for key, tensor in weights.items()}, domain / "unet.safetensors")
    describe(domain, name="knitwear", unet="unet.safetensors")
    return domain


def describe(domain: Path, **values: object) -> None:
    path = domain / "domain.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | values))


def test_a_domain_elsewhere_takes_the_place_of_the_models_own(
    models: dict[str, Path], elsewhere: Path
) -> None:
    own, other = load_model(models["sd15"]), load_model(models["sd15"], domain_folder=elsewhere)
    assert (other.name, other.domain) == ("knitwear", "knitwear")
    assert other.digest != own.digest
    change = other.unet.conv_in.weight - own.unet.conv_in.weight
    torch.testing.assert_close(change, torch.full_like(change, 0.01), rtol=0, atol=1e-3)


def test_a_network_of_another_model_is_named(models: dict[str, Path], elsewhere: Path) -> None:
    weights = load_file(models["starter"] / "unet" / "diffusion_pytorch_model.safetensors")
    save_file(weights, elsewhere / "unet.safetensors")
    with pytest.raises(MakeRealError, match=r"unet\.safetensors: does not fit the model .*sd15") as caught:
        load_model(models["sd15"], domain_folder=elsewhere)
    assert caught.value.code is ErrorCode.MODEL_BROKEN and "\n" not in caught.value.detail


def test_a_networks_file_must_be_beside_its_description(models: dict[str, Path], elsewhere: Path) -> None:
    describe(elsewhere, unet="../secret.safetensors")
    with pytest.raises(MakeRealError, match="is not a file name"):
        load_model(models["sd15"], domain_folder=elsewhere)
