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

_SMALL_KEYS = 50
_SMALL_STEPS = 300


def measure(place: Place, sizes: Sizes) -> list[Row]:
    """Store each kind of points in databases of its own and weigh them."""
    n, runs = sizes.history_points, sizes.small_runs
    shape = f"{runs} runs of {_SMALL_KEYS} metrics x {_SMALL_STEPS} points"
    return [
        _weighed(
            place,
            f"{n:,} points of one metric, float32 values",
            5.0,
            1,
            lambda i: one_metric("train/loss", n, 7 + i),
        ),
        _weighed(
            place,
            f"{n:,} points of one metric, float64 noise",
            8.5,
            1,
            lambda i: one_metric("train/loss", n, 7 + i, noise=True),
        ),
        _weighed(
            place,
            f"{shape}, float32 values",
            12.0,
            runs,
            lambda i: many_metrics(_SMALL_KEYS, _SMALL_STEPS, 7 + i),
        ),
        _weighed(
            place,
            f"{shape}, float64 noise",
            12.0,
            runs,
            lambda i: many_metrics(_SMALL_KEYS, _SMALL_STEPS, 7 + i, noise=True),
        ),
    ]


def _weighed(
    place: Place,
    what: str,
    limit: float,
    n_runs: int,
    content_of: Callable[[int], Mapping[str, Series]],
) -> Row:
    pair = new_pair(place)
    finish(pair)
    empty = [place.size_bytes(url) for url in (pair.stock_url, pair.weir_url)]
    n_points = 0
    experiments = [store.create_experiment("sizes") for store in (pair.stock, pair.weir)]
    for i in range(n_runs):
        content = content_of(i)
        n_points += sum(map(len, content.values()))
        write_stock(pair.stock.engine, new_run(pair.stock, experiments[0], f"run-{i}"), content)
        write_weir(pair.weir.engine, new_run(pair.weir, experiments[1], f"run-{i}"), content)
    finish(pair)
    full = [place.size_bytes(url) for url in (pair.stock_url, pair.weir_url)]
    stock, weir = ((full[i] - empty[i]) / n_points for i in range(2))
    say(f"{place.name}: {what}: stock {stock:.1f}, ours {weir:.2f} bytes a point")
    place.drop_all()
    return Row(what, place.name, "bytes", stock, weir, f"≤ {limit:g}", weir <= limit)
