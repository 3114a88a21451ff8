"""Each run's number in its experiment, which its colour and dash follow from, for ever.

Runs are numbered by start, once: a run that comes later, or whose start lies before others',
takes the next number and moves nobody's. Numbers are given when runs are first shown. Where they
cannot be kept at that moment (the database is locked, or only to be read) the ones that would be
kept are returned.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import sqlalchemy as sa
from mlflow.store.tracking.dbmodels.models import SqlRun

from mlflow_weir.store import schema

_IDS_A_STATEMENT = 500
_ROWS_A_STATEMENT = 10_000
_WAIT_MS = 200
_runs = SqlRun.__table__


def read(engine: sa.Engine, runs: Mapping[str, int]) -> dict[str, int]:
    """Return the numbers of runs, from 0; runs of their experiments that lack one get it first.

    Args:
        engine: That may write.
        runs: Run id to experiment id.
    """
    with engine.connect() as connection:
        found = _known(connection, list(runs))
    for experiment_id in sorted({owner for run_id, owner in runs.items() if run_id not in found}):
        found |= _number(engine, experiment_id)
    return {run_id: found[run_id] for run_id in runs if run_id in found}


def _known(connection: sa.Connection, run_ids: Sequence[str]) -> dict[str, int]:
    columns = schema.ordinal.c
    found: dict[str, int] = {}
    for start in range(0, len(run_ids), _IDS_A_STATEMENT):
        ids = run_ids[start : start + _IDS_A_STATEMENT]
        query = sa.select(columns.run_uuid, columns.ordinal).where(columns.run_uuid.in_(ids))
        found |= {run_id: number for run_id, number in connection.execute(query)}
    return found


def _number(engine: sa.Engine, experiment_id: int) -> dict[str, int]:
    """Number the runs of an experiment that have none; return those numbers."""
    for _ in range(3):
        with engine.connect() as connection:
            numbers = _missing(connection, experiment_id)
        rows = [
            {"experiment_id": experiment_id, "ordinal": number, "run_uuid": run_id}
            for run_id, number in numbers.items()
        ]
        try:
            with engine.begin() as connection:
                if connection.dialect.name == "sqlite":
                    connection.exec_driver_sql(f"PRAGMA busy_timeout = {_WAIT_MS}")
                for start in range(0, len(rows), _ROWS_A_STATEMENT):
                    connection.execute(
                        sa.insert(schema.ordinal), rows[start : start + _ROWS_A_STATEMENT]
                    )
        except sa.exc.IntegrityError:
            continue  # another process numbers the same runs: look at what it wrote
        except sa.exc.DBAPIError:
            break
        break
    return numbers


def _missing(connection: sa.Connection, experiment_id: int) -> dict[str, int]:
    columns = schema.ordinal.c
    last = connection.execute(
        sa.select(sa.func.max(columns.ordinal)).where(columns.experiment_id == experiment_id)
    ).scalar()
    numbered = sa.exists().where(columns.run_uuid == _runs.c.run_uuid)
    unnumbered = (
        sa.select(_runs.c.run_uuid)
        .where(_runs.c.experiment_id == experiment_id, ~numbered)
        .order_by(_runs.c.start_time, _runs.c.run_uuid)
    )
    first = 0 if last is None else int(last) + 1
    return {
        run_id: number
        for number, run_id in enumerate(connection.execute(unnumbered).scalars(), first)
    }
