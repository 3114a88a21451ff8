"""What MLflow's SQL does with a metric's points, spelt out in plain Python, for tests to compare.

A row is (timestamp in ms, step, value); ``exact`` turns values into their bits, so that NaN equals
NaN and -0.0 does not equal 0.0.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Iterable

import numpy as np

from mlflow_weir.store.metrics.points import Series

INT64_MIN, INT64_MAX = -(2**63), 2**63 - 1
Row = tuple[int, int, float]


def series_of(rows: list[Row]) -> Series:
    return Series(
        np.array([row[0] for row in rows], dtype=np.int64),
        np.array([row[1] for row in rows], dtype=np.int64),
        np.array([row[2] for row in rows], dtype=np.float64),
    )


def rows_of(series: Series) -> list[Row]:
    return list(
        zip(series.timestamp.tolist(), series.step.tolist(), series.value.tolist(), strict=True)
    )


def exact(rows: list[Row]) -> list[tuple[int, int, str]]:
    """Give values as bits, so that NaN equals NaN and -0.0 does not equal 0.0."""
    return [
        (ts, step, "nan" if math.isnan(value) else struct.pack(">d", value).hex())
        for ts, step, value in rows
    ]


def as_row_of_mlflow(row: Row) -> tuple[int, int, float, bool]:
    """Give a point as MLflow's `metrics` holds it: (timestamp, step, value, is_nan)."""
    is_nan = math.isnan(row[2])
    return row[0], row[1], 0.0 if is_nan else row[2], is_nan


def model_history(rows: Iterable[Row]) -> list[Row]:
    """INSERT with the primary key over all columns, then ORDER BY timestamp, step, value."""
    table: dict[tuple[int, int, float, bool], Row] = {}
    for row in rows:
        table.setdefault(as_row_of_mlflow(row), row)
    return [table[key] for key in sorted(table)]
