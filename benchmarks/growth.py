"""Cost as data grows: a log call and a chart while the store fills up."""

from __future__ import annotations

import time
from typing import Any

from measuring import Row, Sizes, median_of, quantile, say
from mlflow.entities import Metric
from places import Place
from workloads import (
    FIRST_MS,
    Pair,
    finish,
    make_cold,
    many_metrics,
    new_pair,
    new_run,
    one_metric,
    write_stock,
    write_weir,
)

from mlflow_weir.store.metrics import reading

TITLE = "Cost as data grows"
ABOUT = """\
The store first holds one metric of 1,000,000 points, which is charted; then runs of 20 metrics x
5,000 points come in around it until the store holds the number of points given. The log calls
go to a new run. Stock MLflow is asked at the first size only: it cannot be filled with more
in reasonable time.
"""

_KEY = "train/loss"
_KEYS = 20
_STEPS = 5_000
_BUCKETS = 2_500
_CALLS = 300
_REPEATS = 25
_LIMIT = 1.2


def measure(place: Place, sizes: Sizes) -> list[Row]:
    """Fill, measure, fill further, measure again."""
    pair = new_pair(place)
    stores = {"stock": pair.stock, "weir": pair.weir}
    experiments = {name: store.create_experiment("growth") for name, store in stores.items()}
    charted = {name: new_run(store, experiments[name], "run") for name, store in stores.items()}
    first = sizes.stored_points[0]
    long_metric = one_metric(_KEY, first, 3)
    write_stock(pair.stock.engine, charted["stock"], long_metric)
    write_weir(pair.weir.engine, charted["weir"], long_metric)
    held, rows = first, []
    base: dict[str, float] = {}
    for size in sizes.stored_points:
        # The same few series over and over: making new noise would take longer than storing it.
        contents = [many_metrics(_KEYS, _STEPS, seed) for seed in range(5)]
        n_runs = 0
        while held + _KEYS * _STEPS <= size:
            run_id = new_run(pair.weir, experiments["weir"], "run")
            write_weir(pair.weir.engine, run_id, contents[n_runs % len(contents)])
            held += _KEYS * _STEPS
            n_runs += 1
            if n_runs % 100 == 0:
                say(f"{place.name}: {held:,} points stored")
        finish(pair)
        rows += _measured(pair, experiments, charted, held, base)
    return rows


def _measured(
    pair: Pair,
    experiments: dict[str, str],
    charted: dict[str, str],
    held: int,
    base: dict[str, float],
) -> list[Row]:
    is_first = not base
    make_cold(pair)
    spent: dict[str, list[float]] = {"stock": [], "weir": []}
    stores: dict[str, Any] = {"weir": pair.weir}
    if is_first:
        stores["stock"] = pair.stock
    for name, store in stores.items():
        run_id = new_run(store, experiments[name], "log calls")
        for i in range(_CALLS):
            metric = Metric(_KEY, i / _CALLS, FIRST_MS + 50 * i, i)
            start_s = time.perf_counter()
            store.log_metric(run_id, metric)
            spent[name].append(time.perf_counter() - start_s)

    def chart() -> None:
        with pair.weir.ManagedSessionMaker() as session:
            reading.read_buckets(session, [charted["weir"]], _KEY, max_buckets=_BUCKETS)

    def stock_chart() -> None:
        pair.stock.get_metric_history_bulk_interval([charted["stock"]], _KEY, _BUCKETS, None, None)

    ours = {"log_metric, p50": quantile(spent["weir"], 0.5), "chart": median_of(_REPEATS, chart)}
    theirs = {}
    if is_first:
        theirs = {
            "log_metric, p50": quantile(spent["stock"], 0.5),
            "chart": median_of(2, stock_chart),
        }
        base.update(ours)
    say(f"{pair.place.name}: measured at {held:,} points")
    rows = []
    for what, weir_s in ours.items():
        ratio = weir_s / base[what]
        rows.append(
            Row(
                f"{what}, {held:,} points in the store",
                pair.place.name,
                "s",
                theirs.get(what),
                weir_s,
                "" if is_first else f"≤ {_LIMIT} x the first",
                None if is_first else ratio <= _LIMIT,
                "" if is_first else f"{ratio:.2f} x the first",
            )
        )
    return rows
