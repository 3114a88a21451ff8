"""Which metrics there are, and how many runs have each."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import sqlalchemy as sa
from sqlalchemy.orm import Session

from mlflow_weir.store import schema
from mlflow_weir.store.delivery import mlflow_tables as tables

MAX_RUNS = 20_000
"""Runs that are looked at, newest first: more would take seconds."""

_IN_LIST = 500


class KeyCounts(NamedTuple):
    """Metrics of some runs.

    Attributes:
        counts: Runs that have the metric, by its name, in order of name.
        n_runs: Runs that were looked at.
        is_partial: There are more runs than that.
    """

    counts: dict[str, int]
    n_runs: int
    is_partial: bool


def of_experiments(session: Session, experiment_ids: Sequence[int]) -> KeyCounts:
    """Count the metrics of the newest active runs of some experiments."""
    runs = tables.runs.c
    newest = (
        sa.select(runs.run_uuid)
        .where(runs.experiment_id.in_(experiment_ids), runs.lifecycle_stage == tables.ACTIVE)
        .order_by(runs.start_time.desc())
        .limit(MAX_RUNS + 1)
    )
    n_runs = session.execute(sa.select(sa.func.count()).select_from(newest.subquery())).scalar()
    chosen = newest.limit(MAX_RUNS).subquery()
    latest = schema.mlflow_latest_metrics
    counts: dict[str, int] = {
        key: n
        for key, n in session.execute(
            sa.select(latest.c.key, sa.func.count())
            .join_from(chosen, latest, latest.c.run_uuid == chosen.c.run_uuid)
            .group_by(latest.c.key)
        )
    }
    n_found = int(n_runs or 0)
    ordered = dict(sorted(counts.items()))
    return KeyCounts(ordered, min(n_found, MAX_RUNS), n_found > MAX_RUNS)


def of_runs(session: Session, run_ids: Sequence[str]) -> KeyCounts:
    """Count the metrics of some runs."""
    latest = schema.mlflow_latest_metrics.c
    counts: dict[str, int] = {}
    for start in range(0, len(run_ids), _IN_LIST):
        for key, n in session.execute(
            sa.select(latest.key, sa.func.count())
            .where(latest.run_uuid.in_(run_ids[start : start + _IN_LIST]))
            .group_by(latest.key)
        ):
            counts[key] = counts.get(key, 0) + n
    return KeyCounts(dict(sorted(counts.items())), len(run_ids), False)
