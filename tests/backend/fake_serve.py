# SPDX-License-Identifier: GPL-3.0-or-later
"""`make-real` with the worker of `fake_worker` and less patience; everything else is the real program."""

from __future__ import annotations

import functools
import os
import sys

from backend import cli
from backend.service import serve, worker_keeper

FAKE_WORKER = (sys.executable, "-P", "-m", "tests.backend.fake_worker")
# Shorter than the real one, for the patience of whoever waits for the tests.
CANCEL_GRACE_S = 3.0

if __name__ == "__main__":
    worker_keeper.CANCEL_GRACE_S = CANCEL_GRACE_S
    if "FAKE_HANG_S" in os.environ:
        worker_keeper.HANG_S = dict.fromkeys(worker_keeper.HANG_S, float(os.environ["FAKE_HANG_S"]))
    serve.serve = functools.partial(serve.serve, worker_command=FAKE_WORKER)
    cli.main()
