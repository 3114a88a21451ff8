"""``weir db archive``: chunks of ended runs move to a folder or to S3, and come back.

An object goes through three states, each committed before what follows from it is done:

    writing   its name is taken; the object may be there or not, and no chunk is in it
    live      it was written and read back; chunks are in it, whose payload is empty since
    dropped   no chunk is in it any more; the object may be there or not

So whatever is killed, and wherever: every point is in the row of its chunk or in a live object,
never in neither; and an object that is not live is taken away by the next command, before its row
is. A chunk moves in one transaction that finds it as it was when it was copied: one that was
merged, rewound or deleted meanwhile makes the object a dropped one.

Objects never change. One that has lost a chunk (a run was deleted, rewound, or moved to another
experiment) still holds its points, for whoever reads the data set; so the next command brings the
others back, drops it, and moves them again.

One command at a time, by a lock that ends with its process. Should the lock be lost, as when a
connection breaks, the one that lost it finds its object's row gone and commits nothing.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import secrets
import time
import zlib
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import sqlalchemy as sa
from sqlalchemy.orm import Session

from mlflow_weir.errors import ChunkCorrupt, CompactedElsewhere, ConfigError
from mlflow_weir.store import engine as engines
from mlflow_weir.store import schema
from mlflow_weir.store.cold import objects, reading
from mlflow_weir.store.cold.places import ObjectMissing, Place, open_place
from mlflow_weir.store.delivery import mlflow_tables as tables
from mlflow_weir.store.maintenance.cold_chunks import (
    ENDED,
    Row,
    Run,
    ended_runs,
    iter_rows,
    merge,
)
from mlflow_weir.store.maintenance.database import in_transaction, require_current_schema
from mlflow_weir.store.maintenance.progress import Progress
from mlflow_weir.store.metrics import chunks
from mlflow_weir.store.metrics.batch_encoding import key_text, verified
from mlflow_weir.store.metrics.encoding import Placed, decode_chunk, encode_chunk
from mlflow_weir.store.metrics.points import Series

OBJECT_POINTS = 1 << 21
"""Most points of an object, some 15 MB; they are in memory while it is written."""

MARKER = "_weir.json"
WRITING, LIVE, DROPPED = "writing", "live", "dropped"
_IN_LIST = 500
_READ_AHEAD = 8


@dataclass
class ArchiveReport:
    """What was done, or with ``dry_run`` what would be.

    Attributes:
        n_bytes: Of the payloads that moved, as they were in the database.
        n_objects: Written; their bytes are ``object_bytes``.
        n_returned: Chunks that were brought back into the database.
        n_removed: Objects that were taken away.
    """

    dry_run: bool
    n_runs: int = 0
    n_chunks: int = 0
    n_points: int = 0
    n_bytes: int = 0
    n_objects: int = 0
    object_bytes: int = 0
    n_returned: int = 0
    n_removed: int = 0
    notes: list[str] = field(default_factory=list)


def archive(
    engine: sa.Engine,
    address: str,
    progress: Progress,
    *,
    older_than_ms: int,
    dry_run: bool = False,
) -> ArchiveReport:
    """Move the chunks of runs that ended so long ago; set right first what was left half done.

    Args:
        engine: Of the database.
        address: A folder's URI or absolute path, or ``s3://bucket/prefix``.
        progress: Told of each chunk.
        older_than_ms: Since the end of a run; at least 0.
        dry_run: Only say what would move.

    Raises:
        ConfigError: The place is none, or another database's.
        SchemaMismatch: The ``weir_*`` tables are not this version's.
        StoreUnavailable: The place cannot be reached, or another command holds the lock. What
            was done before is kept.
    """
    place = open_place(address)
    require_current_schema(engine)
    report = ArchiveReport(dry_run)
    if dry_run:
        with engine.connect() as connection:
            for group in _objects(connection, ended_runs(connection, older_than_ms)):
                report.n_chunks += len(group)
                report.n_points += sum(row.n_points for row in group)
                report.n_bytes += sum(row.size_bytes for row in group)
                report.n_objects += 1
        return report
    with engines.cold_lock(engine):
        _set_right(engine, progress, report)
        dataset = _dataset(engine, place)
        with engine.connect() as connection:
            runs = ended_runs(connection, older_than_ms)
        merge(engine, runs)
        with engine.connect() as connection:
            groups = list(_objects(connection, runs))
        progress.start("chunks", sum(map(len, groups)))
        moved: set[str] = set()
        for group in groups:
            moved |= _move(engine, place, dataset, group, report)
            progress.advance(len(group))
        report.n_runs = len(moved)
    return report


def bring_back(engine: sa.Engine, progress: Progress) -> tuple[ArchiveReport, list[ChunkCorrupt]]:
    """Bring every chunk back into the database and take the objects away.

    Returns:
        What was done, and what could not be read: that stays where it is, and its object too.

    Raises:
        SchemaMismatch: The ``weir_*`` tables are not this version's.
        StoreUnavailable: A place cannot be reached, or another command holds the lock.
    """
    require_current_schema(engine)
    report = ArchiveReport(dry_run=False)
    with engines.cold_lock(engine):
        unreadable = _set_right(engine, progress, report, is_all=True)
    return report, unreadable


def waiting(engine: sa.Engine) -> ArchiveReport:
    """Return what ``bring_back`` would do."""
    report = ArchiveReport(dry_run=True)
    with engine.connect() as connection:
        count = sa.select(sa.func.count())
        report.n_returned = connection.execute(count.select_from(schema.cold)).scalar_one()
        report.n_removed = connection.execute(count.select_from(schema.cold_object)).scalar_one()
    return report


# Which chunks


def _objects(connection: sa.Connection, runs: Sequence[Run]) -> Iterator[list[Row]]:
    """Yield the chunks that are to move, those of one object together."""
    of_partition: dict[tuple[int, str], list[Run]] = defaultdict(list)
    for run in runs:
        of_partition[run.experiment_id, run.month].append(run)
    for members in of_partition.values():
        group: list[Row] = []
        size = 0
        for row in iter_rows(connection, members):
            if group and size + row.n_points > OBJECT_POINTS:
                yield group
                group, size = [], 0
            group.append(row)
            size += row.n_points
        if group:
            yield group


# Out of the database


def _dataset(engine: sa.Engine, place: Place) -> str:
    """Return the id of the data set at a place, which is this database's or nobody's yet.

    Raises:
        ConfigError: It is another database's.
    """
    columns = schema.cold_object.c
    with engine.connect() as connection:
        known: str | None = connection.execute(
            sa.select(columns.dataset).where(columns.root == place.address).limit(1)
        ).scalar()
    try:
        there = json.loads(place.read(MARKER))["dataset"]
    except ObjectMissing:
        return known or secrets.token_hex(16)
    except (ValueError, KeyError, TypeError):
        there = None
    if there is None or there != known:
        raise ConfigError(
            f"{place.address} holds the chunks of another database",
            hint="give each database a folder or prefix of its own",
        )
    return str(there)


def _move(
    engine: sa.Engine, place: Place, dataset: str, rows: Sequence[Row], report: ArchiveReport
) -> set[str]:
    """Move chunks into one object; return whose they were, nobody's where it came to nothing."""
    run = rows[0].run
    object_id = secrets.token_hex(16)
    name = f"experiment_id={run.experiment_id}/month={run.month}/{object_id}.parquet"
    copied, levels = _copied(engine, rows, report)
    if not copied:
        return set()
    values: dict[str, Any] = {
        "object_id": object_id,
        "dataset": dataset,
        "root": place.address,
        "name": name,
        "experiment_id": run.experiment_id,
        "state": WRITING,
        "n_chunks": len(copied),
        "n_points": sum(map(len, copied)),
        "size_bytes": 0,
        "sha256": "",
        "footer": b"",
        "created_ms": time.time_ns() // 1_000_000,
    }
    in_transaction(engine, lambda session: session.execute(sa.insert(schema.cold_object), values))
    # After the row, so that there is never a marker that no row knows.
    place.put(MARKER, json.dumps({"dataset": dataset, "written_by": "mlflow-weir"}).encode())
    written = objects.write(copied)
    place.put(name, written.body)
    sha256 = hashlib.sha256(written.body).hexdigest()
    if hashlib.sha256(place.read(name)).hexdigest() != sha256:
        _drop(engine, object_id, report)
        raise ChunkCorrupt(f"{place.address}/{name}", "what was written came back different")
    live = {"size_bytes": len(written.body), "sha256": sha256, "footer": written.footer}
    if not in_transaction(
        engine,
        partial(_commit, object_id=object_id, live=live, written=written, levels=levels),
    ):
        report.notes.append(f"chunks of {len(copied)} changed while they were copied: left there")
        _drop(engine, object_id, report)
        return set()
    report.n_objects += 1
    report.object_bytes += len(written.body)
    report.n_chunks += len(copied)
    report.n_points += values["n_points"]
    report.n_bytes += sum(row.size_bytes for row in levels.values())
    return {chunk.run_id for chunk in copied}


def _copied(
    engine: sa.Engine, rows: Sequence[Row], report: ArchiveReport
) -> tuple[list[objects.Chunk], dict[int, Row]]:
    """Read chunks that are sound and whose keys a text column can hold."""
    data, index = schema.chunk.c, schema.series.c
    found: list[objects.Chunk] = []
    copied: dict[int, Row] = {}
    with engine.connect() as connection:
        for row in rows:
            what = f"weir_chunk {row.chunk_id}"
            payload = connection.execute(
                sa.select(data.payload).where(data.chunk_id == row.chunk_id)
            ).scalar()
            entries = connection.execute(
                sa.select(index.key, index.first_row, index.n_points)
                .where(index.run_uuid == row.run.run_id, index.chunk_id == row.chunk_id)
                .order_by(index.first_row)
            ).all()
            if not payload:  # merged, deleted or moved by others
                continue
            try:
                points = decode_chunk(verified(payload, row.crc32, what), what)
                placed = _placed(entries, points, what)
            except ChunkCorrupt as exc:
                report.notes.append(f"left where it is: {exc}")
                continue
            except UnicodeEncodeError:
                report.notes.append(f"{what} stays: a key in it is no text that UTF-8 can hold")
                continue
            found.append(objects.Chunk(row.chunk_id, row.run.run_id, placed))
            copied[row.chunk_id] = row
    return found, copied


def _placed(entries: Sequence[Any], points: Series, what: str) -> list[Placed]:
    """Return whose the rows of a chunk are.

    Raises:
        ChunkCorrupt: The index does not list all of its points.
        UnicodeEncodeError: A key is no text.
    """
    placed = []
    at = 0
    for key, first_row, n_points in entries:
        text = key_text(key)
        text.encode()
        if first_row != at:
            break
        placed.append(Placed(text, first_row, points.rows(first_row, first_row + n_points)))
        at += n_points
    if at != len(points):
        raise ChunkCorrupt(what, f"{len(points)} points, but weir_series lists {at}")
    return placed


def _commit(
    session: Session,
    object_id: str,
    live: dict[str, Any],
    written: objects.Written,
    levels: dict[int, Row],
) -> bool:
    """Let chunks be in their object, if all is as it was when they were copied."""
    of, data, runs = schema.cold_object.c, schema.chunk.c, tables.runs.c
    state = session.execute(
        sa.select(of.state).where(of.object_id == object_id).with_for_update()
    ).scalar()
    if state != WRITING:
        return False
    ids = sorted(levels)
    there: dict[int, int] = {}
    for start in range(0, len(ids), _IN_LIST):
        for chunk_id, crc32 in session.execute(
            sa.select(data.chunk_id, data.crc32)
            .where(
                data.chunk_id.in_(ids[start : start + _IN_LIST]), data.level < chunks.COLD_LEVEL
            )
            .with_for_update()
        ):
            there[chunk_id] = crc32
    if there != {chunk_id: row.crc32 for chunk_id, row in levels.items()}:
        return False
    run_ids = sorted({row.run.run_id for row in levels.values()})
    for start in range(0, len(run_ids), _IN_LIST):
        part = run_ids[start : start + _IN_LIST]
        n_ended = session.execute(
            sa.select(sa.func.count()).where(runs.run_uuid.in_(part), runs.status.in_(ENDED))
        ).scalar_one()
        if n_ended != len(part):
            return False
    session.execute(
        sa.insert(schema.cold),
        [
            {
                "chunk_id": chunk_id,
                "run_uuid": levels[chunk_id].run.run_id,
                "object_id": object_id,
                "row_group": place.row_group,
                "first_row": place.first_row,
                "range_start": place.start,
                "range_bytes": place.n_bytes,
                "crc32": place.crc32,
                "level": levels[chunk_id].level,
                "size_bytes": levels[chunk_id].size_bytes,
            }
            for chunk_id, place in written.ranges.items()
        ],
    )
    for start in range(0, len(ids), _IN_LIST):
        session.execute(
            sa.update(schema.chunk)
            .where(data.chunk_id.in_(ids[start : start + _IN_LIST]))
            .values(payload=b"", size_bytes=0, level=chunks.COLD_LEVEL)
        )
    session.execute(
        sa.update(schema.cold_object).where(of.object_id == object_id).values(state=LIVE, **live)
    )
    return True


# Back into the database


def _set_right(
    engine: sa.Engine, progress: Progress, report: ArchiveReport, *, is_all: bool = False
) -> list[ChunkCorrupt]:
    """Take away what is not live, and objects that hold what they should not.

    Args:
        engine: Of the database, under the lock.
        progress: Told of each chunk that comes back.
        report: What is counted in.
        is_all: Bring everything back.

    Returns:
        What could not be read, where everything is to come back; that is left as it is.

    Raises:
        ChunkCorrupt: What could not be read, otherwise.
    """
    of, cold = schema.cold_object.c, schema.cold.c
    with engine.connect() as connection:
        rows = connection.execute(sa.select(of.object_id, of.state, of.root)).all()
        states = [(object_id, state) for object_id, state, _ in rows]
        stale = {object_id for object_id, _ in states} if is_all else _stale(connection)
        members: dict[str, list[int]] = defaultdict(list)
        for object_id, chunk_id in connection.execute(
            sa.select(cold.object_id, cold.chunk_id).order_by(cold.chunk_id)
        ):
            members[object_id].append(chunk_id)
    stale = {object_id for object_id, state in states if state == LIVE and object_id in stale}
    if is_all or any(state != LIVE for _, state in states):
        for root in {row.root for row in rows}:
            open_place(root).sweep()
    progress.start("chunks back", sum(len(members[object_id]) for object_id in stale))
    unreadable: list[ChunkCorrupt] = []
    for object_id in sorted(stale):
        for at, chunk_id in enumerate(members[object_id]):
            if at % _READ_AHEAD == 0:
                _read_ahead(engine, members[object_id][at : at + _READ_AHEAD])
            try:
                report.n_returned += in_transaction(engine, partial(_thaw, chunk_id=chunk_id))
            except ChunkCorrupt as exc:
                unreadable.append(exc)
            progress.advance(1)
    if unreadable and not is_all:
        raise unreadable[0]
    for object_id, state in states:
        if state != LIVE or object_id in stale:
            _drop(engine, object_id, report)
    return unreadable


def _read_ahead(engine: sa.Engine, chunk_ids: Sequence[int]) -> None:
    """Fetch chunks side by side and before the transaction, which is not to wait for a place."""
    with contextlib.suppress(ChunkCorrupt), engine.connect() as connection:
        reading.read_cold(connection, chunk_ids)


def _stale(connection: sa.Connection) -> set[str]:
    """Return live objects that have lost a chunk, or hold one of another experiment by now."""
    of, cold, runs = schema.cold_object.c, schema.cold.c, tables.runs.c
    in_it = (
        sa.select(cold.object_id, sa.func.count().label("n")).group_by(cold.object_id).subquery()
    )
    lost = (
        sa.select(of.object_id)
        .join_from(schema.cold_object, in_it, in_it.c.object_id == of.object_id, isouter=True)
        .where(of.state == LIVE, sa.func.coalesce(in_it.c.n, 0) != of.n_chunks)
    )
    moved = (
        sa.select(of.object_id)
        .distinct()
        .join_from(schema.cold_object, schema.cold, cold.object_id == of.object_id)
        .join(tables.runs, runs.run_uuid == cold.run_uuid)
        .where(runs.experiment_id != of.experiment_id)
    )
    return {*connection.execute(lost).scalars(), *connection.execute(moved).scalars()}


def _thaw(session: Session, chunk_id: int) -> int:
    """Write a chunk's payload into its row again; return 1, or 0 where it is not cold."""
    cold, data, index = schema.cold.c, schema.chunk.c, schema.series.c
    row = session.execute(
        sa.select(data.run_uuid, data.crc32, data.payload, cold.level)
        .join_from(schema.cold, schema.chunk, data.chunk_id == cold.chunk_id)
        .where(cold.chunk_id == chunk_id)
    ).one_or_none()
    if row is None or row.payload:
        return 0
    points = reading.points_of(session, chunk_id, row.crc32, row.payload)
    entries = session.execute(
        sa.select(index.key, index.first_row, index.n_points)
        .where(index.run_uuid == row.run_uuid, index.chunk_id == chunk_id)
        .order_by(index.first_row)
    ).all()
    payload = encode_chunk(_placed(entries, points, f"weir_chunk {chunk_id}"))
    deleted = session.execute(sa.delete(schema.cold).where(cold.chunk_id == chunk_id))
    if deleted.rowcount != 1:  # type: ignore[attr-defined]
        raise CompactedElsewhere(f"weir_chunk {chunk_id} was brought back elsewhere")
    session.execute(
        sa.update(schema.chunk)
        .where(data.chunk_id == chunk_id)
        .values(
            payload=payload, crc32=zlib.crc32(payload), size_bytes=len(payload), level=row.level
        )
    )
    return 1


def _drop(engine: sa.Engine, object_id: str, report: ArchiveReport) -> None:
    """Take an object away, unless a chunk is in it, then its row; with the last the marker."""
    of = schema.cold_object.c

    def mark(session: Session) -> Any:
        row = session.execute(
            sa.select(of.root, of.name).where(of.object_id == object_id).with_for_update()
        ).one_or_none()
        is_in_it = schema.cold.c.object_id == object_id
        if row is None or session.execute(sa.select(sa.exists().where(is_in_it))).scalar():
            return None
        session.execute(
            sa.update(schema.cold_object).where(of.object_id == object_id).values(state=DROPPED)
        )
        return row

    row = in_transaction(engine, mark)
    if row is None:
        return
    place = open_place(row.root)
    place.delete(row.name)
    with engine.connect() as connection:
        n_left = connection.execute(
            sa.select(sa.func.count()).where(of.root == row.root)
        ).scalar_one()
    if n_left == 1:
        place.delete(MARKER)
    in_transaction(
        engine,
        lambda session: session.execute(
            sa.delete(schema.cold_object).where(of.object_id == object_id)
        ),
    )
    report.n_removed += 1
