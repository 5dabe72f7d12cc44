# SPDX-License-Identifier: GPL-3.0-or-later
"""The state machine as a table, and what must hold after any sequence of events."""

from __future__ import annotations

import importlib
import random
from dataclasses import replace

import pytest
from conftest import MODULE

session = importlib.import_module(f"{MODULE}.session.state")
ev = importlib.import_module(f"{MODULE}.session.events")
status = importlib.import_module(f"{MODULE}.session.status_line")
protocol = importlib.import_module(f"{MODULE}.protocol")
Progress = importlib.import_module(f"{MODULE}.backend.installation").Progress
Phase, Session, Job = session.Phase, session.Session, session.Job

PROBLEM = protocol.MakeRealError(protocol.ErrorCode.INTERNAL, "why")
READING = Job("a", "Scene, frame 1")
UNSENT = Job("a", "Scene, frame 1", collected=True)
SENT = Job("a", "Scene, frame 1", collected=True, sent=True)
CANCELLING = Job("a", "Scene, frame 1", collected=True, sent=True, cancelling=True)


def state(phase: str, job=None, device: str = "cpu", problem=None):
    return Session(Phase(phase), device, job, problem)


GIVEN_UP = [ev.ForgetJob, ev.CloseClient, ev.StopBackend]
LEFT = [ev.CloseClient, ev.StopBackend]
TABLE = [
    # before, event, phase after, job kept, effects
    (state("stopped"), ev.StartClicked(), "starting", False, [ev.FindBackend]),
    (state("ready"), ev.StartClicked(), "ready", False, []),
    (state("stopped"), ev.TranslateClicked("a", ""), "stopped", True, []),
    (state("busy", SENT), ev.TranslateClicked("b", ""), "busy", True, []),
    (state("stopped", READING), ev.Collected("a"), "starting", True, [ev.FindBackend]),
    (state("not_installed", READING), ev.Collected("a"), "starting", True, [ev.FindBackend]),
    (state("starting", READING), ev.Collected("a"), "starting", True, []),
    (state("loading", READING), ev.Collected("a"), "busy", True, [ev.Submit]),
    (state("ready", READING), ev.Collected("a"), "busy", True, [ev.Submit]),
    (state("lost", READING), ev.Collected("a"), "lost", True, []),
    (state("ready", READING), ev.Collected("other"), "ready", True, []),
    (state("starting", READING), ev.Welcomed("cpu"), "ready", True, []),
    (state("stopped", READING), ev.JobEnded("a", PROBLEM), "stopped", False, [ev.ForgetJob]),
    (state("stopped", READING), ev.CancelClicked(), "stopped", False, [ev.ForgetJob]),
    (state("starting", UNSENT), ev.BackendMissing(PROBLEM), "not_installed", False, [ev.ForgetJob]),
    (state("starting", UNSENT), ev.BackendFailed(PROBLEM), "stopped", False, GIVEN_UP),
    (state("starting", UNSENT), ev.BackendGone(PROBLEM), "stopped", False, GIVEN_UP),
    (state("busy", SENT), ev.BackendGone(PROBLEM), "starting", True, [ev.FindBackend]),
    (state("lost", SENT), ev.BackendGone(PROBLEM), "starting", True, [ev.FindBackend]),
    (state("ready"), ev.BackendGone(PROBLEM), "stopped", False, [ev.CloseClient, ev.StopBackend]),
    (state("stopped"), ev.BackendGone(PROBLEM), "stopped", False, []),
    (state("starting", UNSENT), ev.ConnectionSeen(), "starting", True, [ev.OpenClient]),
    (state("busy", SENT), ev.ConnectionSeen(), "busy", True, []),
    (state("starting"), ev.Welcomed("cpu"), "ready", False, []),
    (state("starting"), ev.Welcomed(""), "loading", False, []),
    (state("starting", UNSENT), ev.Welcomed(""), "busy", True, [ev.Submit]),
    (state("starting", SENT), ev.Welcomed("cpu"), "busy", True, []),
    (state("lost", SENT), ev.Welcomed("cpu"), "busy", True, []),
    (state("lost", UNSENT), ev.Welcomed("cpu"), "busy", True, [ev.Submit]),
    (state("stopped"), ev.Welcomed("cpu"), "stopped", False, []),
    (state("busy", SENT), ev.ConnectionLost(), "lost", True, []),
    (state("starting"), ev.ConnectionLost(), "starting", False, []),
    (state("busy", CANCELLING), ev.ConnectionLost(), "lost", False, [ev.ForgetJob]),
    (state("busy", CANCELLING), ev.BackendGone(PROBLEM), "stopped", False, GIVEN_UP),
    (state("busy", SENT), ev.CancelClicked(), "busy", True, [ev.CancelJob]),
    (state("starting", UNSENT), ev.CancelClicked(), "starting", False, [ev.ForgetJob]),
    (state("lost", SENT), ev.CancelClicked(), "lost", False, [ev.CancelJob, ev.ForgetJob]),
    (state("ready"), ev.CancelClicked(), "ready", False, []),
    (state("busy", SENT), ev.JobEnded("a", None), "ready", False, [ev.ForgetJob]),
    (state("busy", SENT), ev.JobEnded("other", PROBLEM), "busy", True, []),
    (state("busy", SENT, device=""), ev.JobEnded("a", PROBLEM), "loading", False, [ev.ForgetJob]),
    (state("busy", SENT), ev.JobFinished("a"), "busy", True, [ev.StoreResult]),
    (state("busy", SENT), ev.StoringHeld("a", "Move"), "busy", True, []),
    (state("busy", SENT), ev.ResultStored("a"), "ready", False, [ev.Acknowledge, ev.ForgetJob]),
    (state("lost", SENT), ev.ResultStored("a"), "lost", False, [ev.Acknowledge, ev.ForgetJob]),
    (state("busy", SENT), ev.StopClicked(), "stopped", False, [ev.ForgetJob, ev.CloseClient, ev.StopBackend]),
    (state("ready"), ev.AnotherChosen(), "stopped", False, LEFT),
    (state("lost", SENT), ev.AnotherChosen(), "starting", True, [*LEFT, ev.FindBackend]),
    (state("lost", READING), ev.AnotherChosen(), "stopped", True, LEFT),
    (state("ready"), ev.Failed(PROBLEM), "ready", False, []),
    (state("stopped"), ev.BackendLooked(False), "not_installed", False, []),
    (state("not_installed"), ev.BackendLooked(True), "stopped", False, []),
    (state("busy", SENT), ev.BackendLooked(False), "busy", True, []),
    (state("ready"), ev.WorkerRests(True), "ready", False, []),
]


@pytest.mark.parametrize(("before", "event", "phase", "keeps_job", "effects"), TABLE)
def test_table(before, event, phase, keeps_job, effects) -> None:
    after, done = session.advance(before, event)
    assert after.phase == phase
    assert (after.job is not None) == keeps_job
    assert [type(effect) for effect in done] == effects


def test_a_backend_that_dies_twice_is_given_up() -> None:
    once, _ = session.advance(state("busy", SENT), ev.BackendGone(PROBLEM))
    assert once.job.restarts == 1
    again, _ = session.advance(once, ev.Welcomed("cpu"))
    twice, effects = session.advance(again, ev.BackendGone(PROBLEM))
    assert (twice.phase, twice.job, twice.problem.code) == ("stopped", None, "backend_lost")
    assert effects == (ev.ForgetJob("a"), ev.CloseClient(), ev.StopBackend())


def test_problem_stays_until_the_next_click() -> None:
    failed, _ = session.advance(state("ready"), ev.Failed(PROBLEM))
    assert failed.problem is PROBLEM
    rendered, _ = session.advance(failed, ev.Rendered())
    assert rendered == failed
    clicked, _ = session.advance(failed, ev.TranslateClicked("b", ""))
    assert clicked.problem is None


def test_a_problem_outlives_the_backend_that_had_it() -> None:
    failed, _ = session.advance(state("ready"), ev.Failed(PROBLEM))
    left, _ = session.advance(failed, ev.AnotherChosen())
    assert (left.phase, left.problem) == ("stopped", PROBLEM)


def test_a_job_belongs_to_the_backend_that_it_was_sent_to() -> None:
    storing = replace(SENT, stage="storing")
    bound = [state("busy", SENT), state("lost", storing), state("loading", SENT)]
    free = [state("ready"), state("lost", SENT), state("starting", UNSENT), state("stopped", READING)]
    assert [session.is_bound(each) for each in (*bound, *free)] == [True] * 3 + [False] * 4


def test_a_missing_render_is_no_problem_after_the_next_one() -> None:
    missing = protocol.MakeRealError(protocol.ErrorCode.NO_RENDER)
    failed, _ = session.advance(state("ready"), ev.Failed(missing))
    assert session.advance(failed, ev.Rendered()) == (state("ready"), ())


def some_event(chooser: random.Random):
    job_id = chooser.choice("abc")
    return chooser.choice(
        [
            ev.StartClicked(),
            ev.StopClicked(),
            ev.AnotherChosen(),
            ev.TranslateClicked(job_id, "label"),
            ev.Collected(job_id),
            ev.CancelClicked(),
            ev.BackendMissing(PROBLEM),
            ev.BackendFailed(PROBLEM),
            ev.BackendGone(PROBLEM),
            ev.ConnectionSeen(),
            ev.Welcomed(chooser.choice(["", "cpu"])),
            ev.ConnectionLost(),
            ev.JobQueued(job_id, 2),
            ev.JobProgressed(job_id, "denoising", 3, 9, 0.4),
            ev.JobFinished(job_id),
            ev.StoringHeld(job_id, chooser.choice(["", "Move"])),
            ev.ResultStored(job_id),
            ev.JobEnded(job_id, None),
            ev.Failed(PROBLEM),
            ev.Rendered(),
            ev.BackendLooked(chooser.random() < 0.5),
            ev.WorkerRests(chooser.random() < 0.5),
        ]
    )


@pytest.mark.parametrize("seed", range(40))
def test_any_sequence_keeps_the_promises(seed: int) -> None:
    chooser = random.Random(seed)
    now, held = Session(), set()
    for _ in range(400):
        event = some_event(chooser)
        if isinstance(event, ev.TranslateClicked):
            if event.job_id in held or not session.can_translate(now):
                continue
            held.add(event.job_id)
        now, effects = session.advance(now, event)
        for effect in effects:
            if isinstance(effect, ev.Submit | ev.StoreResult):
                assert effect.job_id in held, "pixels that are needed were given up"
            if isinstance(effect, ev.ForgetJob):
                held.discard(effect.job_id)
        assert held == ({now.job.job_id} if now.job else set()), "pixels are kept for nothing"
        assert (now.phase == "busy") <= (now.job is not None)
        if now.phase in ("stopped", "not_installed"):
            assert now.job is None or not now.job.collected
        line = status.status_line(now)
        assert line.text
        assert (line.fraction is None) == (now.job is None)


def test_every_problem_has_words_and_a_button_that_exists() -> None:
    import bpy

    for code in protocol.ErrorCode:
        line = status.status_line(state("ready", problem=protocol.MakeRealError(code, "the detail")))
        sentence, detail, remedy = line.problem
        assert sentence == protocol.EXPLANATIONS[code].sentence
        assert detail == "the detail"
        assert remedy
        for operator in filter(None, (line.button, line.fix)):
            category, name = operator.split(".")
            assert name in dir(getattr(bpy.ops, category))


def test_every_phase_has_a_line_and_one_button() -> None:
    assert status.BUTTONS.keys() == set(Phase)
    lines = {phase: status.status_line(state(phase)).text for phase in Phase if phase is not Phase.BUSY}
    assert len(set(lines.values())) == len(lines)
    installing = status.status_line(state("stopped"), Progress("Installing PyTorch", 4, 7))
    assert installing.text == "Installing PyTorch (4/7)"
    assert installing.button == "make_real.cancel_installation"
    assert 0 < installing.fraction < 1


def test_memory_that_was_released_is_told_until_the_next_picture() -> None:
    rests, _ = session.advance(state("ready"), ev.WorkerRests(True))
    assert status.status_line(rests).text == "Ready on cpu; its memory is free"
    works, _ = session.advance(rests, ev.TranslateClicked("a", ""))
    assert not works.is_resting


def test_why_the_backend_is_lost_is_told_until_it_is_back() -> None:
    lost, _ = session.advance(state("ready"), ev.ConnectionLost("nothing listens"))
    assert status.status_line(lost).text == "Lost (nothing listens); trying again"
    back, _ = session.advance(lost, ev.Welcomed("cpu"))
    assert back.why_lost == ""


@pytest.mark.parametrize(
    ("before", "text", "button"),
    [
        (state("not_installed"), "No connection file was chosen", "make_real.choose_connection"),
        (state("stopped"), "Not connected; the first picture connects", "make_real.start_backend"),
        (state("starting"), "Connecting to the backend", "make_real.stop_backend"),
        (state("starting", UNSENT), "Connecting to the backend", "make_real.cancel"),
    ],
)
def test_status_line_of_a_backend_on_another_machine(before, text, button) -> None:
    line = status.status_line(before, is_remote=True)
    assert (line.text, line.button) == (text, button)


@pytest.mark.parametrize(
    ("before", "text"),
    [
        (state("starting", UNSENT), "Starting the backend"),
        (state("starting", replace(SENT, restarts=1)), "Starting the backend again"),
        (state("stopped", READING), "Reading the render"),
        (state("busy", replace(SENT, stage="denoising", step=0, steps=15)), "Denoising, step 1 of 15"),
        (state("busy", replace(SENT, stage="denoising", step=15, steps=15)), "Denoising, step 15 of 15"),
        (
            session.advance(state("busy", replace(SENT, step=5, steps=5)), ev.JobFinished("a"))[0],
            "Storing the picture",
        ),
        (
            session.advance(state("busy", replace(SENT, stage="storing")), ev.StoringHeld("a", "Move"))[0],
            "Finished; waiting for Move to end",
        ),
        (state("busy", replace(SENT, position=2)), "Waiting for 2 other pictures"),
        (state("busy", Job("a", "", cancelling=True)), "Cancelling"),
        (state("ready"), "Ready on cpu"),
    ],
)
def test_status_line(before, text) -> None:
    assert status.status_line(before).text == text
