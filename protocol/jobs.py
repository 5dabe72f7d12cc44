# SPDX-License-Identifier: GPL-3.0-or-later
"""The client's unfinished jobs: what to send for them next, and what the supervisor's answers mean.

hashing -> ready -> submitted -> sending -> waiting -> (result) verified
             ^          |           |          |
             |          +-----------+----------+---- new link ----> asked
             +---- the supervisor does not know it, or lacks its planes ----+
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence

from .curve import LINK_TIMEOUT_MS
from .errors import ErrorCode, MakeRealError
from .events import Event, Finished
from .limits import SLOWEST_BYTES_PER_S, Limits, check_planes
from .messages import Cancel, Credit, Error, JobState, Message, Progress, Query, Result, Status
from .planes import PlaneName
from .transfer import Download, Phase, Upload

QUIET_S = 10.0
"""Silence about a job after which the client asks: the supervisor's unasked messages may be lost. A result that may
be on its way is given its time on top, for the answer would be the same result, behind it.
"""

Send = Callable[[Message, memoryview | None], bool]
"""Hands a message and its buffer on; False if that is not possible now."""
Hold = Callable[[str, Sequence[memoryview]], None]
"""Takes a job's id and what was received for it, as `Received.hold` does."""


class Jobs:
    """Unfinished jobs and requests of one client.

    Args:
        emit: Takes each event for the client's owner.
        hold: Takes the buffers of each result before it is told.
    """

    def __init__(self, emit: Callable[[Event], None], hold: Hold) -> None:
        self.limits = Limits()
        """What the supervisor accepts; the defaults before the handshake."""
        self._emit = emit
        self._hold = hold
        self._uploads: dict[str, Upload] = {}
        self._downloads: dict[str, Download] = {}
        self._damaged: set[str] = set()
        self._finished: set[str] = set()
        self._requests: deque[Message] = deque()

    def add(self, upload: Upload) -> None:
        """Take a new job.

        Raises:
            MakeRealError: JOB_CONFLICT, LIMIT_EXCEEDED, or what `check_planes` says.
        """
        if upload.job_id in self._uploads:
            raise MakeRealError(ErrorCode.JOB_CONFLICT, upload.job_id)
        if len(self._uploads) >= self.limits.max_jobs:
            raise MakeRealError(ErrorCode.LIMIT_EXCEEDED, f"{len(self._uploads)} unfinished jobs")
        check_planes(upload.announcement().planes, self.limits)
        self._uploads[upload.job_id] = upload

    def request(self, message: Message) -> None:
        """Send a message as soon as the link allows, over a reconnect too."""
        self._requests.append(message)

    def query(self, job_id: str) -> None:
        """Ask for the truth about a job, and for its result even if it was delivered before."""
        self._finished.discard(job_id)
        self.request(Query(job_id))

    def cancel(self, job_id: str) -> None:
        """Stop a job: at once if the supervisor does not know it, else by its answer."""
        upload = self._uploads.get(job_id)
        if upload and not upload.is_announced:
            self._end(Status(job_id, JobState.CANCELLED))
            return
        if upload:
            upload.is_cancelled = True
            upload.phase = Phase.ASKED
        self.request(Cancel(job_id))

    def reconnected(self) -> None:
        """A new link stands: ask after every job that the old one knew."""
        for upload in self._uploads.values():
            if upload.is_announced:
                self._ask(upload)

    def ask_after_silence(self) -> None:
        """Ask after every job that nothing was heard of for `QUIET_S` and `patience_s`."""
        long_ago = time.monotonic() - QUIET_S - self.patience_s()
        for upload in self._uploads.values():
            if upload.is_announced and upload.phase is not Phase.SENDING and upload.heard_at < long_ago:
                self._ask(upload)

    def patience_s(self) -> float:
        """Seconds for which the largest result that may be on its way can keep everything else from arriving."""
        sizes = (upload.arrays[PlaneName.IMAGE].nbytes for upload in self._uploads.values() if upload.is_due)
        # What takes longer is never received: the link is dropped under it.
        return min(max(sizes, default=0) / SLOWEST_BYTES_PER_S, LINK_TIMEOUT_MS / 1000)

    def _ask(self, upload: Upload) -> None:
        if upload.job_id in self._downloads:
            return
        upload.phase = Phase.ASKED
        upload.heard_at = time.monotonic()
        self.request(Cancel(upload.job_id) if upload.is_cancelled else Query(upload.job_id))

    # What the supervisor says

    def handle(self, message: Message, buffers: list[memoryview]) -> None:
        """Act on a message about a job.

        Raises:
            MakeRealError: UNSUPPORTED_MESSAGE for one that no supervisor sends.
        """
        upload = self._uploads.get(getattr(message, "job_id", ""))
        # What a result held up, perhaps the next result, is late and not lost.
        for heard in self._uploads.values() if isinstance(message, Result) else filter(None, [upload]):
            heard.heard_at = time.monotonic()
        match message:
            case Credit():
                if upload and upload.phase in (Phase.SUBMITTED, Phase.ASKED) and not upload.is_cancelled:
                    upload.rewind()
            case Status():
                self._take_status(message)
            case Progress():
                self._emit(message)
            case Result() if message.job_id not in self._finished:
                self._downloads.setdefault(message.job_id, Download(message, buffers))
            case Error():
                self._end(message)
            case Result():
                pass  # Sent again before the supervisor knew that it had arrived.
            case _:
                raise MakeRealError(ErrorCode.UNSUPPORTED_MESSAGE, type(message).__name__)

    def _take_status(self, status: Status) -> None:
        upload = self._uploads.get(status.job_id)
        if upload is None or not upload.is_announced:
            self._emit(status)
        elif status.state is JobState.UNKNOWN and upload.is_cancelled:
            self._end(Status(status.job_id, JobState.CANCELLED))
        elif status.state is JobState.UNKNOWN:
            upload.submit_again()
            upload.is_announced = False
        elif status.state in (JobState.DELIVERED, JobState.FAILED, JobState.CANCELLED):
            self._end(status)
        else:
            self._follow(upload, status)

    def _follow(self, upload: Upload, status: Status) -> None:
        """Go along with a job that is alive at the supervisor."""
        self._emit(status)
        if status.state is JobState.ACCEPTED:
            # Its planes got lost with the old link; the repeated Submit brings a new credit.
            if upload.phase is Phase.ASKED and not upload.is_cancelled:
                upload.submit_again()
            return
        if status.state is JobState.DONE and upload.phase is Phase.SUBMITTED:
            self.request(Query(upload.job_id))
        upload.await_result()

    def _end(self, event: Status | Error | Finished) -> None:
        """Forget a job, if the event is about one, and tell."""
        self._uploads.pop(event.job_id, None)
        self._downloads.pop(event.job_id, None)
        self._damaged.discard(event.job_id)
        self._emit(event)

    # Work in slices

    def advance(self, send: Send | None) -> bool:
        """Do one slice of the most urgent work.

        Args:
            send: None while there is no supervisor.

        Returns:
            False if there is nothing that can be done now.
        """
        return self._verify() or (send is not None and self._send(send)) or self._hash()

    def _send(self, send: Send) -> bool:
        if self._requests:
            is_sent = send(self._requests[0], None)
            if is_sent:
                self._requests.popleft()
            return is_sent
        for upload in self._in_phase(Phase.SENDING):
            return self._send_chunk(upload, send)
        for upload in self._in_phase(Phase.READY):
            return self._announce(upload, send)
        return False

    def _in_phase(self, phase: Phase) -> Iterator[Upload]:
        return (upload for upload in self._uploads.values() if upload.phase is phase)

    def _send_chunk(self, upload: Upload, send: Send) -> bool:
        message, buffer = upload.chunk(self.limits.max_chunk_bytes)
        is_sent = send(message, buffer)
        if is_sent:
            upload.chunk_sent(len(buffer))
        return is_sent

    def _announce(self, upload: Upload, send: Send) -> bool:
        announcement = upload.announcement()
        try:
            # The limits were not known when the job was made before the handshake.
            check_planes(announcement.planes, self.limits)
        except MakeRealError as error:
            self._end(Error(error.code, error.detail, upload.job_id))
            return True
        is_sent = send(announcement, None)
        if is_sent:
            upload.phase = Phase.SUBMITTED
            upload.is_announced = True
            upload.heard_at = time.monotonic()
        return is_sent

    def _hash(self) -> bool:
        for upload in self._in_phase(Phase.HASHING):
            upload.advance_hash()
            return True
        return False

    def _verify(self) -> bool:
        for job_id, download in self._downloads.items():
            try:
                if download.advance():
                    self._finished.add(job_id)
                    self._hold(job_id, download.buffers)
                    self._end(Finished(job_id, download.planes(), download.result))
            except MakeRealError as error:
                self._take_damage(error)
            return True
        return False

    def _take_damage(self, error: MakeRealError) -> None:
        """Ask for a damaged result once more, then give up."""
        if error.job_id in self._damaged:
            self._end(Error.of(error))
            return
        del self._downloads[error.job_id]
        self._damaged.add(error.job_id)
        self.request(Query(error.job_id))
