# SPDX-License-Identifier: GPL-3.0-or-later
"""Keeps the session: turns what the client and the process do into events, and carries the effects out.

Nothing here waits, and nothing here knows Blender.
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable
from functools import partial
from pathlib import Path

from .. import pace
from ..backend import remote
from ..backend.process import BackendProcess, Launch, find_program
from ..protocol import (
    Client,
    Connection,
    ErrorCode,
    Finished,
    MakeRealError,
    Pong,
    WorkerState,
    read_connection,
    read_remote_connection,
)
from . import events as ev
from .meaning import event_of
from .state import Phase, Session, advance, can_translate, is_bound
from .work import Collecting, Ticket, Work

CLIENT_NAME = "make_real extension"
LABEL_CHARACTERS = 255
"""What the backend's journal keeps of a label."""
LOOK_INTERVAL_S = 0.25
"""Seconds between two looks at the connection file."""
START_TIMEOUT_S = 120.0
"""Seconds from a click to a backend that answers; reading its libraries from a slow disk takes one minute."""
OTHER_BACKEND_INTERVAL_S = 1.0
OTHER_BACKEND_PATIENCE_S = 30.0
"""Seconds that another backend is given to become reachable, or to go."""


def _connection(kept: Path | None) -> Connection | None:
    """Of the backend elsewhere whose file is kept, else of the one on this machine.

    Raises:
        MakeRealError: CONNECTION_FILE_REFUSED.
    """
    return read_connection() if kept is None else read_remote_connection(kept)


def _elsewhere(kept: Path | None) -> tuple[Path | None, Connection | None]:
    """What tells one choice of a backend from another: this machine's is the same after each of its starts.

    Raises:
        MakeRealError: CONNECTION_FILE_REFUSED.
    """
    return kept, kept and _connection(kept)


class Conductor:
    """One session with the backend.

    Args:
        launch: Tells how the backend shall be started.
        on_change: Called after each change of the session.
    """

    def __init__(self, launch: Callable[[], Launch], on_change: Callable[[], None]) -> None:
        self.session = Session()
        self._launch = launch
        self._on_change = on_change
        self._client: Client | None = None
        self._process: BackendProcess | None = None
        self._ending: list[BackendProcess] = []
        self._work = Work()
        self._next_look = 0.0
        self._patience_ends = 0.0
        self._start_ends = 0.0
        self._heard_pong: Pong | None = None
        self._remote: Path | None = None
        """Connection file of the backend elsewhere that is used, or shall be; None: the one on this machine."""
        self._served_by: tuple[Path | None, Connection | None] = (None, None)
        self._is_choice_new = False

    @property
    def models(self) -> tuple[str, ...]:
        """Models that the backend has, as far as it was asked."""
        welcome = self._client.welcome if self._client else None
        return welcome.models if welcome else ()

    @property
    def devices(self) -> tuple[str, ...]:
        """Devices that the backend could compute on, as far as it told."""
        pong = self._client.pong if self._client else None
        return pong.devices if pong else ()

    @property
    def server(self) -> str:
        """Name and version of the backend, empty while there is none."""
        welcome = self._client.welcome if self._client else None
        return welcome.server if welcome else ""

    @property
    def can_release(self) -> bool:
        """Whether the backend holds memory that it does not need just now."""
        return self.session.phase is Phase.READY and not self.session.is_resting

    def release(self) -> None:
        """Let the backend give the device's memory to others, unless it works."""
        if self.can_release and self._client:
            self._client.release()

    def look(self) -> None:
        """See whether there is a backend to start, or to connect to elsewhere; leave one that is no longer chosen.

        A job stays where it was sent (`state.is_bound`): with one, this is done at its end.
        """
        self._is_choice_new = True
        self._follow_choice()

    @property
    def is_idle(self) -> bool:
        """Whether nothing is under way."""
        return self.session.job is None and self.session.phase not in (Phase.STARTING, Phase.LOST)

    @property
    def is_working(self) -> bool:
        """Whether the next tick has work waiting, and not only messages to listen for."""
        return self._work.is_waiting and not self._work.is_held

    def translate(self, collecting: Collecting, label: str) -> None:
        """Take a picture; ignored while there is another one (`state.can_translate`).

        Args:
            label: What the artist calls it.
        """
        if can_translate(self.session):
            job_id = uuid.uuid4().hex
            self._work.collect(job_id, collecting)
            self.dispatch(ev.TranslateClicked(job_id, label[:LABEL_CHARACTERS]))

    def dispatch(self, event: ev.Event) -> None:
        """Advance the session and carry out what follows."""
        before = self.session
        self.session, effects = advance(before, event)
        for effect in effects:
            self._carry_out(effect)
        if self.session != before:
            self._on_change()

    def tick(self, budget_s: float) -> None:
        """Do a little of whatever is to be done, for about `budget_s` seconds."""
        end = time.perf_counter() + budget_s
        self._watch_process()
        self._look_for_connection()
        if self._client:
            self._hear(self._client, budget_s / (4 if self.is_working else 2))
        self._follow_choice()
        while self._work.is_waiting:
            event = self._work.step()
            if event:
                self.dispatch(event)
            # A slice that has begun cannot be stopped.
            if self._work.is_held or not pace.has_room(end):
                return

    def quit(self) -> None:
        """Blender or the extension ends: close the sockets and the backend."""
        self._work.give_up()
        self._close_client()
        for process in [*self._ending, self._process]:
            if process:
                process.quit()
        self._process = None
        self._ending = []

    # What happens

    def _watch_process(self) -> None:
        self._ending = [process for process in self._ending if process.ended() is None]
        if self._process is None:
            return
        ending = self._process.ended()
        if ending is None:
            return
        self._process = None
        # Another backend may be serving: then this one's end changes nothing.
        if self._live_connection() is not None:
            return
        if ending.found_another and time.monotonic() < self._patience_ends:
            # It is just starting, or just stopping.
            self._next_look = time.monotonic() + OTHER_BACKEND_INTERVAL_S
        else:
            self.dispatch(ev.BackendGone(ending.problem))

    def _look_for_connection(self) -> None:
        if self.session.phase not in (Phase.STARTING, Phase.LOST) or time.monotonic() < self._next_look:
            return
        if self.session.phase is Phase.STARTING and time.monotonic() > self._start_ends:
            where = remote.address(self._remote) if self._remote else "this machine"
            waited = f"{where}, {START_TIMEOUT_S:.0f} s"
            self.dispatch(ev.BackendFailed(MakeRealError(ErrorCode.BACKEND_START_TIMEOUT, waited)))
            return
        self._next_look = time.monotonic() + LOOK_INTERVAL_S
        if self._live_connection() is not None:
            # A client that lost its backend finds the next one by itself.
            if self._client is None:
                self.dispatch(ev.ConnectionSeen())
        elif self._process is None:
            if self.session.phase is Phase.LOST:
                self.dispatch(ev.BackendGone(MakeRealError(ErrorCode.BACKEND_LOST, "its process has ended")))
            else:
                self._start_process()

    def _follow_choice(self) -> None:
        if not self._is_choice_new or is_bound(self.session):
            return
        self._is_choice_new = False
        launch = self._launch()
        self._remote = launch.remote
        try:
            if self._client and self._served_by != _elsewhere(launch.remote):
                self.dispatch(ev.AnotherChosen())
        except MakeRealError as problem:
            self.dispatch(ev.BackendFailed(problem))
        try:
            if launch.remote is None:
                find_program(launch.program, launch.home)
            is_there = launch.remote is None or launch.remote.exists()
        except MakeRealError:
            is_there = False
        self.dispatch(ev.BackendLooked(is_there))

    def _live_connection(self) -> Connection | None:
        try:
            return _connection(self._remote)
        except MakeRealError as problem:
            self.dispatch(ev.BackendFailed(problem))
            return None

    def _hear(self, client: Client, budget_s: float) -> None:
        for message in client.poll(budget_s):
            if client is not self._client:
                return
            if isinstance(message, Finished) and self._is_current(message.job_id):
                self._work.finished = message
            event = event_of(message)
            if event is not None:
                self.dispatch(event)
        if client.pong is not self._heard_pong:
            self._heard_pong = client.pong
            self._hear_pong(client.pong)

    def _hear_pong(self, pong: Pong) -> None:
        if pong.error is not None and self.session.job is None:
            # With a job, the job's own end tells.
            self.dispatch(ev.BackendFailed(MakeRealError(pong.error, pong.detail)))
        elif self.session.phase is Phase.LOADING and pong.device:
            self.dispatch(ev.Welcomed(pong.device))
        else:
            self.dispatch(ev.WorkerRests(pong.worker is WorkerState.STOPPED))

    def _is_current(self, job_id: str) -> bool:
        return self.session.job is not None and self.session.job.job_id == job_id

    # What is done

    def _carry_out(self, effect: ev.Effect) -> None:
        match effect:
            case ev.FindBackend():
                if self._client is None:
                    self._remote = self._launch().remote
                self._next_look = 0.0
                self._patience_ends = time.monotonic() + OTHER_BACKEND_PATIENCE_S
                self._start_ends = time.monotonic() + START_TIMEOUT_S
                self._look_for_connection()
            case ev.OpenClient():
                self._open_client()
            case ev.CloseClient():
                self._close_client()
            case ev.StopBackend():
                if self._process:
                    self._process.stop()
                    self._ending.append(self._process)
                    self._process = None
            case ev.Submit(job_id):
                self._submit(job_id, self._work.ticket)
            case ev.CancelJob(job_id):
                self._client.cancel(job_id)
            case ev.StoreResult():
                self._work.store()
            case ev.Acknowledge(job_id):
                if self._client:
                    self._client.acknowledge(job_id)
            case ev.ForgetJob(job_id):
                self._work.give_up()
                if self._client:
                    self._client.let_go(job_id)

    def _start_process(self) -> None:
        if self._remote is not None:
            problem = MakeRealError(
                ErrorCode.BACKEND_NOT_FOUND, "no connection file was chosen for Another Machine"
            )
            self.dispatch(ev.BackendMissing(problem))
            return
        try:
            self._process = BackendProcess(self._launch())
        except MakeRealError as problem:
            missing = problem.code is ErrorCode.BACKEND_NOT_FOUND
            self.dispatch(ev.BackendMissing(problem) if missing else ev.BackendFailed(problem))

    def _open_client(self) -> None:
        connection, kept = self._live_connection(), self._remote
        if connection is not None:
            self._client = Client(connection, CLIENT_NAME, find=partial(_connection, kept))
            self._served_by = (kept, kept and connection)
            self._heard_pong = None

    def _close_client(self) -> None:
        if self._client:
            self._client.close()
        self._client = None

    def _submit(self, job_id: str, ticket: Ticket) -> None:
        try:
            self._client.submit(ticket.request, ticket.planes, job_id=job_id, label=self.session.job.label)
        except MakeRealError as problem:
            self.dispatch(ev.JobEnded(job_id, problem))
