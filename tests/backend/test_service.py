# SPDX-License-Identifier: GPL-3.0-or-later
"""The service as a client meets it: real processes, real sockets, a scripted worker."""

from __future__ import annotations

import numpy as np
import pytest
from conftest import REQUEST, Service, finish, picture, planes_of
from fake_worker import expected_image

from protocol import PlaneName


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float16, np.float32])
def test_a_job_returns_its_picture_in_every_type(service: Service, dtype: type) -> None:
    service.start()
    client = service.client()
    image = picture(dtype=dtype, channels=4)
    job_id = client.submit(REQUEST, planes_of(image), label="frame 1")
    finished = finish(client, job_id)
    result = finished.planes[PlaneName.IMAGE]
    assert result.dtype == dtype
    assert np.array_equal(result, expected_image(image))
