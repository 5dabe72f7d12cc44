# SPDX-License-Identifier: GPL-3.0-or-later
"""The states of a job, as data."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st
from live_service import REQUEST, picture

from backend.service.jobs import (
    MAX_ATTEMPTS,
    TRANSITIONS,
    Event,
    Job,
    advance,
    content_digest,
    fraction_done,
    is_ended,
    may,
)
from protocol import ErrorCode, JobState, PlaneName, Stage
from protocol.planes import describe

SPEC = describe(PlaneName.IMAGE, picture())
JOB = Job("a" * 32, REQUEST, (SPEC,))
HAPPY = [Event.PLANES_RECEIVED, Event.STARTED, Event.FINISHED, Event.ACKNOWLEDGED]


def test_the_straight_way_ends_delivered() -> None:
    job = JOB
    for event in HAPPY:
        job = advance(job, event)
    assert job.state is JobState.DELIVERED
    assert is_ended(job)


@given(st.lists(st.sampled_from(Event), max_size=30))
def test_whatever_happens_a_job_keeps_the_rules(events: list[Event]) -> None:
    job = JOB
    for event in events:
        if not may(job, event):
            with pytest.raises(ValueError, match=job.state):
                advance(job, event)
            continue
        before, job = job, advance(job, event, ErrorCode.INTERNAL if event is Event.FAILED else None)
        assert not is_ended(before)
        assert (job.state is JobState.FAILED) == (job.error is not None)
        assert 0 <= job.attempts <= MAX_ATTEMPTS
        assert job.content_digest == JOB.content_digest
        if before.state is JobState.DONE:
            assert job.state in (JobState.DELIVERED, JobState.CANCELLED, JobState.FAILED)


def test_a_job_that_is_lost_twice_has_failed() -> None:
    job = advance(JOB, Event.PLANES_RECEIVED)
    job = advance(advance(job, Event.STARTED), Event.LOST)
    assert (job.state, job.error) == (JobState.QUEUED, None)
    job = advance(advance(job, Event.STARTED), Event.LOST, detail="signal 9")
    assert (job.state, job.error, job.detail) == (JobState.FAILED, ErrorCode.WORKER_CRASHED, "signal 9")


def test_a_job_that_was_released_may_be_lost_as_often_as_before() -> None:
    job = advance(JOB, Event.PLANES_RECEIVED)
    for _ in range(5):
        job = advance(advance(job, Event.STARTED), Event.RELEASED)
    assert (job.state, job.attempts) == (JobState.QUEUED, 0)


def test_no_state_after_the_end_has_a_way_out() -> None:
    ended = {JobState.DELIVERED, JobState.FAILED, JobState.CANCELLED}
    assert not ended & {state for state, _ in TRANSITIONS}
    assert set(TRANSITIONS.values()) >= ended


def test_the_digest_tells_content_and_not_names() -> None:
    digest = content_digest(REQUEST, (SPEC,))
    assert replace(JOB, label="other", job_id="b" * 32).content_digest == digest
    assert content_digest(replace(REQUEST, steps=51), (SPEC,)) != digest
    assert content_digest(REQUEST, (describe(PlaneName.IMAGE, picture(17)),)) != digest
    assert content_digest(REQUEST, (replace(SPEC, name=PlaneName.GARMENT),)) != digest


def test_the_fraction_grows_to_one() -> None:
    fractions = [fraction_done(stage, step, 4) for stage in Stage for step in range(5)]
    assert fractions[0] == 0.0
    assert all(before <= after for before, after in pairwise(fractions))
    assert fractions[-1] == pytest.approx(1.0)
    assert fraction_done(Stage.DECODING, 0, 0) == pytest.approx(0.90)
