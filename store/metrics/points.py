"""Points of metrics as NumPy columns: ordering, duplicates, grouping by key.

A point is (timestamp in ms, step, value). As MLflow stores it, an infinite value is
±1.7976931348623157e308; a NaN is kept here as NaN and is, for ordering, a 0 that comes after the
0 that is a number (MLflow writes value 0 with ``is_nan`` set). History order is (timestamp, step,
value, is_nan), and two points that agree in all of them are one point: the first logged is kept,
as MLflow's primary key has it.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

Int64Column = npt.NDArray[np.int64]
Float64Column = npt.NDArray[np.float64]
UInt32Column = npt.NDArray[np.uint32]

INFINITY = 1.7976931348623157e308
_INT64 = range(-(2**63), 2**63)


@dataclass(frozen=True, slots=True, eq=False)
class Series:
    """Points of one metric of one run; the columns have the same length ``n``.

    Attributes:
        timestamp: (n,) milliseconds since 1970 UTC.
        step: (n,) the user's x; may repeat, may go backwards, may be negative.
        value: (n,) finite, ±INFINITY, or NaN.
    """

    timestamp: Int64Column
    step: Int64Column
    value: Float64Column

    def __len__(self) -> int:
        """Return the number of points (not of columns)."""
        return len(self.timestamp)

    def rows(self, start: int, stop: int) -> Series:
        """Return the points ``start`` (inclusive) to ``stop`` (exclusive), as views."""
        return Series(self.timestamp[start:stop], self.step[start:stop], self.value[start:stop])

    def take(self, index: npt.NDArray[np.int64] | npt.NDArray[np.bool_]) -> Series:
        """Return the points that an index or a mask selects."""
        return Series(self.timestamp[index], self.step[index], self.value[index])


EMPTY = Series(
    np.empty(0, dtype=np.int64), np.empty(0, dtype=np.int64), np.empty(0, dtype=np.float64)
)


@dataclass(frozen=True, slots=True, eq=False)
class Columns:
    """Points of any metrics of one run, in log order.

    Attributes:
        keys: (k,) the metrics, each once, in order of first appearance.
        index: (n,) each point's metric, as an index into ``keys``.
        series: (n,) the numbers.
    """

    keys: Sequence[str]
    index: UInt32Column
    series: Series

    def __len__(self) -> int:
        """Return the number of points."""
        return len(self.series)

    def rows(self, start: int, stop: int) -> Columns:
        """Return the points ``start`` (inclusive) to ``stop`` (exclusive) with their keys."""
        if start == 0 and stop >= len(self):
            return self
        return self._of(self.index[start:stop], self.series.rows(start, stop))

    def without(self, keys: Collection[str]) -> Columns:
        """Return the points of all other keys."""
        refused = [at for at, key in enumerate(self.keys) if key in keys]
        return self.take(~np.isin(self.index, refused))

    def take(self, mask: npt.NDArray[np.bool_]) -> Columns:
        """Return the points that a mask selects."""
        return self if mask.all() else self._of(self.index[mask], self.series.take(mask))

    def _of(self, index: UInt32Column, series: Series) -> Columns:
        used, first, inverse = np.unique(index, return_index=True, return_inverse=True)
        order = np.argsort(first)
        rank = np.empty(len(order), dtype=np.uint32)
        rank[order] = np.arange(len(order), dtype=np.uint32)
        return Columns([self.keys[at] for at in used[order].tolist()], rank[inverse], series)


def columns_of(points: Sequence[Point]) -> Columns:
    """Return points as columns, in the same order.

    Raises:
        OverflowError: A step or timestamp does not fit 64 bits.
    """
    index: dict[str, int] = {}
    for point in points:
        index.setdefault(point.key, len(index))
    return Columns(
        list(index),
        np.array([index[point.key] for point in points], dtype=np.uint32),
        Series(
            np.array([point.timestamp for point in points], dtype=np.int64),
            np.array([point.step for point in points], dtype=np.int64),
            np.array([point.value for point in points], dtype=np.float64),
        ),
    )


def columns_of_series(content: Mapping[str, Series]) -> Columns:
    """Return the points of some metrics as columns, metric by metric."""
    lengths = [len(series) for series in content.values()]
    return Columns(
        list(content),
        np.repeat(np.arange(len(content), dtype=np.uint32), lengths),
        concatenate(list(content.values())),
    )


class Point(NamedTuple):
    """One logged value, as a caller hands it over."""

    key: str
    timestamp: int
    step: int
    value: float


def stored_value(value: float) -> float:
    """Return the value as MLflow's databases keep it.

    Infinities become ±INFINITY, and -0.0 becomes 0.0, as SQLite and MySQL have it.
    """
    if math.isinf(value):
        return INFINITY if value > 0 else -INFINITY
    return float(value) + 0.0


def stored_values(values: Float64Column) -> Float64Column:
    """Return what ``stored_value`` makes of each value."""
    return np.clip(values, -INFINITY, INFINITY) + 0.0


def is_int64(number: int) -> bool:
    """Say whether the number fits the databases' and Parquet's 64-bit integers."""
    return number in _INT64


def whole_number(number: object) -> int:
    """Read a step or timestamp that stock MLflow wrote; SQLite took whatever it was given.

    A NumPy integer became its bytes, a fraction stayed one, and infinity is beyond any step.
    """
    if isinstance(number, bytes):
        return int.from_bytes(number, "little", signed=True)
    if isinstance(number, float):
        if abs(number) < 2**63:
            return round(number)
        return 2**63 - 1 if number > 0 else -(2**63)
    assert isinstance(number, int)
    return number


def concatenate(parts: Sequence[Series]) -> Series:
    """Return the points of all parts, in the order given."""
    if len(parts) == 1:
        return parts[0]
    if not parts:
        return EMPTY
    return Series(
        np.concatenate([part.timestamp for part in parts]),
        np.concatenate([part.step for part in parts]),
        np.concatenate([part.value for part in parts]),
    )


def _order(series: Series, *, by_step: bool) -> npt.NDArray[np.int64]:
    is_nan = np.isnan(series.value)
    number = np.where(is_nan, 0.0, series.value)
    major, minor = (series.step, series.timestamp) if by_step else (series.timestamp, series.step)
    return np.lexsort((is_nan, number, minor, major))


def history_order(series: Series) -> Series:
    """Return the points in history order without exact duplicates; stable.

    Points that come with strictly ascending timestamps (a training loop's) are returned as they
    are, which makes the usual case one comparison.
    """
    if len(series) < 2:
        return series
    if bool(np.all(series.timestamp[1:] > series.timestamp[:-1])):
        return series
    ordered = series.take(_order(series, by_step=False))
    value = ordered.value
    nan = np.isnan(value)
    same = (
        (ordered.timestamp[1:] == ordered.timestamp[:-1])
        & (ordered.step[1:] == ordered.step[:-1])
        & ((value[1:] == value[:-1]) | (nan[1:] & nan[:-1]))
    )
    if not same.any():
        return ordered
    keep = np.concatenate([[True], ~same])
    return ordered.take(keep)


def step_order(series: Series) -> Series:
    """Return the points sorted by (step, timestamp, value, is_nan); stable, nothing dropped."""
    if len(series) < 2 or bool(np.all(series.step[1:] > series.step[:-1])):
        return series
    return series.take(_order(series, by_step=True))


def group_by_key(points: Iterable[Point]) -> dict[str, Series]:
    """Return the points of each key in the order given; keys in order of first appearance."""
    columns: dict[str, tuple[list[int], list[int], list[float]]] = {}
    for key, timestamp, step, value in points:
        column = columns.get(key)
        if column is None:
            column = columns[key] = ([], [], [])
        column[0].append(timestamp)
        column[1].append(step)
        column[2].append(value)
    return {
        key: Series(
            np.array(timestamps, dtype=np.int64),
            np.array(steps, dtype=np.int64),
            np.array(values, dtype=np.float64),
        )
        for key, (timestamps, steps, values) in columns.items()
    }
