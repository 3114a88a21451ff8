"""Moving runs to another experiment, for which MLflow has no operation.

What belongs to a run by its id goes along: params, metrics, tags, inputs, console, histograms.
What MLflow looks up by the experiment would be lost to the run, so a run stays that has logged
models or traces. Files stay where they are (``docs/decisions/011-moving-runs.md``).
"""

from __future__ import annotations

from collections.abc import Sequence

import sqlalchemy as sa
from mlflow.store.tracking.dbmodels.models import SqlLoggedModel, SqlTraceMetadata
from mlflow.tracing.constant import TraceMetadataKey
from sqlalchemy.orm import Session

from mlflow_weir.store import schema
from mlflow_weir.store.delivery import mlflow_tables as tables

MAX_RUNS = 200
"""Most runs of one transaction."""

_ENDED = {"FINISHED", "FAILED", "KILLED"}


def move(session: Session, run_ids: Sequence[str], experiment_id: int) -> dict[str, str]:
    """Move runs into an experiment.

    Args:
        session: In a transaction that writes; the caller commits.
        run_ids: At most ``MAX_RUNS``, each once; those that are there already stay as they are.
        experiment_id: An experiment that the caller may add runs to.

    Returns:
        Why, for each run that stays in another experiment; empty where all have been moved.
    """
    assert len(run_ids) <= MAX_RUNS
    experiments, runs = tables.experiments.c, tables.runs.c
    stage = session.execute(
        sa.select(experiments.lifecycle_stage).where(experiments.experiment_id == experiment_id)
    ).scalar()
    if stage != tables.ACTIVE:
        return dict.fromkeys(run_ids, "the experiment is deleted")
    # Locked, so that none is resumed in between; SQLite has one writer.
    found = {
        row.run_uuid: row
        for row in session.execute(
            sa.select(runs.run_uuid, runs.status, runs.lifecycle_stage, runs.experiment_id)
            .where(runs.run_uuid.in_(run_ids))
            .with_for_update()
        )
    }
    models = _having(session, SqlLoggedModel.source_run_id, run_ids)
    traced = _having(
        session,
        SqlTraceMetadata.value,
        run_ids,
        SqlTraceMetadata.key == TraceMetadataKey.SOURCE_RUN,
    )
    owned = _having(session, schema.owner.c.run_uuid, run_ids)
    stays: dict[str, str] = {}
    for run_id in run_ids:
        row = found.get(run_id)
        if row is None:
            stays[run_id] = "there is no such run"
        elif row.experiment_id == experiment_id:
            continue
        elif row.lifecycle_stage != tables.ACTIVE:
            stays[run_id] = "it is deleted"
        elif row.status not in _ENDED or run_id in owned:
            stays[run_id] = "it has not ended"
        elif run_id in models:
            stays[run_id] = "it has logged models, which belong to their experiment"
        elif run_id in traced:
            stays[run_id] = "it has traces, which belong to their experiment"
    moved = [run_id for run_id in run_ids if run_id not in stays]
    if moved:
        session.execute(
            sa.update(tables.runs)
            .where(runs.run_uuid.in_(moved))
            .values(experiment_id=experiment_id)
        )
        # Its number is one of the experiment it was in; the next look at it gives another.
        session.execute(
            sa.delete(schema.ordinal).where(
                schema.ordinal.c.run_uuid.in_(moved),
                schema.ordinal.c.experiment_id != experiment_id,
            )
        )
    return stays


def _having(
    session: Session,
    column: sa.ColumnElement[str] | sa.orm.InstrumentedAttribute[str],
    run_ids: Sequence[str],
    *more: sa.ColumnElement[bool],
) -> set[str]:
    """Return which of the runs a table names in a column."""
    query = sa.select(column).where(column.in_(run_ids), *more).distinct()
    return set(session.execute(query).scalars())
