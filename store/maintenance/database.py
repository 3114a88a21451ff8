"""A tracking database opened for maintenance: by its engine, not through a store.

A store creates what it lacks when it is opened; maintenance must look before it touches.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeVar

import sqlalchemy as sa
from sqlalchemy.orm import Session

from mlflow_weir import settings
from mlflow_weir.errors import ConfigError, SchemaMismatch
from mlflow_weir.store import engine as engines
from mlflow_weir.store import migrations, mlflow_private, schema

T = TypeVar("T")


@contextlib.contextmanager
def opened(db_uri: str) -> Iterator[sa.Engine]:
    """Open an existing tracking database.

    Args:
        db_uri: SQLAlchemy URI without ``weir`` in it.

    Raises:
        ConfigError: There is no such SQLite file, or the database holds no MLflow tables.
    """
    url = sa.make_url(db_uri)
    if url.get_backend_name() == "sqlite" and url.database and not Path(url.database).is_file():
        raise ConfigError(f"{url.database}: no such file", hint="check the path in the URI")
    engine = mlflow_private.create_engine(db_uri)
    try:
        if not sa.inspect(engine).has_table("runs"):
            raise ConfigError(
                f"{url.render_as_string(hide_password=True)}: no MLflow tables here",
                hint="check the URI, or let MLflow create them with `mlflow db upgrade`",
            )
        yield engine
    finally:
        engine.dispose()


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
    """Return runs that have metric history here but no row in MLflow's ``runs``."""
    known = schema.mlflow_runs.c.run_uuid
    found: set[str] = set()
    for table in (schema.batch, schema.chunk, schema.series):
        query = (
            sa.select(table.c.run_uuid)
            .distinct()
            .where(~sa.exists().where(known == table.c.run_uuid))
        )
        found.update(session.execute(query).scalars())
    return sorted(found)
