"""What metrics were at a moment: for pages and links that show everything as of then.

A run that had ended by then is shown whole, whatever timestamps its points were given. Of one that
had not, points with a later timestamp are left out. Timestamps are the training's clock, the
moment is the server's: a training whose clock is late may show a little more.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import sqlalchemy as sa
from sqlalchemy.orm import Session

from mlflow_weir.store.delivery import mlflow_tables as tables
from mlflow_weir.store.metrics.curves import CurveReader, everything
from mlflow_weir.store.metrics.rollup_atoms import Atoms

NO_LIMIT = 2**63 - 1
_IN_LIST = 500


def last_ms(session: Session, run_ids: Sequence[str], at_ms: int) -> list[int]:
    """Return the latest timestamp that each run's points may have, in ms, in the runs' order.

    It is ``at_ms`` for a run that had not ended then, or has been resumed since, and ``NO_LIMIT``
    for one that had ended; unknown runs have ``at_ms``.
    """
    columns = tables.runs.c
    ended: set[str] = set()
    for start in range(0, len(run_ids), _IN_LIST):
        ended.update(
            session.execute(
                sa.select(columns.run_uuid).where(
                    columns.run_uuid.in_(run_ids[start : start + _IN_LIST]),
                    columns.end_time <= at_ms,
                    # MLflow leaves the former end where a run is resumed.
                    columns.status.not_in(["RUNNING", "SCHEDULED"]),
                )
            ).scalars()
        )
    return [NO_LIMIT if run_id in ended else at_ms for run_id in run_ids]


class Value(NamedTuple):
    """A metric of a run at a moment.

    Attributes:
        latest: Of the largest step, the latest, as MLflow has it; NaN, or ±``points.INFINITY``.
        step: Its step.
        timestamp_ms: When it was logged.
        low: The smallest value that is no NaN; NaN where there is none.
        high: The largest, likewise.
    """

    latest: float
    step: int
    timestamp_ms: int
    low: float
    high: float


def values_at(
    session: Session, run_ids: Sequence[str], keys: Sequence[str], at_ms: int
) -> dict[str, dict[str, Value]]:
    """Return what MLflow's latest metrics, and the extremes, were at a moment.

    Args:
        session: Reads only.
        run_ids: Runs, each once.
        keys: Metrics, matched exactly.
        at_ms: The moment.

    Returns:
        By key and run; runs without a point by then are absent.

    Raises:
        ChunkCorrupt: A stored row fails its checksum; the message names it.
        TooMuchAsked: More points would have to be read than ``curves.MAX_RAW_POINTS``.
    """
    reader = CurveReader(session, run_ids, keys, last_ms(session, run_ids, at_ms))
    window = everything(len(run_ids), is_by_time=False)
    return {key: _values(reader.read(key, window, 1).atoms, run_ids) for key in keys}


def _values(atoms: Atoms, run_ids: Sequence[str]) -> dict[str, Value]:
    if not len(atoms):
        return {}
    starts = np.flatnonzero(np.append(True, atoms.owner[1:] != atoms.owner[:-1]))
    low, high = np.fmin.reduceat(atoms.low, starts), np.fmax.reduceat(atoms.high, starts)
    # MLflow keeps a NaN as 0; buckets are of ascending steps, or the run is read by points.
    latest = np.where(np.isnan(atoms.last), 0.0, atoms.last)
    order = np.lexsort((latest, atoms.last_ms, atoms.last_step, atoms.owner))
    ends = order[np.append(starts[1:], len(atoms)) - 1]
    return {
        run_ids[int(atoms.owner[at])]: Value(
            float(atoms.last[at]),
            int(atoms.last_step[at]),
            int(atoms.last_ms[at]),
            float(smallest),
            float(largest),
        )
        for at, smallest, largest in zip(ends.tolist(), low.tolist(), high.tolist(), strict=True)
    }
