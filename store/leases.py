"""Work that one of many servers does at a time: whoever holds its lease in the database."""

from __future__ import annotations

import sqlalchemy as sa

from mlflow_weir.store import schema

_lease = schema.lease.c


def take(
    connection: sa.Connection, name: str, holder: str, now_ms: int, lease_ms: int
) -> int | None:
    """Take or renew a lease.

    Args:
        connection: In a write transaction.
        name: What work it is for; at most 64 characters.
        holder: Who asks, by a name no other process has; at most 64 characters.
        now_ms: Time by the database's clock.
        lease_ms: How long nobody else is to have it, should we not come back.

    Returns:
        Since when it was held by somebody without a gap, in ms; None if it is not ours.
    """
    found = connection.execute(
        sa.select(schema.lease).where(_lease.name == name).with_for_update()
    ).one_or_none()
    if found is None:
        values = {"holder": holder, "since_ms": now_ms, "until_ms": now_ms + lease_ms}
        try:
            with connection.begin_nested():
                connection.execute(sa.insert(schema.lease).values(name=name, **values))
        except sa.exc.IntegrityError:
            return None  # another one has made it in the same moment
        return now_ms
    # A term that ends later than one from now was given before the clock was set back.
    if found.holder != holder and now_ms <= found.until_ms <= now_ms + lease_ms:
        return None
    # The next holder comes within one more term, if there is any.
    is_unbroken = found.since_ms <= now_ms <= found.until_ms + lease_ms
    since_ms: int = found.since_ms if is_unbroken else now_ms
    connection.execute(
        sa.update(schema.lease)
        .where(_lease.name == name)
        .values(holder=holder, since_ms=since_ms, until_ms=now_ms + lease_ms)
    )
    return since_ms
