# SPDX-License-Identifier: GPL-3.0-or-later
"""The methods' pictures on disk: made once, found again, so that work can be split over processes and resumed.

    OUT/results/METHOD/0.30/seed0/NAME.png        the picture
    OUT/results/METHOD/0.30/seed0/results.jsonl   a line a picture: recipe, device, seconds, fidelity

Processes may work on one folder at once if no two make the same picture (`Plan.batches`): a line is one write.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, UInt8
from PIL import Image

from backend.translation.fidelity import measure
from protocol.request import TranslationRequest

from .features import PictureFeatures
from .methods import CONTROLS, METHODS, Bench, Subject
from .patches import garment_corners
from .pictures import Render, UnusableFolderError, read_rgb
from .samples import PictureSample, sample_pictures

FIDELITY = {
    "ssim_garment": "ssim_garment",
    "highpass_garment": "highpass_garment",
    "ciede2000_garment": "delta_e_garment",
    "shift_px": "alignment_px",
}
"""Columns of the table and what `backend.translation.fidelity` calls them."""
FIDELITY_COLUMNS = (*FIDELITY, "rest_change")


@dataclass(frozen=True)
class RunFolder:
    """The pictures of one method at one strength and one random seed.

    Args:
        out: The benchmark's folder.
        method: Name of the method.
        strength: 0..1.
        seed: Of the method's random draws; 0 for a method without any.
    """

    out: Path
    method: str
    strength: float
    seed: int

    @property
    def path(self) -> Path:
        """Where the pictures are."""
        return self.out / "results" / self.method / f"{self.strength:.2f}" / f"seed{self.seed}"

    def picture(self, render: Render) -> Path:
        """The result of a render."""
        return self.path / f"{render.name}.png"

    def records(self) -> dict[str, dict[str, Any]]:
        """What is known of each picture, by the render's name; of a picture made twice the later."""
        path = self.path / "results.jsonl"
        if not path.is_file():
            return {}
        # A process that was killed leaves a last line without its end.
        lines = (
            line for line in path.read_text(encoding="utf-8").splitlines(keepends=True) if line[-1] == "\n"
        )
        return {record["name"]: record for record in map(json.loads, lines)}

    def add(
        self, render: Render, pixels: UInt8[np.ndarray, "height width 3"], record: dict[str, Any]
    ) -> None:
        """Keep a picture, then say so."""
        self.path.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels).save(self.picture(render))
        with (self.path / "results.jsonl").open("a", encoding="utf-8") as file:
            file.write(json.dumps({"name": render.name, **record}) + "\n")

    def results(self, renders: Sequence[Render]) -> list[dict[str, Any]]:
        """What is known of each render's result.

        Raises:
            UnusableFolderError: A result is missing.
        """
        records = self.records()
        missing = [render.name for render in renders if render.name not in records]
        if missing:
            raise UnusableFolderError(
                f"{self.path} lacks {len(missing)} of {len(renders)} results, {missing[0]} first:"
                f" run `make-real evaluate` with `--methods {self.method} --phase generate` to its end"
            )
        return [records[render.name] for render in renders]

    def column(self, renders: Sequence[Render], name: str) -> Float[np.ndarray, " pictures"]:
        """One figure of each render's result. Raises UnusableFolderError."""
        return np.array([result[name] for result in self.results(renders)])

    def sample(self, renders: Sequence[Render], network: PictureFeatures) -> PictureSample:
        """Features of the results, from a file beside them if it is of these very pictures, else computed.

        Raises:
            UnusableFolderError: A result is missing.
        """
        recipes = json.dumps([result["recipe"] for result in self.results(renders)])
        key = hashlib.blake2b(recipes.encode(), digest_size=16).hexdigest()
        path = self.path / f"sample-{key}.safetensors"
        if not path.is_file():
            sample_pictures(
                ((read_rgb(self.picture(r)), garment_corners(r.coverage())) for r in renders), network
            ).save(path)
        return PictureSample.load(path)


def read_subject(render: Render) -> Subject:
    """What the methods get of a render."""
    return Subject(render.pixels(), render.coverage())


def generate(bench: Bench, run: RunFolder, renders: Sequence[Render]) -> None:
    """Make what is missing of a run of renders of one size, in one batch."""
    method, known = (METHODS | CONTROLS)[run.method], run.records()
    missing = []
    for render in renders:
        subject = read_subject(render)
        recipe = _recipe(bench, run, subject)
        if known.get(render.name, {}).get("recipe") != recipe or not run.picture(render).is_file():
            missing.append((render, subject, recipe))
    if not missing:
        return
    outcomes = method.run(bench, [subject for _, subject, _ in missing], run.strength, run.seed)
    for (render, subject, recipe), outcome in zip(missing, outcomes, strict=True):
        fidelity = measure_fidelity(subject, outcome.pixels)
        made = {"recipe": recipe, "device": bench.device_name, "seconds": outcome.seconds}
        run.add(render, outcome.pixels, {**made, **fidelity})


def measure_fidelity(subject: Subject, result: UInt8[np.ndarray, "height width 3"]) -> dict[str, float]:
    """The columns of `FIDELITY_COLUMNS` of one result; `rest_change` is the mean change outside the garment, 0..255."""
    first, second = (pixels.astype(np.float32) / 255 for pixels in (subject.pixels, result))
    render, translated = (torch.from_numpy(pixels).movedim(-1, 0) for pixels in (first, second))
    report = measure(render, translated, torch.from_numpy(np.array(subject.coverage)))
    rest = np.abs(first - second)[subject.coverage == 0]
    return {column: report[key] for column, key in FIDELITY.items()} | {
        "rest_change": 255 * float(rest.mean()) if rest.size else 0.0
    }


def _recipe(bench: Bench, run: RunFolder, subject: Subject) -> dict[str, Any]:
    """What decides a result: a picture with the same recipe is not made again."""
    digest = hashlib.blake2b(subject.pixels.tobytes() + subject.coverage.tobytes(), digest_size=16)
    return {
        "method": run.method,
        "strength": run.strength,
        "seed": run.seed,
        "steps": bench.steps,
        "rival_steps": bench.rival_steps,
        "program": program_digest(),
        "model": bench.digest,
        "request": TranslationRequest().to_map(),
        "render": digest.hexdigest(),
    }


@cache
def program_digest() -> str:
    """Of the code that makes results: those of the program before a change are not this one's."""
    here = Path(__file__).parent
    files = [here / f"{name}.py" for name in ("baselines", "methods", "photographing")]
    files += (here.parent / "translation").glob("*.py")
    digest = hashlib.blake2b(digest_size=16)
    for file in sorted(files):
        digest.update(file.read_bytes())
    return digest.hexdigest()
