# SPDX-License-Identifier: GPL-3.0-or-later
"""The doctor finds what was really broken, and says how to mend it."""

from __future__ import annotations

import os
import shutil
import sys
from collections import namedtuple
from pathlib import Path

import pytest
from live_service import Service, write_model

from backend import doctor, models
from backend.doctor import Finding


def test_a_whole_installation_is_in_order(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("MAKE_REAL_RUNTIME_DIR", str(tmp_path / "run"))
    monkeypatch.setattr(models, "STARTER_FOLDER", write_model(tmp_path / "starter"))
    is_whole = doctor.report(doctor.examine(tmp_path / "data"))
    printed = capsys.readouterr().out
    assert is_whole, printed
    assert "problem" not in printed
    assert "torch: 2." in printed
    assert printed.endswith("Everything is in order.\n")
    # To look is not to change.
    assert not (tmp_path / "data").exists()


def test_every_problem_is_counted_and_has_a_remedy(capsys: pytest.CaptureFixture[str]) -> None:
    findings = [
        Finding("one", "fine"),
        Finding("two", "broken", "mend it"),
        Finding("three", "gone", "get it"),
    ]
    assert not doctor.report(iter(findings))
    assert capsys.readouterr().out.splitlines() == [
        "ok       one: fine",
        "problem  two: broken",
        "         -> mend it",
        "problem  three: gone",
        "         -> get it",
        "2 problems found",
    ]


def test_a_package_of_the_wrong_version_or_none(monkeypatch: pytest.MonkeyPatch) -> None:
    assert not doctor.check_packages().remedy
    monkeypatch.setattr(
        doctor.metadata, "requires", lambda _: ["numpy<1", "no-such-package>=2", "rich; extra == 'x'"]
    )
    finding = doctor.check_packages()
    assert "numpy<1 (found " in finding.found
    assert "no-such-package>=2 (missing)" in finding.found
    assert "'numpy<1' 'no-such-package>=2'" in finding.remedy


def test_a_package_that_cannot_be_loaded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "broken_package.py").write_text(
        "raise OSError('libcudart.so.12: cannot open shared object file')"
    )
    monkeypatch.syspath_prepend(tmp_path)
    finding = doctor.check_import("broken_package")
    assert "libcudart.so.12" in finding.found
    assert "--force-reinstall broken_package" in finding.remedy
    sys.modules.pop("broken_package", None)


def test_models_missing_and_broken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(models, "STARTER_FOLDER", tmp_path / "no-starter")
    broken = write_model(tmp_path / "mine")
    (broken / "vae" / "model.safetensors").unlink()
    starter, mine = doctor.check_models(tmp_path / "data", [broken])
    assert starter.remedy and mine.remedy
    assert "vae has no safetensors" in mine.found
    (broken / "vae" / "model.safetensors").symlink_to(tmp_path / "gone")
    _, mine = doctor.check_models(tmp_path / "data", [broken])
    assert mine.remedy and "vae/model.safetensors: No such file" in mine.found
    (tmp_path / "models.json").write_text("{")
    (damaged,) = doctor.check_models(tmp_path, [])
    assert "models.json is damaged" in damaged.found and damaged.remedy


def test_a_data_folder_that_is_a_file(tmp_path: Path) -> None:
    assert not doctor.check_writable("data folder", tmp_path / "not" / "there" / "yet").remedy
    (tmp_path / "data").write_text("a file")
    assert str(tmp_path / "data") in doctor.check_writable("data folder", tmp_path / "data").remedy


def test_too_little_space(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert not doctor.check_space(tmp_path).remedy
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage(10, 9, 2**20))
    assert "free at least 2 GiB" in doctor.check_space(tmp_path / "data").remedy


@pytest.mark.skipif(sys.platform == "win32", reason="no file modes")
def test_a_runtime_folder_that_others_can_enter(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    folder.mkdir(mode=0o700)
    assert not doctor.check_runtime_dir(folder).remedy
    folder.chmod(0o755)
    assert f"chmod 700 {folder}" in doctor.check_runtime_dir(folder).remedy


def test_a_server_that_runs_one_that_was_killed_and_a_file_that_lies(service: Service) -> None:
    path = service.connection_path
    assert "does not run" in doctor.check_server(path).found
    connection = service.start()
    assert doctor.check_server(path) == Finding("backend", f"runs, process {connection.pid}")
    service.stop(9)
    stale = doctor.check_server(path)
    assert "left over" in stale.found and str(path) in stale.remedy
    path.chmod(0o644)
    assert "mode 0644" in doctor.check_server(path).found
    path.unlink()
    path.symlink_to(os.devnull)
    assert doctor.check_server(path).remedy


def test_the_device_is_tried(monkeypatch: pytest.MonkeyPatch) -> None:
    import torch

    assert not doctor.check_device().remedy

    def fail(*_: object, **__: object) -> None:
        raise RuntimeError("CUDA driver version is insufficient\nmore lines")

    monkeypatch.setattr(torch, "ones", fail)
    finding = doctor.check_device()
    assert finding.found == "CUDA driver version is insufficient"
    assert "--device cpu" in finding.remedy
