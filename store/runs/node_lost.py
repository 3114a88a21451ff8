"""Runs whose machine gave no sign of life: they are marked as failed, and why.

One of all servers on a database does it at a time: whoever holds the lease, which is read and
renewed in the transaction that marks. What is judged is a run with heartbeats, never one without:
nobody has promised to answer for that. And heartbeats are missed only while somebody could have
received them, so a run is given its whole time again after the servers were all away
(``since_ms`` of the lease).

A heartbeat that comes after all undoes it (``heartbeats.beat``), unless somebody has given the run
another status meanwhile.
"""

from __future__ import annotations

from datetime import datetime, timezone

import sqlalchemy as sa

from mlflow_weir.store import leases, schema
from mlflow_weir.store.delivery import heartbeats
from mlflow_weir.store.delivery import mlflow_tables as tables
from mlflow_weir.store.delivery.connection import clock_ms, transaction
from mlflow_weir.store.delivery.runs import EXIT_CAUSE_TAG, PREEMPTING_TAG, preempted

_LEASE = "node-lost"
_MAX_AT_ONCE = 500
_columns = schema.heartbeat.c


def mark_lost(
    engine: sa.Engine, holder: str, *, timeout_ms: int, lease_ms: int, now_ms: int | None = None
) -> list[str]:
    """Mark runs as failed that were not heard of for too long, if the lease is ours to take.

    Args:
        engine: Of the tracking database.
        holder: Who asks, by a name no other process has; at most 64 characters.
        timeout_ms: How long a run may be silent.
        lease_ms: How long nobody else is to look, should we not come back.
        now_ms: Wall time; the database's, as for heartbeats, when None.

    Returns:
        The runs that were marked.

    Raises:
        StoreUnavailable: Nothing was done.
    """
    with transaction(engine) as connection:
        now_ms = clock_ms(connection) if now_ms is None else now_ms
        since_ms = leases.take(connection, _LEASE, holder, now_ms, lease_ms)
        if since_ms is None:
            return []
        # Signs of life from before the clock was set back would keep a dead run for as long.
        connection.execute(
            sa.update(schema.heartbeat)
            .where(_columns.at_ms > now_ms + lease_ms)
            .values(at_ms=now_ms)
        )
        if now_ms - since_ms < timeout_ms:
            return []
        before_ms = now_ms - timeout_ms
        silent = connection.execute(
            sa.select(_columns.run_uuid)
            .join(tables.runs, tables.runs.c.run_uuid == _columns.run_uuid)
            .where(
                _columns.at_ms < before_ms,
                tables.runs.c.status == "RUNNING",
                tables.runs.c.lifecycle_stage == tables.ACTIVE,
            )
            .order_by(_columns.run_uuid)
            .limit(_MAX_AT_ONCE)
        ).scalars()
        # In the order in which heartbeats lock them too, and looked at again under the lock.
        locked = connection.execute(
            sa.select(_columns.run_uuid, _columns.at_ms)
            .where(_columns.run_uuid.in_(silent.all()), _columns.at_ms < before_ms)
            .order_by(_columns.run_uuid)
            .with_for_update()
        )
        return [row.run_uuid for row in locked.all() if _mark(connection, row.run_uuid, row.at_ms)]


def _mark(connection: sa.Connection, run_id: str, at_ms: int) -> bool:
    runs, tags = tables.runs.c, tables.tags.c
    last = datetime.fromtimestamp(at_ms / 1000, timezone.utc).isoformat(" ", "seconds")
    status, cause = "FAILED", f"node lost: no sign of life since {last}"
    was_warned = sa.select(tags.key).where(tags.run_uuid == run_id, tags.key == PREEMPTING_TAG)
    if connection.execute(was_warned).first() is not None:
        status, cause = "KILLED", preempted(cause)
    ended = connection.execute(
        sa.update(tables.runs)
        .where(runs.run_uuid == run_id, runs.status == "RUNNING")
        .values(status=status, end_time=at_ms)
    )
    if not ended.rowcount:
        return False
    connection.execute(
        sa.delete(tables.tags).where(tags.run_uuid == run_id, tags.key == EXIT_CAUSE_TAG)
    )
    connection.execute(
        sa.insert(tables.tags).values(key=EXIT_CAUSE_TAG, value=cause, run_uuid=run_id)
    )
    heartbeats.set_provisional(connection, run_id, status, by="timeout")
    return True
