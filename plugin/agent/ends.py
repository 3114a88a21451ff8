"""How a journal's process ended, kept beside the journal until its runs are settled.

The kernel tells once, to whoever watches. The agent writes it down at once (``ended.json``),
because the target may be away and the agent may be replaced before the runs can be settled.
"""

from __future__ import annotations

import json
import os
from pathlib import Path

from mlflow_weir.plugin.agent.exit_states import Evidence
from mlflow_weir.plugin.agent.liveness import Ended
from mlflow_weir.plugin.journal import exit_code
from mlflow_weir.plugin.journal.spool import write_private

_NAME = "ended.json"


def write_evidence(folder: Path, evidence: Evidence) -> None:
    """Write down how the process of a journal ended.

    Raises:
        OSError: The disk does not take it.
    """
    code, signal = evidence.ended or (None, None)
    new = folder / f"{_NAME}.new"
    record = {"code": code, "signal": signal, **evidence._asdict()}
    del record["ended"]
    write_private(new, record)
    os.replace(new, folder / _NAME)


def read_evidence(folder: Path) -> Evidence | None:
    """Return what was written down; None if nothing was, or nothing that makes sense."""
    try:
        found = json.loads((folder / _NAME).read_bytes())
        code, signal = _whole(found["code"]), _whole(found["signal"])
        oom = found["oom"] if isinstance(found["oom"], str) else None
        at_ms, is_restart = _whole(found["at_ms"]), found["is_restart"] is True
    except (OSError, ValueError, KeyError, TypeError):
        return None
    ended = Ended(code, signal) if (code is None) != (signal is None) else None
    return Evidence(ended, oom, is_restart, at_ms)


def noted(folder: Path) -> Ended | None:
    """Return how the process of a journal ended, by its own account; None where it left none."""
    code = exit_code.read(folder)
    return None if code is None else Ended(code, None)


def _whole(value: object) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) else None
