"""Reading metric history: a long metric whole, a chart of it, and a chart of many runs."""

from __future__ import annotations

from typing import Any

from measuring import Row, Sizes, median_of, say, timed
from mlflow.entities import Metric
from places import Place
from workloads import (
    Pair,
    finish,
    make_cold,
    new_pair,
    new_run,
    one_metric,
    write_stock,
    write_weir,
)

from mlflow_weir.store.metrics import reading
from mlflow_weir.store.metrics.points import Series

TITLE = "Metric history"
ABOUT = """\
One run holds a metric of 1,000,000 points, 100 other runs hold another metric of 10,000 points
each. *Cold* is the first call on a new connection, on SQLite after the system forgot the file.
The stores were compared: the same points in the same order, and every extreme kept by the charts.
"""

LONG_KEY = "train/loss"
CHART_KEY = "loss"
_BUCKETS = 2_500
_POINTS_A_RUN = 320
_REPEATS = 5
_FAST_REPEATS = 15
_BUILD_LIMIT = 1.3
_CHART_LIMIT_S = 0.050
_BULK_LIMIT_S = 0.200


def measure(place: Place, sizes: Sizes) -> list[Row]:
    """Fill two databases and read them in every way the table of numbers names."""
    pair = new_pair(place)
    long_runs, chart_runs = _fill(pair, sizes)
    rows = [_whole(pair, long_runs, sizes)]
    rows += _chart(pair, long_runs, sizes)
    rows += _many_runs(pair, chart_runs, sizes)
    return rows


def _fill(pair: Pair, sizes: Sizes) -> tuple[dict[str, str], dict[str, list[str]]]:
    stores = {"stock": pair.stock, "weir": pair.weir}
    long_runs: dict[str, str] = {}
    chart_runs: dict[str, list[str]] = {}
    long_metric = one_metric(LONG_KEY, sizes.history_points, 1, noise=True)
    for name, store in stores.items():
        write = write_stock if name == "stock" else write_weir
        experiment_id = store.create_experiment("history")
        long_runs[name] = new_run(store, experiment_id, "long")
        write(store.engine, long_runs[name], long_metric)
        chart_runs[name] = []
        for i in range(sizes.chart_runs):
            run_id = new_run(store, experiment_id, f"run-{i}")
            write(store.engine, run_id, _chart_metric(i, sizes))
            chart_runs[name].append(run_id)
        say(f"{pair.place.name}: {name} filled")
    finish(pair)
    return long_runs, chart_runs


def _chart_metric(i: int, sizes: Sizes) -> dict[str, Series]:
    return one_metric(CHART_KEY, sizes.chart_points, 100 + i)


def _whole(pair: Pair, runs: dict[str, str], sizes: Sizes) -> Row:
    stock, stock_s = timed(lambda: pair.stock.get_metric_history(runs["stock"], LONG_KEY))
    say(f"{pair.place.name}: stock read a metric whole in {stock_s:.1f} s")
    weir = pair.weir.get_metric_history(runs["weir"], LONG_KEY)
    if [_plain(m) for m in stock] != [_plain(m) for m in weir]:
        raise AssertionError("get_metric_history: the stores disagree")
    columns = list(zip(*(_plain(m) for m in stock), strict=True))
    del stock, weir

    def build() -> list[Metric]:
        return [Metric(LONG_KEY, v, t, s) for v, t, s in zip(*columns, strict=True)]

    # In turn, so that a busy machine slows both alike.
    built, read = [], []
    for _ in range(_REPEATS):
        built.append(timed(build)[1])
        read.append(timed(lambda: pair.weir.get_metric_history(runs["weir"], LONG_KEY))[1])
    build_s, read_s = sorted(built)[_REPEATS // 2], sorted(read)[_REPEATS // 2]
    return Row(
        f"get_metric_history of {sizes.history_points:,} points",
        pair.place.name,
        "s",
        stock_s,
        read_s,
        f"≤ {_BUILD_LIMIT} x building the objects",
        read_s <= _BUILD_LIMIT * build_s,
        f"{read_s / build_s:.2f} x the {build_s:.2f} s of building that many Metric objects",
    )


def _plain(metric: Metric) -> tuple[float, int, int]:
    return metric.value, metric.timestamp, metric.step


def _chart(pair: Pair, runs: dict[str, str], sizes: Sizes) -> list[Row]:
    def ask(store: Any, run_id: str) -> list[Any]:
        found: list[Any] = store.get_metric_history_bulk_interval(
            [run_id], LONG_KEY, _BUCKETS, None, None
        )
        return found

    def buckets() -> int:
        with pair.weir.ManagedSessionMaker() as session:
            read = reading.read_buckets(session, [runs["weir"]], LONG_KEY, max_buckets=_BUCKETS)
            return len(read[runs["weir"]])

    is_cold = make_cold(pair)
    _, stock_cold_s = timed(lambda: ask(pair.stock, runs["stock"]))
    drawn, weir_cold_s = timed(lambda: ask(pair.weir, runs["weir"]))
    make_cold(pair)
    n_buckets, buckets_cold_s = timed(buckets)
    whole = [m.value for m in pair.weir.get_metric_history(runs["weir"], LONG_KEY)]
    values = [point.value for point in drawn]
    if len(drawn) > _BUCKETS or {min(values), max(values)} != {min(whole), max(whole)}:
        raise AssertionError("get_metric_history_bulk_interval: an extreme is missing")
    if n_buckets > _BUCKETS:
        raise AssertionError(f"{n_buckets} buckets, asked for at most {_BUCKETS}")
    del whole
    stock_s = median_of(3, lambda: ask(pair.stock, runs["stock"]))
    weir_s = median_of(_FAST_REPEATS, lambda: ask(pair.weir, runs["weir"]))
    buckets_s = median_of(_FAST_REPEATS, buckets)
    cold = "cold" if is_cold else "new connection"
    target = f"≤ {_CHART_LIMIT_S * 1e3:.0f} ms"
    what = f"chart of {sizes.history_points:,} points"
    name = pair.place.name
    return [
        Row(
            f"{what}, read_buckets(max_buckets={_BUCKETS:,})",
            name, "s", stock_s, buckets_s, target, buckets_s <= _CHART_LIMIT_S,
            f"{n_buckets:,} buckets; stock: the call below",
        ),
        Row(f"the same, {cold}", name, "s", stock_cold_s, buckets_cold_s),
        Row(
            f"{what}, get_metric_history_bulk_interval(max_results={_BUCKETS:,})",
            name, "s", stock_s, weir_s, target, weir_s <= _CHART_LIMIT_S,
            f"{len(drawn):,} points, extremes kept",
        ),
        Row(f"the same, {cold}", name, "s", stock_cold_s, weir_cold_s),
    ]  # fmt: skip


def _many_runs(pair: Pair, runs: dict[str, list[str]], sizes: Sizes) -> list[Row]:
    def ask(store: Any, name: str) -> list[Any]:
        found: list[Any] = store.get_metric_history_bulk_interval(
            runs[name], CHART_KEY, _POINTS_A_RUN, None, None
        )
        return found

    chart_points = {
        run_id: _chart_metric(i, sizes)[CHART_KEY] for i, run_id in enumerate(runs["weir"])
    }
    stock, stock_s = timed(lambda: ask(pair.stock, "stock"))
    say(f"{pair.place.name}: stock drew {sizes.chart_runs} runs in {stock_s:.1f} s")
    is_cold = make_cold(pair)
    weir, weir_cold_s = timed(lambda: ask(pair.weir, "weir"))
    for run_id, points in chart_points.items():
        drawn = [point.value for point in weir if point.run_id == run_id]
        if {min(drawn), max(drawn)} != {points.value.min(), points.value.max()}:
            raise AssertionError(f"get_metric_history_bulk_interval: run {run_id} lost an extreme")
    weir_s = median_of(_FAST_REPEATS, lambda: ask(pair.weir, "weir"))
    what = (
        f"{sizes.chart_runs} runs x {sizes.chart_points:,} points, {_POINTS_A_RUN} a run, "
        "get_metric_history_bulk_interval"
    )
    name = pair.place.name
    return [
        Row(
            what, name, "s", stock_s, weir_s, f"≤ {_BULK_LIMIT_S * 1e3:.0f} ms",
            weir_s <= _BULK_LIMIT_S,
            f"{len(weir):,} points, extremes kept; stock run once: {len(stock):,}",
        ),
        Row(f"the same, {'cold' if is_cold else 'new connection'}", name, "s", None, weir_cold_s),
    ]  # fmt: skip
