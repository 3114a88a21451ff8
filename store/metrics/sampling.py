"""Choosing points for MLflow's bulk-interval call.

MLflow's own choice is the first point of each of ``max_results`` equal groups and the very last
one, so a spike inside a group is lost. Ours, of the same size, is the first and the last point and
the smallest and largest of each of ``(max_results - 2) / 2`` groups, so no extreme is lost, and
evenly spread others where some of these are one point. Both are in (step, timestamp, value,
is_nan) order.
"""

from __future__ import annotations

import numpy as np

from mlflow_weir.store.metrics import rollups
from mlflow_weir.store.metrics.points import Series, concatenate, history_order, step_order


def choose_with_extremes(buckets: rollups.Buckets, max_results: int) -> Series:
    """Return ``max_results`` points of a metric, or all where it has fewer, extremes among them.

    Args:
        buckets: In step order, not empty: ``max_results`` of them, or one a point where the
            metric has no more points than that.
        max_results: At least 1; 1 asks for the last point alone.

    Returns:
        Points that were logged, in step order.
    """
    if max_results == 1:
        return _outermost([buckets.last, buckets.high])[1]
    chosen = list(_outermost([buckets.first, buckets.last, buckets.low, buckets.high]))
    n_groups = (max_results - 2) // 2
    if n_groups:
        groups = rollups.reduce_to(buckets, n_groups)
        chosen += [groups.low, groups.high]
    extremes = _distinct(chosen)
    n_free = max_results - len(extremes)
    if n_free <= 0 or len(buckets) < 2:
        return extremes
    # An extreme that is one of its neighbours leaves a place free: other points take it, spread
    # evenly. Each bucket has one of its own.
    others = _without(step_order(buckets.first), extremes)
    spread = np.unique(np.linspace(0, len(others) - 1, min(n_free, len(others))).astype(np.int64))
    return _distinct([extremes, others.take(spread)])


def _outermost(parts: list[Series]) -> tuple[Series, Series]:
    ordered = step_order(concatenate(parts))
    return ordered.rows(0, 1), ordered.rows(len(ordered) - 1, len(ordered))


def _distinct(parts: list[Series]) -> Series:
    return step_order(history_order(concatenate(parts)))


def _without(series: Series, taken: Series) -> Series:
    seen = set(_identities(taken))
    return series.take(np.array([row not in seen for row in _identities(series)], dtype=np.bool_))


def _identities(series: Series) -> list[tuple[int, int, float | None]]:
    return [
        (timestamp, step, None if value != value else value)
        for timestamp, step, value in zip(
            series.timestamp.tolist(), series.step.tolist(), series.value.tolist(), strict=True
        )
    ]


def choose_as_stock(series: Series, max_results: int) -> Series:
    """Return the points MLflow's SQL (NTILE and first of each group, then the last) returns.

    Source: ``SqlAlchemyStore._sample_rows_with_window_functions`` of MLflow 3.15 to 3.17.

    Args:
        series: All points of the interval, in any order.
        max_results: At least 1.
    """
    ordered = step_order(series)
    n = len(ordered)
    if n <= max_results:
        return ordered
    # NTILE(k) over n rows: the first n % k groups have one row more than the others.
    small, larger = divmod(n, max_results)
    group = np.arange(max_results, dtype=np.int64)
    starts = group * small + np.minimum(group, larger)
    starts[-1] = n - 1
    return ordered.take(starts)
