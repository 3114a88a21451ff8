"""The smallest and the largest value of a metric in each of many runs.

``weir_series`` keeps both for the points that lie in chunks, so that they cost one index entry a
run and no decoding. Added to that are points not compacted yet, which only runs in progress have,
and rows of MLflow's own ``metrics`` table. NaN is no value here; an infinite value is what MLflow
stores for one (``points.INFINITY``).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import sqlalchemy as sa
from mlflow.store.tracking.dbmodels.models import SqlRun
from sqlalchemy.orm import Session

from mlflow_weir.store import schema
from mlflow_weir.store.metrics.batch_encoding import (
    decode_batch,
    key_bytes,
    key_hash,
    key_text,
    verified,
)
from mlflow_weir.store.metrics.chunks import value_range
from mlflow_weir.store.runs import plain_rows
from mlflow_weir.store.runs.conditions import Scope

_IDS_A_STATEMENT = 500
_runs = SqlRun.__table__


class Extremes(NamedTuple):
    """Of one metric of one run; low <= high."""

    low: float
    high: float


def read(session: Session, run_ids: Sequence[str], key: str) -> dict[str, Extremes]:
    """Read the extremes in these runs; a run without a number is absent."""
    found: dict[str, Extremes] = {}
    for start in range(0, len(run_ids), _IDS_A_STATEMENT):
        ids = run_ids[start : start + _IDS_A_STATEMENT]
        _add_all(
            found,
            session,
            key,
            schema.series.c.run_uuid.in_(ids),
            schema.batch.c.run_uuid.in_(ids),
            schema.mlflow_metrics.c.run_uuid.in_(ids),
        )
    return found


def read_all(session: Session, scope: Scope, key: str) -> dict[str, Extremes]:
    """Read the extremes in every run of a scope that has a number."""
    found: dict[str, Extremes] = {}

    is_sqlite = session.get_bind().dialect.name == "sqlite"

    def is_in_scope(column: sa.ColumnElement[str]) -> sa.ColumnElement[bool]:
        of_run = sa.select(_runs.c.run_uuid).where(_runs.c.run_uuid == column)
        return of_run.where(*scope.clauses(by_index=not is_sqlite)).exists()

    # Of batches and of MLflow's rows there are few or none, of the index many of other metrics:
    # the first two are read and looked up in the runs, the last the other way round.
    in_scope = sa.select(_runs.c.run_uuid).where(*scope.clauses())
    _add_all(
        found,
        session,
        key,
        schema.series.c.run_uuid.in_(in_scope),
        is_in_scope(schema.batch.c.run_uuid),
        is_in_scope(schema.mlflow_metrics.c.run_uuid),
    )
    return found


def read_run(session: Session, run_id: str) -> dict[str, Extremes]:
    """Read the extremes of every metric of one run; one without a number is absent."""
    found: dict[str, Extremes] = {}
    batches = schema.batch.c
    for batch_id, crc32, payload in session.execute(
        sa.select(batches.batch_id, batches.crc32, batches.payload).where(
            batches.run_uuid == run_id
        )
    ):
        what = f"weir_batch {batch_id}"
        for key, series in decode_batch(verified(payload, crc32, what), what).items():
            low, high = value_range(series)
            if low is not None and high is not None:
                _widen(found, [(key, low, high)])
    index = schema.series.c
    rows = session.execute(
        sa.select(index.key, sa.func.min(index.low), sa.func.max(index.high))
        .where(index.run_uuid == run_id, index.low.is_not(None))
        .group_by(index.key)
    )
    _widen(found, ((key_text(key), low, high) for key, low, high in rows))
    old = schema.mlflow_metrics.c
    _widen(
        found,
        session.execute(
            sa.select(old.key, sa.func.min(old.value), sa.func.max(old.value))
            .where(old.run_uuid == run_id, old.is_nan == sa.false())
            .group_by(old.key)
        ),
    )
    return found


def _add_all(
    found: dict[str, Extremes],
    session: Session,
    key: str,
    of_series: sa.ColumnElement[bool],
    of_batch: sa.ColumnElement[bool],
    of_row: sa.ColumnElement[bool],
) -> None:
    # Batches first: a point moves from them to chunks and is met at least once.
    batches = schema.batch.c
    for run_id, batch_id, crc32, payload in session.execute(
        sa.select(batches.run_uuid, batches.batch_id, batches.crc32, batches.payload).where(
            of_batch
        )
    ):
        what = f"weir_batch {batch_id}"
        series = decode_batch(verified(payload, crc32, what), what, only=key).get(key)
        low, high = (None, None) if series is None else value_range(series)
        if low is not None and high is not None:
            _widen(found, [(run_id, low, high)])
    index = schema.series.c
    _widen(
        found,
        plain_rows.read(
            session,
            sa.select(index.run_uuid, index.low, index.high).where(
                of_series,
                index.key_hash == key_hash(key),
                index.key == key_bytes(key),
                index.low.is_not(None),
            ),
        ),
    )
    old = schema.mlflow_metrics.c
    rows = session.execute(
        sa.select(old.run_uuid, old.key, sa.func.min(old.value), sa.func.max(old.value))
        .where(of_row, old.key == key, old.is_nan == sa.false())
        .group_by(old.run_uuid, old.key)
    )
    _widen(found, ((run_id, low, high) for run_id, name, low, high in rows if name == key))


def _widen(found: dict[str, Extremes], rows: Iterable[Sequence[Any]]) -> None:
    for run_id, low, high in rows:
        before = found.get(run_id)
        if before is None:
            found[run_id] = Extremes(low, high)
        elif low < before.low or high > before.high:
            found[run_id] = Extremes(min(low, before.low), max(high, before.high))
