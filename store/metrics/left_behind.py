"""Runs whose compaction was due and was not done, such as by a server that was killed.

The server that takes a delivery compacts the run after its answer; what it still had to do goes
with it. A run that is going on is compacted at its next delivery, one that has ended has none. So
one of all servers on a database looks for such runs now and then: whoever holds the lease.

Whoever compacts them besides is no harm: each step of a compaction counts the rows that it takes
away, and gives up where somebody was faster.
"""

from __future__ import annotations

import sqlalchemy as sa

from mlflow_weir.store import leases, schema
from mlflow_weir.store.delivery import mlflow_tables as tables
from mlflow_weir.store.delivery.connection import clock_ms, transaction
from mlflow_weir.store.metrics.batches import MAX_WAITING_BATCHES

LEASE = "compaction"
MAX_AT_ONCE = 500
_GOING_ON = ("RUNNING", "SCHEDULED")


def find(engine: sa.Engine, holder: str, *, lease_ms: int) -> dict[str, bool] | None:
    """Return runs with batches that should be none, if the lease is ours to take.

    Args:
        engine: Of the tracking database.
        holder: Who asks, by a name no other process has; at most 64 characters.
        lease_ms: How long nobody else is to look, should we not come back.

    Returns:
        Whether it has ended, by run; at most ``MAX_AT_ONCE``. None if the lease is not ours.

    Raises:
        StoreUnavailable: Nothing was done.
    """
    run_id, status = schema.batch.c.run_uuid, tables.runs.c.status
    n_batches = sa.func.count()
    query = (
        sa.select(run_id, status)
        .join(tables.runs, tables.runs.c.run_uuid == run_id)
        .group_by(run_id, status)
        .having(sa.or_(status.not_in(_GOING_ON), n_batches >= MAX_WAITING_BATCHES))
        .order_by(run_id)
        .limit(MAX_AT_ONCE)
    )
    with transaction(engine) as connection:
        if leases.take(connection, LEASE, holder, clock_ms(connection), lease_ms) is None:
            return None
        return {row.run_uuid: row.status not in _GOING_ON for row in connection.execute(query)}
