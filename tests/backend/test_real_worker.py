# SPDX-License-Identifier: GPL-3.0-or-later
"""The real program from end to end: `make-real serve` with the real worker and a tiny model of random weights."""

from __future__ import annotations

import runpy

import numpy as np
import pytest
from live_service import REPOSITORY, Service, end, events_until, finish, picture

from protocol import ErrorCode, PlaneName, Progress, Stage, TranslationRequest

PROGRAM = "backend.cli"
REQUEST = TranslationRequest(model="random", steps=6, garment_strength=0.5, rest_strength=0.0)


@pytest.mark.slow
def test_the_real_worker_translates(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "2")
    write_model = runpy.run_path(str(REPOSITORY / "tests/translation/tiny_models.py"))["write_starter_shape"]
    folder = service.models_dir / "random"
    folder.mkdir()
    write_model(folder)
    service.start("--device", "cpu", program=PROGRAM)
    client = service.client()
    image = picture(96, 80)
    garment = np.zeros(image.shape[:2], np.uint8)
    garment[:, :40] = 255
    planes = {PlaneName.IMAGE: image, PlaneName.GARMENT: garment}
    finished = finish(client, client.submit(REQUEST, planes))
    result = finished.planes[PlaneName.IMAGE]
    assert np.array_equal(result[:, 40:], image[:, 40:])
    assert not np.array_equal(result[:, :40], image[:, :40])
    assert {
        "ssim_garment",
        "delta_e_garment",
        "colour_garment",
        "alignment_px",
    } <= finished.result.report.keys()
    assert finished.result.recipe["request"] == REQUEST.to_map()
    # Cancelled in the middle, then the next job works and the same request gives the same bytes.
    job_id = client.submit(TranslationRequest(model="random", steps=1000), planes)
    events_until(
        client, lambda e: isinstance(e, Progress) and e.stage is Stage.INVERTING and e.step > 1, "step"
    )
    client.cancel(job_id)
    assert end(client, job_id).state == "cancelled"
    again = finish(client, client.submit(REQUEST, planes))
    assert np.array_equal(again.planes[PlaneName.IMAGE], result)
    # A wrong picture is the job's error, not the worker's end.
    empty = {PlaneName.IMAGE: image, PlaneName.GARMENT: np.zeros_like(garment)}
    assert end(client, client.submit(REQUEST, empty)).error is ErrorCode.EMPTY_MASK
