"""Reading chunks that may have moved: from their row, or by ranges of the objects they are in.

A chunk whose payload is empty is in an object. It may be on its way back while it is read: where
the object is gone, the row is looked at again on a connection of its own, which sees what has been
committed since. Row groups are fetched side by side, each once however many chunks it holds, and
some are kept decoded, because the metrics of a run are asked for one after the other.
"""

from __future__ import annotations

import threading
from collections import OrderedDict, defaultdict
from collections.abc import Collection, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, NamedTuple

import sqlalchemy as sa

from mlflow_weir.errors import ChunkCorrupt
from mlflow_weir.store import schema
from mlflow_weir.store.cold import objects
from mlflow_weir.store.cold.places import ObjectMissing, open_place
from mlflow_weir.store.metrics.batch_encoding import verified
from mlflow_weir.store.metrics.encoding import decode_chunk
from mlflow_weir.store.metrics.points import Series

if TYPE_CHECKING:
    from sqlalchemy.orm import Session

_IN_LIST = 500
_LOOKS = 3
_THREADS = 8
_MAX_KEPT_POINTS = 1 << 20  # 24 bytes each
_MAX_FOOTERS = 64


class Located(NamedTuple):
    """Where a cold chunk is; the names are those of the tables' columns."""

    chunk_id: int
    object_id: str
    row_group: int
    first_row: int
    n_points: int
    range_start: int
    range_bytes: int
    crc32: int
    root: str
    name: str


def points_of(
    session: Session | sa.Connection, chunk_id: int, crc32: int, payload: bytes
) -> Series:
    """Return the points of a chunk, given its row.

    Raises:
        ChunkCorrupt: They are not there, or not as they were written.
        StoreUnavailable: The place of the object cannot be reached.
    """
    if payload:
        what = f"weir_chunk {chunk_id}"
        return decode_chunk(verified(payload, crc32, what), what)
    return read_cold(session, [chunk_id])[chunk_id]


def read_cold(session: Session | sa.Connection, chunk_ids: Collection[int]) -> dict[int, Series]:
    """Return the points of chunks whose payload was found empty; as ``points_of``."""
    found: dict[int, Series] = {}
    if not chunk_ids:
        return found
    connection = session if isinstance(session, sa.Connection) else session.connection()
    missing = _read_where(connection, sorted(chunk_ids), found)
    for _ in range(_LOOKS):
        if not missing:
            return found
        with connection.engine.connect() as fresh:
            missing = _read_afresh(fresh, sorted(missing), found)
    chunk_id, reason = next(iter(missing.items()))
    raise ChunkCorrupt(f"weir_chunk {chunk_id}", reason)


def _read_afresh(
    connection: sa.Connection, chunk_ids: Sequence[int], found: dict[int, Series]
) -> dict[int, str]:
    columns = schema.chunk.c
    cold = []
    for start in range(0, len(chunk_ids), _IN_LIST):
        for chunk_id, crc32, payload in connection.execute(
            sa.select(columns.chunk_id, columns.crc32, columns.payload).where(
                columns.chunk_id.in_(chunk_ids[start : start + _IN_LIST])
            )
        ):
            if payload:
                what = f"weir_chunk {chunk_id}"
                found[chunk_id] = decode_chunk(verified(payload, crc32, what), what)
            else:
                cold.append(chunk_id)
    missing = _read_where(connection, cold, found)
    gone = set(chunk_ids) - found.keys() - missing.keys()
    return {**missing, **dict.fromkeys(gone, "the row is missing")}


def _read_where(
    connection: sa.Connection, chunk_ids: Sequence[int], found: dict[int, Series]
) -> dict[int, str]:
    """Read what the index says; return the chunks that are not there, and what is missing."""
    located = locate(connection, chunk_ids)
    missing = {
        chunk_id: "it has no payload, and weir_cold does not say where that is"
        for chunk_id in chunk_ids
        if chunk_id not in located
    }
    groups: dict[tuple[str, int], list[Located]] = defaultdict(list)
    for one in located.values():
        groups[one.object_id, one.row_group].append(one)
    read: dict[tuple[str, int], Series | ObjectMissing] = {
        key: series for key in groups if (series := _kept.get(key)) is not None
    }
    wanted = [key for key in groups if key not in read]
    footers = _footers_of(connection, {object_id for object_id, _ in wanted})

    def fetch(key: tuple[str, int]) -> Series | ObjectMissing:
        one = groups[key][0]
        try:
            body = fetch_range(one)
        except ObjectMissing as exc:
            return exc
        what = f"weir_chunk {one.chunk_id}"
        return objects.read_row_group(
            footers[one.object_id], one.row_group, one.range_start, body, what
        )

    if len(wanted) == 1:
        read[wanted[0]] = fetch(wanted[0])
    elif wanted:
        with ThreadPoolExecutor(min(_THREADS, len(wanted)), "weir-cold") as pool:
            read.update(zip(wanted, pool.map(fetch, wanted), strict=True))
    for key, chunks in groups.items():
        came = read[key]
        if isinstance(came, ObjectMissing):
            missing.update(dict.fromkeys((one.chunk_id for one in chunks), str(came)))
            continue
        _kept.put(key, came)
        for one in chunks:
            found[one.chunk_id] = came.rows(one.first_row, one.first_row + one.n_points)
    return missing


def locate(connection: sa.Connection, chunk_ids: Sequence[int]) -> dict[int, Located]:
    """Return where cold chunks are; others are absent."""
    cold, of, chunk = schema.cold.c, schema.cold_object.c, schema.chunk.c
    found: dict[int, Located] = {}
    for start in range(0, len(chunk_ids), _IN_LIST):
        for row in connection.execute(
            sa.select(
                cold.chunk_id,
                cold.object_id,
                cold.row_group,
                cold.first_row,
                chunk.n_points,
                cold.range_start,
                cold.range_bytes,
                cold.crc32,
                of.root,
                of.name,
            )
            .join_from(schema.cold, schema.cold_object, of.object_id == cold.object_id)
            .join(schema.chunk, chunk.chunk_id == cold.chunk_id)
            .where(cold.chunk_id.in_(chunk_ids[start : start + _IN_LIST]))
        ):
            found[row.chunk_id] = Located(**row._mapping)
    return found


def fetch_range(one: Located) -> bytes:
    """Return the bytes of the row group that a chunk is in, and check them.

    Raises:
        ObjectMissing: There is no such object.
        ChunkCorrupt: They are not as they were written.
    """
    body = open_place(one.root).read(one.name, one.range_start, one.range_bytes)
    return verified(body, one.crc32, f"weir_chunk {one.chunk_id} in {one.root}/{one.name}")


def read_again(connection: sa.Connection, one: Located) -> tuple[Series, list[str], list[str]]:
    """Read the rows of a chunk from its object, whatever is kept: points, run ids and keys.

    Raises:
        ObjectMissing: There is no such object.
        ChunkCorrupt: They are not as they were written.
    """
    footer = _footers_of(connection, {one.object_id})[one.object_id]
    what = f"weir_chunk {one.chunk_id}"
    body = fetch_range(one)
    points = objects.read_row_group(footer, one.row_group, one.range_start, body, what)
    run_ids, keys = objects.read_names(footer, one.row_group, one.range_start, body, what)
    end = one.first_row + one.n_points
    return points.rows(one.first_row, end), run_ids[one.first_row : end], keys[one.first_row : end]


class _Kept:
    """Row groups that were read last, up to a number of points; threads share it."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._found: OrderedDict[tuple[str, int], Series] = OrderedDict()
        self._n_points = 0

    def get(self, key: tuple[str, int]) -> Series | None:
        with self._lock:
            if key in self._found:
                self._found.move_to_end(key)
            return self._found.get(key)

    def put(self, key: tuple[str, int], series: Series) -> None:
        with self._lock:
            if key in self._found:
                return
            self._found[key] = series
            self._n_points += len(series)
            while self._n_points > _MAX_KEPT_POINTS:
                self._n_points -= len(self._found.popitem(last=False)[1])

    def clear(self) -> None:
        with self._lock:
            self._found.clear()
            self._n_points = 0


_kept = _Kept()
_footers: OrderedDict[str, Any] = OrderedDict()
_footers_lock = threading.Lock()


def forget() -> None:
    """Drop what is kept of objects that were read; a test or a benchmark reads them anew."""
    _kept.clear()
    with _footers_lock:
        _footers.clear()


def _footers_of(connection: sa.Connection, object_ids: Collection[str]) -> Mapping[str, Any]:
    with _footers_lock:
        found = {one: _footers[one] for one in object_ids if one in _footers}
    columns = schema.cold_object.c
    absent = sorted(set(object_ids) - found.keys())
    for start in range(0, len(absent), _IN_LIST):
        for object_id, footer in connection.execute(
            sa.select(columns.object_id, columns.footer).where(
                columns.object_id.in_(absent[start : start + _IN_LIST])
            )
        ):
            found[object_id] = objects.read_footer(footer, f"weir_cold_object {object_id}")
    with _footers_lock:
        for object_id in absent:
            if object_id in found:
                _footers[object_id] = found[object_id]
        while len(_footers) > _MAX_FOOTERS:
            _footers.popitem(last=False)
    return found
