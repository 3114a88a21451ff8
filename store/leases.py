"""Work that one of many servers does at a time: whoever holds its lease in the database."""

from __future__ import annotations

import sqlalchemy as sa

from mlflow_weir.store import schema

_lease = schema.lease.c
_NOBODY = ""


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


def take_due(
    connection: sa.Connection, name: str, holder: str, now_ms: int, lease_ms: int
) -> bool:
    """Take the lease of work that is done now and then: if it is due, and nobody is at it.

    Whoever has taken it renews it while the work goes on, and lets it ``rest`` at the end. Of one
    that died meanwhile the next takes over after a term.

    Args:
        connection: In a write transaction.
        name: What work it is for; at most 64 characters. It is due when it was never done.
        holder: Who asks, by a name no other process has.
        now_ms: Time by the database's clock.
        lease_ms: How long nobody else is to have it, should we not come back.
    """
    found = connection.execute(
        sa.select(schema.lease).where(_lease.name == name).with_for_update()
    ).one_or_none()
    if found is None or found.holder != _NOBODY:
        return take(connection, name, holder, now_ms, lease_ms) is not None
    # One that rests since a time to come: the clock was set back.
    if found.since_ms <= now_ms < found.until_ms:
        return False
    connection.execute(
        sa.update(schema.lease)
        .where(_lease.name == name)
        .values(holder=holder, since_ms=now_ms, until_ms=now_ms + lease_ms)
    )
    return True


def renew(connection: sa.Connection, name: str, holder: str, now_ms: int, lease_ms: int) -> bool:
    """Renew a lease that nobody has taken since; say whether it is still ours."""
    renewed = connection.execute(
        sa.update(schema.lease)
        .where(_lease.name == name, _lease.holder == holder)
        .values(until_ms=now_ms + lease_ms)
    )
    return renewed.rowcount == 1


def rest(connection: sa.Connection, name: str, holder: str, now_ms: int, pause_ms: int) -> bool:
    """Say that work is done, and due again after a pause; False if it is not ours any more."""
    done = connection.execute(
        sa.update(schema.lease)
        .where(_lease.name == name, _lease.holder == holder)
        .values(holder=_NOBODY, since_ms=now_ms, until_ms=now_ms + pause_ms)
    )
    return done.rowcount == 1
