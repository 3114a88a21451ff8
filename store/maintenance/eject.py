"""``weir db eject``: give a database back to stock MLflow with nothing missing.

Chunks that have moved to objects come back first. Every point goes back into MLflow's ``metrics``
table, chunk by chunk, each in one transaction with the removal of the chunk. When nothing is left
the ``weir_*`` tables and indexes are dropped, and a SQLite file leaves write-ahead mode. A chunk
that cannot be read stops the command after all others are back, before anything is dropped. What
runs printed becomes their artifact ``weir/console.log`` where it is not one already.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np
import sqlalchemy as sa
from sqlalchemy.dialects import mysql, postgresql, sqlite
from sqlalchemy.orm import Session

from mlflow_weir.errors import (
    ChunkCorrupt,
    CompactedElsewhere,
    SchemaMismatch,
    StoreUnavailable,
)
from mlflow_weir.store import engine as engines
from mlflow_weir.store import migrations, schema
from mlflow_weir.store.cold.reading import points_of
from mlflow_weir.store.maintenance import cold, consoles
from mlflow_weir.store.maintenance.database import (
    in_transaction,
    orphaned_runs,
    require_current_schema,
)
from mlflow_weir.store.maintenance.progress import Progress
from mlflow_weir.store.metrics import chunks
from mlflow_weir.store.metrics.batch_encoding import decode_batch, key_text, verified
from mlflow_weir.store.metrics.points import Series
from mlflow_weir.store.runs import indexes

_ROWS_AT_ONCE = 10_000


@dataclass
class EjectReport:
    """What was done, or with ``dry_run`` what would be; ``notes`` are for the person."""

    dry_run: bool
    n_points: int = 0
    n_batches: int = 0
    n_chunks: int = 0
    n_consoles: int = 0
    n_cold_chunks: int = 0
    notes: list[str] = field(default_factory=list)


def eject(engine: sa.Engine, progress: Progress, *, dry_run: bool = False) -> EjectReport:
    """Write every point back to ``metrics`` and remove what is Weir's; nothing on a stock one.

    A second one at the same time does what is left, or finds nothing to do. Nothing else may write
    to the database meanwhile: a writer that started before would put its points into tables that
    are about to go.

    Raises:
        SchemaMismatch: The ``weir_*`` tables are not this version's.
        ChunkCorrupt: Some rows cannot be read. All others are back; these are where they were.
        StoreUnavailable: Something wrote meanwhile; nothing is lost.
    """
    try:
        if not _is_stock(engine):
            return _eject(engine, progress, dry_run)
    except (sa.exc.DBAPIError, SchemaMismatch):
        with engines.schema_lock(engine):  # until whoever removes the tables has removed them all
            if not _is_stock(engine):
                raise
    # From the start, since a moment before this was interrupted, or since another one's end.
    report = EjectReport(dry_run)
    if not dry_run:
        _remove_what_is_ours(engine, report)
    return report


def _is_stock(engine: sa.Engine) -> bool:
    with engine.connect() as connection:
        return migrations.is_absent(connection)


def _eject(engine: sa.Engine, progress: Progress, dry_run: bool) -> EjectReport:
    if not dry_run:
        _complete(engine)
    require_current_schema(engine)
    with Session(engine) as session:
        counts = [
            session.execute(
                sa.select(sa.func.count(), sa.func.coalesce(sa.func.sum(table.c.n_points), 0))
            ).one()
            for table in (schema.batch, schema.chunk)
        ]
        orphans = orphaned_runs(session)
        n_steps = session.execute(
            sa.select(sa.func.count()).select_from(schema.histogram)
        ).scalar()
        batch_ids = session.execute(sa.select(schema.batch.c.batch_id)).scalars().all()
        chunk_ids = session.execute(sa.select(schema.chunk.c.chunk_id)).scalars().all()
        printed = consoles.list_consoles(session.connection())
    (n_batches, batch_points), (n_chunks, chunk_points) = counts
    report = EjectReport(
        dry_run, int(batch_points) + int(chunk_points), n_batches, n_chunks, len(printed)
    )
    report.n_cold_chunks = cold.waiting(engine).n_returned
    if n_steps:
        report.notes.append(
            f"histograms of gradients and parameters ({n_steps} rows) have no place in stock "
            "MLflow and go with the weir tables; their norms and the like are metrics and stay"
        )
    if dry_run:
        return report

    if orphans:
        in_transaction(engine, partial(chunks.delete_runs, run_ids=orphans))
    # What stays cold because it cannot be read fails again below, and is told of there.
    report.n_cold_chunks = cold.bring_back(engine, progress)[0].n_returned
    unreadable: list[ChunkCorrupt] = []
    progress.start("points back into MLflow's table", report.n_points)
    for give_back, ids in ((_give_back_batch, batch_ids), (_give_back_chunk, chunk_ids)):
        for row_id in ids:
            try:
                n = in_transaction(engine, partial(give_back, row_id=row_id))
            except ChunkCorrupt as exc:
                unreadable.append(exc)
            else:
                progress.advance(n)
    if unreadable:
        first, n = unreadable[0], len(unreadable)
        staying = "it stays" if n == 1 else f"it and {n - 1} other rows that cannot be read stay"
        raise ChunkCorrupt(
            first.what,
            f"{first.reason}; {staying} in the weir tables, all other points are back in "
            "`metrics`",
        )
    progress.start("consoles to artifacts", len(printed))
    for console in printed:
        report.notes += filter(None, [consoles.keep_as_artifact(engine, console)])
        progress.advance(1)
    _remove_what_is_ours(engine, report)
    return report


def _remove_what_is_ours(engine: sa.Engine, report: EjectReport) -> None:
    with engines.schema_lock(engine), engine.begin() as connection:
        _require_empty(connection)
        # In this order: where tables are left, running it again completes what was interrupted.
        migrations.forget(connection)
        indexes.drop_all(connection)
        migrations.drop(connection)
    if engine.dialect.name == "sqlite":
        with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
            try:
                connection.exec_driver_sql("PRAGMA wal_checkpoint(TRUNCATE)").close()
                connection.exec_driver_sql("PRAGMA journal_mode = DELETE").close()
            except sa.exc.OperationalError as exc:
                report.notes.append(
                    f"{engine.url.database} stays in write-ahead mode, because another process "
                    f"has it open ({exc.orig}); stock MLflow reads and writes it all the same"
                )


def _complete(engine: sa.Engine) -> None:
    """Put back the tables that an interrupted ``eject`` has dropped already; none has a row."""
    with engines.schema_lock(engine):
        with engine.connect() as connection:
            if not migrations.is_incomplete(connection):
                return
        migrations.upgrade(engine)


def _require_empty(connection: sa.Connection) -> None:
    if migrations.is_absent(connection):
        return
    for table in (schema.batch, schema.chunk):
        if connection.execute(sa.select(table.c.run_uuid).limit(1)).first() is not None:
            raise StoreUnavailable(
                f"{table.name} got new rows while the others were written back",
                hint="stop everything that writes here, then run `weir db eject` again",
            )


def _give_back_batch(session: Session, row_id: int) -> int:
    columns = schema.batch.c
    row = session.execute(
        sa.select(columns.run_uuid, columns.crc32, columns.payload).where(
            columns.batch_id == row_id
        )
    ).one_or_none()
    if row is None:
        return 0
    what = f"weir_batch {row_id}"
    content = decode_batch(verified(row.payload, row.crc32, what), what)
    n = _insert(session, row.run_uuid, content.items())
    session.execute(sa.delete(schema.batch).where(columns.batch_id == row_id))
    return n


def _give_back_chunk(session: Session, row_id: int) -> int:
    columns, index = schema.chunk.c, schema.series.c
    row = session.execute(
        sa.select(columns.run_uuid, columns.crc32, columns.payload).where(
            columns.chunk_id == row_id
        )
    ).one_or_none()
    if row is None:
        return 0
    what = f"weir_chunk {row_id}"
    points = points_of(session, row_id, row.crc32, row.payload)
    entries = session.execute(
        sa.select(index.key, index.first_row, index.n_points).where(
            index.run_uuid == row.run_uuid, index.chunk_id == row_id
        )
    )
    content = [
        (key_text(key), points.rows(first_row, first_row + n_points))
        for key, first_row, n_points in entries
    ]
    n = _insert(session, row.run_uuid, content)
    if n != len(points):
        still = sa.select(columns.chunk_id).where(columns.chunk_id == row_id)
        if session.execute(still).first() is None:
            raise CompactedElsewhere(f"{what} was written back by another process meanwhile")
        raise ChunkCorrupt(what, f"{len(points)} points, but weir_series lists {n}")
    chunks.delete(session, [row_id])
    return n


def _insert(session: Session, run_id: str, content: Iterable[tuple[str, Series]]) -> int:
    """Insert points as MLflow writes them; those that are there already are left as they are."""
    statement = _insert_if_absent(session.get_bind().dialect.name)
    n = 0
    for key, series in content:
        is_nan = np.isnan(series.value)
        rows = zip(
            series.timestamp.tolist(),
            series.step.tolist(),
            np.where(is_nan, 0.0, series.value).tolist(),
            is_nan.tolist(),
            strict=True,
        )
        batch: list[dict[str, Any]] = []
        for timestamp, step, value, nan in rows:
            batch.append(
                {
                    "run_uuid": run_id,
                    "key": key,
                    "timestamp": timestamp,
                    "step": step,
                    "value": value,
                    "is_nan": nan,
                }
            )
            if len(batch) == _ROWS_AT_ONCE:
                session.execute(statement, batch)
                batch = []
        if batch:
            session.execute(statement, batch)
        n += len(series)
    return n


def _insert_if_absent(dialect: str) -> sa.Executable:
    table = schema.mlflow_metrics
    if dialect in {"mysql", "mariadb"}:
        statement = mysql.insert(table)
        return statement.on_duplicate_key_update(step=table.c.step)
    if dialect == "sqlite":
        return sqlite.insert(table).on_conflict_do_nothing()
    return postgresql.insert(table).on_conflict_do_nothing()
