# SPDX-License-Identifier: GPL-3.0-or-later
"""`make-real` with the worker of `fake_worker`; everything else is the real program."""

from __future__ import annotations

import functools
import sys

from backend import cli
from backend.service import serve

FAKE_WORKER = (sys.executable, "-P", "-m", "tests.backend.fake_worker")

if __name__ == "__main__":
    serve.serve = functools.partial(serve.serve, worker_command=FAKE_WORKER)
    cli.main()
