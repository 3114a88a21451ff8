"""``weir db check``: every stored point is where the index says, and as it was written.

Reads everything and changes nothing. A problem names its row; what it means for a reader is that
the metrics in that row fail with the same message, and that nothing else does. Of an SQLite file
its pages are looked at as well, those of MLflow's tables among them.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import sqlalchemy as sa
from sqlalchemy.orm import Session

from mlflow_weir.errors import ChunkCorrupt
from mlflow_weir.store import migrations, schema
from mlflow_weir.store.histograms import writing as histograms
from mlflow_weir.store.maintenance import cold_check, consoles
from mlflow_weir.store.maintenance.database import orphaned_runs, require_current_schema
from mlflow_weir.store.maintenance.progress import Progress
from mlflow_weir.store.metrics import rollups
from mlflow_weir.store.metrics.batch_encoding import decode_batch, key_text, verified
from mlflow_weir.store.metrics.encoding import decode_chunk, decode_chunk_keys

_PAGE = 200  # chunks read at once
_MAX_FAULTS = 20  # of a file, that are named


@dataclass
class CheckReport:
    """What was found; ``problems`` is empty when all is well, ``notes`` are not problems."""

    n_batches: int = 0
    n_chunks: int = 0
    n_rollups: int = 0
    n_points: int = 0
    n_histograms: int = 0
    n_objects: int = 0
    problems: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def check(engine: sa.Engine, progress: Progress) -> CheckReport:
    """Verify checksums, counts and the index of every batch, chunk, rollup and histogram.

    Raises:
        SchemaMismatch: The ``weir_*`` tables are not this version's.
    """
    report = CheckReport()
    with engine.connect() as connection:
        if migrations.is_absent(connection):
            report.notes.append("no Weir tables here; nothing to check")
            return report
    require_current_schema(engine)
    if engine.dialect.name == "sqlite":
        progress.start("the file", 1)
        report.problems += _faults_of_file(engine)
        progress.advance(1)
    with Session(engine) as session:
        n_batches = session.execute(sa.select(sa.func.count()).select_from(schema.batch)).scalar()
        n_chunks = session.execute(sa.select(sa.func.count()).select_from(schema.chunk)).scalar()
        progress.start("batches", n_batches or 0)
        _check_batches(session, report, progress)
        progress.start("chunks", n_chunks or 0)
        _check_chunks(session, report, progress)
        _check_strays(session, report)
        report.n_objects = session.execute(
            sa.select(sa.func.count()).select_from(schema.cold_object)
        ).scalar_one()
        report.problems += cold_check.problems(session, report.notes)
        report.problems += consoles.problems(session.connection())
        _check_histograms(session, report)
        for run_id in orphaned_runs(session):
            report.problems.append(
                f"run {run_id}: gone from MLflow's tables (`weir db compact` sweeps it)"
            )
    return report


def _faults_of_file(engine: sa.Engine) -> list[str]:
    """Return what SQLite finds wrong with the file's pages, rows of MLflow's tables in them."""
    with engine.connect() as connection:
        try:
            found = (
                connection.exec_driver_sql(f"PRAGMA quick_check({_MAX_FAULTS})").scalars().all()
            )
        except sa.exc.DBAPIError as exc:  # too damaged to say more
            found = [str(exc.orig)]
    lines = [line for text in found for line in str(text).splitlines()]
    return [
        f"the file: {line} (restore a back-up, or save what can be read with "
        "`sqlite3 FILE .recover`)"
        for line in lines
        if line != "ok" and not line.startswith("*** in database")
    ]


def _check_batches(session: Session, report: CheckReport, progress: Progress) -> None:
    columns = schema.batch.c
    query = sa.select(columns.batch_id, columns.n_points, columns.crc32, columns.payload)
    for rows in _pages(session, query, columns.batch_id, report):
        for batch_id, n_points, crc32, payload in rows:
            what = f"weir_batch {batch_id}"
            try:
                content = decode_batch(verified(payload, crc32, what), what)
            except ChunkCorrupt as exc:
                report.problems.append(str(exc))
            else:
                found = sum(map(len, content.values()))
                if found != n_points:
                    report.problems.append(f"{what}: {found} points, its row says {n_points}")
                report.n_points += found
        report.n_batches += len(rows)
        progress.advance(len(rows))


def _pages(
    session: Session, query: sa.Select[Any], key: sa.Column[Any], report: CheckReport
) -> Iterator[Sequence[Any]]:
    """Read the rows of a table in the order of ``key``, some hundred at once.

    A row that the database cannot read, as after a disk fault, is a problem; all others are read.
    """
    last = -1
    while True:
        page = query.where(key > last).order_by(key).limit(_PAGE)
        try:
            rows: Sequence[Any] = session.execute(page).all()
        except sa.exc.DBAPIError:
            session.rollback()
            ids = sa.select(key).where(key > last).order_by(key).limit(_PAGE)
            found = session.execute(ids).scalars().all()
            rows = [row for one in found for row in _row(session, query, key, one, report)]
            last = found[-1]
        else:
            if not rows:
                return
            last = rows[-1]._mapping[key]
        yield rows


def _row(
    session: Session,
    query: sa.Select[Any],
    key: sa.Column[Any],
    row_id: int,
    report: CheckReport,
) -> Sequence[Any]:
    """Return a row in a list, or note that it cannot be read."""
    try:
        return session.execute(query.where(key == row_id)).all()
    except sa.exc.DBAPIError as exc:
        session.rollback()
        report.problems.append(f"{key.table} {row_id}: the database cannot read it: {exc.orig}")
        return []


def _check_chunks(session: Session, report: CheckReport, progress: Progress) -> None:
    columns = schema.chunk.c
    query = sa.select(
        columns.chunk_id, columns.run_uuid, columns.n_points, columns.crc32, columns.payload
    )
    for rows in _pages(session, query, columns.chunk_id, report):
        ids = [row.chunk_id for row in rows]
        index = defaultdict(list)
        for entry in session.execute(
            sa.select(schema.series).where(
                # The key of the table begins with the run: without it every page reads all of it.
                schema.series.c.run_uuid.in_({row.run_uuid for row in rows}),
                schema.series.c.chunk_id.in_(ids),
            )
        ):
            index[entry.chunk_id].append(entry)
        reduced = defaultdict(list)
        for entry in session.execute(
            sa.select(schema.rollup).where(schema.rollup.c.chunk_id.in_(ids))
        ):
            reduced[entry.chunk_id].append(entry)
        for row in rows:
            belongs = (index[row.chunk_id], reduced[row.chunk_id])
            problems = list(_chunk_problems(session, row, *belongs, report))
            if problems:
                # Compaction may have replaced it since it was read, and its index and rollups with
                # it; or it has come back from an object that is gone by now.
                session.rollback()
                again = session.execute(query.where(columns.chunk_id == row.chunk_id)).first()
                if again is not None and again != row:
                    problems = list(_chunk_problems(session, again, *belongs, report))
                report.problems += problems if again is not None else ()
        report.n_chunks += len(rows)
        progress.advance(len(rows))


def _chunk_problems(
    session: Session,
    row: Any,
    index: list[Any],
    reduced: list[Any],
    report: CheckReport,
) -> Iterator[str]:
    chunk_id, what = row.chunk_id, f"weir_chunk {row.chunk_id}"
    try:
        if row.payload:
            payload = verified(row.payload, row.crc32, what)
            points = decode_chunk(payload, what)
            keys = decode_chunk_keys(payload, what)
        else:
            points, keys = cold_check.content_of(session, chunk_id, row.run_uuid)
    except ChunkCorrupt as exc:
        yield str(exc)
        return
    report.n_points += len(points)
    if len(points) != row.n_points:
        yield f"{what}: {len(points)} points, its row says {row.n_points}"
    entries = sorted(index, key=lambda entry: entry.first_row)
    listed = [(key_text(entry.key), entry.n_points) for entry in entries]
    if listed != keys:
        yield f"{what}: holds {_brief(keys)}, weir_series lists {_brief(listed)}"
        return
    of_entry = {}
    for entry in entries:
        part = points.rows(entry.first_row, entry.first_row + entry.n_points)
        of_entry[entry.first_row] = part
        step, timestamp = part.step, part.timestamp
        ranges = tuple(int(end(of)) for of in (step, timestamp) for end in (np.min, np.max))
        said = (entry.min_step, entry.max_step, entry.min_timestamp, entry.max_timestamp)
        if said != ranges:
            yield f"{what}: {key_text(entry.key)!r} spans {ranges}, weir_series says {said}"
        if np.any(np.diff(part.timestamp) < 0):
            yield f"{what}: {key_text(entry.key)!r} is not in the order of its timestamps"
    stored = {(entry.first_row, entry.resolution) for entry in reduced}
    for first_row, part in of_entry.items():
        for resolution in rollups.RESOLUTIONS:
            if len(part) >= 8 * resolution and (first_row, resolution) not in stored:
                yield f"weir_rollup {chunk_id}/{first_row}/{resolution}: the row is missing"
    for entry in reduced:
        name = f"weir_rollup {chunk_id}/{entry.first_row}/{entry.resolution}"
        report.n_rollups += 1
        try:
            buckets = rollups.decode(verified(entry.payload, entry.crc32, name), name)
        except ChunkCorrupt as exc:
            yield str(exc)
            continue
        whole = of_entry.get(entry.first_row)
        if whole is None:
            yield f"{name}: belongs to no metric of its chunk"
        elif not rollups.agree(buckets, rollups.every(whole, entry.resolution)):
            yield f"{name}: does not agree with the points it stands for"


def _check_histograms(session: Session, report: CheckReport) -> None:
    query = sa.select(schema.histogram)
    for rows in _pages(session, query, schema.histogram.c.histogram_id, report):
        for row in rows:
            name = histograms.what(row.histogram_id)
            try:
                if row.form == histograms.SUMMARY:
                    kind, steps = _of_norms(row)
                else:
                    kind, steps = _of_table(row, report)
            except ChunkCorrupt as exc:
                report.problems.append(str(exc))
                continue
            found = (kind, int(steps.min()), int(steps.max()), len(np.unique(steps)))
            said = (row.kind, row.first_step, row.last_step, row.n_steps)
            if found != said:
                report.problems.append(f"{name}: holds {found}, its row says {said}")


def _of_norms(row: Any) -> tuple[str, Any]:
    norms = histograms.norms_of(row.histogram_id, row.crc32, row.payload)
    return norms.kind, norms.step


def _of_table(row: Any, report: CheckReport) -> tuple[str, Any]:
    table = histograms.table_of(row.histogram_id, row.crc32, row.payload)
    report.n_histograms += len(table)
    if row.form == histograms.BLOCK and table.keys != (key_text(row.key),):
        raise ChunkCorrupt(
            histograms.what(row.histogram_id), f"holds {table.keys}, its row says {row.key!r}"
        )
    return table.kind, table.step


def _brief(keys: list[tuple[str, int]]) -> str:
    shown = ", ".join(f"{key!r} ({n})" for key, n in keys[:3])
    return f"{len(keys)} metrics: {shown}{', …' if len(keys) > 3 else ''}"


def _check_strays(session: Session, report: CheckReport) -> None:
    owner = schema.chunk.c.chunk_id
    for table in (schema.series, schema.rollup, schema.cold):
        stray = session.execute(
            sa.select(sa.func.count())
            .select_from(table)
            .where(~sa.exists().where(owner == table.c.chunk_id))
        ).scalar()
        if stray:
            report.problems.append(f"{table.name}: {stray} rows belong to no chunk")
