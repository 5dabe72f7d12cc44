# SPDX-License-Identifier: GPL-3.0-or-later
"""Error codes of Make Real: one code, one sentence for the artist, one thing to do next.

A code travels on the wire (`messages.Error`), stands in the extension's panel and in the command line's last
line. `detail` carries what only this occurrence knows (a file, a field, a number), never a traceback.

    MakeRealError
      .code    ErrorCode, closed and stable: never renamed, never reused
      .detail  str, at most 4096 characters
      .job_id  str, the job that it concerns, or empty
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class ErrorCode(StrEnum):
    """Everything that can go wrong, named once. What is said only on one side of the wire may be added freely."""

    # The connection
    UNSUPPORTED_VERSION = "unsupported_version"
    MALFORMED_MESSAGE = "malformed_message"
    UNSUPPORTED_MESSAGE = "unsupported_message"
    LIMIT_EXCEEDED = "limit_exceeded"
    DIGEST_MISMATCH = "digest_mismatch"
    CONNECTION_FILE_REFUSED = "connection_file_refused"
    BACKEND_NOT_FOUND = "backend_not_found"
    BACKEND_START_FAILED = "backend_start_failed"
    BACKEND_LOST = "backend_lost"
    BACKEND_START_TIMEOUT = "backend_start_timeout"
    KEY_REFUSED = "key_refused"
    # The installation of the backend
    INSTALL_FAILED = "install_failed"
    INSTALL_NO_SPACE = "install_no_space"
    INSTALL_ARCHIVE_REFUSED = "install_archive_refused"
    INSTALL_UNSUPPORTED = "install_unsupported"
    ONLINE_ACCESS_OFF = "online_access_off"
    # The job
    INVALID_REQUEST = "invalid_request"
    JOB_CONFLICT = "job_conflict"
    JOB_UNKNOWN = "job_unknown"
    CANCELLED = "cancelled"
    WORKER_CRASHED = "worker_crashed"
    OUT_OF_MEMORY = "out_of_memory"
    DISK_FULL = "disk_full"
    INTERNAL = "internal"
    # What the job needs
    MODEL_NOT_FOUND = "model_not_found"
    MODEL_BROKEN = "model_broken"
    INSTALLATION_BROKEN = "installation_broken"
    PICTURE_UNREADABLE = "picture_unreadable"
    # What the artist gave
    NO_RENDER = "no_render"
    NO_MASK_PASSES = "no_mask_passes"
    EMPTY_MASK = "empty_mask"
    MASK_SIZE = "mask_size"
    UNSUPPORTED_VIEW = "unsupported_view"
    COMPOSITOR_LOCKED = "compositor_locked"


@dataclass(frozen=True)
class Explanation:
    """What an error means to a person.

    Args:
        sentence: What happened, in one sentence, without jargon.
        remedy: What to do next, in one sentence.
    """

    sentence: str
    remedy: str


EXPLANATIONS: dict[ErrorCode, Explanation] = {
    ErrorCode.UNSUPPORTED_VERSION: Explanation(
        "The extension and the backend speak different versions of the protocol.",
        "Update the older of the two, then click Make Real again.",
    ),
    ErrorCode.MALFORMED_MESSAGE: Explanation(
        "The backend received a message that it could not read.",
        "Update the extension and the backend to the same release; if they are, report this with the detail.",
    ),
    ErrorCode.UNSUPPORTED_MESSAGE: Explanation(
        "The backend does not know this kind of request.",
        "Update the backend to the extension's release.",
    ),
    ErrorCode.LIMIT_EXCEEDED: Explanation(
        "The picture is larger than the backend accepts.",
        "Render at a smaller size, or send fewer passes.",
    ),
    ErrorCode.DIGEST_MISMATCH: Explanation(
        "The picture was damaged on its way.",
        "Click Make Real again; if it happens twice, check the machine's memory.",
    ),
    ErrorCode.CONNECTION_FILE_REFUSED: Explanation(
        "The file that tells where the backend is cannot be trusted.",
        "Delete the file that the detail names, then click Make Real again.",
    ),
    ErrorCode.BACKEND_NOT_FOUND: Explanation(
        "No backend is installed where the extension looks for it.",
        "Click Install Backend, or set the make-real program or another machine's connection file in the preferences.",
    ),
    ErrorCode.BACKEND_START_FAILED: Explanation(
        "The backend was started but stopped before it was ready.",
        "Open the log; it says why. `make-real doctor` in a terminal says how to mend it.",
    ),
    ErrorCode.BACKEND_LOST: Explanation(
        "The connection to the backend was lost.",
        "Click Make Real again: the backend is restarted, and finished pictures are delivered.",
    ),
    ErrorCode.BACKEND_START_TIMEOUT: Explanation(
        "The backend did not answer in time.",
        "Click Start Backend again; if it happens twice, open the log.",
    ),
    ErrorCode.KEY_REFUSED: Explanation(
        "The backend does not accept this connection's key.",
        "Copy the connection file again from the machine where the backend runs.",
    ),
    ErrorCode.INSTALL_FAILED: Explanation(
        "The backend could not be installed completely.",
        "Click Repair Backend; it goes on with the step that failed.",
    ),
    ErrorCode.INSTALL_NO_SPACE: Explanation(
        "There is not enough free space to install the backend.",
        "Free the space that the detail names, or choose another folder in the preferences.",
    ),
    ErrorCode.INSTALL_ARCHIVE_REFUSED: Explanation(
        "The chosen file is no backend archive for this extension and machine.",
        "Choose the archive that was made with this release for this kind of machine.",
    ),
    ErrorCode.INSTALL_UNSUPPORTED: Explanation(
        "There is no backend for this kind of machine.",
        "Choose a backend on another machine in the preferences.",
    ),
    ErrorCode.ONLINE_ACCESS_OFF: Explanation(
        "Blender is set to stay offline, and this archive does not hold everything.",
        "Allow Online Access in Preferences, System, or choose a complete archive.",
    ),
    ErrorCode.INVALID_REQUEST: Explanation(
        "A setting has a value that cannot be used.",
        "Correct the setting that the detail names.",
    ),
    ErrorCode.JOB_CONFLICT: Explanation(
        "Another job with the same id but other content exists.",
        "Click Make Real again; a new id is made.",
    ),
    ErrorCode.JOB_UNKNOWN: Explanation(
        "The backend does not know this job.",
        "Click Make Real again.",
    ),
    ErrorCode.CANCELLED: Explanation(
        "The translation was cancelled.",
        "Click Make Real to start again.",
    ),
    ErrorCode.WORKER_CRASHED: Explanation(
        "The process that computes the picture stopped twice on this picture.",
        "Restart the backend; if it happens again, run `make-real doctor` and report its output.",
    ),
    ErrorCode.OUT_OF_MEMORY: Explanation(
        "The picture does not fit into the device's memory.",
        "Close other programs that use the GPU, or render at a smaller size.",
    ),
    ErrorCode.DISK_FULL: Explanation(
        "The result could not be written to the disk.",
        "Free the space, or the permission, that the detail names, then click Make Real again.",
    ),
    ErrorCode.INTERNAL: Explanation(
        "The backend made a mistake.",
        "Report this with the detail; the backend's log has the rest.",
    ),
    ErrorCode.MODEL_NOT_FOUND: Explanation(
        "The chosen model is not installed.",
        "Choose another model, or add it with `make-real models add FOLDER`.",
    ),
    ErrorCode.MODEL_BROKEN: Explanation(
        "The chosen model's folder is incomplete or unreadable.",
        "Restore the file that the detail names, or choose another model.",
    ),
    ErrorCode.INSTALLATION_BROKEN: Explanation(
        "The backend's installation is incomplete.",
        "Run `make-real doctor` in a terminal; it says what is missing and how to mend it.",
    ),
    ErrorCode.PICTURE_UNREADABLE: Explanation(
        "A picture could not be read.",
        "Give a PNG, JPEG or OpenEXR file; the detail names the one that failed.",
    ),
    ErrorCode.NO_RENDER: Explanation(
        "There is no finished render to translate.",
        "Render the picture (F12), then click Make Real.",
    ),
    ErrorCode.NO_MASK_PASSES: Explanation(
        "The render has no Cryptomatte passes, so the garment cannot be found in it.",
        "Click Enable Passes, render again, then click Make Real.",
    ),
    ErrorCode.EMPTY_MASK: Explanation(
        "The picked garment covers no pixel of the render.",
        "Pick the objects, materials or collections that are visible in the render.",
    ),
    ErrorCode.MASK_SIZE: Explanation(
        "An image that is picked as a mask has another size than the render.",
        "Pick an image of the render's size; the detail has both sizes.",
    ),
    ErrorCode.UNSUPPORTED_VIEW: Explanation(
        "The scene's colour management cannot be undone exactly.",
        "Change the setting that the detail names, then click Make Real again.",
    ),
    ErrorCode.COMPOSITOR_LOCKED: Explanation(
        "The compositor's node group belongs to another file, so no node can be added to it.",
        "Make the node group local (ID menu, Make Local), or use the picture from the Image Editor.",
    ),
}


class MakeRealError(Exception):
    """The one error that crosses a boundary: between processes, and between code and a person.

    Args:
        code: What happened.
        detail: What only this occurrence knows: a file, a field, a number. Cut at 4096 characters.
        job_id: The job that it concerns, or empty.
    """

    def __init__(self, code: ErrorCode, detail: str = "", job_id: str = "") -> None:
        self.code = code
        self.detail = detail[:4096]
        self.job_id = job_id
        super().__init__(self.message)

    @property
    def message(self) -> str:
        """Sentence, detail and remedy as one text for a person."""
        explanation = EXPLANATIONS[self.code]
        detail = f" ({self.detail})" if self.detail else ""
        return f"{explanation.sentence.removesuffix('.')}{detail}. {explanation.remedy}"
