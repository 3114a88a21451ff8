"""Writing points: one batch row, and MLflow's ``latest_metrics``, in the caller's transaction.

``latest_metrics`` is kept as MLflow keeps it: the row of a key is replaced when the new point's
(step, timestamp, value) is greater, NaN counting as 0. One conditional upsert a key does that
atomically, so writers of one run need no read and no lock beyond the row.
"""

from __future__ import annotations

import functools
import zlib
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import sqlalchemy as sa
from sqlalchemy.dialects import mysql, postgresql, sqlite

from mlflow_weir.errors import KeyCollision
from mlflow_weir.store import schema
from mlflow_weir.store.metrics.batch_encoding import encode_columns
from mlflow_weir.store.metrics.points import Columns, Point, columns_of

if TYPE_CHECKING:  # 6 MB that a delivery does without
    from sqlalchemy.orm import Session

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


# Made once: SQLAlchemy takes longer to build a statement than SQLite to run it.
_INSERT = sa.insert(schema.batch)
_WAITING = sa.select(sa.func.count(), sa.func.sum(schema.batch.c.size_bytes)).where(
    schema.batch.c.run_uuid == sa.bindparam("run_id")
)


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
    return append_columns(session, run_id, columns_of(points))


def append_columns(session: Session | sa.Connection, run_id: str, points: Columns) -> Waiting:
    """Add points that are columns already; as ``append``."""
    payload = encode_columns(points)
    row = {
        "run_uuid": run_id,
        "n_points": len(points),
        "size_bytes": len(payload),
        "crc32": zlib.crc32(payload),
        "payload": payload,
    }
    session.execute(_INSERT, row)
    bind = session if isinstance(session, sa.Connection) else session.get_bind()
    dialect = bind.dialect.name
    latest = latest_rows(run_id, points)
    session.execute(_latest_upsert(dialect), latest)
    if dialect in {"mysql", "mariadb"}:
        _require_own_rows(session, run_id, [row["key"] for row in latest])
    n_batches, size_bytes = session.execute(_WAITING, {"run_id": run_id}).one()
    return Waiting(n_batches, int(size_bytes))


def _require_own_rows(session: Session | sa.Connection, run_id: str, keys: Sequence[str]) -> None:
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
            keys=refused,
        )


def latest_rows(run_id: str, points: Columns) -> list[dict[str, Any]]:
    """Return the row of ``latest_metrics`` of each key, in key order.

    It is the point with the greatest (step, timestamp, value); on a tie the first logged stays, as
    in MLflow.
    """
    step, timestamp, value = points.series.step, points.series.timestamp, points.series.value
    is_nan = np.isnan(value)
    number = np.where(is_nan, 0.0, value)
    # Sixteen bits are sorted by radix, in a tenth of the time.
    index = points.index.astype(np.uint16) if len(points.keys) < 1 << 16 else points.index
    order = np.argsort(index, kind="stable")
    last = np.append(index[order[1:]] != index[order[:-1]], True)
    if not bool(np.all((step[order[1:]] > step[order[:-1]]) | last[:-1])):
        order = np.lexsort((-np.arange(len(points)), number, timestamp, step, index))
    best = order[last]
    # Sorted, so that transactions that share keys lock them in one order.
    rows = zip(
        (points.keys[at] for at in index[best].tolist()),
        step[best].tolist(),
        timestamp[best].tolist(),
        number[best].tolist(),
        is_nan[best].tolist(),
        strict=True,
    )
    return [
        {
            "run_uuid": run_id,
            "key": row[0],
            "step": row[1],
            "timestamp": row[2],
            "value": row[3],
            "is_nan": row[4],
        }
        for row in sorted(rows)
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
