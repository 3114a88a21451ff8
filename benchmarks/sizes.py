"""Bytes a point takes: the whole database less what it took when it was empty."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from measuring import Row, Sizes, say
from places import Place
from workloads import finish, many_metrics, new_pair, new_run, one_metric, write_stock, write_weir

from mlflow_weir.store.metrics.points import Series

TITLE = "Bytes a point"
ABOUT = """\
What the database grew by since it was empty, divided by the points: runs, `latest_metrics`,
indexes and rollups included; ours after `weir db compact`. SQLite: the file, both sides after
`VACUUM` (which stock MLflow never does by itself); PostgreSQL: `pg_total_relation_size` of all
tables after `VACUUM`. Timestamps are a loop's: 50 ms a step, ± 10 %.
"""

Content = Callable[[int, bool], Mapping[str, Series]]

_SMALL_KEYS = 50
_SMALL_STEPS = 300


def measure(place: Place, sizes: Sizes) -> list[Row]:
    """Store each kind of points in databases of its own and weigh them."""
    n, runs = sizes.history_points, sizes.small_runs
    shapes: list[tuple[str, int, Content, tuple[float, float]]] = [
        (
            f"{n:,} points of one metric",
            1,
            lambda i, noise: one_metric("train/loss", n, 7 + i, noise=noise),
            (5.0, 8.5),
        ),
        (
            f"{runs} runs of {_SMALL_KEYS} metrics x {_SMALL_STEPS} points",
            runs,
            lambda i, noise: many_metrics(_SMALL_KEYS, _SMALL_STEPS, 7 + i, noise=noise),
            (12.0, 12.0),
        ),
    ]
    rows = []
    for shape, n_runs, content_of, limits in shapes:
        # A row of stock MLflow's is as large whatever the value: weighed once a shape.
        stock = _weighed(place, n_runs, content_of, is_stock=True, noise=False)
        for noise, limit in zip((False, True), limits, strict=True):
            weir = _weighed(place, n_runs, content_of, is_stock=False, noise=noise)
            what = f"{shape}, {'float64 noise' if noise else 'float32 values'}"
            say(f"{place.name}: {what}: stock {stock:.1f}, ours {weir:.2f} bytes a point")
            rows.append(Row(what, place.name, "bytes", stock, weir, f"≤ {limit:g}", weir <= limit))
    return rows


def _weighed(
    place: Place, n_runs: int, content_of: Content, *, is_stock: bool, noise: bool
) -> float:
    pair = new_pair(place)
    store, url = (pair.stock, pair.stock_url) if is_stock else (pair.weir, pair.weir_url)
    write = write_stock if is_stock else write_weir
    finish(pair)
    empty = place.size_bytes(url)
    experiment_id = store.create_experiment("sizes")
    n_points = 0
    for i in range(n_runs):
        content = content_of(i, noise)
        n_points += sum(map(len, content.values()))
        write(store.engine, new_run(store, experiment_id, f"run-{i}"), content)
    finish(pair)
    full = place.size_bytes(url)
    place.drop_all()
    return (full - empty) / n_points
