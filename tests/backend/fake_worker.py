# SPDX-License-Identifier: GPL-3.0-or-later
"""A worker whose translation is a scripted stand-in: the lowest seam, everything around it is real.

The script is the JSON file that FAKE_SCRIPT names, read anew at every job:

    step_s    seconds a step takes
    at        {"<stage> <step>": action}; an action is one of the methods `do_*` below
    once      forget an action when it was done
"""

from __future__ import annotations

import json
import os
import resource
import signal
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np

from backend.engine import OnProgress
from backend.models import InstalledModel
from backend.service.worker import main
from protocol import ErrorCode, MakeRealError, PlaneName, Stage, TranslationRequest

STEPS = {Stage.LOADING: 1, Stage.ENCODING: 1, Stage.INVERTING: 5, Stage.DENOISING: 5, Stage.DECODING: 2}


def expected_image(image: np.ndarray) -> np.ndarray:
    """What the stand-in makes of a picture: its negative."""
    top = np.iinfo(image.dtype).max if image.dtype.kind == "u" else 1
    return (top - image).astype(image.dtype)


class FakeEngine:
    """Makes negatives, step by step, and misbehaves as the script says."""

    def __init__(self, device: str) -> None:
        self.device = f"fake {device}"
        self.devices = ("cpu", "cuda:0 Fake GPU")
        self._script_path = Path(os.environ["FAKE_SCRIPT"])
        if self._script().get("refuse"):
            raise MakeRealError(ErrorCode.INSTALLATION_BROKEN, "no module named torch")

    def translate(
        self,
        model: InstalledModel,
        request: TranslationRequest,
        planes: Mapping[PlaneName, np.ndarray],
        on_progress: OnProgress,
        is_cancelled: Callable[[], bool],
    ) -> Any:
        for stage, steps in STEPS.items():
            for step in range(steps + 1):
                if is_cancelled():
                    raise MakeRealError(ErrorCode.CANCELLED)
                on_progress(stage, step, steps)
                self._act(f"{stage} {step}")
                time.sleep(self._script()["step_s"])
        image = expected_image(planes[PlaneName.IMAGE])
        return SimpleNamespace(
            image=image,
            report={"ssim_garment": 1.0},
            seconds={"inverting": 0.5},
            recipe={"request": request.to_map(), "worker_pid": os.getpid(), "model": model.name},
        )

    def prepare(self) -> bool:
        """Says that it was asked, and that nothing is left."""
        with self._script_path.with_name("prepared").open("a") as file:
            file.write("prepared\n")
        return False

    def _script(self) -> dict[str, Any]:
        return dict(json.loads(self._script_path.read_text()))

    def _act(self, place: str) -> None:
        script = self._script()
        action = script.get("at", {}).get(place)
        if action is None:
            return
        if script.get("once"):
            del script["at"][place]
            self._script_path.write_text(json.dumps(script))
        getattr(self, f"do_{action}")()

    def do_kill(self) -> None:
        os.kill(os.getpid(), signal.SIGKILL)

    def do_device_fault(self) -> None:
        raise RuntimeError("CUDA error: an illegal memory access was encountered")

    def do_out_of_memory(self) -> None:
        raise MakeRealError(ErrorCode.OUT_OF_MEMORY, "it needs 3 GiB more")

    def do_mistake(self) -> None:
        raise ZeroDivisionError("a mistake")

    def do_print(self) -> None:
        print("a library prints", flush=True)
        os.write(1, b"\x00\x00\x00\x04native code prints")

    def do_hang(self) -> None:
        time.sleep(600)

    def do_small_disk(self) -> None:
        """Let the system refuse this process any file beyond 100 kB, as a full disk does."""
        resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, resource.RLIM_INFINITY))

    def do_large_disk(self) -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))


if __name__ == "__main__":
    main(FakeEngine)
