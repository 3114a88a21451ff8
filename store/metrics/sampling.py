"""Choosing points for MLflow's bulk-interval call.

MLflow's own choice is the first point of each of ``max_results`` equal groups and the very last
one, so a spike inside a group is lost. Ours, of the same size, is the first and the last point and
the smallest and largest of each of ``(max_results - 2) / 2`` groups: no extreme is lost. Both are
in (step, timestamp, value, is_nan) order.
"""

from __future__ import annotations

import numpy as np

from mlflow_weir.store.metrics import rollups
from mlflow_weir.store.metrics.points import Series, concatenate, history_order, step_order


def buckets_for(max_results: int) -> int:
    """Return how many buckets ``choose_with_extremes`` can use for that many points."""
    return max(1, (max_results - 2) // 2)


def choose_with_extremes(buckets: rollups.Buckets, max_results: int) -> Series:
    """Return at most ``max_results`` points of a metric, its extremes among them.

    Args:
        buckets: At most ``max(max_results, buckets_for(max_results))`` in step order, not empty;
            buckets of one point each when the metric has no more than ``max_results`` points.
        max_results: At least 1; 1 asks for the last point alone.

    Returns:
        Points that were logged, in step order.
    """
    if len(buckets) <= max_results and bool(np.all(buckets.count == 1)):
        return step_order(buckets.first)
    ends = step_order(concatenate([buckets.first, buckets.last, buckets.low, buckets.high]))
    first, last = ends.rows(0, 1), ends.rows(len(ends) - 1, len(ends))
    if max_results == 1:
        return last
    if max_results < 4:
        chosen = [first, last]
    else:
        chosen = [first, buckets.low, buckets.high, last]
    # Duplicates go, so that a bucket of one point counts once.
    return step_order(history_order(concatenate(chosen)))


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
