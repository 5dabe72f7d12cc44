# SPDX-License-Identifier: GPL-3.0-or-later
"""The folder that an adaptation writes, and whether a run may begin or go on in it.

    OUT/domain.json                     written last: a folder that has it is complete
    OUT/unet_lora.safetensors           the positive stage's result; unet.safetensors with --full
    OUT/negative_embedding.safetensors  the negative stage's result
    OUT/training/                       losses.csv, samples/, run.json; checkpoints and encoded crops until the end

Each of these files is there whole or not at all.
"""

from __future__ import annotations

import json
import shutil
from dataclasses import asdict
from pathlib import Path
from typing import Any

from backend import files
from backend.models import DOMAIN_FILE, NAME_PATTERN
from backend.service.process import AlreadyRunningError, InstanceLock
from protocol import ErrorCode, MakeRealError

from .settings import Settings

EMBEDDING_FILE = "negative_embedding.safetensors"
RUN_FILE = "run.json"
LOCK_FILE = "lock"


class Workplace:
    """The folder, held for this process.

    Args:
        out: The folder; made when missing.

    Raises:
        MakeRealError: INVALID_REQUEST when it cannot be used, or when another run works in it.
        OSError: It cannot be made.
    """

    def __init__(self, out: Path) -> None:
        self.out = out
        self.training = out / "training"
        self.crops = self.training / "crops"
        if not NAME_PATTERN.fullmatch(out.name):
            raise _refused(
                f"--out: the folder's name becomes the model's; it may have letters, digits, '.', '_' and"
                f" '-' only, not {out.name!r}"
            )
        if (out / DOMAIN_FILE).exists():
            raise _refused(f"--out: {out} holds a complete domain already; give another folder")
        if not (self.training / RUN_FILE).exists() and not self._is_fresh():
            raise _refused(f"--out: {out} is not empty and holds no interrupted run; give another folder")
        self.crops.mkdir(parents=True, exist_ok=True)
        try:
            self._lock = InstanceLock(self.training / LOCK_FILE)
        except AlreadyRunningError as error:
            raise _refused(f"--out: another run is at work in {out}") from error

    def _is_fresh(self) -> bool:
        """Whether there is nothing but what a run leaves that is killed before it noted what it is made of."""
        left = [self.training, self.crops, self.training / LOCK_FILE, self.training / f"{RUN_FILE}.part"]
        return all(path in left for path in self.out.rglob("*"))

    @property
    def embedding(self) -> Path:
        """File of the negative embedding."""
        return self.out / EMBEDDING_FILE

    def begin(self, settings: Settings, materials: dict[str, str]) -> None:
        """Note what the run is made of; a run that goes on must be made of the same.

        Args:
            materials: What the weights depend on beside the settings: a word for it, and its digest.

        Raises:
            MakeRealError: INVALID_REQUEST, naming what is different.
            OSError: It cannot be written.
        """
        path = self.training / RUN_FILE
        if not path.exists():
            record = {"settings": asdict(settings), "materials": materials}
            files.write_whole(path, json.dumps(record, indent=2).encode())
            return
        record = json.loads(path.read_text(encoding="utf-8"))
        if different := settings.differences(record["settings"]):
            raise _refused(
                f"--out: the run in {self.out} was begun with {', '.join(different)};"
                " give the same to go on, or another folder"
            )
        if changed := [name for name, digest in materials.items() if record["materials"][name] != digest]:
            raise _refused(
                f"--out: {' and '.join(changed)} changed since the run in {self.out} was begun;"
                " give another folder"
            )

    def finish(self, description: dict[str, Any]) -> None:
        """Describe the domain and remove what only the run needed. Raises OSError."""
        files.write_whole(self.out / DOMAIN_FILE, (json.dumps(description, indent=2) + "\n").encode())
        shutil.rmtree(self.crops)
        for path in self.training.glob("*.safetensors*"):
            path.unlink()

    def release(self) -> None:
        """Let another process have the folder."""
        self._lock.release()


def _refused(text: str) -> MakeRealError:
    return MakeRealError(ErrorCode.INVALID_REQUEST, text)
