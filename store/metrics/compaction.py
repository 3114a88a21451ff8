"""Compaction: batches become packs, packs become larger packs and sealed chunks.

Each step is one transaction that takes rows away and writes their points elsewhere, so a crash at
any moment leaves the points where they were or where they go, never both and never neither. Rows
are deleted before the new ones are written and the count of deleted rows is compared: where
another process has compacted the same rows, this one gives up and changes nothing.

A row that fails its checksum, or whose index does not list all of its points, stays where it is,
for ``weir db check`` to name; the others go on.
"""

from __future__ import annotations

import logging
from collections import defaultdict
from collections.abc import Iterable, Mapping

import sqlalchemy as sa
from sqlalchemy.orm import Session

from mlflow_weir.errors import ChunkCorrupt, CompactedElsewhere
from mlflow_weir.store import schema
from mlflow_weir.store.metrics import chunks
from mlflow_weir.store.metrics.batch_encoding import decode_batch, key_text, verified
from mlflow_weir.store.metrics.encoding import decode_chunk
from mlflow_weir.store.metrics.points import Series, concatenate, history_order

FAN_OUT = 8
"""Packs of one level that are merged into one of the next."""

MAX_MERGE_POINTS = 1 << 22
"""Largest merge, in points (24 bytes each in memory); packs beyond it stay as they are."""

_log = logging.getLogger(__name__)


def compact_batches(session: Session, run_id: str) -> int:
    """Turn a run's batches into one pack of level 0; return the points written.

    Raises:
        CompactedElsewhere: Roll back; there is nothing left to do.
    """
    rows = session.execute(
        sa.select(schema.batch.c.batch_id, schema.batch.c.crc32, schema.batch.c.payload)
        .where(schema.batch.c.run_uuid == run_id)
        .order_by(schema.batch.c.batch_id)
        .with_for_update()
    ).all()
    parts: dict[str, list[Series]] = defaultdict(list)
    batch_ids = []
    for batch_id, crc32, payload in rows:
        what = f"weir_batch {batch_id}"
        try:
            content = decode_batch(verified(payload, crc32, what), what)
        except ChunkCorrupt as exc:
            _log.warning("left as it is: %s", exc)
            continue
        batch_ids.append(batch_id)
        for key, points in content.items():
            parts[key].append(points)
    if not batch_ids:
        return 0
    for start in range(0, len(batch_ids), 500):
        ids = batch_ids[start : start + 500]
        deleted = session.execute(sa.delete(schema.batch).where(schema.batch.c.batch_id.in_(ids)))
        if deleted.rowcount != len(ids):  # type: ignore[attr-defined]
            raise CompactedElsewhere(f"run {run_id}: batches were compacted elsewhere")
    return chunks.write(session, run_id, _merged(parts), level=0)


def merge_due(session: Session, run_id: str) -> int:
    """Merge the packs of the lowest level that has ``FAN_OUT``; return the points written.

    Levels too large for one merge are passed over; 0 means that nothing is due.

    Raises:
        CompactedElsewhere: Roll back; there is nothing left to do.
    """
    for level, packs in sorted(_packs(session, run_id).items()):
        if len(packs) >= FAN_OUT and sum(packs.values()) <= MAX_MERGE_POINTS:
            return _merge(session, run_id, schema.chunk.c.level == level, level + 1)
    return 0


def merge_all(session: Session, run_id: str) -> int:
    """Merge all packs of a run into one, as a run that ends is left; return the points written.

    A run that is one pack already, or too large for one merge, is left as it is (0).

    Raises:
        CompactedElsewhere: Roll back; there is nothing left to do.
    """
    levels = _packs(session, run_id)
    sizes = [size for packs in levels.values() for size in packs.values()]
    if len(sizes) < 2 or sum(sizes) > MAX_MERGE_POINTS:
        return 0
    return _merge(session, run_id, schema.chunk.c.level < chunks.SEALED_LEVEL, max(levels))


def _packs(session: Session, run_id: str) -> dict[int, dict[int, int]]:
    rows = session.execute(
        sa.select(schema.chunk.c.level, schema.chunk.c.pack, sa.func.sum(schema.chunk.c.n_points))
        .where(schema.chunk.c.run_uuid == run_id, schema.chunk.c.level < chunks.SEALED_LEVEL)
        .group_by(schema.chunk.c.level, schema.chunk.c.pack)
    )
    levels: dict[int, dict[int, int]] = defaultdict(dict)
    for level, pack, size in rows:
        levels[level][pack] = int(size)
    return levels


def _merge(
    session: Session, run_id: str, condition: sa.ColumnElement[bool], new_level: int
) -> int:
    rows = session.execute(
        sa.select(schema.chunk.c.chunk_id, schema.chunk.c.crc32, schema.chunk.c.payload)
        .where(schema.chunk.c.run_uuid == run_id, condition)
        .order_by(schema.chunk.c.chunk_id)
        .with_for_update()
    ).all()
    placed = _placements(session, run_id, [row.chunk_id for row in rows])
    parts: dict[str, list[Series]] = defaultdict(list)
    merged_ids = []
    for chunk_id, crc32, payload in rows:
        what = f"weir_chunk {chunk_id}"
        try:
            points = decode_chunk(verified(payload, crc32, what), what)
            listed = sum(n_points for _, _, n_points in placed[chunk_id])
            if listed != len(points):
                _require_present(session, run_id, chunk_id)
                raise ChunkCorrupt(what, f"{len(points)} points, but weir_series lists {listed}")
        except ChunkCorrupt as exc:
            _log.warning("left as it is: %s", exc)
            continue
        merged_ids.append(chunk_id)
        for key, first_row, n_points in placed[chunk_id]:
            parts[key].append(points.rows(first_row, first_row + n_points))
    if chunks.delete(session, merged_ids) != len(merged_ids):
        raise CompactedElsewhere(f"run {run_id}: chunks were merged elsewhere")
    return chunks.write(session, run_id, _merged(parts), new_level)


def _require_present(session: Session, run_id: str, chunk_id: int) -> None:
    """Tell a chunk whose index is damaged from one that another process has just merged."""
    owner = schema.chunk.c.chunk_id
    if session.execute(sa.select(owner).where(owner == chunk_id)).first() is None:
        raise CompactedElsewhere(f"run {run_id}: chunks were merged elsewhere")


def _placements(
    session: Session, run_id: str, chunk_ids: list[int]
) -> Mapping[int, list[tuple[str, int, int]]]:
    found: dict[int, list[tuple[str, int, int]]] = defaultdict(list)
    columns = schema.series.c
    for start in range(0, len(chunk_ids), 500):
        for chunk_id, key, first_row, n_points in session.execute(
            sa.select(columns.chunk_id, columns.key, columns.first_row, columns.n_points).where(
                columns.run_uuid == run_id,
                columns.chunk_id.in_(chunk_ids[start : start + 500]),
            )
        ):
            found[chunk_id].append((key_text(key), first_row, n_points))
    return found


def _merged(parts: Mapping[str, Iterable[Series]]) -> dict[str, Series]:
    return {key: history_order(concatenate(list(series))) for key, series in parts.items()}
