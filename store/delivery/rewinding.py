"""Taking a run's metric history back to a step, as if what came after had not been logged.

Gone are histograms and points of a later step: points in batches, in chunks with their rollups, in
MLflow's ``metrics`` and, where they were measured of logged models, in ``logged_model_metrics``;
``latest_metrics`` is what MLflow would have made of the rest. Metrics ``system/…`` stay: their
step counts samples, not the training's steps.

Which metrics are concerned is read, and locked, in ``latest_metrics`` first: every writer of such
a metric writes there too, so nobody adds a point while the others are taken away. What another
process logs afterwards counts as logged after.

A row that fails its checksum stays where it is, for ``weir db check`` to name.
"""

from __future__ import annotations

import itertools
import logging
import zlib
from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import sqlalchemy as sa

from mlflow_weir.errors import ChunkCorrupt
from mlflow_weir.store import schema
from mlflow_weir.store.delivery import mlflow_tables as tables
from mlflow_weir.store.histograms import writing as histograms
from mlflow_weir.store.metrics import batches
from mlflow_weir.store.metrics.batch_encoding import (
    decode_batch,
    encode_columns,
    key_text,
    verified,
)
from mlflow_weir.store.metrics.points import (
    Columns,
    Point,
    Series,
    columns_of,
    columns_of_series,
    history_order,
    whole_number,
)

if TYPE_CHECKING:  # 6 MB that a delivery does without
    from sqlalchemy.orm import Session

_KEPT_PREFIX = "system/"  # MLflow's for what it samples of the machine
_MAX_IN = 500

_log = logging.getLogger(__name__)


def is_rewound(key: str) -> bool:
    """Say whether a metric's steps are the training's, so that a rewind concerns it."""
    return not key.startswith(_KEPT_PREFIX)


def without_later(points: Columns, cuts: Sequence[tuple[int, int]]) -> Columns:
    """Leave out points on their way that rewinds among them take back.

    Args:
        points: In log order.
        cuts: Of each rewind, how many of the points were logged before it, and its step.
    """
    if not cuts:
        return points
    is_kept = np.array([not is_rewound(key) for key in points.keys], dtype=np.bool_)[points.index]
    left = np.ones(len(points), dtype=np.bool_)
    for n_points, step in cuts:
        left[:n_points] &= is_kept[:n_points] | (points.series.step[:n_points] <= step)
    return points.take(left)


def rewind(session: Session | sa.Connection, run_id: str, step: int) -> None:
    """Take away the points of a run whose step is greater.

    Args:
        session: In a transaction; the caller commits and has found the run to be active.
        run_id: 32 hex digits.
        step: The last to be kept.
    """
    histograms.rewind(session, run_id, step)
    latest = schema.mlflow_latest_metrics.c
    found = session.execute(
        sa.select(latest.key, latest.step).where(latest.run_uuid == run_id).with_for_update()
    )
    keys = {key for key, at in found if is_rewound(key) and whole_number(at) > step}
    if not keys:
        return
    in_batches = _rewind_batches(session, run_id, keys, step)
    in_chunks = _rewind_chunks(session, run_id, keys, step)
    in_rows = _rewind_rows(session, run_id, keys, step)
    # Points travel from batches to chunks: so they were logged in this order.
    _write_latest(session, run_id, keys, [*in_rows, *in_chunks, *in_batches])


def _kept(points: Series, step: int) -> Series:
    return points.take(points.step <= step)


def _last(key: str, points: Series) -> Point:
    """Return the point that ``latest_metrics`` would hold of these, in log order."""
    row = batches.latest_rows("", columns_of_series({key: points}))[0]
    value = float("nan") if row["is_nan"] else row["value"]
    return Point(key, row["timestamp"], row["step"], value)


def _rewind_batches(
    session: Session | sa.Connection, run_id: str, keys: Collection[str], step: int
) -> list[Point]:
    """Rewind batches; return the last point that is left of each metric in each of them."""
    columns = schema.batch.c
    last: list[Point] = []
    for batch_id, crc32, payload in session.execute(
        sa.select(columns.batch_id, columns.crc32, columns.payload)
        .where(columns.run_uuid == run_id)
        .order_by(columns.batch_id)
        .with_for_update()
    ).all():
        what = f"weir_batch {batch_id}"
        try:
            content = decode_batch(verified(payload, crc32, what), what)
        except ChunkCorrupt as exc:
            _log.warning("left as it is: %s", exc)
            continue
        left = {key: _kept(one, step) if key in keys else one for key, one in content.items()}
        left = {key: one for key, one in left.items() if len(one)}
        last += [_last(key, one) for key, one in left.items() if key in keys]
        points = columns_of_series(left)
        if len(points) == sum(map(len, content.values())):
            continue
        # A row of its own: compaction tells by their number that its rows are not there any more.
        session.execute(sa.delete(schema.batch).where(columns.batch_id == batch_id))
        if len(points):
            payload = encode_columns(points)
            session.execute(
                sa.insert(schema.batch).values(
                    run_uuid=run_id,
                    n_points=len(points),
                    size_bytes=len(payload),
                    crc32=zlib.crc32(payload),
                    payload=payload,
                )
            )
    return last


def _rewind_chunks(
    session: Session | sa.Connection, run_id: str, keys: Collection[str], step: int
) -> list[Point]:
    """Rewind chunks; return the last points that are left of each metric in them."""
    there = _lock_chunks(session, run_id)
    if not there:
        return []
    # Their pyarrow takes 27 MB, which most deliveries do without.
    from mlflow_weir.store.metrics import chunks

    placed = _placed(session, run_id)
    for chunk_id, level, pack in there:
        parts = placed[chunk_id]
        if not any(one.key in keys and one.max_step > step for one in parts):
            continue
        left: dict[str, Series] = {}
        if any(one.key not in keys or one.min_step <= step for one in parts):
            content = _read(session, chunk_id, parts)
            if content is None:
                continue
            left = {key: _kept(one, step) if key in keys else one for key, one in content.items()}
            left = {key: history_order(one) for key, one in left.items() if len(one)}
        chunks.delete(session, [chunk_id])
        if left:
            is_pack = level < chunks.SEALED_LEVEL
            chunks.write(session, run_id, left, level if is_pack else 0, pack if is_pack else None)
    return _last_in_chunks(session, run_id, keys)


def _lock_chunks(session: Session | sa.Connection, run_id: str) -> Sequence[Any]:
    """Keep others from merging a run's chunks; return the chunks' ids, levels and packs.

    Locks them before their index, as compaction does. A statement that waited for a merge misses,
    on PostgreSQL, what that has written: asked again, until nothing new is there.
    """
    data = schema.chunk.c
    query = (
        sa.select(data.chunk_id, data.level, data.pack)
        .where(data.run_uuid == run_id)
        .order_by(data.chunk_id)
        .with_for_update()
    )
    found = session.execute(query).all()
    while (again := session.execute(query).all()) != found:
        found = again
    return found


class _Placement(NamedTuple):
    """A metric's rows in a chunk."""

    key: str
    first_row: int
    n_points: int
    min_step: int
    max_step: int


def _placed(session: Session | sa.Connection, run_id: str) -> Mapping[int, list[_Placement]]:
    """Return which metrics each chunk of a run holds, and where."""
    index = schema.series.c
    found: dict[int, list[_Placement]] = defaultdict(list)
    for chunk_id, key, *rest in session.execute(
        sa.select(
            index.chunk_id,
            index.key,
            index.first_row,
            index.n_points,
            index.min_step,
            index.max_step,
        )
        .where(index.run_uuid == run_id)
        .with_for_update()
    ):
        found[chunk_id].append(_Placement(key_text(key), *rest))
    return found


def _read(
    session: Session | sa.Connection, chunk_id: int, parts: Sequence[_Placement]
) -> dict[str, Series] | None:
    """Return what a chunk holds of some metrics; None where it is damaged."""
    from mlflow_weir.store.cold.reading import points_of

    data = schema.chunk.c
    crc32, payload = session.execute(
        sa.select(data.crc32, data.payload)
        .where(data.chunk_id == chunk_id)
        .with_for_update()  # MySQL shows a plain read what was there when the transaction began
    ).one()
    what = f"weir_chunk {chunk_id}"
    try:
        points = points_of(session, chunk_id, crc32, payload)
    except ChunkCorrupt as exc:
        _log.warning("left as it is: %s", exc)
        return None
    if max(one.first_row + one.n_points for one in parts) > len(points):
        _log.warning("left as it is: %s has fewer points than weir_series lists", what)
        return None
    return {one.key: points.rows(one.first_row, one.first_row + one.n_points) for one in parts}


def _last_in_chunks(
    session: Session | sa.Connection, run_id: str, keys: Collection[str]
) -> list[Point]:
    """Return the last point of each metric in the chunks where its greatest step is."""
    placed = _placed(session, run_id)
    greatest: dict[str, int] = {}
    for one in itertools.chain.from_iterable(placed.values()):
        if one.key in keys:
            greatest[one.key] = max(one.max_step, greatest.get(one.key, one.max_step))
    last: list[Point] = []
    for chunk_id in sorted(placed):
        parts = [one for one in placed[chunk_id] if greatest.get(one.key) == one.max_step]
        content = _read(session, chunk_id, parts) if parts else None
        last += [_last(key, points) for key, points in (content or {}).items()]
    return last


def _rewind_rows(
    session: Session | sa.Connection, run_id: str, keys: Collection[str], step: int
) -> list[Point]:
    """Rewind the rows of MLflow's own tables; return the last point left of each metric."""
    old, of_models = schema.mlflow_metrics, tables.logged_model_metrics
    _delete_rows(session, of_models, "run_id", "metric_name", "metric_step", run_id, keys, step)
    _delete_rows(session, old, "run_uuid", "key", "step", run_id, keys, step)
    columns = old.c
    mine = columns.run_uuid == run_id
    if session.execute(sa.select(columns.key).where(mine).limit(1)).first() is None:
        return []
    ordered = sa.select(
        columns.key, columns.timestamp, columns.step, columns.value, columns.is_nan
    )
    found: list[Any] = []
    for key in sorted(keys):
        query = ordered.where(mine, columns.key == key).order_by(
            columns.step.desc(), columns.timestamp.desc(), columns.value.desc()
        )
        found += session.execute(query.where(_is_whole(session, columns.step)).limit(1)).all()
        found += session.execute(query.where(~_is_whole(session, columns.step))).all()
    return [
        Point(
            key,
            whole_number(timestamp),
            whole_number(at),
            float("nan") if is_nan else value,
        )
        for key, timestamp, at, value, is_nan in found
        if key in keys
    ]


def _is_whole(session: Session | sa.Connection, column: Any) -> sa.ColumnElement[bool]:
    """Say of a column whether it holds a number as it should: SQLite took anything."""
    bind = session if isinstance(session, sa.Connection) else session.get_bind()
    if bind.dialect.name == "sqlite":
        return sa.func.typeof(column) == "integer"
    return sa.true()


def _delete_rows(
    session: Session | sa.Connection,
    table: sa.TableClause,
    run: str,
    key: str,
    at: str,
    run_id: str,
    keys: Collection[str],
    step: int,
) -> None:
    """Delete rows of some metrics of a run whose step is greater.

    Args:
        session: In a transaction.
        table: Of points.
        run: Its column of runs.
        key: Its column of metrics.
        at: Its column of steps.
        run_id: Whose points.
        keys: Of which metrics.
        step: The last to be kept.
    """
    columns = table.c
    is_whole = _is_whole(session, columns[at])
    odd = session.execute(
        sa.select(columns[at]).distinct().where(columns[run] == run_id, ~is_whole)
    ).scalars()
    later = [sa.and_(is_whole, columns[at] > step)]
    later += [columns[at] == one for one in odd.all() if whole_number(one) > step]
    names = sorted(keys)
    for start in range(0, len(names), _MAX_IN):
        named = columns[key].in_(names[start : start + _MAX_IN])
        for is_later in later:
            session.execute(sa.delete(table).where(columns[run] == run_id, named, is_later))


def _write_latest(
    session: Session | sa.Connection, run_id: str, keys: Collection[str], last: Sequence[Point]
) -> None:
    """Write ``latest_metrics`` of some metrics afresh.

    Args:
        session: In a transaction.
        run_id: Whose metrics.
        keys: Which; all have a row.
        last: Points among which each metric's latest is, in log order.
    """
    table = schema.mlflow_latest_metrics
    rows = batches.latest_rows(run_id, columns_of(last)) if last else []
    gone = sorted(set(keys).difference(row["key"] for row in rows))
    for start in range(0, len(gone), _MAX_IN):
        names = gone[start : start + _MAX_IN]
        session.execute(sa.delete(table).where(table.c.run_uuid == run_id, table.c.key.in_(names)))
    for row in rows:
        session.execute(
            sa.update(table)
            .where(table.c.run_uuid == run_id, table.c.key == row["key"])
            .values({name: row[name] for name in ("step", "timestamp", "value", "is_nan")})
        )
