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

HEAD = "0011"
"""The revision this version reads and writes; tests compare it with the scripts."""

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

    Returns:
        The revisions applied, oldest first.

    Raises:
        SchemaMismatch: The database was written by a newer version.
    """
    with engine.begin() as connection:
        steps = pending(connection)
        if steps:
            command.upgrade(configuration(connection), "head")
    return steps


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
