"""``weir db compact``: MLflow's old metric rows and loose batches become chunks.

For each run: rows of MLflow's ``metrics`` table are moved in slices of up to ``SLICE_POINTS``
points, then batches, then packs are merged. History of runs that are gone is removed. On SQLite
the file is then rebuilt without the freed pages.

SQLite keeps whatever is bound to a column: a step given as ``np.int64`` is there as a BLOB, 2.7
and infinity are as they were. A chunk holds whole numbers alone, so such rows stay in ``metrics``.
"""

from __future__ import annotations

import logging
import shutil
from collections import defaultdict
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import numpy as np
import sqlalchemy as sa
from sqlalchemy.orm import Session

from mlflow_weir.errors import CompactedElsewhere
from mlflow_weir.store import migrations, schema
from mlflow_weir.store.maintenance.database import (
    in_transaction,
    orphaned_runs,
    require_current_schema,
)
from mlflow_weir.store.maintenance.progress import Progress
from mlflow_weir.store.maintenance.upgrade import upgrade
from mlflow_weir.store.metrics import chunks, compaction
from mlflow_weir.store.metrics.points import Series, history_order

SLICE_POINTS = 1_000_000

_log = logging.getLogger(__name__)


@dataclass
class CompactReport:
    """What was done, or with ``dry_run`` what would be.

    Attributes:
        moved_rows: Rows of MLflow's ``metrics`` table moved into chunks.
        batched_points: Points of batches moved into chunks.
        merged_runs: Runs whose packs were merged.
        swept_runs: Runs gone from MLflow's tables whose history was removed.
        freed_bytes: What a SQLite file shrank by; None on a database server.
        notes: What the person should know.
    """

    dry_run: bool
    moved_rows: int = 0
    batched_points: int = 0
    merged_runs: int = 0
    swept_runs: int = 0
    freed_bytes: int | None = None
    notes: list[str] = field(default_factory=list)


def compact(engine: sa.Engine, progress: Progress, *, dry_run: bool = False) -> CompactReport:
    """Move what is loose into chunks; where Weir has never been, create its tables first.

    Raises:
        SchemaMismatch: The ``weir_*`` tables are not this version's.
    """
    report = CompactReport(dry_run=dry_run)
    with engine.connect() as connection:
        is_new = migrations.current_revision(connection) is None
    with Session(engine) as session:
        rows = _movable_rows(session, report)
    if is_new and dry_run:
        report.moved_rows = sum(rows.values())
        return report
    if is_new:
        upgrade(engine)
    require_current_schema(engine)
    new = schema.batch.c
    with Session(engine) as session:
        waiting = _counts(session, new.run_uuid, sa.func.sum(new.n_points))
        orphans = orphaned_runs(session)
        packed = _runs_of_many_packs(session)
    report.swept_runs = len(orphans)
    gone = set(orphans)
    waiting = {run_id: n for run_id, n in waiting.items() if run_id not in gone}
    if dry_run:
        report.moved_rows, report.batched_points = sum(rows.values()), sum(waiting.values())
        report.merged_runs = len(packed - gone)
        return report

    if orphans:
        in_transaction(engine, partial(chunks.delete_runs, run_ids=orphans))
    progress.start("MLflow's metric rows", sum(rows.values()))
    for run_id in sorted(rows):
        while n := in_transaction(engine, partial(_move_slice, run_id=run_id)):
            report.moved_rows += n
            progress.advance(n)
    progress.start("batches", sum(waiting.values()))
    for run_id, n in sorted(waiting.items()):
        in_transaction(engine, partial(compaction.compact_batches, run_id=run_id))
        report.batched_points += n
        progress.advance(n)
    with Session(engine) as session:
        packed = _runs_of_many_packs(session)
    progress.start("runs to merge", len(packed))
    for run_id in sorted(packed):
        if in_transaction(engine, partial(compaction.merge_all, run_id=run_id)):
            report.merged_runs += 1
        progress.advance(1)
    if engine.dialect.name == "sqlite":
        _vacuum(engine, progress, report)
    return report


def _movable_rows(session: Session, report: CompactReport) -> dict[str, int]:
    """Count the rows of each run that a chunk can hold, and note how many it cannot."""
    is_movable = _is_movable(session)
    rows = _counts(session, schema.mlflow_metrics.c.run_uuid, sa.func.count(), is_movable)
    n_odd = session.execute(
        sa.select(sa.func.count()).select_from(schema.mlflow_metrics).where(~is_movable)
    ).scalar_one()
    if n_odd:
        report.notes.append(
            f"{n_odd:,} rows of `metrics` have a step or timestamp that is not a whole number, or "
            "a value that is no number, and stay where they are"
        )
    return rows


def _is_movable(session: Session) -> sa.ColumnElement[bool]:
    """Return the condition that a row holds what its columns are declared to hold."""
    if session.get_bind().dialect.name != "sqlite":
        return sa.true()
    old = schema.mlflow_metrics.c
    return sa.and_(
        sa.func.typeof(old.step) == "integer",
        sa.func.typeof(old.timestamp) == "integer",
        sa.func.typeof(old.value).in_(["real", "integer"]),
    )


def _counts(
    session: Session,
    column: sa.ColumnElement[str],
    amount: sa.ColumnElement[int],
    condition: sa.ColumnElement[bool] | None = None,
) -> dict[str, int]:
    condition = sa.true() if condition is None else condition
    rows = session.execute(sa.select(column, amount).where(condition).group_by(column))
    return {run_id: int(n) for run_id, n in rows}


def _runs_of_many_packs(session: Session) -> set[str]:
    columns = schema.chunk.c
    query = (
        sa.select(columns.run_uuid)
        .where(columns.level < chunks.SEALED_LEVEL)
        .group_by(columns.run_uuid)
        .having(sa.func.count(columns.pack.distinct()) > 1)
    )
    return set(session.execute(query).scalars())


def _move_slice(session: Session, run_id: str) -> int:
    """Move the next points of a run out of MLflow's table; return how many rows went."""
    old = schema.mlflow_metrics.c
    of_run = sa.and_(old.run_uuid == run_id, _is_movable(session))
    keys = session.execute(
        sa.select(old.key, sa.func.count()).where(of_run).group_by(old.key).order_by(old.key)
    ).all()
    if not keys:
        return 0
    last_key, n_taken = keys[0]
    for key, n in keys[1:]:
        if n_taken + n > SLICE_POINTS:
            break
        last_key, n_taken = key, n_taken + n
    # A range in the database's own order: a list of keys could exceed its limit of parameters.
    condition = sa.and_(of_run, old.key <= last_key)
    if n_taken > SLICE_POINTS:  # one key, by itself too large
        last = session.execute(
            sa.select(old.timestamp)
            .where(condition)
            .order_by(old.timestamp)
            .offset(SLICE_POINTS - 1)
            .limit(1)
        ).scalar_one()
        condition = sa.and_(condition, old.timestamp <= last)
    columns: dict[str, tuple[list[int], list[int], list[float]]] = defaultdict(
        lambda: ([], [], [])
    )
    n_rows = 0
    for key, timestamp, step, value, is_nan in session.execute(
        sa.select(old.key, old.timestamp, old.step, old.value, old.is_nan).where(condition)
    ):
        timestamps, steps, values = columns[key]
        timestamps.append(timestamp)
        steps.append(step)
        values.append(float("nan") if is_nan else value)
        n_rows += 1
    deleted = session.execute(sa.delete(schema.mlflow_metrics).where(condition))
    if deleted.rowcount != n_rows:  # type: ignore[attr-defined]
        raise CompactedElsewhere(f"run {run_id}: rows of `metrics` changed while they were moved")
    content = {
        key: history_order(
            Series(
                np.array(timestamps, dtype=np.int64),
                np.array(steps, dtype=np.int64),
                np.array(values, dtype=np.float64),
            )
        )
        for key, (timestamps, steps, values) in columns.items()
    }
    chunks.write(session, run_id, content, level=1)
    return n_rows


def _vacuum(engine: sa.Engine, progress: Progress, report: CompactReport) -> None:
    path = Path(str(engine.url.database))
    if not path.is_file():
        return
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.detach()  # its settings are for here, and it is closed at the end
        connection.exec_driver_sql("PRAGMA busy_timeout = 0").close()
        _rebuild(connection, path, progress, report)


def _rebuild(
    connection: sa.Connection, path: Path, progress: Progress, report: CompactReport
) -> None:
    """Rebuild the file unless somebody writes to it at this moment, who goes before."""
    _checkpoint(connection)  # what the log holds counts as the file's size before
    before = path.stat().st_size
    if shutil.disk_usage(path.parent).free < 2 * before:
        report.notes.append(
            f"{path} was not rebuilt: that needs {2 * before} bytes free beside it for a while"
        )
        return
    progress.start("rebuilding the file", 1)
    try:
        connection.exec_driver_sql("VACUUM").close()
    except sa.exc.OperationalError as exc:
        report.notes.append(f"{path} was not rebuilt: {exc.orig}; nothing is lost")
        return
    if not _checkpoint(connection):
        report.notes.append(f"{path} gets smaller when whoever reads it now has closed it")
    progress.advance(1)
    report.freed_bytes = max(0, before - path.stat().st_size)


def _checkpoint(connection: sa.Connection) -> bool:
    """Move what SQLite's log holds into the file; say whether nobody was in the way."""
    try:
        rows = connection.exec_driver_sql("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
    except sa.exc.OperationalError:
        return False
    return bool(rows[0][0] == 0)
