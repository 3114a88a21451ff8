"""What stores refused and processes dropped, kept for a week after the journal is removed.

    SPOOL/agent/refused/JOURNAL_ID.json     0600: when, whose, where to, how many, the last reasons

What a log call accepted and the store refuses (a run that was deleted meanwhile, a param that
another process changed) is known only to the agent: here is where a person finds it.
"""

from __future__ import annotations

import contextlib
import json
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path

from mlflow_weir.errors import JournalError
from mlflow_weir.plugin.journal.spool import Delivered, Header, write_private
from mlflow_weir.plugin.uri import without_secrets

KEPT_S = 7 * 86_400.0
_MAX_BYTES = 1 << 20


@dataclass(frozen=True)
class Refused:
    """What became of a journal that is gone.

    Attributes:
        at_ms: When it was removed, wall time.
        rejected: The last records that were refused, each ``{"what", "reason"}``.
    """

    journal_id: str
    at_ms: int
    program: str
    target: str
    n_rejected: int
    n_dropped: int
    rejected: list[dict[str, str]] = field(default_factory=list)
    n_traces_dropped: int = 0
    n_artifacts_dropped: int = 0


def keep(spool: Path, header: Header, delivered: Delivered) -> None:
    """Write down what a journal about to be removed leaves behind, and forget what is old.

    Raises:
        OSError: The disk does not take it.
    """
    folder = spool / "agent" / "refused"
    folder.mkdir(mode=0o700, exist_ok=True)
    for path in folder.iterdir():
        with contextlib.suppress(OSError):
            if time.time() - path.stat().st_mtime > KEPT_S:
                path.unlink()
    found = Refused(
        header.journal_id,
        time.time_ns() // 1_000_000,
        header.program,
        without_secrets(header.target.uri),
        delivered.n_rejected,
        delivered.n_dropped,
        delivered.rejected,
        delivered.n_traces_dropped,
        delivered.n_artifacts_dropped,
    )
    path = folder / f"{header.journal_id}.json"
    path.unlink(missing_ok=True)
    write_private(path, asdict(found))


def listed(spool: Path) -> list[Refused]:
    """Return what is kept, oldest first; files that make no sense are left out."""
    found = []
    with contextlib.suppress(OSError):
        for path in (spool / "agent" / "refused").iterdir():
            with contextlib.suppress(OSError, ValueError, TypeError, JournalError):
                with path.open("rb") as file:
                    found.append(Refused(**json.loads(file.read(_MAX_BYTES))))
    return sorted(found, key=lambda one: one.at_ms)
