"""Points chosen for a chart: never more than asked for, real ones, and ours with the extremes."""

from __future__ import annotations

import math
import sqlite3

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from metric_model import Row, as_row_of_mlflow, exact, rows_of, series_of
from mlflow_weir.store.metrics import rollups, sampling
from mlflow_weir.store.metrics.points import INFINITY, history_order, step_order

SMALL = st.integers(-5, 60)
VALUES = st.one_of(
    st.sampled_from([math.nan, INFINITY, -INFINITY, 0.0]), st.floats(-1e6, 1e6, width=32)
)
ROWS = st.one_of(
    st.lists(st.tuples(SMALL, SMALL, VALUES), min_size=1, max_size=8),
    st.lists(st.tuples(SMALL, SMALL, VALUES), min_size=20, max_size=120),
)
LIMITS = st.one_of(st.integers(1, 12), st.integers(1, 130))


def distinct(rows: list[Row]) -> list[Row]:
    return rows_of(history_order(series_of(rows)))


def reduced(rows: list[Row], max_results: int) -> rollups.Buckets:
    """Give the buckets that a reader makes of these points for that many results."""
    points = rollups.one_bucket_a_point(step_order(series_of(rows)))
    return rollups.reduce_to(points, max_results)


@given(ROWS, LIMITS)
def test_chosen_points_are_logged_ones_in_order_with_the_ends_and_extremes(
    rows: list[Row], max_results: int
) -> None:
    rows = distinct(rows)
    chosen = rows_of(sampling.choose_with_extremes(reduced(rows, max_results), max_results))
    ordered = rows_of(step_order(series_of(rows)))
    assert len(chosen) == min(max_results, len(rows))
    assert set(exact(chosen)) <= set(exact(rows))
    assert exact(chosen) == exact(rows_of(step_order(series_of(chosen))))
    assert exact(chosen[-1:]) == exact(ordered[-1:])
    if max_results > 1:
        assert exact(chosen[:1]) == exact(ordered[:1])
    numbers = [row[2] for row in rows if not math.isnan(row[2])]
    if max_results >= 4 and numbers:
        values = [row[2] for row in chosen]
        assert min(numbers) in values
        assert max(numbers) in values


@pytest.mark.parametrize("max_results", [1, 2, 3])
@pytest.mark.parametrize("n_points", [1, 2, 3])
def test_all_points_are_chosen_where_there_are_no_more_than_asked_for(
    n_points: int, max_results: int
) -> None:
    rows: list[Row] = [(i, i, float(-i)) for i in range(n_points)]
    chosen = sampling.choose_with_extremes(reduced(rows, max_results), max_results)
    assert len(chosen) == min(n_points, max_results)
    if n_points <= max_results:
        assert rows_of(chosen) == rows


STOCK_SQL = """
WITH numbered AS (
    SELECT ts, step, value, is_nan,
           ntile(:k) OVER (ORDER BY step, ts, value, is_nan) AS bucket,
           row_number() OVER (ORDER BY step, ts, value, is_nan) AS rn,
           count(*) OVER () AS n
    FROM metrics
), ranked AS (
    SELECT *, row_number() OVER (PARTITION BY bucket ORDER BY rn) AS in_bucket FROM numbered
)
"""


@given(ROWS, LIMITS)
@settings(max_examples=50)
def test_the_stock_choice_is_ntile_in_sql(rows: list[Row], max_results: int) -> None:
    rows = distinct(rows)
    chosen = rows_of(sampling.choose_as_stock(series_of(rows), max_results))
    assert len(chosen) <= max_results
    with sqlite3.connect(":memory:") as connection:
        connection.execute("CREATE TABLE metrics (ts, step, value REAL, is_nan)")
        connection.executemany(
            "INSERT INTO metrics VALUES (?, ?, ?, ?)", [as_row_of_mlflow(row) for row in rows]
        )
        # The first of each group; where there are more points than groups the last group gives
        # the very last point in its place.
        found = connection.execute(
            STOCK_SQL + "SELECT ts, step, value, is_nan FROM ranked WHERE CASE WHEN n <= :k THEN 1"
            " WHEN bucket = :k THEN rn = n ELSE in_bucket = 1 END ORDER BY rn",
            {"k": max_results},
        ).fetchall()
    connection.close()
    assert [as_row_of_mlflow(row) for row in chosen] == [
        (ts, step, value, bool(is_nan)) for ts, step, value, is_nan in found
    ]
