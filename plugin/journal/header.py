"""What a journal's header says of the process that writes it, so that the agent can find it."""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path
from typing import Any

from mlflow_weir import settings
from mlflow_weir.errors import ConfigError
from mlflow_weir.plugin.journal.spool import FORMAT, Target

_MAX_NODE = 255


def header_of_this_process(
    journal_id: str, target: Target, node: str, program: str = ""
) -> dict[str, Any]:
    """Return the header of a journal that this process begins.

    Args:
        journal_id: 32 hex digits.
        target: As it is: without secrets.
        node: Label of this machine among several; its host name when "".
        program: Who writes it; the script when "".
    """
    host = os.uname().nodename
    return {
        "format": FORMAT,
        "journal_id": journal_id,
        "target": target._asdict(),
        "created_ms": time.time_ns() // 1_000_000,
        "host": host,
        "node": node.strip()[:_MAX_NODE] or host,
        "boot_id": _read_kernel("/proc/sys/kernel/random/boot_id").strip(),
        "pid": os.getpid(),
        "pid_start_ticks": start_ticks(os.getpid()),
        "program": program or _script(),
        "may_stop": _may_stop(),
    }


def _may_stop() -> bool:
    try:
        return settings.STOP.get()
    except ConfigError:  # whoever sets it means to forbid it
        return False


def _script() -> str:
    return os.path.basename(sys.argv[0]) if getattr(sys, "argv", None) else ""


def start_ticks(pid: int) -> int:
    """Return when a process started, in clock ticks since boot; 0 if it is gone or unknown."""
    # The second field is the program's name, which may hold spaces and parentheses.
    fields = _read_kernel(f"/proc/{pid}/stat").rpartition(")")[2].split()
    return int(fields[19]) if len(fields) > 19 else 0


def _read_kernel(path: str) -> str:
    try:
        return Path(path).read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
