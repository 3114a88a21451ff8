"""The norms of all series over some steps, for a picture of them: a matrix, one row a series."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from mlflow_weir.store.histograms.encoding import (
    KINDS,
    MAX_BYTES,
    Floats,
    Int64s,
    Table,
    TableError,
)

_MAGIC = b"WN01"
_HEADER = struct.Struct("<4sBII")
_ABSENT = np.float32(-1.0)  # a norm is none


@dataclass(frozen=True, eq=False)
class Norms:
    """Norms of the series of one kind.

    Attributes:
        kind: One of ``KINDS``.
        keys: (k,) the series.
        step: (s,) ascending, each once.
        timestamp: (s,) ms.
        norm: (k, s) as float32; NaN where a series has none at that step, or no finite value.
        n_bad: (k, s) values that are NaN or infinite, up to 2^32 - 1.
    """

    kind: str
    keys: tuple[str, ...]
    step: Int64s
    timestamp: Int64s
    norm: npt.NDArray[np.float32]
    n_bad: npt.NDArray[np.uint32]

    @classmethod
    def of(cls, table: Table) -> Norms:
        """Return those of histograms; of several of a series and step the last."""
        step, column = np.unique(table.step, return_inverse=True)
        column = column.reshape(-1)
        timestamp = np.zeros(len(step), dtype=np.int64)
        timestamp[column] = table.timestamp
        shape = (len(table.keys), len(step))
        norm = np.full(shape, np.nan, dtype=np.float32)
        bad = np.zeros(shape, dtype=np.uint32)
        with np.errstate(over="ignore"):
            norm[table.series, column] = table.norm.astype(np.float32)
        bad[table.series, column] = np.minimum(table.n_nan + table.n_inf, 0xFFFF_FFFF)
        return cls(table.kind, table.keys, step, timestamp, norm, bad)

    def until(self, step: int) -> Norms:
        """Return those of steps that are not greater, and of the series that are left."""
        return self.at(self.step <= step)

    def at(self, columns: npt.NDArray[np.bool_]) -> Norms:
        """Return those of some of the steps, and of the series that are left."""
        norm, bad = self.norm[:, columns], self.n_bad[:, columns]
        left = np.flatnonzero((~np.isnan(norm) | (bad > 0)).any(axis=1))
        keys = tuple(self.keys[i] for i in left.tolist())
        return Norms(
            self.kind, keys, self.step[columns], self.timestamp[columns], norm[left], bad[left]
        )

    def pack(self) -> bytes:
        """Write them as the database has them."""
        kind = self.kind.encode("ascii")
        names = [key.encode("utf-8", "surrogatepass") for key in self.keys]
        norm = np.where(np.isnan(self.norm), _ABSENT, self.norm)
        whole = b"".join(
            (
                _HEADER.pack(_MAGIC, len(kind), len(names), len(self.step)),
                struct.pack(f"<{len(names)}H", *map(len, names)),
                kind,
                *names,
                self.step.astype("<i8").tobytes(),
                self.timestamp.astype("<i8").tobytes(),
                norm.astype("<f4").tobytes(),
                self.n_bad.astype("<u4").tobytes(),
            )
        )
        return zlib.compress(whole, 3)

    @classmethod
    def unpack(cls, packed: bytes) -> Norms:
        """Read what ``pack`` wrote.

        Raises:
            TableError: The bytes are not that.
        """
        inflater = zlib.decompressobj()
        try:
            payload = inflater.decompress(packed, MAX_BYTES)
            magic, kind_length, k, s = _HEADER.unpack_from(payload)
            at = _HEADER.size
            if magic != _MAGIC or not inflater.eof or at + 2 * k > len(payload):
                raise TableError(f"unknown format {magic!r}, or cut short")
            lengths = struct.unpack_from(f"<{k}H", payload, at)
            at += 2 * k
            if at + kind_length + sum(lengths) + 16 * s + 8 * k * s != len(payload):
                raise TableError("its lengths do not fit")
            kind = payload[at : at + kind_length].decode("ascii")
            at += kind_length
            keys = []
            for length in lengths:
                keys.append(payload[at : at + length].decode("utf-8", "surrogatepass"))
                at += length
        except (zlib.error, struct.error, UnicodeDecodeError) as exc:
            raise TableError(str(exc)) from exc
        if kind not in KINDS:
            raise TableError(f"kind {kind!r:.20}")
        norm = np.frombuffer(payload, "<f4", k * s, at + 16 * s).reshape(k, s)
        bad = np.frombuffer(payload, "<u4", k * s, at + 16 * s + 4 * k * s).reshape(k, s)
        return cls(
            kind,
            tuple(keys),
            np.frombuffer(payload, "<i8", s, at).astype(np.int64),
            np.frombuffer(payload, "<i8", s, at + 8 * s).astype(np.int64),
            np.where(norm == _ABSENT, np.float32(np.nan), norm).astype(np.float32),
            bad.astype(np.uint32),
        )


def side_by_side(parts: Sequence[Norms]) -> Norms:
    """Return norms of one kind together; of several of a series and step the last."""
    keys: dict[str, int] = {}
    for part in parts:
        for key in part.keys:
            keys.setdefault(key, len(keys))
    step = np.unique(np.concatenate([part.step for part in parts]))
    timestamp = np.zeros(len(step), dtype=np.int64)
    norm = np.full((len(keys), len(step)), np.nan, dtype=np.float32)
    bad = np.zeros(norm.shape, dtype=np.uint32)
    for part in parts:
        columns = np.searchsorted(step, part.step)
        rows = np.array([keys[key] for key in part.keys], dtype=np.int64)
        where = np.ix_(rows, columns)
        is_there = ~np.isnan(part.norm) | (part.n_bad > 0)
        norm[where] = np.where(is_there, part.norm, norm[where])
        bad[where] = np.where(is_there, part.n_bad, bad[where])
        timestamp[columns] = part.timestamp
    return Norms(parts[0].kind, tuple(keys), step, timestamp, norm, bad)


def evenly(steps: Int64s, at_most: int) -> Int64s:
    """Return positions of steps to keep: all, or so many evenly, first and last among them."""
    if len(steps) <= at_most:
        return np.arange(len(steps), dtype=np.int64)
    spread: Floats = np.linspace(0, len(steps) - 1, at_most)
    return np.unique(np.rint(spread).astype(np.int64))
