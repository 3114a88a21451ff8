"""What the agent does and takes, and what a training notices of it."""

from __future__ import annotations

import contextlib
import statistics
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import drain
from contenders import Contender, Worker
from measuring import Row, Sizes, quantile, say
from meters import Meter, Usage, agent_pid, stop_agent
from places import Place, SqlitePlace
from workloads import ARTIFACTS, FIRST_MS, new_run

from mlflow_weir.plugin.agent import client
from mlflow_weir.plugin.journal.spool import Spool
from mlflow_weir.plugin.journal.writer import Journal
from mlflow_weir.plugin.journaled_store import sql_target
from mlflow_weir.store.delivery.records import encode_points
from mlflow_weir.store.tracking_store import WeirStore

TITLE = "The agent"
ABOUT = """\
Delivery end to end: records wait in a journal on the disk, an agent is started, and the clock
runs until all are in SQLite (fsync on) and the journal says so. *Watching* is an agent with one
training that has a run open and logs nothing. *Readable* is from the beginning of a
`mlflow.log_metric` until `get_run` of a store in another process, which asks the database every
10 ms and not the agent, has the point. The training loop multiplies matrices in one thread for
50 ms a step and logs 20 metrics; the stores take turns, block by block. What is captured without
being asked for is captured. *Delivery alone* is the transactions without the journal and the agent
around them.
"""

_KEYS = [f"train/metric_{i:02d}" for i in range(20)]
_DRAIN_S = 300.0
_POLL_S = 0.01
_PERIOD_S = 0.05
_STEP_S = 0.05
_REST_S = 3.0  # an agent that has come up, before it is watched


def measure(place: Place, sizes: Sizes) -> list[Row]:
    """Measure on SQLite only."""
    if not isinstance(place, SqlitePlace):
        return []
    folder = Path.cwd() / "agent"
    folder.mkdir()
    n = sizes.backlog_points
    rows = _backlog(place, folder / "many", n, 20)
    rows += _backlog(place, folder / "single", n // 4, 1)
    rows += _delivery_alone(place, 10 if n >= 1_000_000 else 1)
    rows += _watching(folder, sizes)
    rows += _loop(folder, sizes)
    return rows


@contextlib.contextmanager
def _spool(root: Path) -> Iterator[Spool]:
    root.mkdir(exist_ok=True)
    spool = Spool.open(root / "spool")
    try:
        yield spool
    finally:
        stop_agent(spool.root)


def _row(
    measure: str,
    unit: str,
    value: float,
    target: str = "",
    passed: bool | None = None,
    note: str = "",
) -> Row:
    return Row(measure, "SQLite", unit, None, value, target, passed, note)


def _backlog(place: Place, folder: Path, n_points: int, n_keys: int) -> list[Row]:
    """Let an agent start on a journal of many points."""
    url = place.new_database()
    store: Any = WeirStore(url, ARTIFACTS)
    run_id = new_run(store, "0", "backlog")
    store.engine.dispose()
    with _spool(folder) as spool:
        journal = Journal.create(spool, *sql_target(url))
        for i in range(n_points // n_keys):
            points = [(key, FIRST_MS + 50 * i, i, 1 / (i + k + 1)) for k, key in enumerate(_KEYS)]
            step = points if n_keys == len(_KEYS) else [points[i % len(_KEYS)]]
            journal.append(encode_points(run_id, step))
        journal.sync()
        say(f"{n_points:,} points wait")
        start_s = time.monotonic()
        meter = Meter(agent_pid(spool.root))
        up_s = time.monotonic() - start_s
        if not client.wait_delivered(journal.folder, journal.end, _DRAIN_S):
            raise RuntimeError(f"not delivered in {_DRAIN_S} s")
        wall_s = time.monotonic() - start_s
        cpu_s = meter.cpu_s()
        _wait_for_children(meter)
        usage = meter.stop()
        journal.close()
    stored = _stored(url, run_id)
    if stored != n_points:
        raise RuntimeError(f"{stored} points stored of {n_points}")
    what = f"{n_points:,} points waiting, {n_keys} a record"
    rate = n_points / wall_s
    return [
        _row(
            f"{what}: delivered",
            "points/s",
            rate,
            "≥ 200,000 points/s",
            rate >= 200_000,
            f"{wall_s:.1f} s, of it {up_s * 1e3:.0f} ms until the agent was up; processor time "
            f"{cpu_s:.1f} s of the agent, {usage.children_cpu_s:.1f} s of its compaction",
        ),
        *_memory(what, usage),
    ]


def _stored(url: str, run_id: str) -> int:
    store: Any = WeirStore(url, ARTIFACTS)
    try:
        return sum(len(store.get_metric_history(run_id, key)) for key in _KEYS)
    finally:
        store.engine.dispose()


def _wait_for_children(meter: Meter) -> None:
    """Wait until the agent's children have been gone for a moment.

    Raises:
        RuntimeError: They stay.
    """
    gone_s = time.monotonic()
    give_up = gone_s + _DRAIN_S
    while time.monotonic() - gone_s < 1.0:
        if meter.has_children():
            gone_s = time.monotonic()
        if gone_s > give_up:
            raise RuntimeError("compaction does not end")
        time.sleep(_POLL_S)


def _memory(what: str, usage: Usage) -> list[Row]:
    child = f"; its compaction child at most {usage.child_rss_mb:.0f} MB"
    return [
        _row(
            f"{what}: the agent's memory, most",
            "MB",
            usage.rss_mb,
            "≤ 120 MB",
            usage.rss_mb <= 120,
            "RSS" + (child if usage.child_rss_mb else ""),
        )
    ]


def _delivery_alone(place: Place, n_drains: int) -> list[Row]:
    url = place.new_database()
    store: Any = WeirStore(url, ARTIFACTS)
    run_id = new_run(store, "0", "delivery alone")
    store.engine.dispose()
    return [
        _row(
            f"delivery alone: {found.what}",
            "points/s",
            found.points_per_second,
            note=f"{found.n_points:,} points, {found.wall_s:.2f} s, processor time "
            f"{found.cpu_s:.2f} s",
        )
        for found in drain.measure_drains(url, run_id, n_drains)
    ]


def _weir(folder: Path) -> Contender:
    return Contender(
        "Weir",
        environment={
            "MLFLOW_TRACKING_URI": f"weir://{folder}",
            "WEIR_SPOOL": str(folder / "spool"),
        },
        database=f"sqlite:///{folder}/weir.db",
        is_weir=True,
    )


def _watching(folder: Path, sizes: Sizes) -> list[Row]:
    """Watch an agent that watches, then one that delivers a training's points as they come."""
    home = folder / "watching"
    contender = _weir(home)
    with _spool(home) as spool:
        worker = contender.start(home / "worker")
        worker.ask("paced", how="one", seconds=0.5, period_s=_PERIOD_S)
        time.sleep(_REST_S)
        meter = Meter(agent_pid(spool.root))
        time.sleep(sizes.watch_s)
        usage = meter.stop()
        say(f"the agent watched for {usage.wall_s:.0f} s")
        rows = [
            *_memory("watching one training", usage),
            _row(
                "watching one training: the agent's processor time",
                "%",
                usage.cpu_percent,
                "≤ 2 % of a core",
                usage.cpu_percent <= 2,
                f"over {usage.wall_s:.0f} s; hardware sampled every 10 s",
            ),
        ]
        rows += _freshness(contender, worker, spool, sizes)
        worker.end()
    return rows


def _freshness(contender: Contender, worker: Worker, spool: Spool, sizes: Sizes) -> list[Row]:
    """Time the way of points to a reader that knows nothing of the agent."""
    seen: dict[int, float] = {}
    is_over = threading.Event()
    reader = threading.Thread(
        target=_read, args=(contender.database, worker.run_id, seen, is_over), daemon=True
    )
    meter = Meter(agent_pid(spool.root))
    reader.start()
    seconds = sizes.fresh_points * _PERIOD_S
    calls = worker.ask("paced", how="one", seconds=seconds, period_s=_PERIOD_S)["calls"]
    usage = meter.stop()
    time.sleep(2.0)
    is_over.set()
    reader.join()
    ages = []
    for step, start_s, _, _ in calls:
        later = [at_s for shown, at_s in seen.items() if shown >= step]
        ages.append(min(later) - start_s if later else float("inf"))
    if max(ages) == float("inf"):
        raise RuntimeError("points that no reader ever saw")
    p95 = quantile(ages, 0.95)
    return [
        _row(
            "log call to readable by another process, p95",
            "s",
            p95,
            "≤ 1 s",
            p95 <= 1,
            f"{len(ages)} points, one every 50 ms; p50 {quantile(ages, 0.5) * 1e3:.0f} ms, "
            f"slowest {max(ages) * 1e3:.0f} ms",
        ),
        _row(
            "delivering a metric every 50 ms: the agent's processor time",
            "%",
            usage.cpu_percent,
            note="of a core",
        ),
        *_memory("delivering a metric every 50 ms", usage),
    ]


def _read(database: str, run_id: str, seen: dict[int, float], is_over: threading.Event) -> None:
    """Note when each value, which is its step, is first the latest."""
    store: Any = WeirStore(database, ARTIFACTS)
    while not is_over.wait(_POLL_S):
        metrics = store.get_run(run_id).data.metrics
        at_s = time.monotonic()
        if "loss" in metrics:
            seen.setdefault(int(metrics["loss"]), at_s)
    store.engine.dispose()


def _loop(folder: Path, sizes: Sizes) -> list[Row]:
    """Train with a store that does nothing and with ours, a block each in turn."""
    home = folder / "loop"
    null = {"MLFLOW_TRACKING_URI": "null:", "MLFLOW_REGISTRY_URI": f"sqlite:///{home}/r.db"}
    contenders = [
        Contender("no logging", "nothing"),
        Contender("null store", environment=null),
        _weir(home),
    ]
    spent: dict[str, list[float]] = {one.name: [] for one in contenders}
    with _spool(home):
        workers = [one.start(home / f"worker-{i}") for i, one in enumerate(contenders)]
        amount = workers[0].ask("calibrate", step_s=_STEP_S)["amount"]
        for i in range(sizes.loop_blocks):
            for worker in workers if i % 2 == 0 else reversed(workers):
                times = worker.ask("train", n_steps=sizes.loop_steps, amount=amount)["times"]
                spent[worker.contender.name] += times
        for worker in workers:
            worker.end()
    say("training loops done")
    return [_loop_row(spent, sizes)]


def _loop_row(spent: dict[str, list[float]], sizes: Sizes) -> Row:
    mean = {name: statistics.fmean(times) for name, times in spent.items()}
    median = {name: statistics.median(times) for name, times in spent.items()}
    slower = mean["Weir"] / mean["null store"] - 1
    n = sizes.loop_blocks * sizes.loop_steps
    return _row(
        "training loop of 50 ms a step, 20 metrics a step: slower than with a null store",
        "%",
        100 * slower,
        "≤ 1 %",
        slower <= 0.01,
        f"{n:,} steps each, mean (median) of a step: "
        + ", ".join(
            f"{name} {mean[name] * 1e3:.2f} ({median[name] * 1e3:.2f}) ms" for name in spent
        ),
    )
