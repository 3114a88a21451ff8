"""Reading one metric of many runs for a chart, in a few queries whatever their number.

``reading.read_buckets`` answers run by run; here everything of a metric is one set of flat columns
(``Atoms``): stored rollups where they are fine enough, points elsewhere. Points are looked for in
the order they travel, as in ``reading``: MLflow's rows and batches first, then chunks. Rows of a
run are in history order (by time). Where stored buckets do not tell that order (late points, steps
that go back inside one, infinities that hide the finite extremes), that run's points are read.
"""

from __future__ import annotations

import hashlib
import itertools
from collections import defaultdict
from collections.abc import Hashable, Iterator, Mapping, Sequence
from typing import NamedTuple
from weakref import WeakKeyDictionary

import numpy as np
import numpy.typing as npt
import sqlalchemy as sa
from sqlalchemy.orm import Session

from mlflow_weir.errors import ChunkCorrupt, TooMuchAsked
from mlflow_weir.store import schema
from mlflow_weir.store.cold import reading as cold_reading
from mlflow_weir.store.metrics import rollups
from mlflow_weir.store.metrics.atom_cache import AtomCache
from mlflow_weir.store.metrics.batch_encoding import (
    decode_batch,
    key_bytes,
    key_hash,
    key_text,
    verified,
)
from mlflow_weir.store.metrics.encoding import decode_chunk
from mlflow_weir.store.metrics.points import (
    EMPTY,
    Int64Column,
    Series,
    concatenate,
    history_order,
    whole_number,
)
from mlflow_weir.store.metrics.rollup_atoms import (
    Atoms,
    atoms_of_points,
    concatenate_atoms,
    decode_rollups,
)

MAX_RAW_POINTS = 12_000_000
"""Most points that one metric of one request may need one by one (24 bytes each)."""

_COLD_AT_ONCE = 64
_IN_LIST = 500  # SQLite's oldest limit on bound values is 999
_MAX_ATTEMPTS = 10
_MAX_KEPT_POINTS = 4_000_000
_decoded = AtomCache()
_engines: WeakKeyDictionary[sa.Engine, int] = WeakKeyDictionary()
_numbers = itertools.count()


class Window(NamedTuple):
    """Which part of each series is wanted.

    Attributes:
        is_by_time: Limits are timestamps in ms; otherwise steps.
        first: (n_runs,) smallest x of each run that is included.
        last: Largest x that is included.
    """

    is_by_time: bool
    first: Int64Column
    last: int

    @property
    def is_everything(self) -> bool:
        """Say whether nothing is left out."""
        return self.last == _MAX and bool((self.first == _MIN).all())


_MIN, _MAX = -(2**63), 2**63 - 1


def everything(n_runs: int, *, is_by_time: bool) -> Window:
    """Return the window that leaves nothing out."""
    return Window(is_by_time, np.full(n_runs, _MIN, dtype=np.int64), _MAX)


class Curve(NamedTuple):
    """One metric of all runs.

    Attributes:
        atoms: Rows of each run together, in history order; runs without points have none.
        n_total: (n_runs,) points of each run, also those outside the window. Points that are
            moved while they are read may count twice.
    """

    atoms: Atoms
    n_total: Int64Column


class _Piece(NamedTuple):
    owner: int
    chunk_id: int
    first_row: int
    n_points: int
    min_step: int
    max_step: int
    min_timestamp: int
    max_timestamp: int

    def x_range(self, window: Window) -> tuple[int, int]:
        if window.is_by_time:
            return self.min_timestamp, self.max_timestamp
        return self.min_step, self.max_step


class CurveReader:
    """Reads metrics of some runs, one after the other, with what they share read once."""

    def __init__(
        self,
        session: Session,
        run_ids: Sequence[str],
        keys: Sequence[str],
        until_ms: Sequence[int] | None = None,
    ) -> None:
        """Read where the points are, and those outside chunks.

        Args:
            session: Reads only.
            run_ids: Runs, each once; unknown ones have no points.
            keys: The metrics that will be read, matched exactly.
            until_ms: The last timestamp of each run: later points are as if they were not there.
                None for all points. See ``runs.moment.last_ms``.

        Raises:
            ChunkCorrupt: A batch fails its checksum; the message names it.
        """
        self._session = session
        self._run_ids = run_ids
        self._owner = {run_id: at for at, run_id in enumerate(run_ids)}
        self._keys = list(dict.fromkeys(keys))
        self._until_ms = until_ms
        self._kept: dict[tuple[int, int], Series] = {}
        self._load()

    def first_ms(self) -> Int64Column:
        """Return the earliest timestamp of any metric of each run; 0 where it has no point."""
        found: dict[int, int] = {}

        def note(owner: int, first: int) -> None:
            found[owner] = min(first, found.get(owner, first))

        old, index = schema.mlflow_metrics.c, schema.series.c
        for ids in _slices(self._run_ids):
            for run_id, first in self._session.execute(
                sa.select(old.run_uuid, sa.func.min(old.timestamp))
                .where(old.run_uuid.in_(ids))
                .group_by(old.run_uuid)
            ):
                note(self._owner[run_id], whole_number(first))
            for run_id, first in self._session.execute(
                sa.select(index.run_uuid, sa.func.min(index.min_timestamp))
                .where(index.run_uuid.in_(ids))
                .group_by(index.run_uuid)
            ):
                note(self._owner[run_id], first)
        for owner, first in self._first_in_batches.items():
            note(owner, first)
        return np.array([found.get(at, 0) for at in range(len(self._run_ids))], dtype=np.int64)

    def read(self, key: str, window: Window, n_buckets: int) -> Curve:
        """Read one of the metrics.

        Args:
            key: One of those that were named.
            window: Which part of each run's points.
            n_buckets: What the chart shows of each run; stored buckets that are coarser than half
                of that are not taken.

        Raises:
            ChunkCorrupt: A stored row fails its checksum; the message names it.
            TooMuchAsked: More than ``MAX_RAW_POINTS`` would have to be read.
        """
        for attempt in range(_MAX_ATTEMPTS):
            pieces = self._pieces[key] + self._astride[key]
            try:
                self._read_astride(key)
                return self._read(key, window, n_buckets)
            except ChunkCorrupt:
                # Index and chunk are two queries: compaction may have replaced both in between.
                self._load()
                now = self._pieces[key] + self._astride[key]
                if attempt == _MAX_ATTEMPTS - 1 or pieces == now:
                    raise
        raise AssertionError("unreachable")

    def read_points(self, key: str) -> dict[int, Series]:
        """Return all points of a metric in history order, by run; runs without are absent.

        Raises:
            ChunkCorrupt: A stored row fails its checksum; the message names it.
            TooMuchAsked: They are more than ``MAX_RAW_POINTS``.
        """
        for attempt in range(_MAX_ATTEMPTS):
            pieces = self._pieces[key] + self._astride[key]
            try:
                self._read_astride(key)
                owners = {piece.owner for piece in pieces} | set(self._loose[key])
                return self._whole(key, sorted(owners))
            except ChunkCorrupt:
                self._load()
                now = self._pieces[key] + self._astride[key]
                if attempt == _MAX_ATTEMPTS - 1 or pieces == now:
                    raise
        raise AssertionError("unreachable")

    # Where points are

    def _load(self) -> None:
        self._loose: dict[str, dict[int, list[Series]]] = {key: {} for key in self._keys}
        self._first_in_batches: dict[int, int] = {}
        self._pieces: dict[str, list[_Piece]] = {key: [] for key in self._keys}
        self._astride: dict[str, list[_Piece]] = {key: [] for key in self._keys}
        self._kept.clear()
        for ids in _slices(self._run_ids):
            self._load_old_rows(ids)
            self._load_batches(ids)
            self._load_index(ids)

    def _load_old_rows(self, ids: Sequence[str]) -> None:
        old = schema.mlflow_metrics.c
        rows: dict[tuple[str, str], list[tuple[int, int, float]]] = defaultdict(list)
        keys = [key for key in self._keys if _is_text(key)]
        for run_id, key, timestamp, step, value, is_nan in self._session.execute(
            sa.select(old.run_uuid, old.key, old.timestamp, old.step, old.value, old.is_nan).where(
                old.run_uuid.in_(ids), old.key.in_(keys)
            )
        ):
            if key in self._loose:  # MySQL's collations match more than the same text
                point = (
                    whole_number(timestamp),
                    whole_number(step),
                    float("nan") if is_nan else value,
                )
                rows[run_id, key].append(point)
        for (run_id, key), points in rows.items():
            timestamps, steps, values = zip(*points, strict=True)
            series = Series(
                np.array(timestamps, dtype=np.int64),
                np.array(steps, dtype=np.int64),
                np.array(values, dtype=np.float64),
            )
            self._add_loose(key, self._owner[run_id], series)

    def _load_batches(self, ids: Sequence[str]) -> None:
        columns = schema.batch.c
        for run_id, batch_id, crc32, payload in self._session.execute(
            sa.select(columns.run_uuid, columns.batch_id, columns.crc32, columns.payload)
            .where(columns.run_uuid.in_(ids))
            .order_by(columns.batch_id)
        ):
            what, owner = f"weir_batch {batch_id}", self._owner[run_id]
            for key, series in decode_batch(verified(payload, crc32, what), what).items():
                first = int(series.timestamp.min())
                known = self._first_in_batches.get(owner, first)
                self._first_in_batches[owner] = min(known, first)
                if key in self._loose:
                    self._add_loose(key, owner, series)

    def _add_loose(self, key: str, owner: int, series: Series) -> None:
        if self._until_ms is not None:
            series = series.take(series.timestamp <= self._until_ms[owner])
        if len(series):
            self._loose[key].setdefault(owner, []).append(series)

    def _load_index(self, ids: Sequence[str]) -> None:
        index = schema.series.c
        hashes = [key_hash(key) for key in self._keys]
        for row in self._session.execute(
            sa.select(
                index.key,
                index.run_uuid,
                index.chunk_id,
                index.first_row,
                index.n_points,
                index.min_step,
                index.max_step,
                index.min_timestamp,
                index.max_timestamp,
            ).where(index.run_uuid.in_(ids), index.key_hash.in_(hashes))
        ):
            key, piece = key_text(row[0]), _Piece(self._owner[row[1]], *row[2:])
            if key not in self._pieces:
                continue
            last_ms = _MAX if self._until_ms is None else self._until_ms[piece.owner]
            if piece.max_timestamp <= last_ms:
                self._pieces[key].append(piece)
            elif piece.min_timestamp <= last_ms:
                self._astride[key].append(piece)

    def _read_astride(self, key: str) -> None:
        """Take from pieces that go beyond the last moment the points that do not."""
        astride = self._astride[key]
        for owner, found in self._read_raw(key, astride).items():
            for series in found:
                self._add_loose(key, owner, series)
        self._astride[key] = []

    # One metric

    def _read(self, key: str, window: Window, n_buckets: int) -> Curve:
        n_total = self._count(key)
        by_rollup, raw = self._choose(key, window, n_buckets)
        parts = self._read_rollups(key, by_rollup) if by_rollup else []
        loose = self._loose[key]
        # Of a run for which nothing waits, the points of some chunks are always the same.
        parts += self._read_settled(key, [p for p in raw if p.owner not in loose], window)
        points = self._read_raw(key, [piece for piece in raw if piece.owner in loose])
        for owner, waiting in loose.items():
            found = [*points.get(owner, ()), *waiting]
            points[owner] = [history_order(concatenate(found))]
            # What was logged twice is one point, and compaction has not dropped the other yet.
            n_total[owner] -= sum(map(len, found)) - len(points[owner][0])
        parts += _series_to_atoms(points, window)
        atoms = _in_time_order(concatenate_atoms(parts)) if parts else _no_atoms()
        unclear = _unclear_owners(atoms, window)
        if unclear:
            keep = ~np.isin(atoms.owner, np.array(unclear))
            whole = {owner: [series] for owner, series in self._whole(key, unclear).items()}
            reread = _series_to_atoms(whole, window)
            atoms = _in_time_order(concatenate_atoms([atoms.take(keep), *reread]))
        return Curve(atoms, n_total)

    def _count(self, key: str) -> Int64Column:
        n_total = np.zeros(len(self._run_ids), dtype=np.int64)
        for piece in self._pieces[key]:
            n_total[piece.owner] += piece.n_points
        for owner, loose in self._loose[key].items():
            n_total[owner] += sum(map(len, loose))
        return n_total

    def _choose(
        self, key: str, window: Window, n_buckets: int
    ) -> tuple[dict[int, dict[tuple[int, int], int]], list[_Piece]]:
        """Choose what to read each piece by.

        Returns:
            Resolution to the owners of pieces that are read by it; pieces to be read by points.
        """
        everywhere = window.is_everything
        first = window.first.tolist()
        of_owner: dict[int, list[tuple[_Piece, bool]]] = defaultdict(list)
        for piece in self._pieces[key]:
            low, high = piece.x_range(window)
            if everywhere or (high >= first[piece.owner] and low <= window.last):
                is_inside = everywhere or (low >= first[piece.owner] and high <= window.last)
                of_owner[piece.owner].append((piece, is_inside))
        chosen: dict[int, dict[tuple[int, int], int]] = defaultdict(dict)
        raw: list[_Piece] = []
        for pieces in of_owner.values():
            n_points = sum(piece.n_points for piece, _ in pieces)
            # One a point is what a short series is shown as.
            fitting = [
                r
                for r in rollups.RESOLUTIONS
                if n_points > n_buckets and 2 * n_points >= r * n_buckets
            ]
            for piece, is_inside in pieces:
                usable = [r for r in fitting if is_inside and piece.n_points >= 8 * r]
                if usable:
                    chosen[usable[-1]][piece.chunk_id, piece.first_row] = piece.owner
                else:
                    raw.append(piece)
        return chosen, raw

    def _read_rollups(
        self, key: str, chosen: Mapping[int, Mapping[tuple[int, int], int]]
    ) -> list[Atoms]:
        index, data = schema.series.c, schema.rollup.c
        parts = []
        for resolution, places in chosen.items():
            known = self._cache_key(resolution, places)
            kept = _decoded.get(known)
            if kept is not None:
                parts.append(kept)
                continue
            payloads, owners, names = [], [], []
            n_found = 0
            wanted = sorted({self._run_ids[owner] for owner in places.values()})
            for ids in _slices(wanted):
                for chunk_id, first_row, crc32, payload in self._session.execute(
                    sa.select(data.chunk_id, data.first_row, data.crc32, data.payload)
                    .join_from(
                        schema.series,
                        schema.rollup,
                        sa.and_(
                            data.chunk_id == index.chunk_id,
                            data.first_row == index.first_row,
                            data.resolution == resolution,
                        ),
                    )
                    .where(
                        index.run_uuid.in_(ids),
                        index.key_hash == key_hash(key),
                        index.key == key_bytes(key),
                    )
                ):
                    owner = places.get((chunk_id, first_row))
                    if owner is None:
                        continue
                    n_found += 1
                    what = f"weir_rollup {chunk_id}/{first_row}/{resolution}"
                    payloads.append(verified(payload, crc32, what))
                    owners.append(owner)
                    names.append(what)
            if n_found != len(places):
                raise ChunkCorrupt(f"weir_rollup of {key!r:.100}", "a row is missing")
            found = decode_rollups(payloads, owners, names)
            if found is not None:
                found = _in_time_order(found)
                _decoded.put(known, found)
                parts.append(found)
        return parts

    def _read_settled(self, key: str, pieces: Sequence[_Piece], window: Window) -> list[Atoms]:
        if not pieces:
            return []
        known = self._cache_key(0, {(p.chunk_id, p.first_row): p.owner for p in pieces})
        atoms = _decoded.get(known)
        if atoms is None:
            whole = everything(len(self._run_ids), is_by_time=window.is_by_time)
            (atoms,) = _series_to_atoms(self._read_raw(key, pieces), whole)
            _decoded.put(known, atoms)
        if not window.is_everything:
            x = atoms.first_ms if window.is_by_time else atoms.first_step
            atoms = atoms.take((x >= window.first[atoms.owner]) & (x <= window.last))
        return [atoms]

    def _cache_key(self, resolution: int, places: Mapping[tuple[int, int], int]) -> Hashable:
        """Return what tells these rollups, or points, numbered by owner, from all others."""
        rows = np.array([(*place, owner) for place, owner in places.items()], dtype=np.int64)
        digest = hashlib.blake2b(rows.tobytes(), digest_size=16).digest()
        engine = self._session.get_bind().engine
        # Not its address or URL: another may have the same later.
        return _engines.setdefault(engine, next(_numbers)), resolution, digest

    def _read_raw(self, key: str, pieces: Sequence[_Piece]) -> dict[int, list[Series]]:
        n_points = sum(piece.n_points for piece in pieces)
        if n_points > MAX_RAW_POINTS:
            raise TooMuchAsked(
                f"{n_points:,} points of {key!r:.100} would have to be read one by one, at most "
                f"{MAX_RAW_POINTS:,}: ask for fewer runs, a shorter range or fewer buckets"
            )
        places = {(piece.chunk_id, piece.first_row) for piece in pieces}
        self._read_chunks({chunk_id for chunk_id, _ in places - self._kept.keys()}, places)
        found: dict[int, list[Series]] = defaultdict(list)
        for piece in sorted(pieces, key=lambda one: one.min_timestamp):
            rows = self._kept.pop((piece.chunk_id, piece.first_row), None)
            if rows is None:
                raise ChunkCorrupt(f"weir_chunk {piece.chunk_id}", "the row is missing")
            found[piece.owner].append(rows)
        return found

    def _read_chunks(self, chunk_ids: set[int], needed: set[tuple[int, int]]) -> None:
        """Decode chunks; keep what this metric needs of them, and the others that were named."""
        in_chunk: dict[int, list[_Piece]] = defaultdict(list)
        for pieces in itertools.chain(self._pieces.values(), self._astride.values()):
            for piece in pieces:
                if piece.chunk_id in chunk_ids:
                    in_chunk[piece.chunk_id].append(piece)
        n_kept = sum(map(len, self._kept.values()))
        columns, ordered = schema.chunk.c, sorted(chunk_ids)
        cold: list[int] = []

        def keep(chunk_id: int, points: Series) -> None:
            nonlocal n_kept
            for piece in in_chunk[chunk_id]:
                place = (chunk_id, piece.first_row)
                if place not in needed and n_kept > _MAX_KEPT_POINTS:
                    continue
                n_kept += piece.n_points
                rows = points.rows(piece.first_row, piece.first_row + piece.n_points)
                # A copy, where the rest of the chunk would be kept for nothing.
                is_most = 2 * piece.n_points > len(points)
                self._kept[place] = rows if is_most else concatenate([rows, EMPTY])

        for start in range(0, len(ordered), _IN_LIST):
            for chunk_id, crc32, payload in self._session.execute(
                sa.select(columns.chunk_id, columns.crc32, columns.payload).where(
                    columns.chunk_id.in_(ordered[start : start + _IN_LIST])
                )
            ):
                if not payload:
                    cold.append(chunk_id)
                    continue
                what = f"weir_chunk {chunk_id}"
                keep(chunk_id, decode_chunk(verified(payload, crc32, what), what))
        for start in range(0, len(cold), _COLD_AT_ONCE):
            part = cold[start : start + _COLD_AT_ONCE]
            for chunk_id, points in cold_reading.read_cold(self._session, part).items():
                keep(chunk_id, points)

    def _whole(self, key: str, owners: Sequence[int]) -> dict[int, Series]:
        """Return all points of some runs, in history order without duplicates."""
        wanted = set(owners)
        parts = self._read_raw(key, [p for p in self._pieces[key] if p.owner in wanted])
        for owner in owners:
            parts.setdefault(owner, [])[:0] = self._loose[key].get(owner, [])
        return {owner: history_order(concatenate(found)) for owner, found in parts.items()}


def _no_atoms() -> Atoms:
    return atoms_of_points(np.empty(0, dtype=np.int64), EMPTY)


def _is_text(key: str) -> bool:
    """Say whether a database's text can be this; batches and chunks keep keys as bytes."""
    try:
        return b"\0" not in key.encode()
    except UnicodeEncodeError:
        return False


def _slices(run_ids: Sequence[str]) -> Iterator[Sequence[str]]:
    for start in range(0, len(run_ids), _IN_LIST):
        yield run_ids[start : start + _IN_LIST]


def _series_to_atoms(points: Mapping[int, list[Series]], window: Window) -> list[Atoms]:
    """Return points as atoms of one, those inside the window, in history order by owner."""
    owners: list[int] = []
    ordered: list[Series] = []
    for at in sorted(points):
        series = history_order(concatenate(points[at]))
        if len(series):
            owners.append(at)
            ordered.append(series)
    if not ordered:
        return []
    owner = np.repeat(np.array(owners, dtype=np.int64), [len(series) for series in ordered])
    whole = concatenate(ordered)
    if not window.is_everything:
        x = whole.timestamp if window.is_by_time else whole.step
        mask = (x >= window.first[owner]) & (x <= window.last)
        owner, whole = owner[mask], whole.take(mask)
    return [atoms_of_points(owner, whole)]


def _in_time_order(atoms: Atoms) -> Atoms:
    """Put each run's rows together, by time; stable, so that points keep their own order."""
    same = atoms.owner[1:] == atoms.owner[:-1]
    later = atoms.first_ms[1:] >= atoms.first_ms[:-1]
    if bool(np.all((atoms.owner[1:] > atoms.owner[:-1]) | (same & later))):
        return atoms
    return atoms.take(np.lexsort((atoms.last_ms, atoms.first_ms, atoms.owner)))


def _unclear_owners(atoms: Atoms, window: Window) -> list[int]:
    """Return the runs whose stored buckets do not tell what a chart needs to know of them."""
    if not len(atoms):
        return []
    same = atoms.owner[1:] == atoms.owner[:-1]
    is_bucket = atoms.count > 1
    either = is_bucket[1:] | is_bucket[:-1]
    # Of points among themselves the order is right already.
    overlap = same & either & (atoms.first_ms[1:] < atoms.last_ms[:-1])
    unclear = [atoms.owner[1:][overlap], atoms.owner[is_bucket & (atoms.n_inf > 0)]]
    if not window.is_by_time:
        back = same & either & (atoms.first_step[1:] < atoms.last_step[:-1])
        unclear += [atoms.owner[1:][back], atoms.owner[~atoms.is_level]]
    found: npt.NDArray[np.int64] = np.unique(np.concatenate(unclear))
    return list(map(int, found))
