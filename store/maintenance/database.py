"""A tracking database opened for maintenance: by its engine, not through a store.

A store creates what it lacks when it is opened; maintenance must look before it touches.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeVar

import sqlalchemy as sa
from mlflow import environment_variables as mlflow_settings
from sqlalchemy.orm import Session

from mlflow_weir import settings
from mlflow_weir.errors import (
    ConfigError,
    SchemaMismatch,
    StoreError,
    StoreUnavailable,
    WeirError,
)
from mlflow_weir.store import engine as engines
from mlflow_weir.store import migrations, schema

T = TypeVar("T")

_CONNECT_TIMEOUT_S = 10
_OF_A_DAMAGED_FILE = "restore a back-up, or save what can be read with `sqlite3 FILE .recover`"
_DRIVERS_WITH_TIMEOUT = frozenset({"psycopg", "psycopg2", "pymysql", "mysqldb"})


@contextlib.contextmanager
def opened(db_uri: str) -> Iterator[sa.Engine]:
    """Open an existing tracking database.

    Args:
        db_uri: SQLAlchemy URI without ``weir`` in it.

    Raises:
        ConfigError: The URI is not one, there is no such SQLite file, this user may not read it,
            it is not a database, or the database holds no MLflow tables.
        StoreUnavailable: The server does not answer or does not let this user in.
        StoreError: The database failed at what was done with the engine.
    """
    url = _parsed(db_uri)
    if url.get_backend_name() == "sqlite" and url.database:
        engines.require_file(db_uri)
        if not Path(url.database).is_file():
            raise ConfigError(f"{url.database}: no such file", hint="check the path in the URI")
    engine = _engine(url)
    try:
        try:
            has_runs = sa.inspect(engine).has_table("runs")
        except sa.exc.DBAPIError as exc:
            raise _connection_error(url, exc) from exc
        if not has_runs:
            raise ConfigError(
                f"{_shown(url)}: no MLflow tables here",
                hint="check the URI, or let MLflow create them with `mlflow db upgrade`",
            )
        try:
            yield engine
        except sa.exc.DBAPIError as exc:
            raise _failure(url, exc) from exc
    finally:
        engine.dispose()


def _parsed(db_uri: str) -> sa.URL:
    try:
        return sa.make_url(db_uri)
    except (sa.exc.ArgumentError, ValueError) as exc:  # the second for a port that is no number
        scheme, colon, _ = db_uri.partition("://")
        raise ConfigError(
            f"{f'{scheme}://…' if colon else db_uri} is not a database URI",
            hint="write sqlite:///file.db or postgresql+psycopg://user:password@host:port/database",
        ) from exc


def _engine(url: sa.URL) -> sa.Engine:
    """Create an engine that says at once that a server is not there.

    MLflow's own tries for a hundred seconds. A command line has somebody who waits.
    """
    arguments: dict[str, object] = {}
    try:
        if url.get_driver_name() in _DRIVERS_WITH_TIMEOUT and "connect_timeout" not in url.query:
            arguments["connect_timeout"] = _CONNECT_TIMEOUT_S
        if url.get_backend_name() == "mysql":  # TLS as MLflow sets it up
            certificates = {
                "ssl_ca": mlflow_settings.MLFLOW_MYSQL_SSL_CA.get(),
                "ssl_cert": mlflow_settings.MLFLOW_MYSQL_SSL_CERT.get(),
                "ssl_key": mlflow_settings.MLFLOW_MYSQL_SSL_KEY.get(),
            }
            arguments.update((name, path) for name, path in certificates.items() if path)
        engine = sa.create_engine(url, connect_args=arguments, pool_pre_ping=True)
    except sa.exc.ArgumentError as exc:  # no such dialect or driver
        raise ConfigError(
            f"{_shown(url)}: {exc}",
            hint="Weir keeps sqlite, postgresql+psycopg and mysql+pymysql databases",
        ) from exc
    except ImportError as exc:
        raise ConfigError(
            f"{_shown(url)}: {exc}",
            hint="install the driver that the URI names, or name one that is installed",
        ) from exc
    engines.prepare_no_statements(engine)
    return engine


def _connection_error(url: sa.URL, error: sa.exc.DBAPIError) -> WeirError:
    message = f"{_shown(url)}: {' '.join(str(error.orig).split())}"
    if url.get_backend_name() != "sqlite":
        return StoreUnavailable(
            message, hint="check that the server runs, and the address and user in the URI"
        )
    if engines.is_transient(error):
        return StoreUnavailable(message, hint="another process has locked it; try again")
    if "malformed" in message:
        return StoreError(message, hint=_OF_A_DAMAGED_FILE)
    return ConfigError(message, hint="check the path in the URI, and who may read the file")


def _failure(url: sa.URL, error: sa.exc.DBAPIError) -> WeirError:
    """Say in one line what the database could not do."""
    message = f"{_shown(url)}: {' '.join(str(error.orig).split())}"
    if error.connection_invalidated or engines.is_transient(error):
        return StoreUnavailable(message, hint="the command may be run again")
    if "malformed" in message:
        return StoreError(
            message, hint=f"`weir db check URI` names the rows; {_OF_A_DAMAGED_FILE}"
        )
    return StoreError(message, hint="what was done before is kept; the command may be run again")


def _shown(url: sa.URL) -> str:
    """Return a URL for a message: no user name, no password, no query, which may hold either."""
    shown = sa.URL.create(url.drivername, host=url.host, port=url.port, database=url.database)
    return shown.render_as_string()


def require_current_schema(engine: sa.Engine) -> None:
    """Refuse a database whose ``weir_*`` tables are not this version's.

    Raises:
        SchemaMismatch: They are missing, older or newer; the message says what to do.
    """
    with engine.connect() as connection:
        steps = migrations.pending(connection)
    if steps:
        raise SchemaMismatch(
            f"the weir tables lack {len(steps)} migration(s): {', '.join(steps)}",
            hint="run `weir db upgrade URI` first",
        )


def in_transaction(engine: sa.Engine, action: Callable[[Session], T]) -> T:
    """Run an action in a transaction, again while the database is locked."""

    def transaction() -> T:
        with Session(engine) as session, session.begin():
            return action(session)

    return engines.retrying(transaction, settings.WRITE_DEADLINE_SECONDS.get())


def orphaned_runs(session: Session) -> list[str]:
    """Return runs that our tables hold something of but that MLflow's ``runs`` does not have."""
    known = schema.mlflow_runs.c.run_uuid
    found: set[str] = set()
    for table in schema.OF_A_RUN:
        query = (
            sa.select(table.c.run_uuid)
            .distinct()
            .where(~sa.exists().where(known == table.c.run_uuid))
        )
        found.update(session.execute(query).scalars())
    return sorted(found)
