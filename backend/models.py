# SPDX-License-Identifier: GPL-3.0-or-later
"""Installed models: folders in Stable Diffusion's layout, each under a name that a request may give.

    starter            comes with the package
    added ones         `make-real models add FOLDER` records a folder in the data folder; nothing is copied
    --model-dir DIR    a model folder, or a folder of model folders, for one run of the program

Weights are safetensors and nothing else: a folder with a component in another format only is refused.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator
from pathlib import Path

from backend import files
from backend.places import default_data_dir, make_private_dir
from protocol import ErrorCode, MakeRealError

STARTER = "starter"
STARTER_FOLDER = Path(__file__).with_name("starter")
NAME_PATTERN = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,254}")
LIST_FILE = "models.json"

CONFIGURATIONS = (
    "model_index.json",
    "unet/config.json",
    "vae/config.json",
    "text_encoder/config.json",
    "scheduler/scheduler_config.json",
)
WEIGHT_FOLDERS = ("unet", "vae", "text_encoder")
FOREIGN_WEIGHTS = frozenset({".bin", ".ckpt", ".pt", ".pth", ".msgpack", ".h5", ".onnx"})


def installed_models(extra_dirs: Iterable[Path] = (), data_dir: Path | None = None) -> dict[str, Path]:
    """Every model that a request may name, by name; the folders exist but are not checked further.

    Args:
        extra_dirs: Model folders, or folders of model folders.
        data_dir: The data folder, else this user's.

    Raises:
        MakeRealError: INVALID_REQUEST when a folder's name cannot be a model's name; MODEL_NOT_FOUND when a
            given folder holds no model; INSTALLATION_BROKEN when the list of added models is damaged.
    """
    models: dict[str, Path] = {}
    if is_model(STARTER_FOLDER):
        models[STARTER] = STARTER_FOLDER
    for name, path in _added_models(data_dir or default_data_dir()).items():
        if path.is_dir():
            models[name] = path
    for folder in extra_dirs:
        models.update((_checked_name(path), path) for path in _models_in(folder))
    return models


def find_model(name: str, models: dict[str, Path]) -> Path:
    """The folder of a named model, checked.

    Raises:
        MakeRealError: MODEL_NOT_FOUND, naming those that there are; MODEL_BROKEN, naming the file.
    """
    if name not in models:
        raise MakeRealError(
            ErrorCode.MODEL_NOT_FOUND, f"{name!r} is not among {', '.join(sorted(models)) or 'none at all'}"
        )
    check_model(models[name])
    return models[name]


def is_model(folder: Path) -> bool:
    """Whether a folder looks like a model: it may still be broken."""
    return (folder / "unet").is_dir()


def check_model(folder: Path) -> None:
    """Make sure that a model's files are there, readable as what they are, and safetensors.

    Raises:
        MakeRealError: MODEL_BROKEN, naming the file.
    """
    for name in CONFIGURATIONS:
        _check_json(folder / name)
    for name in WEIGHT_FOLDERS:
        _check_weights(folder / name)


def add_model(folder: Path, data_dir: Path | None = None) -> str:
    """Record a model folder under its own name; nothing is copied. Returns the name.

    Raises:
        MakeRealError: INVALID_REQUEST, MODEL_NOT_FOUND or MODEL_BROKEN for the folder; DISK_FULL.
    """
    folder = folder.resolve()
    if not is_model(folder):
        raise MakeRealError(ErrorCode.MODEL_NOT_FOUND, f"{folder} has no unet folder")
    name = _checked_name(folder)
    if name == STARTER:
        raise MakeRealError(
            ErrorCode.INVALID_REQUEST, f"a model cannot be called {STARTER!r}; rename {folder}"
        )
    check_model(folder)
    data_dir = data_dir or default_data_dir()
    models = {**_added_models(data_dir), name: folder}
    try:
        make_private_dir(data_dir)
        record = json.dumps({each: str(path) for each, path in models.items()}, indent=2)
        files.write_whole(data_dir / LIST_FILE, record.encode())
    except OSError as error:
        raise MakeRealError(ErrorCode.DISK_FULL, f"{data_dir / LIST_FILE}: {error.strerror}") from error
    return name


def _added_models(data_dir: Path) -> dict[str, Path]:
    path = data_dir / LIST_FILE
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
        return {_checked_name(Path(name)): Path(folder) for name, folder in record.items()}
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, AttributeError, TypeError, MakeRealError) as error:
        raise MakeRealError(
            ErrorCode.INSTALLATION_BROKEN,
            f"the list of models {path} is damaged; remove it and add them again",
        ) from error


def _models_in(folder: Path) -> Iterator[Path]:
    folder = folder.resolve()
    found = [folder] if is_model(folder) else sorted(filter(is_model, folder.glob("*/")))
    if not found:
        raise MakeRealError(
            ErrorCode.MODEL_NOT_FOUND, f"{folder} holds no model: no unet folder in it or below"
        )
    yield from found


def _checked_name(folder: Path) -> str:
    if not NAME_PATTERN.fullmatch(folder.name):
        raise MakeRealError(
            ErrorCode.INVALID_REQUEST,
            f"a model's folder name may have letters, digits, '.', '_' and '-' only; rename {folder.name!r}",
        )
    return folder.name


def _check_json(path: Path) -> None:
    try:
        if not isinstance(json.loads(path.read_text(encoding="utf-8")), dict):
            raise ValueError("not a JSON object")
    except OSError as error:
        raise MakeRealError(ErrorCode.MODEL_BROKEN, f"{path}: {error.strerror}") from error
    except ValueError as error:
        raise MakeRealError(ErrorCode.MODEL_BROKEN, f"{path}: {error}") from error


def _check_weights(folder: Path) -> None:
    weights = sorted(folder.glob("*.safetensors"))
    if not weights:
        foreign = [path for path in sorted(folder.iterdir()) if path.suffix in FOREIGN_WEIGHTS]
        if foreign:
            raise MakeRealError(ErrorCode.MODEL_BROKEN, f"{foreign[0]}: only safetensors weights are read")
        raise MakeRealError(ErrorCode.MODEL_BROKEN, f"{folder} has no safetensors weights")
    for path in weights:
        _check_safetensors(path)


def _check_safetensors(path: Path) -> None:
    """Check the header and, against it, the file's length: a download that broke off shows here."""
    size = path.stat().st_size
    with path.open("rb") as file:
        header_length = int.from_bytes(file.read(8), "little")
        try:
            if header_length > size:
                raise ValueError("no safetensors header")
            header = json.loads(file.read(header_length))
            ends = [entry["data_offsets"][1] for name, entry in header.items() if name != "__metadata__"]
        except (ValueError, KeyError, TypeError, IndexError, AttributeError) as error:
            raise MakeRealError(ErrorCode.MODEL_BROKEN, f"{path}: no safetensors header") from error
    if 8 + header_length + max(ends, default=0) != size:
        raise MakeRealError(ErrorCode.MODEL_BROKEN, f"{path}: incomplete")
