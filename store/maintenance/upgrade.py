"""``weir db upgrade``: the ``weir_*`` tables and indexes this version needs."""

from __future__ import annotations

from dataclasses import dataclass

import sqlalchemy as sa

from mlflow_weir.store import engine as engines
from mlflow_weir.store import migrations
from mlflow_weir.store.runs import indexes


@dataclass
class UpgradeReport:
    """What was done, or with ``dry_run`` what would be."""

    dry_run: bool
    revisions: list[str]
    indexes: list[str]


def upgrade(engine: sa.Engine, *, dry_run: bool = False) -> UpgradeReport:
    """Create or migrate the tables, and create the indexes that are missing.

    Raises:
        SchemaMismatch: The tables were written by a newer version.
        StoreUnavailable: Another process makes an index at this moment.
    """
    if dry_run:
        with engine.connect() as connection:
            return UpgradeReport(True, migrations.pending(connection), indexes.missing(connection))
    with engines.schema_lock(engine):
        revisions = migrations.upgrade(engine)
    # Without the lock: others that start meanwhile need not wait for what may take long.
    created = indexes.create_missing(engine)
    if engine.dialect.name == "sqlite":
        engines.prepare_sqlite(engine)
    return UpgradeReport(False, revisions, created)
