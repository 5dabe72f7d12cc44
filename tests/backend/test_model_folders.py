# SPDX-License-Identifier: GPL-3.0-or-later
"""Model folders: found by name, checked before use, and refused with the file that is wrong."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from live_service import write_model
from safetensors.numpy import save_file

from backend import models
from backend.models import InstalledModel, add_model, check_model, find_model, installed_models
from protocol import ErrorCode, MakeRealError


@pytest.fixture(autouse=True)
def no_starter(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(models, "STARTER_FOLDER", tmp_path / "no-starter")


def test_a_model_folder_and_a_folder_of_models_can_be_given(tmp_path: Path) -> None:
    alone = write_model(tmp_path / "alone")
    one, two = write_model(tmp_path / "many" / "one"), write_model(tmp_path / "many" / "two")
    (tmp_path / "many" / "notes").mkdir()
    found = installed_models([alone, tmp_path / "many"], tmp_path / "data")
    assert found == {"alone": alone, "one": one, "two": two}


def test_the_starter_comes_with_the_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(models, "STARTER_FOLDER", write_model(tmp_path / "package" / "starter"))
    assert list(installed_models((), tmp_path / "data")) == ["starter"]


def test_an_added_model_is_found_again_until_it_is_gone(tmp_path: Path, model_folder: Path) -> None:
    data_dir = tmp_path / "data"
    assert add_model(model_folder, data_dir) == "a-model"
    add_model(write_model(tmp_path / "b-model"), data_dir)
    assert list(installed_models((), data_dir)) == ["a-model", "b-model"]
    shutil.rmtree(model_folder)
    assert list(installed_models((), data_dir)) == ["b-model"]


def test_a_damaged_list_is_told(tmp_path: Path) -> None:
    (tmp_path / "models.json").write_text("[1, 2")
    with pytest.raises(MakeRealError, match=r"models\.json is damaged") as caught:
        installed_models((), tmp_path)
    assert caught.value.code is ErrorCode.INSTALLATION_BROKEN


def test_a_folder_without_a_model_is_told(tmp_path: Path) -> None:
    for call in (lambda: installed_models([tmp_path], tmp_path), lambda: add_model(tmp_path, tmp_path)):
        with pytest.raises(MakeRealError, match=str(tmp_path)) as caught:
            call()
        assert caught.value.code is ErrorCode.MODEL_NOT_FOUND


@pytest.mark.parametrize("name", ["with space", ".hidden", "new\nline", "-option", "ä"])
def test_a_name_that_could_not_be_written_in_a_request_is_refused(tmp_path: Path, name: str) -> None:
    folder = write_model(tmp_path / name)
    with pytest.raises(MakeRealError) as caught:
        add_model(folder, tmp_path / "data")
    assert caught.value.code is ErrorCode.INVALID_REQUEST


def test_no_model_can_take_the_starters_name(tmp_path: Path) -> None:
    with pytest.raises(MakeRealError, match="cannot be called 'starter'"):
        add_model(write_model(tmp_path / "starter"), tmp_path / "data")


def test_an_unknown_name_is_answered_with_the_known_ones(model_folder: Path) -> None:
    with pytest.raises(MakeRealError, match="'other' is not among a-model") as caught:
        find_model("other", {"a-model": model_folder})
    assert caught.value.code is ErrorCode.MODEL_NOT_FOUND
    assert find_model("a-model", {"a-model": model_folder}) == InstalledModel("a-model", model_folder)


def remove(name: str) -> Callable[[Path], None]:
    return lambda folder: (folder / name).unlink()


def write(name: str, content: bytes) -> Callable[[Path], None]:
    return lambda folder: (folder / name).write_bytes(content)


def cut(name: str) -> Callable[[Path], None]:
    return lambda folder: (folder / name).write_bytes((folder / name).read_bytes()[:-1])


def dangling(name: str) -> Callable[[Path], None]:
    """A link to nothing, as in a cache of Hugging Face's that was tidied up."""

    def spoil(folder: Path) -> None:
        (folder / name).unlink()
        (folder / name).symlink_to(folder / "blobs" / "gone")

    return spoil


def folder_instead(name: str) -> Callable[[Path], None]:
    """It can be looked at and not be read, which no file's mode does to root."""

    def spoil(folder: Path) -> None:
        (folder / name).unlink()
        (folder / name).mkdir()

    return spoil


def foreign(folder: Path) -> None:
    (folder / "unet" / "model.safetensors").rename(folder / "unet" / "diffusion_pytorch_model.bin")


@pytest.mark.parametrize(
    ("spoil", "told"),
    [
        (remove("model_index.json"), "model_index.json: No such file"),
        (remove("unet/config.json"), "unet/config.json: No such file"),
        (remove("scheduler/scheduler_config.json"), "scheduler_config.json: No such file"),
        (write("vae/config.json", b"{ broken"), "vae/config.json: Expecting"),
        (write("vae/config.json", b"[]"), "vae/config.json: not a JSON object"),
        (write("vae/config.json", b"\xff\xfe"), "vae/config.json: "),
        (remove("unet/model.safetensors"), "unet has no safetensors weights"),
        (foreign, "unet/diffusion_pytorch_model.bin: only safetensors"),
        (cut("text_encoder/model.safetensors"), "text_encoder/model.safetensors: incomplete"),
        (write("vae/model.safetensors", b""), "vae/model.safetensors: no safetensors header"),
        (write("vae/model.safetensors", b"\xff" * 64), "vae/model.safetensors: no safetensors header"),
        (write("vae/model.safetensors", b"\x02" + bytes(7) + b"[]"), "vae/model.safetensors: no safetensors"),
        (dangling("vae/model.safetensors"), "vae/model.safetensors: No such file"),
        (folder_instead("unet/model.safetensors"), "unet/model.safetensors: Is a directory"),
    ],
)
def test_a_broken_model_is_told_with_its_file(
    model_folder: Path, spoil: Callable[[Path], None], told: str
) -> None:
    check_model(model_folder)
    spoil(model_folder)
    with pytest.raises(MakeRealError) as caught:
        check_model(model_folder)
    assert caught.value.code is ErrorCode.MODEL_BROKEN
    assert told in caught.value.detail


def write_domain(folder: Path, **description: object) -> Path:
    """A domain on `a-model`, whose embedding is a number."""
    folder.mkdir(parents=True)
    save_file({"text_encoder": np.zeros((1, 1), np.float32)}, folder / "negative_embedding.safetensors")
    (folder / "domain.json").write_text(json.dumps({"format": 1, "base": "a-model", **description}))
    return folder


@pytest.mark.parametrize("base", ["a-model", "../a-model", "{absolute}"])
def test_a_domain_is_one_more_model(tmp_path: Path, model_folder: Path, base: str) -> None:
    domain = write_domain(tmp_path / "knitwear", base=base.format(absolute=model_folder))
    add_model(model_folder, tmp_path / "data")
    assert add_model(domain, tmp_path / "data") == "knitwear"
    models = installed_models((), tmp_path / "data")
    assert models == {"a-model": model_folder, "knitwear": domain}
    assert find_model("knitwear", models) == InstalledModel("knitwear", model_folder, domain)
    assert installed_models([tmp_path], tmp_path / "none") == models, "found in a folder of models too"


@pytest.mark.parametrize(
    ("description", "code", "told"),
    [
        ({"base": "b-model"}, ErrorCode.MODEL_NOT_FOUND, "on the model 'b-model', which is not installed"),
        ({"base": "../moved"}, ErrorCode.MODEL_NOT_FOUND, "moved, and there is no such model; move it back"),
        ({"base": None}, ErrorCode.MODEL_BROKEN, "`base` does not name the model"),
        ({"base": "knitwear"}, ErrorCode.MODEL_NOT_FOUND, "there is no such model"),
    ],
)
def test_a_domain_without_its_base_says_what_to_do(
    tmp_path: Path, model_folder: Path, description: dict[str, object], code: ErrorCode, told: str
) -> None:
    domain = write_domain(tmp_path / "knitwear", **description)
    with pytest.raises(MakeRealError, match=re.escape(told)) as caught:
        find_model("knitwear", {"a-model": model_folder, "knitwear": domain})
    assert caught.value.code is code


def test_a_damaged_file_of_a_domain_is_named(tmp_path: Path, model_folder: Path) -> None:
    domain = write_domain(tmp_path / "knitwear")
    cut("negative_embedding.safetensors")(domain)
    with pytest.raises(MakeRealError, match=r"negative_embedding\.safetensors: incomplete"):
        find_model("knitwear", {"a-model": model_folder, "knitwear": domain})
