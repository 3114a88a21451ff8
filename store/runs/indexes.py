"""Weir's own indexes on MLflow's tables (``weir_ix_…``), which make a page of runs cheap to find.

They hold nothing that MLflow's rows do not, MLflow never looks at them, and ``weir db eject``
drops them. What each is worth and costs: docs/decisions/002-search.md.

* Creation tolerates an index that is there already, whoever made it and however it is written,
  and a second process that makes it at the same moment.
* On PostgreSQL an index on a table of some size is made CONCURRENTLY: everybody writes meanwhile,
  and it waits for the transactions that were there before, for hours if these take hours. So who
  opens a store makes those on small tables alone, which take a moment; the others are made by
  `weir db upgrade`, or by one of the servers (``ui_extensions/maintenance.py``).
* One that was broken off leaves what PostgreSQL calls an invalid index: kept up at each write, and
  never read. It counts as missing, and is dropped before it is made again.
* MLflow's own migrations may rebuild a table on SQLite and lose an index or its directions; the
  next ``create_missing`` makes it again, and until then answers are the same, later.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import sqlalchemy as sa
from sqlalchemy.exc import DatabaseError

from mlflow_weir.errors import StoreUnavailable
from mlflow_weir.store.engine import is_transient

SMALL_BYTES = 16 << 20
"""A table of PostgreSQL's up to so many is indexed in well under a second."""

_WAIT_S = 3


class RunIndex(NamedTuple):
    """One index of ours.

    Attributes:
        name: Its name, ``weir_ix_`` in front.
        table: The table of MLflow's that it is on.
        columns: Column names, each with `` DESC`` where it descends.
        dialects: Where it is made; where it is not, nothing would read it.
    """

    name: str
    table: str
    columns: Sequence[str]
    dialects: frozenset[str]


INDEXES = (
    # The default order of a search, and with it the scope of every search; covering.
    RunIndex(
        "weir_ix_runs_by_start",
        "runs",
        ("experiment_id", "lifecycle_stage", "start_time DESC", "run_uuid"),
        frozenset({"sqlite", "postgresql", "mysql"}),
    ),
    # Runs in the order of a metric, and the few runs that a selective filter leaves; covering.
    # MySQL's optimizer sorts such a search whole whatever there is, and its keys of 250 four-byte
    # characters would have to be cut short.
    RunIndex(
        "weir_ix_latest_metrics_by_value",
        "latest_metrics",
        ("key", "value", "is_nan", "run_uuid"),
        frozenset({"sqlite", "postgresql"}),
    ),
)


def create_small(engine: sa.Engine) -> list[str]:
    """Create the missing indexes that take a moment; return the names of those it created.

    Those of all databases but PostgreSQL: there, of small tables, and not where somebody writes
    for seconds.
    """
    if engine.dialect.name != "postgresql":
        return create_missing(engine)
    created = []
    for index in INDEXES:
        with engine.connect() as connection:
            if _state(connection, index) is None and _size(connection, index) <= SMALL_BYTES:
                wait = sa.func.set_config("lock_timeout", f"{_WAIT_S}s", True)
                connection.execute(sa.select(wait))
                try:
                    created += _create(connection, [index])
                    connection.commit()
                except DatabaseError as exc:
                    if not is_transient(exc):
                        raise
    return created


def create_missing(engine: sa.Engine) -> list[str]:
    """Create the indexes that are not there, and return the names of those it created.

    Raises:
        StoreUnavailable: One is being made at this moment, by another process.
    """
    if engine.dialect.name != "postgresql":
        with engine.begin() as connection:
            return _create(connection, _missing(connection))
    created = []
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        for index in _missing(connection):
            created += _create_concurrently(connection, index)
    return created


def missing(connection: sa.Connection) -> list[str]:
    """Return the names of the indexes that ``create_missing`` would create."""
    return [index.name for index in _missing(connection)]


def drop_all(connection: sa.Connection) -> list[str]:
    """Drop the indexes that are there, broken off ones too, and return their names."""
    dialect = connection.dialect.name
    dropped = []
    for index in INDEXES:
        if dialect in index.dialects and index.name in _names(connection, index):
            on_table = f" ON {index.table}" if dialect == "mysql" else ""
            connection.exec_driver_sql(f"DROP INDEX {index.name}{on_table}")
            dropped.append(index.name)
    return dropped


def _create(connection: sa.Connection, wanted: Sequence[RunIndex]) -> list[str]:
    created = []
    for index in wanted:
        try:
            with connection.begin_nested():
                connection.exec_driver_sql(f"CREATE INDEX {_definition(connection, index)}")
        except DatabaseError:
            if index in _missing(connection):
                raise  # not because another process was faster
        else:
            created.append(index.name)
    return created


def _create_concurrently(connection: sa.Connection, index: RunIndex) -> list[str]:
    state = _state(connection, index)
    if state is not None and state.is_being_made:
        raise StoreUnavailable(
            f"index {index.name} is being made by another process",
            hint="wait for that: nobody is held up by it",
        )
    if state is not None:
        connection.exec_driver_sql(f"DROP INDEX CONCURRENTLY IF EXISTS {index.name}")
    try:
        definition = _definition(connection, index)
        connection.exec_driver_sql(f"CREATE INDEX CONCURRENTLY {definition}")
    except DatabaseError as exc:
        if exc.connection_invalidated:
            raise
        found = _state(connection, index)
        if found is None or not (found.is_valid or found.is_being_made):
            raise
        raise StoreUnavailable(f"another process has just begun with {index.name}") from exc
    return [index.name]


def _definition(connection: sa.Connection, index: RunIndex) -> str:
    quote = connection.dialect.identifier_preparer.quote
    columns = ", ".join(
        quote(name) + (" " + direction if direction else "")
        for name, _, direction in (column.partition(" ") for column in index.columns)
    )
    return f"{index.name} ON {index.table} ({columns})"


class _State(NamedTuple):
    """Of an index that PostgreSQL knows of."""

    is_valid: bool
    is_being_made: bool


# Another user's progress is shown without saying of which index it is.
_STATE = sa.text(
    "SELECT i.indisvalid, EXISTS (SELECT FROM pg_stat_progress_create_index p"
    " WHERE p.datname = current_database()"
    " AND (p.index_relid = i.indexrelid OR p.index_relid IS NULL))"
    " FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid"
    " WHERE i.indrelid = to_regclass(:table) AND c.relname = :name"
)
_SIZE = sa.text("SELECT pg_table_size(to_regclass(:table))")


def _state(connection: sa.Connection, index: RunIndex) -> _State | None:
    row = connection.execute(_STATE, {"table": index.table, "name": index.name}).one_or_none()
    return None if row is None else _State(*row)


def _size(connection: sa.Connection, index: RunIndex) -> int:
    return int(connection.execute(_SIZE, {"table": index.table}).scalar_one())


def _names(connection: sa.Connection, index: RunIndex) -> set[str | None]:
    return {found["name"] for found in sa.inspect(connection).get_indexes(index.table)}


def _missing(connection: sa.Connection) -> list[RunIndex]:
    found = []
    for index in INDEXES:
        if connection.dialect.name == "postgresql":
            state = _state(connection, index)
            is_there = state is not None and state.is_valid
        else:
            is_there = index.name in _names(connection, index)
        if connection.dialect.name in index.dialects and not is_there:
            found.append(index)
    return found
