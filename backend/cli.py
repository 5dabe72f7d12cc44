# SPDX-License-Identifier: GPL-3.0-or-later
"""Entry point of the program `make-real`: whatever goes wrong ends in one line and an exit status.

Exit status: 0 done, 1 `doctor` found a problem, 2 wrong usage, 65 bad input, 70 a mistake of the backend or
its installation, 75 try again later, 130 interrupted.
"""

from __future__ import annotations

import sys


def main() -> None:
    """Run the command line."""
    try:
        # Here, so that a package that is missing is told like any other error.
        from backend.commands import run
    except ImportError as error:
        print(
            f"make-real: error: The backend's installation is incomplete ({error}). Install it again with"
            " `pip install --force-reinstall make-real`. [installation_broken]",
            file=sys.stderr,
        )
        sys.exit(70)
    sys.exit(run())


if __name__ == "__main__":
    main()
