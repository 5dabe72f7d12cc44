# SPDX-License-Identifier: GPL-3.0-or-later
"""Everything that support asks for, as text: no key, and the home folder, which tells a name, as `~`."""

from __future__ import annotations

import platform
from pathlib import Path

import bpy

from ..session.state import Session

LOG_LINES = 40


def text(session: Session, facts: dict[str, str], logs: tuple[Path, ...]) -> str:
    """The report.

    Args:
        session: How things stand.
        facts: More lines, label to value.
        logs: Files whose last lines are added.
    """
    problem = session.problem
    lines = {
        "Blender": f"{bpy.app.version_string} ({bpy.app.build_platform.decode('ascii', 'replace')})",
        "Python": platform.python_version(),
        "System": platform.platform(),
        "State": session.phase.value,
        "Device": session.device or "unknown",
        "Job": f"{session.job.stage or 'sending'} {session.job.fraction:.0%}" if session.job else "none",
        "Problem": f"{problem.code}: {problem.detail}" if problem else "none",
        **facts,
    }
    parts = ["\n".join(f"{label}: {value}" for label, value in lines.items())]
    for log in logs:
        parts.append(f"--- last lines of {log.name} ---\n{_tail(log)}")
    # No key is ever logged; the home folder's path tells the artist's name.
    return ("\n\n".join(parts) + "\n").replace(str(Path.home()), "~")


def _tail(log: Path) -> str:
    try:
        lines = log.read_bytes()[-64 * 1024 :].decode("utf-8", "replace").splitlines()
    except OSError:
        return "(none)"
    return "\n".join(lines[-LOG_LINES:])
