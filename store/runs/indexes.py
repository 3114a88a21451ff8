"""Weir's own indexes on MLflow's tables (``weir_ix_…``), which make a page of runs cheap to find.

They hold nothing that MLflow's rows do not, MLflow never looks at them, and ``weir db eject``
drops them. What each is worth and costs: docs/decisions/002-search.md.

* Creation tolerates an index that is there already, whoever made it and however it is written,
  and a second process that makes it at the same moment.
* MLflow's own migrations may rebuild a table on SQLite and lose an index or its directions; the
  next ``create_missing`` makes it again, and until then answers are the same, later.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import sqlalchemy as sa
from sqlalchemy.exc import DatabaseError


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


def create_missing(connection: sa.Connection) -> list[str]:
    """Create the indexes that are not there, and return the names of those it created."""
    quote = connection.dialect.identifier_preparer.quote
    created = []
    for index in _missing(connection):
        columns = ", ".join(
            quote(name) + (" " + direction if direction else "")
            for name, _, direction in (column.partition(" ") for column in index.columns)
        )
        statement = f"CREATE INDEX {index.name} ON {index.table} ({columns})"
        try:
            with connection.begin_nested():
                connection.exec_driver_sql(statement)
        except DatabaseError:
            if index in _missing(connection):
                raise  # not because another process was faster
        else:
            created.append(index.name)
    return created


def missing(connection: sa.Connection) -> list[str]:
    """Return the names of the indexes that ``create_missing`` would create."""
    return [index.name for index in _missing(connection)]


def drop_all(connection: sa.Connection) -> list[str]:
    """Drop the indexes that are there, and return their names."""
    absent = _missing(connection)
    dropped = []
    for index in INDEXES:
        if connection.dialect.name in index.dialects and index not in absent:
            on_table = f" ON {index.table}" if connection.dialect.name == "mysql" else ""
            connection.exec_driver_sql(f"DROP INDEX {index.name}{on_table}")
            dropped.append(index.name)
    return dropped


def _missing(connection: sa.Connection) -> list[RunIndex]:
    inspector = sa.inspect(connection)
    return [
        index
        for index in INDEXES
        if connection.dialect.name in index.dialects
        and index.name not in {found["name"] for found in inspector.get_indexes(index.table)}
    ]
