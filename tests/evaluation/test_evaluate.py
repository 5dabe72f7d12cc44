# SPDX-License-Identifier: GPL-3.0-or-later
"""The whole benchmark on a tiny model: phases, files, resuming, the JSON's names, the page."""

from __future__ import annotations

import json
import shutil
from itertools import product

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file
from typer.testing import CliRunner

from backend.commands import app
from backend.evaluation import generate
from backend.evaluation.checks import ABLATIONS, Check, Sense, check
from backend.evaluation.evaluate import told_command
from backend.evaluation.generate import RunFolder, read_subject
from backend.evaluation.methods import METHODS, Bench
from backend.evaluation.pictures import UnusableFolderError, find_renders, group_by_size, read_photos
from backend.evaluation.plan import Plan
from backend.evaluation.report import put_into_page
from backend.evaluation.scores import Column
from protocol.request import TranslationRequest

NAMES = [
    "no_op", "round_trip", "sdedit", "plug_and_play", "released", "released_inversion_fixed", "ours",
    "ours_no_positive", "ours_no_negative", "ours_no_tac", "ours_no_mask", "ours_no_detail",
]  # fmt: skip
FIGURES = ["kid_patch", "kid_image", "photo_vote", "ssim_garment", "highpass_garment", "ciede2000_garment",
           "shift_px", "seconds"]  # fmt: skip


@pytest.fixture(scope="module")
def adapted(model):
    """The tiny model with a LoRA, so that it can be left out."""
    domain = model / "domain"
    description = json.loads((domain / "domain.json").read_text())
    weight = Bench(model, "cpu").translator.model.unet.conv_in.weight
    lora = {
        "conv_in.lora_A.weight": torch.randn(1, *weight.shape[1:]),
        "conv_in.lora_B.weight": torch.randn(len(weight), 1, 1, 1),
    }
    save_file(lora, domain / "unet_lora.safetensors")
    (domain / "domain.json").write_text(json.dumps({**description, "unet_lora": "unet_lora.safetensors"}))
    return model


def run(*arguments: object):
    return CliRunner().invoke(app, ["evaluate", *map(str, arguments)])


@pytest.fixture(scope="module")
def finished(adapted, renders, photo_features, tmp_path_factory):
    out = tmp_path_factory.mktemp("out")
    common = ("--model", adapted, "--renders", renders, "--out", out, "--photos", photo_features)
    common += (
        "--limit",
        2,
        "--steps",
        10,
        "--rival-steps",
        10,
        "--seeds",
        2,
        "--sweep",
        2,
        "--strengths",
        "0.1,0.3",
    )
    for phase, part in product(("generate", "sample"), ("1/2", "2/2")):
        result = run(*common, "--phase", phase, "--part", part, "--batch", 2)
        assert result.exit_code == 0, result.output
    result = run(*common, "--replicates", 20, "--phase", "report")
    assert result.exit_code == 0, result.output
    return out, common


def test_the_methods_are_the_issues_own():
    assert list(METHODS) == NAMES


@pytest.mark.parametrize("name", ["sdedit", "plug_and_play", "released", "ours"])
def test_a_batch_gives_each_render_the_picture_it_gets_alone(adapted, renders, name):
    bench = Bench(adapted, "cpu", steps=10, rival_steps=10)
    subjects = [read_subject(render) for render in find_renders(renders, 2)]
    together = METHODS[name].run(bench, subjects, 0.2, 0)
    for subject, outcome in zip(subjects, together, strict=True):
        (alone,) = METHODS[name].run(bench, [subject], 0.2, 0)
        difference = np.abs(outcome.pixels.astype(int) - alone.pixels)
        assert difference.max() <= 1, difference.max()
        assert (outcome.pixels != subject.pixels).any()


def test_batches_hold_one_size_and_first_renders_come_first(tmp_path):
    for number, size in enumerate([(4, 2), (4, 2), (2, 4), (4, 2), (2, 4)]):
        Image.new("RGB", size).save(tmp_path / f"{number}.png")
        Image.new("L", size).save(tmp_path / f"{number}.mask.png")
    found = find_renders(tmp_path)
    names = [[render.name for render in group] for group in group_by_size(found, 2)]
    assert names == [["0", "1"], ["2", "4"], ["3"]]
    plan = Plan(tmp_path, ["released", "ours"], found, found[:3], 0.3, [0.3, 0.5], 1)
    batches = [
        (run.method, run.strength, [render.name for render in batch]) for run, batch in plan.batches(2)
    ]
    assert batches == [
        *((method, 0.3, group) for group in names for method in ("released", "ours")),
        *((method, 0.5, group) for group in (["0", "1"], ["2"]) for method in ("released", "ours")),
    ]


def test_the_report_has_every_row_and_column_with_its_interval(finished):
    content = json.loads((finished[0] / "benchmark.json").read_text())
    assert [row["method"] for row in content["rows"]] == NAMES
    for row in content["rows"]:
        assert row["kid_inception"] is None
        for figure in FIGURES:
            assert row[f"{figure}_low"] <= row[f"{figure}_high"]
            assert isinstance(row[figure], float)
    assert {(row["method"], row["strength"]) for row in content["sweep"]} == {
        (method, strength) for method in ("sdedit", "released", "ours") for strength in (0.1, 0.3)
    }
    assert (finished[0] / "curve.svg").is_file()
    assert len(list((finished[0] / "pictures").glob("*.jpg"))) == 2
    table = (finished[0] / "benchmark.md").read_text()
    assert all(f"`{name}`" in table for name in NAMES)


def test_seconds_are_of_the_idle_device_once_every_method_was_timed(finished, tmp_path):
    out, page = tmp_path / "out", tmp_path / "page.md"
    shutil.copytree(finished[0], out)
    common = (*finished[1], "--out", out)
    page.write_text("<!-- benchmark:full -->\n<!-- /benchmark:full -->\n")

    def told(*methods: str) -> str:
        report = run(*common, "--methods", ",".join(methods), "--phase", "report", "--page", page)
        assert report.exit_code == 0, report.output
        return page.read_text()

    assert run(*common, "--methods", "ours", "--phase", "time").exit_code == 0
    assert "one picture at a time on the idle device" in told("ours")
    assert "divided among its pictures" in told("no_op", "ours")
    line = next(line for line in told("ours").splitlines() if line.startswith("| `ours` |"))
    seconds = json.loads((out / "seconds.json").read_text())["ours"]
    assert float(line.rstrip("| ").rpartition("|")[2]) == pytest.approx(np.mean(seconds), abs=0.006)


def test_a_command_is_told_without_the_folders_of_one_machine(tmp_path):
    told = told_command(["/somewhere/bin/make-real", "evaluate", "--out", str(tmp_path), "--limit", "4"])
    assert told == f"make-real evaluate --out {tmp_path.name} --limit 4"


def test_no_op_is_the_render_and_ours_leaves_the_rest(finished):
    rows = {row["method"]: row for row in json.loads((finished[0] / "benchmark.json").read_text())["rows"]}
    assert rows["no_op"]["ssim_garment"] == pytest.approx(1) and rows["no_op"]["ciede2000_garment"] == 0
    assert rows["ours"]["rest_change"] == 0 < rows["ours_no_mask"]["rest_change"]


@torch.inference_mode()
def test_an_ablation_lacks_its_part_and_no_other(adapted):
    bench = Bench(adapted, "cpu")
    whole, bare = bench.translator.model, bench.without_positive.model
    latents = torch.randn(
        1, whole.unet.config.in_channels, 16, 16, generator=torch.Generator().manual_seed(0)
    )
    with_lora, without = (model.predict_noise(latents, 200, model.empty) for model in (whole, bare))
    assert (with_lora - without).abs().max() > 1e-6
    assert torch.equal(whole.negative.hidden, bare.negative.hidden)
    assert bench.without_negative.model.negative is None
    assert bench.without_negative.model.unet is whole.unet


def test_what_is_there_is_not_made_again_and_what_a_kill_broke_is(finished):
    out, common = finished
    folder = out / "results" / "sdedit" / f"{TranslationRequest.garment_strength:.2f}" / "seed1"
    lines = (folder / "results.jsonl").read_text().splitlines(keepends=True)
    before = {path: path.stat().st_mtime_ns for path in folder.glob("*.png")}
    (folder / "results.jsonl").write_text(lines[0] + lines[1][:40])
    assert run(*common, "--methods", "sdedit", "--phase", "generate").exit_code == 0
    after = {path: path.stat().st_mtime_ns for path in folder.glob("*.png")}
    assert [after[path] == before[path] for path in sorted(before)] == [True, False]


def test_another_programs_results_are_made_again(finished, monkeypatch):
    out, common = finished
    before = {path: path.stat().st_mtime_ns for path in (out / "results" / "no_op").rglob("*.png")}
    monkeypatch.setattr(generate, "program_digest", lambda: "another")
    assert run(*common, "--methods", "no_op", "--phase", "generate").exit_code == 0
    assert before and all(path.stat().st_mtime_ns != time for path, time in before.items())


def test_a_run_of_the_curve_that_is_a_row_too_is_sampled_for_both(renders, tmp_path):
    """Else the report would need its pictures again, which may be on another machine."""
    found = find_renders(renders)
    plan = Plan(tmp_path, ("ours",), found[:2], found[:1], 0.3, (0.1, 0.3), seeds=1)
    row, low = (RunFolder(tmp_path, "ours", strength, 0) for strength in (0.3, 0.1))
    assert plan.work() == [(row, found[:2]), (low, found[:1]), (row, found[:1])]


def test_a_missing_result_is_named(finished, tmp_path):
    _, common = finished
    arguments = [tmp_path if value == finished[0] else value for value in common]
    result = run(*arguments, "--methods", "ours", "--phase", "report")
    assert result.exit_code == 2
    assert "lacks 2 of 2 results" in " ".join(result.output.replace("│", " ").split())


@pytest.mark.parametrize(
    ("option", "value"), [("--methods", "magic"), ("--phase", "guess"), ("--part", "3/2"), ("--part", "1")]
)
def test_an_unknown_name_is_refused(finished, option, value):
    result = run(*finished[1], option, value)
    assert result.exit_code == 2 and value in result.output


def test_folders_without_pictures_are_named(tmp_path):
    with pytest.raises(UnusableFolderError, match="no pictures"):
        find_renders(tmp_path)
    with pytest.raises(UnusableFolderError, match="no photos"):
        list(read_photos(tmp_path, "test"))


def constant(value: float) -> Column:
    return Column(value, np.full(4, value))


def test_the_bench_can_say_no():
    good = {
        "kid_patch": 40.0,
        "ssim_garment": 0.95,
        "highpass_garment": 0.9,
        "ciede2000_garment": 2.0,
        "photo_vote": 0.4,
        "rest_change": 0.0,
    }
    rivals = {
        "no_op": {**good, "kid_patch": 70.0, "photo_vote": 0.1},
        "sdedit": {**good, "ssim_garment": 0.8},
        "released": {**good, "kid_patch": 60.0, "ssim_garment": 0.8},
        **{name: {**good, column: good[column] + sign} for name, (column, sign) in ABLATIONS.items()},
    }
    table = {name: {k: constant(v) for k, v in row.items()} for name, row in {"ours": good, **rivals}.items()}
    assert all(claim.met for claim in check(table))
    table["ours"] = {
        k: constant(v)
        for k, v in {
            **good,
            "kid_patch": 80.0,
            "ssim_garment": 0.7,
            "photo_vote": 0.1,
            "ciede2000_garment": 9.0,
        }.items()
    }
    refused = [claim for claim in check(table) if not claim.met]
    assert len(refused) >= 8


@pytest.mark.parametrize(
    ("replicates", "surely", "met", "sure"),
    [((2, 3), False, True, True), ((0, 3), False, True, False), ((0, 3), True, False, False)],
)
def test_a_check_tells_when_its_interval_holds_the_bar(replicates, surely, met, sure):
    claim = Check("figure", Column(2.0, np.array(replicates)), Sense.AT_LEAST, 1.0, surely)
    told = claim.to_map()
    assert (told["met"], told["sure"], told["claim"]) == (met, sure, "figure: at least 1")
    assert not Check("figure", Column(2.0, np.array(replicates)), Sense.AT_MOST, 1.0, surely).met


def test_a_page_keeps_all_but_its_section_and_gets_the_pictures(tmp_path):
    page, out = tmp_path / "docs" / "page.md", tmp_path / "out"
    for path in (page, out / "pictures" / "a.jpg", out / "curve.svg", out / "results" / "b.jpg"):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("picture")
    page.write_text("before\n<!-- benchmark:full -->\nold\n<!-- /benchmark:full -->\nafter\n")
    put_into_page(page, "full", "new\n", out)
    assert page.read_text() == (
        "before\n<!-- benchmark:full -->\nnew\n"
        "\n![SSIM and KID over the strength](images/benchmark_full/curve.svg)\n"
        "\n![render, released, ours](images/benchmark_full/pictures/a.jpg)\n"
        "<!-- /benchmark:full -->\nafter\n"
    )
    images = page.parent / "images" / "benchmark_full"
    assert {path.relative_to(images).as_posix() for path in images.rglob("*.*")} == {
        "curve.svg",
        "pictures/a.jpg",
    }
    with pytest.raises(UnusableFolderError, match="no section"):
        put_into_page(page, "small", "new\n", out)
