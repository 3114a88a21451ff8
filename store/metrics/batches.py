"""Writing points: one batch row, and MLflow's ``latest_metrics``, in the caller's transaction.

``latest_metrics`` is kept as MLflow keeps it: the row of a key is replaced when the new point's
(step, timestamp, value) is greater, NaN counting as 0. One conditional upsert a key does that
atomically, so writers of one run need no read and no lock beyond the row.
"""

from __future__ import annotations

import functools
import math
import zlib
from collections.abc import Sequence
from typing import Any, NamedTuple

import sqlalchemy as sa
from sqlalchemy.dialects import mysql, postgresql, sqlite
from sqlalchemy.orm import Session

from mlflow_weir.errors import KeyCollision
from mlflow_weir.store import schema
from mlflow_weir.store.metrics.encoding import encode_batch
from mlflow_weir.store.metrics.points import Point

MAX_WAITING_BATCHES = 64
MAX_WAITING_BYTES = 8 << 20


class Waiting(NamedTuple):
    """What a run has in batches: how many rows, and the bytes of their payloads."""

    n_batches: int
    size_bytes: int

    @property
    def is_due(self) -> bool:
        """Say whether the run's batches should become chunks now."""
        return self.n_batches >= MAX_WAITING_BATCHES or self.size_bytes >= MAX_WAITING_BYTES


def append(session: Session, run_id: str, points: Sequence[Point]) -> Waiting:
    """Add points to a run, which the caller has found to exist and to be active.

    Args:
        session: In a transaction; the caller commits.
        run_id: 32 hex digits.
        points: In log order, at least one, values as ``stored_value`` gives them or NaN.

    Returns:
        What waits for compaction, these points included.

    Raises:
        KeyCollision: The database takes two keys of the run for one.
    """
    payload = encode_batch(points)
    session.execute(
        sa.insert(schema.batch).values(
            run_uuid=run_id,
            n_points=len(points),
            size_bytes=len(payload),
            crc32=zlib.crc32(payload),
            payload=payload,
        )
    )
    dialect = session.get_bind().dialect.name
    latest = _latest(run_id, points)
    session.execute(_latest_upsert(dialect), latest)
    if dialect in {"mysql", "mariadb"}:
        _require_own_rows(session, run_id, [row["key"] for row in latest])
    n_batches, size_bytes = session.execute(
        sa.select(sa.func.count(), sa.func.sum(schema.batch.c.size_bytes)).where(
            schema.batch.c.run_uuid == run_id
        )
    ).one()
    return Waiting(n_batches, int(size_bytes))


def _require_own_rows(session: Session, run_id: str, keys: Sequence[str]) -> None:
    """Refuse keys that MySQL's collation takes for others, as MLflow's own insert would fail."""
    table = schema.mlflow_latest_metrics.c
    # Locking, because a plain read shows the state at this transaction's first read, without the
    # row another writer has inserted since.
    found = session.execute(
        sa.select(table.key).where(table.run_uuid == run_id, table.key.in_(keys)).with_for_update()
    ).scalars()
    refused = sorted(set(keys).difference(found))
    if refused:
        raise KeyCollision(
            f"run {run_id}: this database takes metric {refused[0]!r} for another of the run's",
            hint="its collation ignores case and accents; log it under another name",
        )


def _latest(run_id: str, points: Sequence[Point]) -> list[dict[str, Any]]:
    best: dict[str, tuple[int, int, float]] = {}
    is_nan: dict[str, bool] = {}
    for key, timestamp, step, value in points:
        nan = math.isnan(value)
        rank = (step, timestamp, 0.0 if nan else value)
        # Strictly greater: on a tie the first logged stays, as in MLflow.
        if key not in best or rank > best[key]:
            best[key], is_nan[key] = rank, nan
    # Sorted, so that transactions that share keys lock them in one order.
    return [
        {
            "run_uuid": run_id,
            "key": key,
            "step": best[key][0],
            "timestamp": best[key][1],
            "value": best[key][2],
            "is_nan": is_nan[key],
        }
        for key in sorted(best)
    ]


@functools.cache
def _latest_upsert(dialect: str) -> sa.Executable:
    table = schema.mlflow_latest_metrics
    old = table.c
    if dialect in {"mysql", "mariadb"}:
        statement = mysql.insert(table)
        new = statement.inserted
        is_later = sa.tuple_(new.step, new.timestamp, new.value) > sa.tuple_(
            old.step, old.timestamp, old.value
        )
        # Assignments run left to right and see each other: the column that decides last is
        # written first, so that each later comparison still comes out the same.
        return statement.on_duplicate_key_update(
            [
                (name, sa.func.if_(is_later, new[name], old[name]))
                for name in ("is_nan", "value", "timestamp", "step")
            ]
        )
    upsert = sqlite.insert(table) if dialect == "sqlite" else postgresql.insert(table)
    excluded = upsert.excluded
    return upsert.on_conflict_do_update(
        index_elements=["key", "run_uuid"],
        set_={name: excluded[name] for name in ("step", "timestamp", "value", "is_nan")},
        where=sa.tuple_(excluded.step, excluded.timestamp, excluded.value)
        > sa.tuple_(old.step, old.timestamp, old.value),
    )
