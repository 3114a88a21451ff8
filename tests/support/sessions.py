"""Which processes a command leaves behind, by the sessions its children lead (Linux's /proc)."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path


def sessions_of_children(process: subprocess.Popen[str]) -> set[int]:
    """Return the sessions that the command's own children are in."""
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
    return {os.getsid(int(child)) for child in children}


def members(sessions: set[int]) -> list[int]:
    """Return every process of these sessions that has not ended."""
    found = []
    for entry in Path("/proc").glob("[0-9]*/stat"):
        try:
            state, _, _, session = entry.read_text().rpartition(")")[2].split()[:4]
        except OSError:  # it ended meanwhile
            continue
        if int(session) in sessions and state != "Z":
            found.append(int(entry.parent.name))
    return found
