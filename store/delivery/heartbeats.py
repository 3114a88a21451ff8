"""Runs that a process answers for: when it was last seen, and ends that are not the last word.

One row a run that is alive, or whose end Weir has written: ``provisional_status`` is that end,
and ``provisional_by`` who wrote it: MLflow's "exit handler", before the exit code was known; the
"exit" of the process that was found out afterwards; a "timeout" of the heartbeat. While the run
still has that status Weir may change it; another status is somebody else's word and stays.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence

import sqlalchemy as sa
from sqlalchemy.dialects import mysql, postgresql, sqlite

from mlflow_weir.store import schema
from mlflow_weir.store.delivery import mlflow_tables as tables
from mlflow_weir.store.delivery import owners, positions
from mlflow_weir.store.delivery.connection import clock_ms, reading, transaction

_columns = schema.heartbeat.c
_HOST_CHARACTERS = 255
_MAX_IN = 500


def beat(
    engine: sa.Engine,
    run_ids: Sequence[str],
    journal_id: str,
    host: str,
    at_ms: int | None = None,
) -> list[str]:
    """Say that the process that answers for some runs is alive.

    Args:
        engine: Of the tracking database.
        run_ids: The runs, all in one transaction; those not delivered yet are passed over.
        journal_id: The process's journal.
        host: Where it runs.
        at_ms: Wall time; the database's when None.

    Returns:
        Runs that are running again: a time-out had ended them, or the end of another process
        while this one, which logs to them, had not been heard of.

    Raises:
        StoreUnavailable: Nothing was written; the next beat will do.
    """
    revived: list[str] = []
    wanted = sorted(set(run_ids))
    runs = tables.runs.c
    with transaction(engine) as connection:
        if at_ms is None:
            at_ms = clock_ms(connection)
        owned = _owned(connection, journal_id)
        for start in range(0, len(wanted), _MAX_IN):
            part = wanted[start : start + _MAX_IN]
            # A run may not be delivered yet: nothing is noted of one that is not there.
            known = connection.execute(
                sa.select(
                    runs.run_uuid,
                    runs.status,
                    _columns.provisional_status,
                    _columns.provisional_by,
                )
                .outerjoin(schema.heartbeat, _columns.run_uuid == runs.run_uuid)
                .where(runs.run_uuid.in_(part))
                .order_by(runs.run_uuid)
            ).all()
            rows = [
                {
                    "run_uuid": run_id,
                    "journal_id": journal_id,
                    "host": host[:_HOST_CHARACTERS],
                    "at_ms": at_ms,
                }
                for run_id, _, _, _ in known
            ]
            if rows:
                names = ("journal_id", "host", "at_ms")
                connection.execute(_upsert(connection.dialect.name, names), rows)
            there = {run_id for run_id, _, _, _ in known}
            mine = {run_id: how for run_id, how in owned.items() if run_id in there}
            owners.note(connection, journal_id, mine, at_ms)
            revived += [
                run_id
                for run_id, status, noted, by in known
                if status == noted and (by == "timeout" or owned.get(run_id) == "fluent")
            ]
        for run_id in revived:
            revive(connection, run_id)
    return revived


STOP_TAG = "weir.stop_requested"
"""Set on a run by whoever may edit it: its process is to be interrupted."""


def take_stops(engine: sa.Engine, run_ids: Sequence[str], journal_id: str) -> list[str]:
    """Return the runs that somebody asked to stop, and take the request away.

    Of a run that several processes answer for, its main one is interrupted, as Ctrl-C in a
    launcher's terminal is its to pass on: the request waits for that one's beat.

    So a process is interrupted once for one request, and never twice: a second Ctrl-C would cut
    short what it does after the first. An answer that is lost takes the request with it.

    Raises:
        StoreUnavailable: Nothing was taken; the next beat will do.
    """
    tags = tables.tags.c
    wanted = sorted(set(run_ids))
    found: list[str] = []
    with reading(engine) as connection:
        for start in range(0, len(wanted), _MAX_IN):
            part = wanted[start : start + _MAX_IN]
            query = sa.select(tags.run_uuid).where(tags.run_uuid.in_(part), tags.key == STOP_TAG)
            found += connection.execute(query).scalars()
    if not found:
        return []
    taken = []
    with transaction(engine) as connection:
        for run_id in found:
            if owners.main_of(connection, run_id) not in (None, journal_id):
                continue
            gone = connection.execute(
                sa.delete(tables.tags).where(tags.run_uuid == run_id, tags.key == STOP_TAG)
            )
            if gone.rowcount:  # another process of the run may have been faster
                taken.append(run_id)
    return taken


def _owned(connection: sa.Connection, journal_id: str) -> dict[str, str]:
    """Return the runs that a journal's process has not ended, as far as it is delivered."""
    state = positions.read(connection, journal_id)
    if state is None:
        return {}
    return {run: how for run, how in state.open_runs.items() if run not in state.provisional}


def set_provisional(
    connection: sa.Connection, run_id: str, status: str | None, by: str | None = None
) -> None:
    """Note the end that Weir has given a run; None takes such a note away."""
    if status is None:
        connection.execute(
            sa.update(schema.heartbeat)
            .where(_columns.run_uuid == run_id)
            .values(provisional_status=None, provisional_by=None)
        )
        return
    row = {"run_uuid": run_id, "provisional_status": status, "provisional_by": by}
    names = ("provisional_status", "provisional_by")
    connection.execute(_upsert(connection.dialect.name, names), [row])


def is_provisional(connection: sa.Connection, run_id: str, status: str) -> bool:
    """Say whether Weir gave a run the status that it has."""
    noted = connection.execute(
        sa.select(_columns.provisional_status).where(_columns.run_uuid == run_id)
    ).scalar()
    return noted is not None and noted == status


def was_lost(connection: sa.Connection, run_id: str) -> bool:
    """Say whether a time-out of the heartbeat has ended a run."""
    by = sa.select(_columns.provisional_by).where(_columns.run_uuid == run_id)
    return connection.execute(by).scalar() == "timeout"


def revive(connection: sa.Connection, run_id: str) -> None:
    """Let a run that Weir had ended run again."""
    connection.execute(
        sa.update(tables.runs)
        .where(tables.runs.c.run_uuid == run_id)
        .values(status="RUNNING", end_time=None)
    )
    connection.execute(
        sa.delete(tables.tags).where(
            tables.tags.c.run_uuid == run_id, tables.tags.c.key == "weir.exit_cause"
        )
    )
    set_provisional(connection, run_id, None)


@functools.cache
def _upsert(dialect: str, names: tuple[str, ...]) -> sa.Executable:
    """Return the statement that writes these columns of a run's row, making it if need be."""
    if dialect in {"mysql", "mariadb"}:
        statement = mysql.insert(schema.heartbeat)
        return statement.on_duplicate_key_update(
            {name: statement.inserted[name] for name in names}
        )
    upsert = (
        sqlite.insert(schema.heartbeat)
        if dialect == "sqlite"
        else postgresql.insert(schema.heartbeat)
    )
    return upsert.on_conflict_do_update(
        index_elements=["run_uuid"], set_={name: upsert.excluded[name] for name in names}
    )
