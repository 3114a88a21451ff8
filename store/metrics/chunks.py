"""Chunk rows: writing the points of a run as chunks with their index and rollups.

A *sealed* chunk holds ``SEALED_POINTS`` points of one metric and is never rewritten. All other
points of a run lie in *packs*: chunks of up to ``PACK_POINTS`` points, filled metric by metric in
key order, written and merged together. A pack has a level; compaction merges packs of a level
into one of the next.
"""

from __future__ import annotations

import secrets
import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import sqlalchemy as sa
from sqlalchemy.orm import Session

from mlflow_weir.store import schema
from mlflow_weir.store.metrics import rollups
from mlflow_weir.store.metrics.batch_encoding import key_bytes, key_hash
from mlflow_weir.store.metrics.encoding import Placed, encode_chunk, place
from mlflow_weir.store.metrics.points import Series

SEALED_POINTS = 65_536
PACK_POINTS = 16_384
SEALED_LEVEL = 100
COLD_LEVEL = 101
"""Of chunks that are in an object: never merged, and brought back at the level they had."""


def write(
    session: Session | sa.Connection,
    run_id: str,
    content: Mapping[str, Series],
    level: int,
    pack: int | None = None,
) -> int:
    """Write points as sealed chunks and one pack.

    Args:
        session: In a transaction; the caller commits.
        run_id: 32 hex digits.
        content: The points of each key in history order, without duplicates.
        level: Level of the pack that takes what is not sealed.
        pack: Its number, where it is one that is there; None for a new one.

    Returns:
        How many points were written.
    """
    rest: dict[str, Series] = {}
    n_points = 0
    pack = secrets.randbits(63) if pack is None else pack
    for key, points in content.items():
        sealed = len(points) - len(points) % SEALED_POINTS
        for start in range(0, sealed, SEALED_POINTS):
            part = points.rows(start, start + SEALED_POINTS)
            _insert(session, run_id, [Placed(key, 0, part)], SEALED_LEVEL, pack)
        if sealed < len(points):
            rest[key] = points.rows(sealed, len(points))
        n_points += len(points)
    for group in _groups(rest):
        _insert(session, run_id, place(group), level, pack)
    return n_points


def _groups(content: Mapping[str, Series]) -> Iterator[dict[str, Series]]:
    group: dict[str, Series] = {}
    size = 0
    for key in sorted(content):
        points = content[key]
        if group and size + len(points) > PACK_POINTS:
            yield group
            group, size = {}, 0
        group[key] = points
        size += len(points)
    if group:
        yield group


def _insert(
    session: Session | sa.Connection,
    run_id: str,
    placed: Sequence[Placed],
    level: int,
    pack: int,
) -> None:
    payload = encode_chunk(placed)
    inserted = session.execute(
        sa.insert(schema.chunk).values(
            run_uuid=run_id,
            level=level,
            pack=pack,
            n_points=sum(len(part.series) for part in placed),
            size_bytes=len(payload),
            crc32=zlib.crc32(payload),
            payload=payload,
        )
    )
    chunk_id = inserted.inserted_primary_key[0]  # type: ignore[attr-defined]
    session.execute(
        sa.insert(schema.series), [_series_row(run_id, chunk_id, part) for part in placed]
    )
    rows = [row for part in placed for row in _rollup_rows(chunk_id, part)]
    if rows:
        session.execute(sa.insert(schema.rollup), rows)


def _series_row(run_id: str, chunk_id: int, part: Placed) -> dict[str, Any]:
    low, high = value_range(part.series)
    return {
        "run_uuid": run_id,
        "key_hash": key_hash(part.key),
        "chunk_id": chunk_id,
        "first_row": part.first_row,
        "n_points": len(part.series),
        "min_step": int(part.series.step.min()),
        "max_step": int(part.series.step.max()),
        "min_timestamp": int(part.series.timestamp[0]),
        "max_timestamp": int(part.series.timestamp[-1]),
        "key": key_bytes(part.key),
        "low": low,
        "high": high,
    }


def value_range(series: Series) -> tuple[float | None, float | None]:
    """Return the smallest and the largest value; None twice where there is none but NaN."""
    numbers = series.value[~np.isnan(series.value)]
    return (float(numbers.min()), float(numbers.max())) if len(numbers) else (None, None)


def _rollup_rows(chunk_id: int, part: Placed) -> Iterator[dict[str, Any]]:
    for resolution, buckets in rollups.stored_rollups(part.series):
        payload = rollups.encode(buckets)
        yield {
            "chunk_id": chunk_id,
            "first_row": part.first_row,
            "resolution": resolution,
            "crc32": zlib.crc32(payload),
            "payload": payload,
        }


def delete(session: Session | sa.Connection, chunk_ids: Sequence[int]) -> int:
    """Delete chunks with their index and rollups; return how many chunks were there."""
    n = 0
    for start in range(0, len(chunk_ids), 500):
        ids = chunk_ids[start : start + 500]
        runs = session.execute(
            sa.select(schema.chunk.c.run_uuid)
            .where(schema.chunk.c.chunk_id.in_(ids))
            .with_for_update()  # MySQL shows a plain read what was there at the beginning
        ).scalars()
        for run_id in set(runs.all()):
            session.execute(
                sa.delete(schema.series).where(
                    schema.series.c.run_uuid == run_id, schema.series.c.chunk_id.in_(ids)
                )
            )
        session.execute(sa.delete(schema.rollup).where(schema.rollup.c.chunk_id.in_(ids)))
        session.execute(sa.delete(schema.cold).where(schema.cold.c.chunk_id.in_(ids)))
        deleted = session.execute(sa.delete(schema.chunk).where(schema.chunk.c.chunk_id.in_(ids)))
        n += deleted.rowcount  # type: ignore[attr-defined]
    return n


def delete_runs(session: Session, run_ids: Sequence[str]) -> None:
    """Delete everything our tables hold of these runs."""
    _delete_from(session, run_ids, schema.OF_A_RUN)


def delete_history(session: Session, run_ids: Sequence[str]) -> None:
    """Delete all that was logged over time, MLflow's own rows too; runs keep number and links."""
    kept = (schema.ordinal, schema.share_run)
    of_time = [table for table in schema.OF_A_RUN if table not in kept]
    _delete_from(session, run_ids, [*of_time, schema.mlflow_metrics])


def _delete_from(
    session: Session, run_ids: Sequence[str], of_a_run: Iterable[sa.TableClause]
) -> None:
    of_a_run = list(of_a_run)
    for start in range(0, len(run_ids), 500):
        ids = run_ids[start : start + 500]
        owned = sa.select(schema.chunk.c.chunk_id).where(schema.chunk.c.run_uuid.in_(ids))
        session.execute(sa.delete(schema.rollup).where(schema.rollup.c.chunk_id.in_(owned)))
        for table in of_a_run:
            session.execute(sa.delete(table).where(table.c.run_uuid.in_(ids)))
