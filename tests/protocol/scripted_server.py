# SPDX-License-Identifier: GPL-3.0-or-later
"""A supervisor for the client's tests: real sockets, no journal, no queue, does what the test says.

It runs in the test's own thread: `pump` takes what came in and answers, `run` pumps it and a client in turns.
"""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import zmq

from protocol import (
    Cancel,
    Client,
    Credit,
    Error,
    Event,
    Hello,
    JobState,
    Limits,
    MakeRealError,
    Message,
    Ping,
    PlaneIntake,
    PlaneName,
    Planes,
    Pong,
    Query,
    Result,
    Status,
    Submit,
    Welcome,
    WorkerState,
    check_planes,
    listen,
    receive,
)
from protocol.framing import decode, encode
from protocol.planes import describe, raw_bytes

PlaneMap = dict[PlaneName, np.ndarray[Any, Any]]


class ScriptedServer:
    """One start of a supervisor that remembers what it heard.

    Args:
        epoch: Told in `Welcome`.
        limits: Told in `Welcome`.
        silent_to: Messages that it leaves unanswered.
    """

    def __init__(
        self, epoch: str = "first", limits: Limits | None = None, silent_to: tuple[type[Message], ...] = ()
    ) -> None:
        self.context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        self.listener = listen(self.context, epoch)
        self.connection = self.listener.connection
        self.epoch = epoch
        self.limits = limits or Limits()
        self.silent_to = silent_to
        self.heard: list[Message] = []
        self.received: dict[str, PlaneMap] = {}
        self.states: dict[str, JobState] = {}
        self.results: dict[str, PlaneMap] = {}
        self._intakes: dict[str, PlaneIntake] = {}
        self._client = b""

    def close(self) -> None:
        self.listener.close()
        self.context.destroy(linger=0)

    def pump(self) -> None:
        """Answer everything that waits."""
        self.listener.gate.handle()
        while (parts := receive(self.listener.router)) is not None:
            self._client = bytes(parts[0])
            try:
                message, buffers = decode(parts[1:], self.limits)
                self.heard.append(message)
                if not isinstance(message, self.silent_to):
                    self._answer(message, buffers)
            except MakeRealError as error:
                self.send(Error.of(error))

    def send(self, message: Message, buffers: list[memoryview] | None = None) -> None:
        """Send to the client that spoke last."""
        self.listener.router.send_multipart([self._client, *encode(message, buffers or [])])

    def send_raw(self, parts: list[bytes]) -> None:
        self.listener.router.send_multipart([self._client, *parts])

    def finish(self, job_id: str, planes: PlaneMap, *, damaged: bool = False) -> None:
        """Send a result, and again when asked; a damaged one has a wrong digest."""
        self.states[job_id] = JobState.DONE
        self.results[job_id] = planes
        specs = tuple(describe(name, array) for name, array in planes.items())
        if damaged:
            specs = tuple(dataclasses.replace(spec, digest=bytes(16)) for spec in specs)
        result = Result(job_id, specs, {"made_by": "script"}, {"ssim_garment": 1.0}, {"denoising": 0.5})
        self.send(result, [raw_bytes(name, array) for name, array in planes.items()])

    def heard_of(self, kind: type[Message]) -> list[Any]:
        return [message for message in self.heard if isinstance(message, kind)]

    def _answer(self, message: Message, buffers: list[memoryview]) -> None:
        match message:
            case Hello():
                self.send(Welcome(1, self.epoch, "script", "cpu", ("starter",), self.limits))
            case Ping():
                self.send(Pong(self.epoch, WorkerState.IDLE, "cpu"))
            case Submit():
                check_planes(message.planes, self.limits)
                self._intakes[message.job_id] = PlaneIntake(message.planes)
                self.states[message.job_id] = JobState.ACCEPTED
                self.send(Credit(message.job_id))
            case Planes():
                self._take(message, buffers[0])
            case Query() if message.job_id in self.results:
                self.finish(message.job_id, self.results[message.job_id])
            case Query():
                self.send(Status(message.job_id, self.states.get(message.job_id, JobState.UNKNOWN)))
            case Cancel():
                known = message.job_id in self.states
                self.send(Status(message.job_id, JobState.CANCELLED if known else JobState.UNKNOWN))
            case _:
                pass

    def _take(self, chunk: Planes, buffer: memoryview) -> None:
        intake = self._intakes[chunk.job_id]
        if intake.add(chunk, buffer):
            self.received[chunk.job_id] = intake.planes()
            self.states[chunk.job_id] = JobState.QUEUED
            self.send(Status(chunk.job_id, JobState.QUEUED))


def run(
    client: Client,
    *servers: ScriptedServer,
    until: Callable[[list[Event]], bool],
    seconds: float = 30.0,
    tick: float = 0.002,
) -> list[Event]:
    """Pump client and servers in turns until the events so far satisfy `until`; fails after `seconds`."""
    events: list[Event] = []
    end = time.monotonic() + seconds
    while not until(events):
        assert time.monotonic() < end, f"not reached in {seconds} s; events: {events}; state: {client.state}"
        events += client.poll()
        for server in servers:
            server.pump()
        time.sleep(tick)
    return events


def has(kind: type[Event]) -> Callable[[list[Event]], bool]:
    """Condition for `run`: an event of this kind came."""
    return lambda events: any(isinstance(event, kind) for event in events)
