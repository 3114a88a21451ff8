"""Living processes that answer for a run, on whatever machines they are.

One row a run and journal, written with each heartbeat and gone when the process says that its
part is over. A run goes on while a process lives that has as good a claim as the one that ended:
one that logs to it after ``mlflow.start_run`` ("fluent") has a better one than a launcher that
created it through ``MlflowClient`` ("client"). Who lives is told by the database's own clock.
"""

from __future__ import annotations

from collections.abc import Mapping

import sqlalchemy as sa
from sqlalchemy.dialects import mysql, postgresql, sqlite

from mlflow_weir.store import schema
from mlflow_weir.store.delivery import positions
from mlflow_weir.store.delivery.connection import clock_ms

ALIVE_MS = 60_000
"""How long a heartbeat speaks for a process; one is sent every ten seconds."""

_columns = schema.owner.c
_NOT_BETTER = {"fluent": ("fluent",), "client": ("fluent", "client")}


def note(connection: sa.Connection, journal_id: str, owned: Mapping[str, str], at_ms: int) -> None:
    """Note the runs that a living process answers for, and how."""
    if not owned:
        return
    rows = [
        {"run_uuid": run_id, "journal_id": journal_id, "how": owned[run_id], "at_ms": at_ms}
        for run_id in sorted(owned)
    ]
    connection.execute(_upsert(connection.dialect.name), rows)


def forget(connection: sa.Connection, journal_id: str, run_id: str) -> None:
    """Take note that a process does not answer for a run any more."""
    connection.execute(
        sa.delete(schema.owner).where(
            _columns.run_uuid == run_id, _columns.journal_id == journal_id
        )
    )


def goes_on(connection: sa.Connection, run_id: str, journal_id: str, how: str) -> bool:
    """Say whether a run goes on without the process of a journal; the caller has locked the run.

    Args:
        connection: In a transaction.
        run_id: The run.
        journal_id: Of the process whose part is over.
        how: It answered for the run.
    """
    # A time to come is another clock's, or this one's before it was set back.
    now_ms = clock_ms(connection)
    others = connection.execute(
        sa.select(_columns.journal_id)
        .where(
            _columns.run_uuid == run_id,
            _columns.journal_id != journal_id,
            _columns.how.in_(_NOT_BETTER[how]),
            _columns.at_ms.between(now_ms - ALIVE_MS, now_ms + ALIVE_MS),
        )
        .with_for_update(read=True)  # what is there, not what MySQL saw when this one began
    )
    return others.first() is not None


def main_of(connection: sa.Connection, run_id: str) -> str | None:
    """Return the journal of a run's main process, of those that live; None where none does.

    That is the one which began or resumed it first, with ``mlflow.start_run`` if any did.
    """
    now_ms = clock_ms(connection)
    living = connection.execute(
        sa.select(_columns.journal_id, _columns.how).where(
            _columns.run_uuid == run_id,
            _columns.at_ms.between(now_ms - ALIVE_MS, now_ms + ALIVE_MS),
        )
    ).all()
    claims = []
    for journal_id, how in living:
        state = positions.read(connection, journal_id)
        if state is not None:
            claims.append((how != "fluent", state.since.get(run_id, 0), journal_id))
    return min(claims)[-1] if claims else None


def _upsert(dialect: str) -> sa.Executable:
    names = ("how", "at_ms")
    if dialect in {"mysql", "mariadb"}:
        statement = mysql.insert(schema.owner)
        return statement.on_duplicate_key_update(
            {name: statement.inserted[name] for name in names}
        )
    upsert = (
        sqlite.insert(schema.owner) if dialect == "sqlite" else postgresql.insert(schema.owner)
    )
    return upsert.on_conflict_do_update(
        index_elements=["run_uuid", "journal_id"],
        set_={name: upsert.excluded[name] for name in names},
    )
