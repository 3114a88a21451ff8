"""Order and duplicates of points, against MLflow's SQL spelt out in plain Python."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from metric_model import (
    INT64_MAX,
    INT64_MIN,
    Row,
    as_row_of_mlflow,
    exact,
    model_history,
    rows_of,
    series_of,
)
from mlflow_weir.store.metrics.points import (
    EMPTY,
    INFINITY,
    Point,
    concatenate,
    group_by_key,
    history_order,
    is_int64,
    step_order,
    stored_value,
)

# Few different numbers, so that ties at every column are common, and the ends of the ranges.
WHOLE = st.sampled_from([0, 1, 2, -1, INT64_MIN, INT64_MAX])
VALUES = st.one_of(
    st.sampled_from([0.0, -0.0, math.nan, INFINITY, -INFINITY, 1.5, 5e-324, -5e-324]),
    st.floats(allow_infinity=False),
)
ROWS = st.lists(st.tuples(WHOLE, WHOLE, VALUES), max_size=40)


@given(ROWS)
def test_history_order_is_mlflows_primary_key_and_order_by(rows: list[Row]) -> None:
    assert exact(rows_of(history_order(series_of(rows)))) == exact(model_history(rows))


@given(ROWS)
def test_history_order_of_a_history_is_itself(rows: list[Row]) -> None:
    once = history_order(series_of(rows))
    assert exact(rows_of(history_order(once))) == exact(rows_of(once))


@given(ROWS, st.integers(0, 40))
def test_history_order_does_not_depend_on_how_the_points_were_split(
    rows: list[Row], at: int
) -> None:
    parts = [history_order(series_of(rows[:at])), history_order(series_of(rows[at:]))]
    whole = history_order(concatenate(parts))
    assert exact(rows_of(whole)) == exact(model_history(rows))


@given(ROWS)
def test_step_order_sorts_by_step_timestamp_value_and_drops_nothing(rows: list[Row]) -> None:
    def by_step(row: Row) -> tuple[int, int, float, bool]:
        timestamp, step, value, is_nan = as_row_of_mlflow(row)
        return step, timestamp, value, is_nan

    assert exact(rows_of(step_order(series_of(rows)))) == exact(sorted(rows, key=by_step))


@pytest.mark.parametrize("function", [history_order, step_order])
def test_points_in_ascending_order_come_back_as_they_are(function: object) -> None:
    points = series_of([(ts, ts, 1.0) for ts in (INT64_MIN, -1, 0, 7, INT64_MAX)])
    assert callable(function)
    assert function(points) is points


def test_a_nan_comes_after_the_zero_at_its_place() -> None:
    points = series_of([(5, 1, math.nan), (5, 1, 0.0), (5, 1, -1.0), (5, 1, math.nan)])
    assert exact(rows_of(history_order(points))) == exact(
        [(5, 1, -1.0), (5, 1, 0.0), (5, 1, math.nan)]
    )


def test_no_points_are_no_points() -> None:
    assert len(history_order(EMPTY)) == len(step_order(EMPTY)) == len(concatenate([])) == 0


@given(st.lists(st.tuples(st.sampled_from("abc"), WHOLE, WHOLE, VALUES), max_size=30))
def test_points_of_each_key_stay_in_log_order(rows: list[tuple[str, int, int, float]]) -> None:
    grouped = group_by_key(Point(*row) for row in rows)
    assert list(grouped) == list(dict.fromkeys(row[0] for row in rows))
    for key, series in grouped.items():
        assert exact(rows_of(series)) == exact([row[1:] for row in rows if row[0] == key])


@given(st.floats())
def test_stored_values_are_finite_or_nan(value: float) -> None:
    stored = stored_value(value)
    if math.isinf(value):
        assert stored == math.copysign(1.7976931348623157e308, value)
    else:
        # -0.0 becomes 0.0, all else stays to the bit.
        assert exact([(0, 0, stored)]) == exact([(0, 0, value + 0.0)])


@pytest.mark.parametrize(
    ("number", "fits"),
    [
        (INT64_MIN, True),
        (INT64_MAX, True),
        (INT64_MIN - 1, False),
        (INT64_MAX + 1, False),
        (0, True),
    ],
)
def test_64_bits_are_64_bits(number: int, fits: bool) -> None:
    assert is_int64(number) is fits
