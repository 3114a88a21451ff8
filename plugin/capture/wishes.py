"""What a training wants to know of the machine, told to the agent by a file beside its journal.

    JOURNAL/hardware/RUN.json     while the run is open: how often, which devices, which names
    JOURNAL/hardware/RUN.begun    what the counters were when it began, for the next agent

The training writes the first and removes it when the run ends; what else there is goes with the
journal. Nothing here imports MLflow.
"""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from mlflow_weir.errors import JournalError
from mlflow_weir.plugin.journal.spool import read_object, write_private

FOLDER = "hardware"
SHORTEST_S = 0.5
_RUN_ID = re.compile(r"[0-9A-Za-z_-]{1,64}")
_LONGEST_S = 86_400.0


@dataclass(frozen=True)
class Wish:
    """One run of one process.

    Attributes:
        interval_s: Seconds between two samples.
        all_gpus: Also those that the training may not see.
        variables: Of the training, those that say which GPUs it may see.
        node: What tells this machine's metrics from those of the job's others; "" for one machine.
        has_monitor: MLflow's own monitor is on, whose metrics are left to it.
        first_step: Of the first sample; after those that the run has already.
        began_ms: When the run began here, wall time.
    """

    run_id: str
    interval_s: float
    all_gpus: bool = False
    variables: Mapping[str, str] = field(default_factory=dict)
    node: str = ""
    has_monitor: bool = False
    first_step: int = 0
    began_ms: int = 0

    @property
    def prefix(self) -> str:
        """What the names of its metrics begin with."""
        return prefix_of(self.node)


def prefix_of(node: str) -> str:
    """Return what metrics of a machine begin with: as MLflow's own monitor has it."""
    return f"system/{node}/" if node else "system/"


def write(journal: Path, wish: Wish) -> None:
    """Tell the agent.

    Raises:
        OSError: The disk does not take it.
    """
    if not _RUN_ID.fullmatch(wish.run_id):
        return
    folder = journal / FOLDER
    folder.mkdir(mode=0o700, exist_ok=True)
    new = folder / f".{wish.run_id}.new"
    write_private(new, asdict(wish))
    os.replace(new, folder / f"{wish.run_id}.json")


def withdraw(journal: Path, run_id: str) -> None:
    """Tell the agent that a run has ended."""
    if _RUN_ID.fullmatch(run_id):
        for name in (f"{run_id}.json", f"{run_id}.begun"):
            with contextlib.suppress(OSError):
                (journal / FOLDER / name).unlink()


def changed_ns(journal: Path) -> int:
    """Return when wishes changed last; 0 where there are none."""
    try:
        return os.stat(journal / FOLDER).st_mtime_ns
    except OSError:
        return 0


def read_all(journal: Path) -> list[Wish]:
    """Return the wishes that make sense."""
    found = []
    try:
        names = os.listdir(journal / FOLDER)
    except OSError:
        return []
    for name in sorted(names):
        if name.endswith(".json") and not name.startswith("."):
            with contextlib.suppress(JournalError, KeyError, TypeError, ValueError):
                record = read_object(journal / FOLDER / name)
                if record is not None:
                    found.append(_wish(record))
    return found


def _wish(record: dict[str, Any]) -> Wish:
    wish = Wish(
        run_id=str(record["run_id"]),
        interval_s=min(max(float(record["interval_s"]), SHORTEST_S), _LONGEST_S),
        all_gpus=record["all_gpus"] is True,
        variables={str(name): str(value) for name, value in record["variables"].items()},
        node=str(record["node"]),
        has_monitor=record["has_monitor"] is True,
        first_step=int(record["first_step"]),
        began_ms=int(record["began_ms"]),
    )
    if not _RUN_ID.fullmatch(wish.run_id):
        raise ValueError(f"run id {wish.run_id!r}")
    return wish


def write_begun(journal: Path, run_id: str, counters: Mapping[str, float]) -> None:
    """Keep what counters were when a run began."""
    with contextlib.suppress(OSError):
        write_private(journal / FOLDER / f"{run_id}.begun", dict(counters))


def read_begun(journal: Path, run_id: str) -> dict[str, float] | None:
    """Return what ``write_begun`` kept; None where nothing is."""
    with contextlib.suppress(JournalError, TypeError, ValueError):
        record = read_object(journal / FOLDER / f"{run_id}.begun")
        if record is not None:
            return {str(name): float(value) for name, value in record.items()}
    return None
