# SPDX-License-Identifier: GPL-3.0-or-later
"""Installed models: folders in Stable Diffusion's layout, and domains on them, each under a name for requests.

    starter            comes with the package
    added ones         `make-real models add FOLDER` records a folder in the data folder; nothing is copied
    --model-dir DIR    a model folder, or a folder of model folders, for one run of the program

A *domain* folder, as `make-real adapt` writes it, counts as one more model: that which `base` in its
`domain.json` names, with the domain. `base` is the name of an installed model, or a path, absolute or relative
to the domain's folder.

Weights are safetensors and nothing else: a folder with a component in another format only is refused.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

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
DOMAIN_FILE = "domain.json"


@dataclass(frozen=True)
class InstalledModel:
    """A model that was found and checked.

    Args:
        name: Its name in requests.
        base: Folder in Stable Diffusion's layout.
        domain: Folder of a domain that was made on it; None: the model's own, if it has one.
    """

    name: str
    base: Path
    domain: Path | None = None


def installed_models(extra_dirs: Iterable[Path] = (), data_dir: Path | None = None) -> dict[str, Path]:
    """Folders of every model that a request may name, by name; they exist but are not checked further.

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


def models_at_hand(extra_dirs: Iterable[Path], data_dir: Path) -> dict[str, Path]:
    """As `installed_models`, for a service that goes on when a folder it was given is deleted or spoilt meanwhile."""
    at_hand = []
    for folder in extra_dirs:
        try:
            installed_models((folder,), data_dir)
        except MakeRealError:
            continue
        at_hand.append(folder)
    return installed_models(at_hand, data_dir)


def find_model(name: str, models: dict[str, Path]) -> InstalledModel:
    """A named model, checked.

    Args:
        models: What `installed_models` found.

    Raises:
        MakeRealError: MODEL_NOT_FOUND, naming those that there are, or the base that a domain lacks;
            MODEL_BROKEN, naming the file.
    """
    if name not in models:
        raise MakeRealError(
            ErrorCode.MODEL_NOT_FOUND, f"{name!r} is not among {', '.join(sorted(models)) or 'none at all'}"
        )
    folder = models[name]
    if not is_domain(folder):
        check_model(folder)
        return InstalledModel(name, folder)
    base = base_of(folder, models)
    check_model(base)
    for path in folder.glob("*.safetensors"):
        _check_safetensors(path)
    return InstalledModel(name, base, folder)


def is_model(folder: Path) -> bool:
    """Whether a folder looks like a model or a domain: it may still be broken."""
    return (folder / "unet").is_dir() or is_domain(folder)


def is_domain(folder: Path) -> bool:
    """Whether a folder is that of a domain."""
    return (folder / DOMAIN_FILE).is_file()


def base_of(domain: Path, models: dict[str, Path]) -> Path:
    """The folder of the model that a domain was made on.

    Args:
        models: What `installed_models` found; `base` may be a name among them.

    Raises:
        MakeRealError: MODEL_BROKEN when `domain.json` names none; MODEL_NOT_FOUND when it is not there.
    """
    path = domain / DOMAIN_FILE
    value = _read_json(path).get("base")
    if not isinstance(value, str) or not value:
        raise MakeRealError(ErrorCode.MODEL_BROKEN, f"{path}: `base` does not name the model that it is for")
    if value in models:
        base = models[value]
    elif NAME_PATTERN.fullmatch(value):
        raise MakeRealError(
            ErrorCode.MODEL_NOT_FOUND,
            f"{domain.name} is a domain on the model {value!r}, which is not installed;"
            f" add that one first, or write the path of its folder as `base` into {path}",
        )
    else:
        base = (domain / value).resolve()
    if not (base / "unet").is_dir():
        raise MakeRealError(
            ErrorCode.MODEL_NOT_FOUND,
            f"{domain.name} is a domain on the model {base}, and there is no such model;"
            f" move it back there, or write its present path as `base` into {path}",
        )
    return base


def check_model(folder: Path) -> None:
    """Make sure that a model's files are there, readable as what they are, and safetensors.

    Raises:
        MakeRealError: MODEL_BROKEN, naming the file.
    """
    for name in CONFIGURATIONS:
        _read_json(folder / name)
    for name in WEIGHT_FOLDERS:
        _check_weights(folder / name)


def add_model(folder: Path, data_dir: Path | None = None) -> str:
    """Record the folder of a model or a domain under its own name; nothing is copied. Returns the name.

    Raises:
        MakeRealError: INVALID_REQUEST, MODEL_NOT_FOUND or MODEL_BROKEN for the folder; DISK_FULL.
    """
    folder = folder.resolve()
    if not is_model(folder):
        raise MakeRealError(ErrorCode.MODEL_NOT_FOUND, f"{folder} has no unet folder and no {DOMAIN_FILE}")
    name = _checked_name(folder)
    if name == STARTER:
        raise MakeRealError(
            ErrorCode.INVALID_REQUEST, f"a model cannot be called {STARTER!r}; rename {folder}"
        )
    data_dir = data_dir or default_data_dir()
    find_model(name, {**installed_models((), data_dir), name: folder})
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
            ErrorCode.MODEL_NOT_FOUND,
            f"{folder} holds no model: no unet folder and no {DOMAIN_FILE} in it or below",
        )
    yield from found


def _checked_name(folder: Path) -> str:
    if not NAME_PATTERN.fullmatch(folder.name):
        raise MakeRealError(
            ErrorCode.INVALID_REQUEST,
            f"a model's folder name may have letters, digits, '.', '_' and '-' only; rename {folder.name!r}",
        )
    return folder.name


def _read_json(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        if not isinstance(content, dict):
            raise ValueError("not a JSON object")
    except OSError as error:
        raise MakeRealError(ErrorCode.MODEL_BROKEN, f"{path}: {error.strerror}") from error
    except ValueError as error:
        raise MakeRealError(ErrorCode.MODEL_BROKEN, f"{path}: {error}") from error
    return content


def _check_weights(folder: Path) -> None:
    weights = sorted(folder.glob("*.safetensors"))
    if not weights:
        # Unlike `iterdir`, `glob` passes over a folder that may not be listed: it is told as one without weights.
        foreign = [path for path in sorted(folder.glob("*")) if path.suffix in FOREIGN_WEIGHTS]
        if foreign:
            raise MakeRealError(ErrorCode.MODEL_BROKEN, f"{foreign[0]}: only safetensors weights are read")
        raise MakeRealError(ErrorCode.MODEL_BROKEN, f"{folder} has no safetensors weights")
    for path in weights:
        _check_safetensors(path)


def _check_safetensors(path: Path) -> None:
    """Check the header and, against it, the file's length: a download that broke off shows here."""
    try:
        size = path.stat().st_size
        with path.open("rb") as file:
            header_length = int.from_bytes(file.read(8), "little")
            if header_length > size:
                raise ValueError("no safetensors header")
            header = json.loads(file.read(header_length))
        ends = [entry["data_offsets"][1] for name, entry in header.items() if name != "__metadata__"]
        is_whole = 8 + header_length + max(ends, default=0) == size
    except OSError as error:
        raise MakeRealError(ErrorCode.MODEL_BROKEN, f"{path}: {error.strerror}") from error
    except (ValueError, KeyError, TypeError, IndexError, AttributeError) as error:
        raise MakeRealError(ErrorCode.MODEL_BROKEN, f"{path}: no safetensors header") from error
    if not is_whole:
        raise MakeRealError(ErrorCode.MODEL_BROKEN, f"{path}: incomplete")
