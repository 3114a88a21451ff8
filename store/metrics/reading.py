"""Reading a metric's history: every point, or buckets for a chart.

Points are looked for where they may be on their way, in the order they travel: rows of MLflow's
own ``metrics`` table (written by stock MLflow before), then batches, then chunks. A point that
moves while it is read is met twice rather than missed, and duplicates are dropped, so no
transaction isolation is relied on.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import sqlalchemy as sa
from sqlalchemy.orm import Session

from mlflow_weir.errors import ChunkCorrupt
from mlflow_weir.store import schema
from mlflow_weir.store.cold import reading as cold_reading
from mlflow_weir.store.metrics import rollups
from mlflow_weir.store.metrics.batch_encoding import decode_batch, key_bytes, key_hash, verified
from mlflow_weir.store.metrics.encoding import decode_chunk
from mlflow_weir.store.metrics.points import (
    EMPTY,
    Series,
    concatenate,
    history_order,
    is_int64,
    step_order,
    whole_number,
)

_IN_LIST = 500  # SQLite's oldest limit on bound values is 999
_MAX_ATTEMPTS = 10


def read_history(session: Session, run_ids: Sequence[str], key: str) -> dict[str, Series]:
    """Read every point of a metric.

    Args:
        session: Reads only.
        run_ids: Runs to read; unknown ones have no points.
        key: Metric name, matched exactly.

    Returns:
        Each run's points in history order without duplicates; runs without points are absent.

    Raises:
        ChunkCorrupt: A stored row fails its checksum; the message names it.
    """
    parts: dict[str, list[Series]] = defaultdict(list)
    for ids in _slices(run_ids):
        for run_id, series in _loose_points(session, ids, key):
            parts[run_id].append(series)
        for run_id, series in _chunk_points(session, ids, key):
            parts[run_id].append(series)
    return {run_id: history_order(concatenate(found)) for run_id, found in parts.items()}


def read_buckets(
    session: Session,
    run_ids: Sequence[str],
    key: str,
    *,
    max_buckets: int,
    start_step: int | None = None,
    end_step: int | None = None,
) -> dict[str, rollups.Buckets]:
    """Read a metric reduced to what a chart of ``max_buckets`` pixels can show.

    Every point is counted in one bucket and the extremes of the whole are the extremes of the
    parts. Where the finest stored rollup is coarser than asked for, points are read instead.

    Args:
        session: Reads only.
        run_ids: Runs to read.
        key: Metric name, matched exactly.
        max_buckets: Upper limit of buckets a run, at least 1. Fewer points than that come back
            one a bucket.
        start_step: First step to include; None for no limit.
        end_step: Last step to include; None for no limit.

    Returns:
        Each run's buckets in step order; runs without points in the interval are absent.

    Raises:
        ChunkCorrupt: A stored row fails its checksum; the message names it.
    """
    found: dict[str, rollups.Buckets] = {}
    for ids in _slices(run_ids):
        for attempt in range(_MAX_ATTEMPTS):
            loose: dict[str, list[Series]] = defaultdict(list)
            for run_id, series in _loose_points(session, ids, key):
                loose[run_id].append(between(series, start_step, end_step))
            stored = _stored_pieces(session, ids, key, start_step, end_step)
            try:
                read = _read_pieces(session, stored, loose, start_step, end_step, max_buckets)
                break
            except ChunkCorrupt:
                # Index and chunk are two queries: compaction may have replaced both in between.
                if attempt == _MAX_ATTEMPTS - 1 or stored == _stored_pieces(
                    session, ids, key, start_step, end_step
                ):
                    raise
        for run_id, (points, stored_buckets) in read.items():
            if not stored_buckets:
                found[run_id] = rollups.reduce_points(points, max_buckets)
                continue
            if len(points):
                stored_buckets.append(rollups.one_bucket_a_point(points))
            ordered = _in_step_order(rollups.concatenate_buckets(stored_buckets))
            if ordered is not None:
                found[run_id] = rollups.reduce_to(ordered, max_buckets)
            else:
                # Rollups of a metric whose steps jump back overlap; only points tell their order.
                history = read_history(session, [run_id], key)[run_id]
                whole = step_order(between(history, start_step, end_step))
                found[run_id] = rollups.reduce_points(whole, max_buckets)
    return found


def read_max_step(session: Session, run_id: str, key: str) -> int | None:
    """Return the largest step of a metric, or None when it has no point."""
    steps = [int(points.step.max()) for _, points in _loose_points(session, [run_id], key)]
    steps += [piece.max_step for piece in _stored_pieces(session, [run_id], key, None, None)]
    return max(steps, default=None)


class _Piece(NamedTuple):
    run_id: str
    chunk_id: int
    first_row: int
    n_points: int
    min_step: int
    max_step: int


def _slices(run_ids: Sequence[str]) -> Iterator[list[str]]:
    unique = list(dict.fromkeys(run_ids))
    for start in range(0, len(unique), _IN_LIST):
        yield unique[start : start + _IN_LIST]


def _loose_points(
    session: Session, run_ids: Sequence[str], key: str
) -> Iterator[tuple[str, Series]]:
    """Yield a metric's points outside chunks: MLflow's rows first, then batches in order."""
    old = schema.mlflow_metrics.c
    rows: dict[str, list[tuple[int, int, float]]] = defaultdict(list)
    for run_id, name, timestamp, step, value, is_nan in session.execute(
        sa.select(old.run_uuid, old.key, old.timestamp, old.step, old.value, old.is_nan).where(
            old.run_uuid.in_(run_ids), old.key == key
        )
    ):
        if name == key:  # MySQL's collations match more than the same text
            point = (
                whole_number(timestamp),
                whole_number(step),
                float("nan") if is_nan else value,
            )
            rows[run_id].append(point)
    for run_id, points in rows.items():
        timestamps, steps, values = zip(*points, strict=True)
        yield (
            run_id,
            Series(
                np.array(timestamps, dtype=np.int64),
                np.array(steps, dtype=np.int64),
                np.array(values, dtype=np.float64),
            ),
        )
    columns = schema.batch.c
    for run_id, batch_id, crc32, payload in session.execute(
        sa.select(columns.run_uuid, columns.batch_id, columns.crc32, columns.payload)
        .where(columns.run_uuid.in_(run_ids))
        .order_by(columns.batch_id)
    ):
        what = f"weir_batch {batch_id}"
        series = decode_batch(verified(payload, crc32, what), what, only=key).get(key)
        if series is not None:
            yield run_id, series


def _chunk_points(
    session: Session, run_ids: Sequence[str], key: str
) -> Iterator[tuple[str, Series]]:
    index, data = schema.series.c, schema.chunk.c
    cold: dict[int, tuple[str, int, int]] = {}
    for run_id, chunk_id, first_row, n_points, crc32, payload in session.execute(
        sa.select(
            index.run_uuid,
            index.chunk_id,
            index.first_row,
            index.n_points,
            data.crc32,
            data.payload,
        )
        .join_from(schema.series, schema.chunk, data.chunk_id == index.chunk_id, isouter=True)
        .where(
            index.run_uuid.in_(run_ids),
            index.key_hash == key_hash(key),
            index.key == key_bytes(key),
        )
        .order_by(index.run_uuid, index.min_timestamp, index.chunk_id)
    ):
        what = f"weir_chunk {chunk_id}"
        if payload is None:
            raise ChunkCorrupt(what, "the row is missing")
        if not payload:
            cold[chunk_id] = (run_id, first_row, n_points)
            continue
        points = decode_chunk(verified(payload, crc32, what), what)
        yield run_id, points.rows(first_row, first_row + n_points)
    for chunk_id, points in cold_reading.read_cold(session, cold).items():
        run_id, first_row, n_points = cold[chunk_id]
        yield run_id, points.rows(first_row, first_row + n_points)


def _stored_pieces(
    session: Session,
    run_ids: Sequence[str],
    key: str,
    start_step: int | None,
    end_step: int | None,
) -> list[_Piece]:
    index = schema.series.c
    query = sa.select(
        index.run_uuid,
        index.chunk_id,
        index.first_row,
        index.n_points,
        index.min_step,
        index.max_step,
    ).where(
        index.run_uuid.in_(run_ids),
        index.key_hash == key_hash(key),
        index.key == key_bytes(key),
    )
    if start_step is not None:
        query = query.where(index.max_step >= start_step)
    if end_step is not None:
        query = query.where(index.min_step <= end_step)
    return [_Piece(*row) for row in session.execute(query)]


def _read_pieces(
    session: Session,
    pieces: Sequence[_Piece],
    loose: Mapping[str, list[Series]],
    start_step: int | None,
    end_step: int | None,
    max_buckets: int,
) -> dict[str, tuple[Series, list[rollups.Buckets]]]:
    """Read each run's pieces, by rollup where one is fine enough and wholly in the interval.

    Returns:
        The points that were read, in step order, and the rollups; runs with neither are absent.
    """
    of_run: dict[str, list[_Piece]] = defaultdict(list)
    for piece in pieces:
        of_run[piece.run_id].append(piece)
    wanted: dict[int, set[int]] = defaultdict(set)  # resolution -> chunks; 0 means points
    choice: dict[tuple[int, int], int] = {}
    for run_pieces in of_run.values():
        n_points = sum(piece.n_points for piece in run_pieces)
        fitting = [r for r in rollups.RESOLUTIONS if n_points // r >= max_buckets]
        for piece in run_pieces:
            inside = (start_step is None or piece.min_step >= start_step) and (
                end_step is None or piece.max_step <= end_step
            )
            usable = [r for r in fitting if inside and piece.n_points >= 8 * r]
            resolution = max(usable, default=0)
            choice[piece.chunk_id, piece.first_row] = resolution
            wanted[resolution].add(piece.chunk_id)
    points = read_chunks(session, sorted(wanted.pop(0, ())))
    buckets = _read_rollups(session, wanted)

    result: dict[str, tuple[Series, list[rollups.Buckets]]] = {}
    for run_id in {*of_run, *loose}:
        raw = list(loose.get(run_id, ()))
        parts: list[rollups.Buckets] = []
        for piece in of_run.get(run_id, ()):
            place = (piece.chunk_id, piece.first_row)
            if choice[place]:
                if place not in buckets:
                    raise ChunkCorrupt(f"weir_rollup {place}", "the row is missing")
                parts.append(buckets[place])
            else:
                if piece.chunk_id not in points:
                    raise ChunkCorrupt(f"weir_chunk {piece.chunk_id}", "the row is missing")
                rows = points[piece.chunk_id].rows(
                    piece.first_row, piece.first_row + piece.n_points
                )
                raw.append(between(rows, start_step, end_step))
        series = step_order(history_order(concatenate(raw))) if raw else EMPTY
        if parts or len(series):
            result[run_id] = (series, parts)
    return result


def read_chunks(session: Session, chunk_ids: Sequence[int]) -> dict[int, Series]:
    """Read all rows of chunks, in file order; those that are not there are absent."""
    found: dict[int, Series] = {}
    cold: list[int] = []
    columns = schema.chunk.c
    for start in range(0, len(chunk_ids), _IN_LIST):
        for chunk_id, crc32, payload in session.execute(
            sa.select(columns.chunk_id, columns.crc32, columns.payload).where(
                columns.chunk_id.in_(chunk_ids[start : start + _IN_LIST])
            )
        ):
            if not payload:
                cold.append(chunk_id)
                continue
            what = f"weir_chunk {chunk_id}"
            found[chunk_id] = decode_chunk(verified(payload, crc32, what), what)
    return {**found, **cold_reading.read_cold(session, cold)}


def _read_rollups(
    session: Session, wanted: Mapping[int, set[int]]
) -> dict[tuple[int, int], rollups.Buckets]:
    found: dict[tuple[int, int], rollups.Buckets] = {}
    columns = schema.rollup.c
    for resolution, owners in wanted.items():
        chunk_ids = sorted(owners)
        for start in range(0, len(chunk_ids), _IN_LIST):
            for chunk_id, first_row, crc32, payload in session.execute(
                sa.select(
                    columns.chunk_id, columns.first_row, columns.crc32, columns.payload
                ).where(
                    columns.chunk_id.in_(chunk_ids[start : start + _IN_LIST]),
                    columns.resolution == resolution,
                )
            ):
                what = f"weir_rollup {chunk_id}/{first_row}/{resolution}"
                found[chunk_id, first_row] = rollups.decode(verified(payload, crc32, what), what)
    return found


def between(series: Series, start_step: int | None, end_step: int | None) -> Series:
    """Return the points whose step is in the interval, both ends included, None for no limit."""
    if start_step is None and end_step is None:
        return series
    mask = np.ones(len(series), dtype=np.bool_)
    if start_step is not None:
        mask &= series.step >= start_step
    if end_step is not None:
        mask &= series.step <= end_step
    return series if mask.all() else series.take(mask)


def at_steps(series: Series, steps: Sequence[int]) -> npt.NDArray[np.bool_]:
    """Return a mask of the points whose step is one of ``steps``."""
    wanted = [step for step in steps if is_int64(step)]
    return np.isin(series.step, np.array(wanted, dtype=np.int64))


def _in_step_order(buckets: rollups.Buckets) -> rollups.Buckets | None:
    """Return buckets in step order, or None where they do not tell that order."""
    ordered = buckets
    step, timestamp = buckets.min_step, buckets.min_timestamp
    ascends = (step[1:] > step[:-1]) | (
        (step[1:] == step[:-1]) & (timestamp[1:] >= timestamp[:-1])
    )
    if not ascends.all():
        ordered = buckets.take(np.lexsort((timestamp, step)))
    if (
        bool(np.any(ordered.min_step[1:] < ordered.max_step[:-1]))
        or bool(np.any(ordered.first.step != ordered.min_step))
        or bool(np.any(ordered.last.step != ordered.max_step))
    ):
        return None
    return ordered
