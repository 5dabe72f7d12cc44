# SPDX-License-Identifier: GPL-3.0-or-later
"""`make-real convert` in this process: which files it takes, what it writes, and what a bad one does to the rest."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from live_service import REQUEST, picture
from PIL import Image

from backend import pictures
from backend.convert import Task, UnusablePathError, convert, plan
from backend.models import InstalledModel
from backend.pictures import read_picture
from protocol import ErrorCode, MakeRealError, PlaneName, Stage


class Recorder:
    """An engine that makes negatives and keeps what it was given."""

    def __init__(self) -> None:
        self.device = "test"
        self.planes: list[dict[PlaneName, np.ndarray]] = []
        self.batches: list[int] = []
        self.prepared = 0
        self.fails_to_prepare: Exception | None = None

    def translate_batch(
        self, model: InstalledModel, request: Any, batch: Any, on_progress: Any, is_cancelled: Any
    ) -> Any:
        self.batches.append(len(batch))
        if any(planes[PlaneName.IMAGE].max() == 0 for planes in batch):
            raise MakeRealError(ErrorCode.EMPTY_MASK)
        self.planes += batch
        on_progress(Stage.INVERTING, 1, 2)
        return [
            SimpleNamespace(
                image=255 - planes[PlaneName.IMAGE],
                report={"ssim_garment": 0.91234},
                recipe={"request": request.to_map(), "warnings": ["the picture moved"]},
            )
            for planes in batch
        ]

    def prepare(self) -> bool:
        self.prepared += 1
        if self.fails_to_prepare:
            raise self.fails_to_prepare
        return False


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """look.png with all its masks beside it, plain.jpg without."""
    Image.fromarray(picture()).save(tmp_path / "look.png")
    Image.fromarray(picture()[..., 0]).save(tmp_path / "look.mask.png")
    Image.fromarray(picture()[..., 1]).save(tmp_path / "look.protect.png")
    Image.fromarray(picture()[..., 2]).save(tmp_path / "look.free.png")
    Image.fromarray(255 - picture()[..., 0]).save(tmp_path / "look.strength.png")
    Image.fromarray(picture()).save(tmp_path / "plain.jpg")
    return tmp_path


def planned(folder: Path, *names: str, **options: Any) -> list[Task]:
    arguments = {"masks": {}, "overwrite": False, **options}
    return plan([folder / name for name in names], folder / "out", **arguments)


def run(tasks: list[Task], engine: Recorder, batch: int = 1) -> list[MakeRealError]:
    errors: list[MakeRealError] = []
    convert(tasks, REQUEST, InstalledModel("model", Path("model")), lambda: engine, errors.append, batch)
    return errors


def test_masks_beside_a_picture_are_found_and_not_translated_themselves(folder: Path) -> None:
    names = sorted(path.name for path in folder.iterdir())
    assert planned(folder, *names) == [
        Task(
            folder / "look.png",
            {
                PlaneName.GARMENT: folder / "look.mask.png",
                PlaneName.FREE: folder / "look.free.png",
                PlaneName.PROTECTED: folder / "look.protect.png",
                PlaneName.STRENGTH: folder / "look.strength.png",
            },
            folder / "out/look.png",
        ),
        Task(folder / "plain.jpg", {}, folder / "out/plain.png"),
    ]


def test_masks_can_be_given_as_a_file_or_a_folder(folder: Path) -> None:
    (task,) = planned(folder, "plain.jpg", masks={PlaneName.GARMENT: folder / "look.mask.png"})
    assert task.masks == {PlaneName.GARMENT: folder / "look.mask.png"}
    masks = folder / "masks"
    masks.mkdir()
    with pytest.raises(UnusablePathError, match=r"plain\.jpg has no mask .*plain\.mask\.png"):
        planned(folder, "plain.jpg", masks={PlaneName.GARMENT: masks})
    (masks / "plain.mask.png").touch()
    (task,) = planned(folder, "plain.jpg", masks={PlaneName.GARMENT: masks})
    assert task.masks[PlaneName.GARMENT] == masks / "plain.mask.png"
    with pytest.raises(UnusablePathError, match="has no mask"):
        planned(folder, "plain.jpg", masks={PlaneName.STRENGTH: folder / "absent.png"})


def test_no_result_replaces_a_file_unasked(folder: Path) -> None:
    (folder / "out").mkdir()
    (folder / "out" / "look.png").touch()
    with pytest.raises(UnusablePathError, match="--overwrite"):
        planned(folder, "look.png")
    assert planned(folder, "look.png", overwrite=True)


def test_no_result_ever_replaces_a_given_picture_or_mask(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(folder)
    elsewhere = folder / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "linked.png").symlink_to(folder / "look.png")
    (elsewhere / "linked").symlink_to(folder)
    Image.fromarray(picture()).save("look.mask.jpg")
    for image, output, masks in (
        ("look.png", folder, {}),
        ("look.png", Path("elsewhere/linked"), {}),
        ("elsewhere/linked.png", Path("elsewhere"), {}),
        ("look.mask.jpg", folder, {PlaneName.GARMENT: Path("look.mask.png")}),
    ):
        for overwrite in (False, True):
            with pytest.raises(UnusablePathError, match=r"would replace a picture or mask .* another folder"):
                plan([Path(image)], output, masks, overwrite)
    assert plan([Path("plain.jpg")], folder, {}, overwrite=False), "its result has another name"


def test_a_mask_is_known_by_any_of_its_names(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder)
    masks = {PlaneName.GARMENT: folder / "look.mask.png"}
    tasks = plan([Path("plain.jpg"), Path("look.mask.png")], Path("out"), masks, overwrite=False)
    assert [task.image for task in tasks] == [Path("plain.jpg")]


def test_two_pictures_cannot_become_one_file(folder: Path) -> None:
    Image.fromarray(picture()).save(folder / "plain.png")
    with pytest.raises(UnusablePathError, match=r"plain\.jpg and .*plain\.png would both become"):
        planned(folder, "plain.jpg", "plain.png")


def test_pictures_are_translated_with_their_masks(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    engine = Recorder()
    assert not run(planned(folder, "look.png", "plain.jpg"), engine)
    first, second = engine.planes
    assert np.array_equal(first[PlaneName.GARMENT], picture()[..., 0])
    assert np.array_equal(first[PlaneName.PROTECTED], picture()[..., 1])
    assert np.array_equal(first[PlaneName.FREE], picture()[..., 2])
    assert np.array_equal(first[PlaneName.STRENGTH], 255 - picture()[..., 0])
    assert set(second) == {PlaneName.IMAGE}
    result = read_picture(folder / "out" / "look.png")
    assert np.array_equal(result.shown, 255 - picture())
    assert '"model": "tiny"' in result.spec["make_real:recipe"]
    printed = capsys.readouterr().out.splitlines()
    assert printed[0].startswith(f"{folder / 'out' / 'look.png'}: ssim_garment 0.9123, ")
    assert printed[1] == "  warning: the picture moved"
    assert len(printed) == 4


def test_a_bad_picture_does_not_stop_the_others(folder: Path) -> None:
    (folder / "bad.png").write_text("no picture")
    (error,) = run(planned(folder, "bad.png", "plain.jpg"), Recorder())
    assert error.code is ErrorCode.PICTURE_UNREADABLE
    assert "bad.png" in error.detail
    assert [path.name for path in (folder / "out").iterdir()] == ["plain.png"]


def test_frames_of_one_size_share_passes(folder: Path) -> None:
    names = [f"{number}.png" for number in range(5)]
    for number, name in enumerate(names):
        Image.fromarray((picture() // (number + 1))[: 8 if number == 3 else None]).save(folder / name)
    engine = Recorder()
    assert not run(planned(folder, *names), engine, batch=2)
    assert engine.batches == [2, 1, 1, 1]
    for name in names:
        given, result = (read_picture(place / name).shown for place in (folder, folder / "out"))
        assert np.array_equal(result, 255 - given)


def test_the_bad_one_of_a_batch_is_named_and_the_others_are_made(folder: Path) -> None:
    for name, level in (("a.png", 1), ("b.png", 0), ("c.png", 1)):
        Image.fromarray(picture() * level).save(folder / name)
    (error,) = run(planned(folder, "a.png", "b.png", "c.png"), Recorder(), batch=3)
    assert error.code is ErrorCode.EMPTY_MASK and "b.png" in error.detail
    assert sorted(path.name for path in (folder / "out").iterdir()) == ["a.png", "c.png"]


def test_faster_kernels_are_prepared_between_pictures_alone(folder: Path) -> None:
    """Neither before the first nor after the last, and a picture that cannot be read is none."""
    (folder / "bad.png").write_text("no picture")
    for names, prepared in (
        (["bad.png", "look.png"], 0),
        (["look.png", "bad.png"], 0),
        (["look.png", "bad.png", "plain.jpg"], 1),
    ):
        engine = Recorder()
        run(planned(folder, *names, overwrite=True), engine)
        assert engine.prepared == prepared


def test_kernels_that_cannot_be_prepared_cost_no_picture(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    names = ["a.png", "b.png", "c.png"]
    for name in names:
        Image.fromarray(picture()).save(folder / name)
    engine = Recorder()
    engine.fails_to_prepare = ValueError("no compiler\nand many more lines")
    assert not run(planned(folder, *names), engine)
    assert sorted(path.name for path in (folder / "out").iterdir()) == names
    assert engine.prepared == 1, "not tried again"
    warnings = [line for line in capsys.readouterr().err.splitlines() if "warning" in line]
    assert len(warnings) == 1 and warnings[0].endswith("made without them (ValueError: no compiler)")


def test_a_fault_of_the_device_while_preparing_ends_it(folder: Path) -> None:
    """What the process computed afterwards could not be trusted."""
    engine = Recorder()
    engine.fails_to_prepare = RuntimeError("CUDA error: an illegal memory access was encountered")
    with pytest.raises(RuntimeError, match="illegal memory access"):
        run(planned(folder, "look.png", "plain.jpg"), engine)
    assert [path.name for path in (folder / "out").iterdir()] == ["look.png"]


def test_a_disk_that_fills_up_leaves_the_old_result(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tasks = planned(folder, "look.png")
    run(tasks, Recorder())
    before = tasks[0].result.read_bytes()

    def fail(path: Path, *_: object) -> None:
        path.write_bytes(b"half")
        raise OSError(28, "No space left on device", str(path))

    monkeypatch.setattr(pictures, "_write", fail)
    (error,) = run(planned(folder, "look.png", overwrite=True), Recorder())
    assert error.code is ErrorCode.DISK_FULL
    assert tasks[0].result.read_bytes() == before
    assert list((folder / "out").iterdir()) == [tasks[0].result]
