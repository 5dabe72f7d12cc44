# SPDX-License-Identifier: GPL-3.0-or-later
"""Domain knowledge injection (DKI) for the starter: `make-real adapt` on the pack.

    python -m backend.training.domain --pack DIR --model DIR --minutes 9

Lays the pack's pictures out as folders with captions, adapts the model with the bridge from the rendered look, and
puts the result into the model directory's `domain/`. The same command goes on where the time was over; what it
works on lies in `adaptation/` beside it.
"""

from __future__ import annotations

import argparse
import json
import math
import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from PIL import Image

from backend.adaptation.command import Request, run
from backend.adaptation.settings import Pace, Settings
from backend.models import DOMAIN_FILE

from .data import NATIVE_SIZE, Pictures, read_pack

NAME = "garments"
JPEG_QUALITY = 97
GUIDANCE_GAIN = 3.0
"""So much that most pictures reach the reference contrast of `translation.guidance`, even weaves and whole figures, in
which the network finds a tenth of the difference that it finds in plain cloth. Chosen by eye on 41 renders of the tune
garments (`splits`); at 5 nothing more changes."""
SETTINGS = Settings(
    rank=32,
    positive_steps=600,
    negative_steps=350,
    batch=96,
    positive_rate=8e-4,
    negative_rate=5e-3,
    crops=12_000,
    initial_prompt="render",
    render_share=0.4,
    bridge=True,
)


def lay_out(pictures: Pictures, folder: Path) -> None:
    """Write the pictures as JPEG files, with a caption beside each; the folder is there whole or not at all."""
    partial = folder.with_name(folder.name + ".part")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    captions = pictures.captions(pictures.domain)

    def write(index: int) -> None:
        picture = Image.fromarray(pictures.pixels[index].permute(1, 2, 0).contiguous().numpy())
        picture.save(partial / f"{index:06d}.jpg", quality=JPEG_QUALITY, subsampling=0)
        (partial / f"{index:06d}.txt").write_text(captions[index])

    with ThreadPoolExecutor() as pool:
        list(pool.map(write, range(len(captions))))
    partial.rename(folder)


def adapt_model(model: Path, pack: Path, settings: Settings, pace: Pace) -> None:
    """Adapt a model directory and put the domain into it. Raises as `backend.adaptation.command.run`."""
    work = model / "adaptation"
    for domain in ("photo", "render"):
        if not (work / f"{domain}s").is_dir():
            lay_out(read_pack(pack, domain), work / f"{domain}s")
    index = model / "model_index.json"
    if not index.exists():
        # `assemble` writes the one that is shipped.
        index.write_text("{}\n")
    out = work / NAME
    if not (out / DOMAIN_FILE).exists():
        width, height = NATIVE_SIZE
        run(
            Request(
                model, "starter", work / "photos", work / "renders", out, settings, pace,
                resolution=f"{width}x{height}", mixed_precision=None, device="auto",
            )
        )  # fmt: skip
    own = model / "domain"
    own.mkdir(exist_ok=True)
    for path in out.glob("*.safetensors"):
        shutil.copy(path, own)
    description = json.loads((out / DOMAIN_FILE).read_text())
    # Inside its model a domain needs no word about which that is.
    del description["base"]
    description["guidance_gain"] = GUIDANCE_GAIN
    (own / DOMAIN_FILE).write_text(json.dumps(description, indent=2) + "\n")


def main() -> None:
    """Command line; see the module's docstring."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pack", type=Path, required=True)
    parser.add_argument("--model", type=Path, required=True)
    parser.add_argument("--positive-steps", type=int, default=SETTINGS.positive_steps)
    parser.add_argument("--negative-steps", type=int, default=SETTINGS.negative_steps)
    parser.add_argument("--batch", type=int, default=SETTINGS.batch)
    parser.add_argument("--crops", type=int, default=SETTINGS.crops, help="encoded crops of each domain")
    parser.add_argument("--seed", type=int, default=SETTINGS.seed)
    parser.add_argument("--minutes", type=float, default=math.inf, help="of this run; the next goes on")
    parser.add_argument("--compile", action="store_true")
    given = vars(parser.parse_args())
    pack, model = given.pop("pack"), given.pop("model")
    pace = Pace(
        checkpoint_every=100, sample_every=300, minutes=given.pop("minutes"), compile=given.pop("compile")
    )
    adapt_model(model, pack, Settings(**{**vars(SETTINGS), **given}), pace)


if __name__ == "__main__":
    main()
