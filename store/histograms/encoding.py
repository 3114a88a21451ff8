"""Histograms as bytes: all series of one step, or all steps of one series.

Both are one layout, a *table* of rows of one kind such as ``gradients``::

    magic     4 bytes  b"WH01"
    kind      u8       bytes of the kind
    n_keys    u32 LE   1 where all rows are of one series
    n_rows    u32 LE
    lengths   u16 LE   (n_keys,) bytes of each key in UTF-8
    kind, keys
    series    u32 LE   (n_rows,) index of each row's key
    step      i64 LE   (n_rows,)
    timestamp i64 LE   (n_rows,) ms
    norm      f64 LE   (n_rows,)
    first     f64 LE   (n_rows,) lower edge of the first bin
    last      f64 LE   (n_rows,) upper edge of the last
    n_nan     u64 LE   (n_rows,)
    n_inf     u64 LE   (n_rows,)
    counts    u32 LE   (n_rows, 64) values in each of equal bins from first to last

A journal's record holds it as it is; the database holds it packed: the bytes of ``counts`` in four
planes, since most of the upper ones are zero, and zlib over all. ``decode`` believes no length.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

BINS = 64
"""Of a histogram; a series' counts are a row of so many."""

KINDS = ("gradients", "parameters")
"""What histograms are of; also how the names of their metrics begin."""

MAX_BYTES = 16 << 20
"""Of a table, unpacked."""

_MAGIC = b"WH01"
_HEADER = struct.Struct("<4sBII")
_ROW_BYTES = 4 + 7 * 8 + 4 * BINS
_LEVEL = 3  # 6 takes twice as long for 4 %

Int64s = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]


class TableError(ValueError):
    """The bytes are not a table of this version."""


@dataclass(frozen=True, eq=False)
class Table:
    """Histograms of one kind, in rows.

    Attributes:
        kind: One of ``KINDS``.
        keys: The series, such as ``layer1.weight``; each has a row.
        series: (n,) whose each row is.
        step: (n,)
        timestamp: (n,) ms.
        norm: (n,) NaN where no value is finite.
        first: (n,) lower edge of the first bin.
        last: (n,) upper edge of the last.
        n_nan: (n,) values that are NaN, and in no bin.
        n_inf: (n,) values that are infinite.
        counts: (n, ``BINS``)
    """

    kind: str
    keys: tuple[str, ...]
    series: Int64s
    step: Int64s
    timestamp: Int64s
    norm: Floats
    first: Floats
    last: Floats
    n_nan: Int64s
    n_inf: Int64s
    counts: npt.NDArray[np.int64]

    def __len__(self) -> int:
        """Return the number of rows."""
        return len(self.step)

    def take(self, rows: npt.NDArray[np.bool_] | Int64s) -> Table:
        """Return some rows, with the series that are left."""
        left, series = np.unique(self.series[rows], return_inverse=True)
        return Table(
            self.kind,
            tuple(self.keys[i] for i in left.tolist()),
            series.astype(np.int64).reshape(-1),
            self.step[rows],
            self.timestamp[rows],
            self.norm[rows],
            self.first[rows],
            self.last[rows],
            self.n_nan[rows],
            self.n_inf[rows],
            self.counts[rows],
        )


def joined(tables: Sequence[Table]) -> Table:
    """Return the rows of tables of one kind, in order."""
    keys: dict[str, int] = {}
    for table in tables:
        for key in table.keys:
            keys.setdefault(key, len(keys))
    series = [np.array([keys[key] for key in one.keys], np.int64)[one.series] for one in tables]
    return Table(
        tables[0].kind,
        tuple(keys),
        np.concatenate(series),
        np.concatenate([one.step for one in tables]),
        np.concatenate([one.timestamp for one in tables]),
        np.concatenate([one.norm for one in tables]),
        np.concatenate([one.first for one in tables]),
        np.concatenate([one.last for one in tables]),
        np.concatenate([one.n_nan for one in tables]),
        np.concatenate([one.n_inf for one in tables]),
        np.concatenate([one.counts for one in tables]),
    )


def encode(table: Table) -> bytes:
    """Write a table.

    Raises:
        ValueError: A name is too long, or it has no row.
    """
    return b"".join((_head(table), _columns(table), _u32(table.counts).tobytes()))


def _head(table: Table) -> bytes:
    kind = table.kind.encode("ascii")
    names = [key.encode("utf-8", "surrogatepass") for key in table.keys]
    if not len(table):
        raise ValueError("a table of no rows")
    try:
        return b"".join(
            (
                _HEADER.pack(_MAGIC, len(kind), len(names), len(table)),
                struct.pack(f"<{len(names)}H", *map(len, names)),
                kind,
                *names,
            )
        )
    except struct.error as exc:
        raise ValueError(f"a name is too long: {exc}") from exc


def _columns(table: Table) -> bytes:
    return b"".join(
        (
            _u32(table.series).tobytes(),
            table.step.astype("<i8").tobytes(),
            table.timestamp.astype("<i8").tobytes(),
            table.norm.astype("<f8").tobytes(),
            table.first.astype("<f8").tobytes(),
            table.last.astype("<f8").tobytes(),
            table.n_nan.astype("<u8").tobytes(),
            table.n_inf.astype("<u8").tobytes(),
        )
    )


def _u32(numbers: Int64s) -> npt.NDArray[np.uint32]:
    return np.minimum(numbers, 0xFFFF_FFFF).astype("<u4")


def decode(payload: bytes) -> Table:
    """Read a table.

    Raises:
        TableError: The bytes are not one.
    """
    kind, keys, n, at = _read_head(payload)
    counts = np.frombuffer(payload, "<u4", n * BINS, at + n * (_ROW_BYTES - 4 * BINS))
    return _table(kind, keys, n, payload, at, counts)


def _read_head(payload: bytes) -> tuple[str, tuple[str, ...], int, int]:
    """Return kind, keys, the number of rows, and where the columns begin."""
    try:
        magic, kind_length, n_keys, n = _HEADER.unpack_from(payload)
        if magic != _MAGIC:
            raise TableError(f"unknown format {magic!r}")
        at = _HEADER.size
        if not 0 < n_keys <= n or at + 2 * n_keys > len(payload):
            raise TableError(f"{n_keys} series in {n} rows")
        lengths = struct.unpack_from(f"<{n_keys}H", payload, at)
        at += 2 * n_keys
        size = at + kind_length + sum(lengths) + n * _ROW_BYTES
        if size != len(payload):
            raise TableError(f"{len(payload)} bytes, its header says {size}")
        kind = payload[at : at + kind_length].decode("ascii")
        at += kind_length
        keys = []
        for length in lengths:
            keys.append(payload[at : at + length].decode("utf-8", "surrogatepass"))
            at += length
    except (struct.error, UnicodeDecodeError) as exc:
        raise TableError(f"cut short or not text: {exc}") from exc
    if kind not in KINDS or len(set(keys)) != n_keys:
        raise TableError(f"kind {kind!r:.20} and {len(set(keys))} names of {n_keys} series")
    return kind, tuple(keys), n, at


def _table(
    kind: str,
    keys: tuple[str, ...],
    n: int,
    payload: bytes,
    at: int,
    counts: npt.NDArray[np.uint32],
) -> Table:
    series = np.frombuffer(payload, "<u4", n, at).astype(np.int64)
    if np.unique(series).tolist() != list(range(len(keys))):
        raise TableError("rows of no series, or a series of no rows")
    at += 4 * n
    wide = [np.frombuffer(payload, kind_, n, at + 8 * n * i) for i, kind_ in enumerate(_WIDE)]
    if max(int(wide[5].max()), int(wide[6].max())) >= 1 << 63:
        raise TableError("more values than there can be")
    step, timestamp, norm, first, last, n_nan, n_inf = wide
    return Table(
        kind,
        keys,
        series,
        step.astype(np.int64),
        timestamp.astype(np.int64),
        norm.astype(np.float64),
        first.astype(np.float64),
        last.astype(np.float64),
        n_nan.astype(np.int64),
        n_inf.astype(np.int64),
        counts.reshape(n, BINS).astype(np.int64),
    )


_WIDE = ("<i8", "<i8", "<f8", "<f8", "<f8", "<u8", "<u8")


def pack(table: Table) -> bytes:
    """Write a table as the database has it."""
    planes = _u32(table.counts).view(np.uint8).reshape(-1, 4).T
    return zlib.compress(b"".join((_head(table), _columns(table), planes.tobytes())), _LEVEL)


def unpack(packed: bytes) -> Table:
    """Read what ``pack`` wrote.

    Raises:
        TableError: The bytes are not that.
    """
    inflater = zlib.decompressobj()
    try:
        payload = inflater.decompress(packed, MAX_BYTES)
    except zlib.error as exc:
        raise TableError(str(exc)) from exc
    if not inflater.eof:
        raise TableError("larger than a table may be, or cut short")
    kind, keys, n, at = _read_head(payload)
    planes = np.frombuffer(payload, np.uint8, 4 * n * BINS, at + n * (_ROW_BYTES - 4 * BINS))
    counts = np.ascontiguousarray(planes.reshape(4, -1).T).view("<u4").reshape(-1)
    return _table(kind, keys, n, payload, at, counts)
