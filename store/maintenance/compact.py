"""``weir db compact``: MLflow's old metric rows and loose batches become chunks.

For each run: rows of MLflow's ``metrics`` table are moved in slices of up to ``SLICE_POINTS``
points, then batches, then packs are merged. History of runs that are gone is removed. On SQLite
the file is then rebuilt without the freed pages.
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
from mlflow_weir.store import schema
from mlflow_weir.store.maintenance.database import (
    in_transaction,
    orphaned_runs,
    require_current_schema,
)
from mlflow_weir.store.maintenance.progress import Progress
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
    """Move what is loose into chunks.

    Raises:
        SchemaMismatch: The ``weir_*`` tables are not this version's.
    """
    require_current_schema(engine)
    report = CompactReport(dry_run=dry_run)
    old, new = schema.mlflow_metrics.c, schema.batch.c
    with Session(engine) as session:
        rows = _counts(session, old.run_uuid, sa.func.count())
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


def _counts(
    session: Session, column: sa.ColumnElement[str], amount: sa.ColumnElement[int]
) -> dict[str, int]:
    rows = session.execute(sa.select(column, amount).group_by(column))
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
    of_run = old.run_uuid == run_id
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
    before = path.stat().st_size
    if shutil.disk_usage(path.parent).free < 2 * before:
        report.notes.append(
            f"{path} was not rebuilt: that needs {2 * before} bytes free beside it for a while"
        )
        return
    progress.start("rebuilding the file", 1)
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        try:
            connection.exec_driver_sql("VACUUM")
            connection.exec_driver_sql("PRAGMA wal_checkpoint(TRUNCATE)")
        except sa.exc.OperationalError as exc:
            report.notes.append(f"{path} was not rebuilt: {exc.orig}; nothing is lost")
            return
    progress.advance(1)
    report.freed_bytes = before - path.stat().st_size
