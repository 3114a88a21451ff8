"""Connections and transactions of a delivery: nothing waits for ever, faults are told apart.

A fault of the world (database locked, connection lost, disk full) is ``StoreUnavailable``, and
nothing of the transaction was kept, or all of it: the caller asks again, and the journal's
position tells. A fault of one record is ``is_refusal``. What is known to be neither is taken for
the world's, because a record that is tried again is not lost.
"""

from __future__ import annotations

import contextlib
import re
import sqlite3
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from mlflow_weir.errors import StoreUnavailable
from mlflow_weir.store.engine import (
    is_transient,
    limit_log,
    prepare_no_statements,
    require_file,
)

_CONNECT_S = 5
_SILENCE_S = 30
_LOCK_WAIT_S = 5
_STATEMENT_S = 60
_CACHE_KIB = 8_192
# MariaDB and MySQL: a CHECK constraint, which PyMySQL takes for a fault of the server.
_CHECK_CONSTRAINT = frozenset({4025, 3819})
_CLOCKS = {
    "postgresql": sa.text("SELECT floor(extract(epoch FROM clock_timestamp()) * 1000)"),
    # Not UNIX_TIMESTAMP: local time is twice the same when the summer ends.
    "mysql": sa.text("SELECT TIMESTAMPDIFF(MICROSECOND, '1970-01-01', UTC_TIMESTAMP(3)) DIV 1000"),
}
_NOT_NULL = "23502"  # PostgreSQL
_NOT_NULL_FAILED = re.compile(r"NOT NULL constraint failed: (\w+)")  # SQLite
_PROGRAM_LIMIT = "54"  # PostgreSQL's class of what is too large for it, such as an index entry


def open_engine(
    db_uri: str,
    environment: Mapping[str, str] | None = None,
    *,
    keeps_connections: bool = True,
) -> sa.Engine:
    """Return an engine whose every wait ends.

    Args:
        db_uri: SQLAlchemy URI without ``weir`` in it; a SQLite path must be absolute.
        environment: Of the process whose journal is delivered, for MLflow's TLS settings.
        keeps_connections: False opens one for each use; of no account to SQLite.

    Raises:
        ConfigError: A SQLite URI names a folder, or a file that this user may not read.
    """
    require_file(db_uri)
    url = sa.make_url(db_uri)
    backend = url.get_backend_name()
    if backend == "sqlite":
        engine = sa.create_engine(url, connect_args={"timeout": _LOCK_WAIT_S})
        _prepare_sqlite(engine, url.database)
        return engine
    arguments: dict[str, Any] = {}
    if backend == "postgresql":
        arguments = {
            "connect_timeout": _CONNECT_S,
            "keepalives_idle": _SILENCE_S // 3,
            "keepalives_interval": _SILENCE_S // 6,
            "keepalives_count": 3,
            "tcp_user_timeout": 1000 * _SILENCE_S,
        }
    elif backend in {"mysql", "mariadb"}:
        arguments = {
            "connect_timeout": _CONNECT_S,
            "read_timeout": _STATEMENT_S,
            "write_timeout": _STATEMENT_S,
            "init_command": f"SET SESSION innodb_lock_wait_timeout = {_LOCK_WAIT_S}",
            **_mysql_tls(environment or {}),
        }
    pool: dict[str, Any] = {"poolclass": sa.NullPool}
    if keeps_connections:
        pool = {
            "pool_size": 1,
            "max_overflow": 4,  # beside a server's deliveries: heartbeats and work of its own
            "pool_timeout": _CONNECT_S,
            "pool_pre_ping": True,
        }
    engine = sa.create_engine(
        url,
        **pool,
        connect_args={name: arguments[name] for name in arguments if name not in url.query},
    )
    prepare_no_statements(engine)
    return engine


def _mysql_tls(environment: Mapping[str, str]) -> dict[str, str]:
    names = ("ssl_ca", "ssl_cert", "ssl_key")
    found = {name: environment.get(f"MLFLOW_MYSQL_{name.upper()}", "") for name in names}
    return {name: path for name, path in found.items() if path}


def _prepare_sqlite(engine: sa.Engine, database: str | None) -> None:
    def require_database(*_: object) -> None:
        # SQLite would make an empty one where the file was moved away.
        if database and not Path(database).exists():
            raise sqlite3.OperationalError(f"{database} is gone")

    def set_cache(connection: sqlite3.Connection, record: object) -> None:
        connection.execute(f"PRAGMA cache_size = -{_CACHE_KIB}")
        limit_log(connection)

    sa.event.listen(engine, "do_connect", require_database)
    sa.event.listen(engine, "connect", set_cache)


@contextlib.contextmanager
def transaction(engine: sa.Engine) -> Iterator[sa.Connection]:
    """Run a block in one write transaction, committed at its end.

    Raises:
        StoreUnavailable: The database could not be reached, stayed locked, or could not write.
    """
    with reading(engine) as connection:
        _begin(connection)
        yield connection
        connection.commit()


@contextlib.contextmanager
def reading(engine: sa.Engine) -> Iterator[sa.Connection]:
    """Run a block that only reads.

    Raises:
        StoreUnavailable: The database could not be reached.
    """
    try:
        with engine.connect() as connection:
            yield connection
    except sa.exc.DBAPIError as exc:
        if is_refusal(exc):
            raise
        raise StoreUnavailable(f"the database cannot be written: {_words(exc)}") from exc
    except sa.exc.TimeoutError as exc:
        raise StoreUnavailable("all connections to the database are in use") from exc


def _begin(connection: sa.Connection) -> None:
    dialect = connection.dialect.name
    if dialect == "sqlite":
        connection.exec_driver_sql("PRAGMA foreign_keys = ON")
        connection.exec_driver_sql(f"PRAGMA busy_timeout = {1000 * _LOCK_WAIT_S}")
        connection.exec_driver_sql("BEGIN IMMEDIATE")
    elif dialect == "postgresql":
        settings = {
            "lock_timeout": _LOCK_WAIT_S,
            "statement_timeout": _STATEMENT_S,
            # Should this process be stopped in the middle, others get its locks.
            "idle_in_transaction_session_timeout": _STATEMENT_S,
        }
        connection.execute(
            sa.select(*(sa.func.set_config(name, f"{s}s", True) for name, s in settings.items()))
        )


def clock_ms(connection: sa.Connection) -> int:
    """Return the wall time by the database's clock, which all machines share; SQLite has none."""
    dialect = connection.dialect.name
    if dialect == "sqlite":
        return time.time_ns() // 1_000_000
    found = connection.execute(_CLOCKS["postgresql" if dialect == "postgresql" else "mysql"])
    return int(found.scalar_one())


def is_refusal(error: BaseException) -> bool:
    """Say whether the database refused a value, whatever else it is given."""
    if not isinstance(error, sa.exc.DBAPIError):
        # Raised by the driver before anything was sent: a surrogate, a number of 65 bits.
        return isinstance(error, (ValueError, OverflowError))
    if error.connection_invalidated or is_transient(error):
        return False
    original: Any = error.orig
    if isinstance(error, (sa.exc.IntegrityError, sa.exc.DataError)):
        return not _is_of_a_later_version(original)
    if (getattr(original, "sqlstate", None) or "").startswith(_PROGRAM_LIMIT):
        return True
    return bool(original.args) and original.args[0] in _CHECK_CONSTRAINT


def _is_of_a_later_version(error: Any) -> bool:
    """Say whether a table of ours wants a value in a column that this version does not know.

    A server of the version to come takes the same record.
    """
    if getattr(error, "sqlstate", None) == _NOT_NULL:
        table = error.diag.table_name or ""
    else:
        found = _NOT_NULL_FAILED.match(str(error))
        table = found[1] if found else ""
    return bool(table.startswith("weir_"))


def refusal_reason(error: BaseException) -> str:
    """Say in words why the database refused a value."""
    if isinstance(error, sa.exc.DBAPIError):
        return f"the database refuses it: {_words(error)}"
    return f"the database cannot hold it: {error}"


def _words(error: sa.exc.DBAPIError) -> str:
    """Return what the driver says, without the statement and its values."""
    return " ".join(str(error.orig).split())[:300]
