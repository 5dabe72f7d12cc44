# SPDX-License-Identifier: GPL-3.0-or-later
"""The program `make-real` as a user runs it: exit status, one line of error, never a traceback."""

from __future__ import annotations

import inspect
import os
import runpy
import signal
import subprocess
import sys
from dataclasses import fields
from pathlib import Path
from typing import get_type_hints

import numpy as np
import pytest
from live_service import REPOSITORY, picture, write_model
from PIL import Image

from backend import cli, commands
from backend.pictures import read_picture
from protocol import RANGES, ErrorCode, TranslationRequest


@pytest.fixture
def home(tmp_path: Path) -> dict[str, str]:
    """An environment in which the program keeps to the test's folder."""
    return {
        **os.environ,
        "MAKE_REAL_DATA_DIR": str(tmp_path / "data"),
        "MAKE_REAL_RUNTIME_DIR": str(tmp_path / "run"),
        "OMP_NUM_THREADS": "2",
    }


def make_real(home: dict[str, str], *arguments: str | Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "backend.cli", *map(str, arguments)]
    return subprocess.run(command, env=home, cwd=REPOSITORY, capture_output=True, text=True, timeout=250)


def save(path: Path) -> Path:
    Image.fromarray(picture(64, 48)).save(path)
    return path


def test_every_setting_of_a_request_is_an_option_with_its_default() -> None:
    parameters = inspect.signature(commands.convert).parameters
    hints = get_type_hints(commands.convert, include_extras=True)
    for field in fields(TranslationRequest):
        assert parameters[field.name].default == field.default
        help_text = hints[field.name].__metadata__[0].help
        assert field.name not in RANGES or help_text.endswith(
            "From {:.10g} to {:.10g}.".format(*RANGES[field.name])
        )


def test_every_error_code_has_an_exit_status() -> None:
    assert set(commands.EXIT_CODES) <= set(ErrorCode)
    assert set(commands.EXIT_CODES.values()) == {65, 75, 130}


def test_help_is_quick_and_loads_neither_torch_nor_openimageio(home: dict[str, str]) -> None:
    program = (
        "import sys; from backend import commands; sys.argv = ['make-real', '--help']\n"
        "try: commands.run()\n"
        "finally: print([name for name in ('torch', 'OpenImageIO', 'diffusers') if name in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], env=home, cwd=REPOSITORY, capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0
    assert "convert" in done.stdout
    assert done.stdout.splitlines()[-1] == "[]"


@pytest.mark.parametrize(
    ("arguments", "status", "told"),
    [
        (["convert", "look.png", "-o", "out", "--model", "absent"], 65, "'absent' is not among"),
        (["convert", "look.png", "-o", "out", "--steps", "0"], 65, "steps must be from 1 to 1000"),
        (
            ["convert", "look.png", "-o", "out", "--garment-strength", "nan"],
            65,
            "garment_strength must be from",
        ),
        (["convert", "look.png", "-o", "out", "--mask", "absent.png"], 65, "has no mask absent.png"),
        (["convert", "look.png", "-o", ".", "--overwrite"], 65, "look.png would replace a picture or mask"),
        (["convert", "look.png", "-o", "out", "--model-dir", "empty"], 65, "holds no model"),
        (["models", "add", "empty"], 65, "has no unet folder"),
        (["models", "list", "--model-dir", "empty"], 65, "holds no model"),
    ],
)
def test_an_error_is_one_line_and_a_status(
    home: dict[str, str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    arguments: list[str],
    status: int,
    told: str,
) -> None:
    save(tmp_path / "look.png")
    (tmp_path / "empty").mkdir()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(os, "environ", home)
    monkeypatch.setattr(sys, "argv", ["make-real", *arguments])
    with pytest.raises(SystemExit) as caught:
        cli.main()
    assert caught.value.code == status
    printed = capsys.readouterr()
    assert printed.out == ""
    (line,) = printed.err.splitlines()
    assert line.startswith("make-real: error: ")
    assert told in line


@pytest.mark.parametrize(
    ("arguments", "status", "told"),
    [
        (["--model-dir", "empty"], 65, "holds no model"),
        (["--parent-pid", "4194305"], 70, "no parent process 4194305"),
        (["--data-dir", "look.png"], 75, "look.png: File exists"),
    ],
)
def test_a_service_that_cannot_start_says_why(
    home: dict[str, str], tmp_path: Path, arguments: list[str], status: int, told: str
) -> None:
    save(tmp_path / "look.png")
    (tmp_path / "empty").mkdir()
    done = subprocess.run(
        [sys.executable, "-m", "backend.cli", "serve", *arguments],
        env={**home, "PYTHONPATH": str(REPOSITORY)},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == status, done.stderr
    assert told in done.stderr.splitlines()[-1]
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "run" / "connection.json").exists()


def test_wrong_usage_says_how_to_use_it(home: dict[str, str]) -> None:
    done = make_real(home, "convert", "look.png")
    assert done.returncode == 2
    assert "--output" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_missing_package_is_told_in_one_line(home: dict[str, str], tmp_path: Path) -> None:
    (tmp_path / "msgpack.py").write_text("raise ImportError('no msgpack here')")
    done = make_real({**home, "PYTHONPATH": str(tmp_path)}, "--help")
    assert done.returncode == 70
    assert done.stderr.startswith(
        "make-real: error: The backend's installation is incomplete (no msgpack here)"
    )
    assert done.stderr.count("\n") == 1


def test_an_added_model_is_listed(home: dict[str, str], model_folder: Path) -> None:
    assert make_real(home, "models", "add", model_folder).stdout == "added a-model\n"
    assert f"a-model\t{model_folder}\n" in make_real(home, "models", "list").stdout


def test_the_doctor_ends_with_1_when_it_found_something(home: dict[str, str], tmp_path: Path) -> None:
    broken = write_model(tmp_path / "broken")
    (broken / "unet" / "config.json").unlink()
    done = make_real(home, "doctor", "--model-dir", broken)
    assert done.returncode == 1, done.stderr
    assert "problem  model broken: " in done.stdout
    assert "Traceback" not in done.stderr


@pytest.mark.slow
def test_convert_translates_with_a_real_network(home: dict[str, str], tmp_path: Path) -> None:
    write_tiny = runpy.run_path(str(REPOSITORY / "tests/translation/tiny_models.py"))["write_starter_shape"]
    (tmp_path / "random").mkdir()
    write_tiny(tmp_path / "random")
    image = save(tmp_path / "look.png")
    mask = np.zeros((64, 48), np.uint8)
    mask[:, 24:] = 255
    Image.fromarray(mask).save(tmp_path / "look.mask.png")
    options = [
        "--model",
        "random",
        "--model-dir",
        tmp_path / "random",
        "--steps",
        "6",
        "--rest-strength",
        "0",
    ]
    done = make_real(home, "convert", image, "-o", tmp_path / "out", *options)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(f"{tmp_path / 'out' / 'look.png'}: ")
    result = read_picture(tmp_path / "out" / "look.png").shown
    assert np.array_equal(result[:, :24], picture(64, 48)[:, :24])
    assert not np.array_equal(result[:, 24:], picture(64, 48)[:, 24:])


@pytest.mark.skipif(sys.platform == "win32", reason="signals differ")
def test_an_interrupt_ends_convert_without_a_traceback(home: dict[str, str], tmp_path: Path) -> None:
    save(tmp_path / "look.png")
    write_model(tmp_path / "model")
    program = (
        # A shell's background job inherits a deaf ear for SIGINT.
        "import signal; signal.signal(signal.SIGINT, signal.default_int_handler)\n"
        "import sys, time; from backend import commands\n"
        "class Engine:\n"
        "    def __init__(self, device): print('ready', flush=True); time.sleep(600)\n"
        "import backend.engine; backend.engine.TorchEngine = Engine; sys.exit(commands.run())"
    )
    arguments = ["convert", str(tmp_path / "look.png"), "-o", str(tmp_path / "out")]
    process = subprocess.Popen(
        [sys.executable, "-c", program, *arguments, "--model", "model", "--model-dir", str(tmp_path / "model")],
        env=home, cwd=REPOSITORY, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "Traceback" not in errors
