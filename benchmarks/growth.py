"""Cost as data grows: a log call and a chart on stores of several sizes, in turn."""

from __future__ import annotations

import statistics
import time
from collections.abc import Sequence
from functools import partial
from typing import Any, NamedTuple

from measuring import Row, Sizes, say, timed
from mlflow.entities import Metric
from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore
from places import Place
from workloads import (
    ARTIFACTS,
    FIRST_MS,
    many_metrics,
    new_run,
    one_metric,
    write_stock,
    write_weir,
)

from mlflow_weir.store.maintenance.compact import compact
from mlflow_weir.store.maintenance.progress import Silent
from mlflow_weir.store.metrics import reading
from mlflow_weir.store.tracking_store import WeirStore

TITLE = "Cost as data grows"
ABOUT = """\
Each store holds one metric of 1,000,000 points, which is charted, and around it runs of 20 metrics
x 5,000 points, until it holds the number of points given. The log calls go to a new run. The
stores take turns, 30 log calls and a chart each, so that a busy machine slows all alike; medians.
Stock MLflow holds the first size only: it cannot be filled with more in reasonable time.
"""

_KEY = "train/loss"
_KEYS = 20
_STEPS = 5_000
_RUN_POINTS = _KEYS * _STEPS
_BUCKETS = 2_500
_ROUNDS = 15
_CALLS = 30
_STOCK_CHARTS = 2
_LIMIT = 1.2
_LOG, _CHART = "log_metric, p50", "chart"


_Content = tuple[str, dict[str, Any]]
"""A database's URL, and what one has to know of what it holds."""


class _Filled(NamedTuple):
    """A store, and what it holds.

    Attributes:
        store: MLflow's or ours.
        experiment_id: Where log calls go.
        charted: The run with the long metric.
        spent: Seconds of each log call and of each chart.
    """

    store: Any
    experiment_id: str
    charted: str
    spent: dict[str, list[float]]


def fill(place: Place, sizes: Sizes) -> tuple[_Content, dict[int, _Content]]:
    """Fill a store of each size; return stock's, and ours by the points in it."""
    first = _filled_stock(place, sizes.stored_points[0])
    contents: dict[int, _Content] = {}
    for size in sizes.stored_points:
        contents[size] = _filled_weir(place, size, list(contents.items())[-1:])
        say(f"{place.name}: {size:,} points are there")
    return first, contents


def measure(place: Place, sizes: Sizes) -> list[Row]:
    """Fill a store of each size, then measure all of them in turn."""
    first, contents = fill(place, sizes)
    stock = _opened(SqlAlchemyStore, *first)
    weir = {size: _opened(WeirStore, *content) for size, content in contents.items()}
    for number in range(_ROUNDS):
        for filled in [stock, *weir.values()]:
            _log_calls(filled)
            if filled is not stock:
                filled.spent[_CHART].append(timed(partial(_chart, filled))[1])
            elif number < _STOCK_CHARTS:
                filled.spent[_CHART].append(timed(partial(_stock_chart, filled))[1])
        say(f"{place.name}: round {number + 1} of {_ROUNDS}")
    for filled in [stock, *weir.values()]:
        filled.store.engine.dispose()
    return _rows(place, stock, weir)


def _filled_stock(place: Place, points: int) -> _Content:
    def fill(url: str) -> dict[str, Any]:
        store = SqlAlchemyStore(url, ARTIFACTS)
        experiment_id = store.create_experiment("growth")
        run_id = new_run(store, experiment_id, "run")
        write_stock(store.engine, run_id, one_metric(_KEY, points, 3))
        store.engine.dispose()
        place.tidy(url)
        return {"experiment": experiment_id, "charted": run_id}

    return place.filled(f"growth_{points}_stock", fill)


def _filled_weir(place: Place, points: int, smaller: Sequence[tuple[int, _Content]]) -> _Content:
    """Fill a store, beginning with a copy of a smaller one where one is given."""

    def fill(url: str) -> dict[str, Any]:
        store = WeirStore(url, ARTIFACTS)
        if smaller:
            ((held, (_, content)),) = smaller
            experiment_id, charted = content["experiment"], content["charted"]
        else:
            held, experiment_id = points, store.create_experiment("growth")
            charted = new_run(store, experiment_id, "run")
            write_weir(store.engine, charted, one_metric(_KEY, points, 3))
        # The same few series over and over: making new noise would take longer than storing it.
        contents = [many_metrics(_KEYS, _STEPS, seed) for seed in range(5)]
        for number in range((points - held) // _RUN_POINTS):
            run_id = new_run(store, experiment_id, "run")
            write_weir(store.engine, run_id, contents[number % len(contents)])
            if number % 100 == 99:
                say(f"{place.name}: {held + (number + 1) * _RUN_POINTS:,} points stored")
        compact(store.engine, Silent())
        store.engine.dispose()
        place.tidy(url)
        return {"experiment": experiment_id, "charted": charted}

    like = smaller[0][1][0] if smaller else None
    return place.filled(f"growth_{points}_weir", fill, like=like)


def _opened(kind: Any, url: str, content: dict[str, Any]) -> _Filled:
    store = kind(url, ARTIFACTS)
    return _Filled(store, content["experiment"], content["charted"], {_LOG: [], _CHART: []})


def _log_calls(filled: _Filled) -> None:
    run_id = new_run(filled.store, filled.experiment_id, "log calls")
    for i in range(_CALLS):
        metric = Metric(_KEY, i / _CALLS, FIRST_MS + 50 * i, i)
        start_s = time.perf_counter()
        filled.store.log_metric(run_id, metric)
        filled.spent[_LOG].append(time.perf_counter() - start_s)


def _chart(filled: _Filled) -> None:
    with filled.store.ManagedSessionMaker() as session:
        reading.read_buckets(session, [filled.charted], _KEY, max_buckets=_BUCKETS)


def _stock_chart(filled: _Filled) -> None:
    filled.store.get_metric_history_bulk_interval([filled.charted], _KEY, _BUCKETS, None, None)


def _rows(place: Place, stock: _Filled, weir: dict[int, _Filled]) -> list[Row]:
    rows = []
    first, *_ = weir
    for size, filled in weir.items():
        for what in (_LOG, _CHART):
            ours, base = (statistics.median(one.spent[what]) for one in (filled, weir[first]))
            is_first = size == first
            rows.append(
                Row(
                    f"{what}, {size:,} points in the store",
                    place.name,
                    "s",
                    statistics.median(stock.spent[what]) if is_first else None,
                    ours,
                    "" if is_first else f"≤ {_LIMIT} x the first",
                    None if is_first else ours <= _LIMIT * base,
                    "" if is_first else f"{ours / base:.2f} x the first",
                )
            )
    return rows
