"""Writing: what a log call costs, and what compaction adds to a long run."""

from __future__ import annotations

import os
import statistics
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from measuring import Row, Sizes, median_of, quantile, say, timed
from mlflow.entities import Metric, RunStatus
from places import Place
from workloads import FIRST_MS, Pair, new_pair, new_run

from mlflow_weir.store.maintenance.compact import compact
from mlflow_weir.store.maintenance.progress import Silent

TITLE = "Writing"
ABOUT = """\
Calls of the store itself, synchronous and durable on both sides (fsync on, SQLite with
`synchronous=FULL`), as a server or the agent makes them: design.md's targets for log calls are
about those of a training, which have a section of their own. Both stores are asked in turn, 50
calls each.
"""

_BLOCK = 50
_KEYS = 20
_NOISE = np.random.default_rng(1).random(1 << 20).tolist()


def measure(place: Place, sizes: Sizes) -> list[Row]:
    """Time log calls on both stores, then long runs on ours."""
    pair = new_pair(place)
    pair.place.size_bytes(pair.weir_url)
    stores = {"stock": pair.stock, "weir": pair.weir}
    runs = {
        name: new_run(store, store.create_experiment("writes"), "calls")
        for name, store in stores.items()
    }
    sync_s = median_of(50, lambda: _one_sync(Path.cwd()))
    note = f"one write and fsync of 4 KiB on this disk: {sync_s * 1e3:.2f} ms"
    rows = _calls(
        pair, runs, "log_metric", sizes.n_calls, note,
        lambda store, run_id, i: store.log_metric(run_id, _metric("loss", i)),
    )  # fmt: skip
    rows += _calls(
        pair, runs, f"log_batch of {_KEYS} metrics", sizes.n_calls // 2, "",
        lambda store, run_id, i: store.log_batch(run_id, _step(i), [], []),
    )  # fmt: skip
    rows.append(_bulk(pair, runs))
    rows += _long_run(pair, sizes)
    rows += _long_loop(pair, sizes)
    return rows


def _metric(key: str, i: int) -> Metric:
    return Metric(key, _NOISE[i % len(_NOISE)], FIRST_MS + 50 * i, i)


def _step(i: int) -> list[Metric]:
    return [_metric(f"train/metric_{k}", i) for k in range(_KEYS)]


def _one_sync(folder: Path) -> None:
    path = folder / "sync-probe"
    with path.open("ab") as file:
        file.write(b"x" * 4_096)
        file.flush()
        os.fsync(file.fileno())


def _calls(
    pair: Pair,
    runs: dict[str, str],
    what: str,
    n_calls: int,
    note: str,
    call: Callable[[Any, str, int], object],
) -> list[Row]:
    spent: dict[str, list[float]] = {"stock": [], "weir": []}
    stores = {"stock": pair.stock, "weir": pair.weir}
    for start in range(0, n_calls, _BLOCK):
        for name, store in stores.items():
            for i in range(start, min(start + _BLOCK, n_calls)):
                start_s = time.perf_counter()
                call(store, runs[name], i)
                spent[name].append(time.perf_counter() - start_s)
    say(f"{pair.place.name}: {what} timed")
    return [
        Row(
            f"{what}, {label}", pair.place.name, "s",
            quantile(spent["stock"], q), quantile(spent["weir"], q), note=note,
        )
        for label, q in (("p50", 0.5), ("p99", 0.99))
    ]  # fmt: skip


def _batch(key: str, start: int, n: int = 1_000) -> list[Metric]:
    return [_metric(key, start + i) for i in range(n)]


def _bulk(pair: Pair, runs: dict[str, str]) -> Row:
    spent: dict[str, list[float]] = {"stock": [], "weir": []}
    stores: dict[str, Any] = {"stock": pair.stock, "weir": pair.weir}
    for i in range(20):
        for name, store in stores.items():
            log = partial(store.log_batch, runs[name], _batch("bulk", i * 1_000), [], [])
            spent[name].append(timed(log)[1])
    rate = {name: 1_000 / statistics.median(times) for name, times in spent.items()}
    return Row(
        "log_batch of 1,000 points of one metric",
        pair.place.name, "points/s", rate["stock"], rate["weir"], note="median of 20 calls",
    )  # fmt: skip


def _long_run(pair: Pair, sizes: Sizes) -> list[Row]:
    """Log a metric of a million points through the store, end the run, weigh the file."""
    place = pair.place
    weir: Any = pair.weir
    run_id = new_run(weir, weir.create_experiment("long run"), "long")
    compact(weir.engine, Silent())
    place.tidy(pair.weir_url)
    before = place.size_bytes(pair.weir_url)
    spent = []
    for i in range(sizes.long_run_batches):
        batch = _batch("train/loss", i * 1_000)
        start_s = time.perf_counter()
        weir.log_batch(run_id, batch, [], [])
        spent.append(time.perf_counter() - start_s)
    _, end_s = timed(lambda: weir.update_run_info(run_id, RunStatus.FINISHED, FIRST_MS, None))
    say(f"{place.name}: long run logged")
    n = 1_000 * sizes.long_run_batches
    what = f"run of {n:,} points by log_batch(1,000)"
    place.tidy(pair.weir_url)
    as_is = (place.size_bytes(pair.weir_url) - before) / n
    compact(weir.engine, Silent())
    place.tidy(pair.weir_url)
    compacted = (place.size_bytes(pair.weir_url) - before) / n
    name = place.name
    note = "evenly spaced timestamps, float64 noise"
    return [
        Row(f"{what}: throughput", name, "points/s", None, n / sum(spent), note=note),
        Row(f"{what}: p50 of a call", name, "s", None, quantile(spent, 0.5)),
        Row(
            f"{what}: slowest call", name, "s", None, max(spent),
            note=f"compaction inline; p99 {quantile(spent, 0.99) * 1e3:.0f} ms",
        ),
        Row(f"{what}: end of the run", name, "s", None, end_s, note="the last compaction"),
        Row(f"{what}: bytes a point as it ends", name, "bytes", None, as_is, note="after VACUUM"),
        Row(f"{what}: bytes a point after weir db compact", name, "bytes", None, compacted),
    ]  # fmt: skip


def _long_loop(pair: Pair, sizes: Sizes) -> list[Row]:
    weir: Any = pair.weir
    run_id = new_run(weir, weir.create_experiment("loop"), "loop")
    spent = []
    for i in range(sizes.long_run_steps):
        step = _step(i)
        start_s = time.perf_counter()
        weir.log_batch(run_id, step, [], [])
        spent.append(time.perf_counter() - start_s)
    _, end_s = timed(lambda: weir.update_run_info(run_id, RunStatus.FINISHED, FIRST_MS, None))
    what = f"loop of {sizes.long_run_steps:,} steps of {_KEYS} metrics"
    name = pair.place.name
    return [
        Row(f"{what}: p50 of a call", name, "s", None, quantile(spent, 0.5)),
        Row(
            f"{what}: slowest call", name, "s", None, max(spent),
            note=f"compaction inline; p99 {quantile(spent, 0.99) * 1e3:.0f} ms",
        ),
        Row(f"{what}: end of the run", name, "s", None, end_s, note="the last compaction"),
    ]  # fmt: skip
