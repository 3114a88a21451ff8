"""Alembic history of the ``weir_*`` tables, apart from MLflow's: ``alembic_version_weir``."""

from __future__ import annotations

from pathlib import Path

import sqlalchemy as sa
from alembic import command
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory

from mlflow_weir.errors import SchemaMismatch
from mlflow_weir.store import schema
from mlflow_weir.store.engine import retrying

HEAD = "0013"
"""The revision this version reads and writes; tests compare it with the scripts."""

_TABLE_WAIT_S = 3
_DEADLINE_S = 300.0

VERSION_TABLE = "alembic_version_weir"


def configuration(connection: sa.Connection | None = None) -> Config:
    """Return Alembic's configuration for this history, bound to a connection."""
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent))
    config.attributes["connection"] = connection
    return config


def current_revision(connection: sa.Connection) -> str | None:
    """Return the database's revision, or None where Weir has never been."""
    context = MigrationContext.configure(connection, opts={"version_table": VERSION_TABLE})
    return context.get_current_revision()


def pending(connection: sa.Connection) -> list[str]:
    """Return the revisions that ``upgrade`` would apply, oldest first, each with its summary.

    Raises:
        SchemaMismatch: The database was written by a newer version.
    """
    current = current_revision(connection)
    if current == HEAD:
        return []
    script = ScriptDirectory.from_config(configuration())
    known = {revision.revision for revision in script.walk_revisions()}
    if current is not None and current not in known:
        raise SchemaMismatch(
            f"the database's weir tables are at revision {current!r}, newer than {HEAD!r}, the "
            "newest this version of mlflow-weir knows",
            hint="upgrade mlflow-weir here (`pip install -U mlflow-weir`)",
        )
    steps = list(script.iterate_revisions(HEAD, current or "base"))
    return [f"{step.revision} {step.doc}" for step in reversed(steps)]


def upgrade(engine: sa.Engine) -> list[str]:
    """Create or migrate the ``weir_*`` tables; the caller holds the schema lock.

    Servers of the version before may serve meanwhile. On PostgreSQL all steps are one
    transaction, and one that has to wait for a table that somebody reads holds up everybody who
    comes after it: it gives up after seconds, and is tried again for minutes.

    Returns:
        The revisions applied, oldest first.

    Raises:
        SchemaMismatch: The database was written by a newer version.
    """
    is_postgres = engine.dialect.name == "postgresql"

    def apply() -> list[str]:
        with engine.begin() as connection:
            steps = pending(connection)
            if steps:
                if is_postgres:
                    wait = sa.func.set_config("lock_timeout", f"{_TABLE_WAIT_S}s", True)
                    connection.execute(sa.select(wait))
                command.upgrade(configuration(connection), "head")
        return steps

    return retrying(apply, _DEADLINE_S if is_postgres else 0.0)


def is_absent(connection: sa.Connection) -> bool:
    """Say whether the database holds no table of Weir's."""
    found = sa.inspect(connection).get_table_names()
    return schema.metadata.tables.keys().isdisjoint(found) and VERSION_TABLE not in found


def is_incomplete(connection: sa.Connection) -> bool:
    """Say whether creating or dropping the tables was interrupted: some, but no revision."""
    return not is_absent(connection) and current_revision(connection) is None


def forget(connection: sa.Connection) -> None:
    """Remove the record of the revision; what opens the database next completes the tables."""
    sa.Table(VERSION_TABLE, sa.MetaData()).drop(connection, checkfirst=True)


def drop(connection: sa.Connection) -> None:
    """Remove every ``weir_*`` table and, before them, the record of their revision."""
    forget(connection)
    schema.metadata.drop_all(connection)
