"""What a section measures: rows of figures, and how they are timed.

Times are wall-clock times with Python's garbage collector on, as users have it. Before each one
everything earlier measurements left is collected, so that it is not paid for by the next.
"""

from __future__ import annotations

import gc
import os
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

T = TypeVar("T")

_STARTED_S = time.monotonic()


@dataclass(frozen=True)
class Sizes:
    """How much of everything is measured.

    Attributes:
        history_points: Points of the one long metric.
        chart_runs: Runs drawn at once.
        chart_points: Points of each of those.
        small_runs: Runs of 50 metrics x 300 points whose bytes are counted.
        n_calls: Log calls timed, of each kind.
        long_run_batches: ``log_batch`` calls of 1,000 points in the long run.
        long_run_steps: Steps of 20 metrics in the other long run.
        searched_runs: Runs in the experiment that is searched, one size after the other.
        stored_points: Points in the store while a log call and a chart are timed, growing.
        log_calls: Log calls of each library in a round; half as many of 20 metrics.
        log_rounds: Rounds of these; one less of 20 metrics.
        long_calls: Log calls in one go, of libraries that are quick enough for it.
        outage_s: Seconds for which the database is locked, and the server gone.
        backlog_points: Points that wait when the agent starts.
        watch_s: Seconds for which an agent is watched that has nothing to do.
        fresh_points: Points whose way to another process is timed, one every 50 ms.
        loop_blocks: Blocks of the training loop, of each store in turn.
        loop_steps: Steps of 50 ms in a block.
        pair_starts: Times that the loops with everything on are started.
        pair_rounds: Rounds after each, of a block of each.
        pair_steps: Steps of 50 ms in such a block.
        watched_steps: Steps of a training whose gradients are watched.
        sweep_runs: Runs begun and ended one after the other in a process.
        page_runs: Runs on the workspace page, all of them drawn.
        page_metrics: Metrics of each.
        page_points: Points of each metric.
        stock_page_rounds: Rounds in which MLflow's own pages are opened, ours on them and off.
        guesses: At tokens of links, looked up; on PostgreSQL a tenth of it.
        guessing_s: Seconds for which one address guesses at a server.
        ingest_servers: Servers that take deliveries, one number after the other.
        ingest_agents: That deliver at once.
        ingest_s: Seconds for which they do, of each size of delivery.
        cold_runs: Runs of 80,000 points that move out of the database.
        import_runs: Runs of 50,000 points that are brought in from stock MLflow.
    """

    history_points: int = 1_000_000
    chart_runs: int = 100
    chart_points: int = 10_000
    small_runs: int = 20
    n_calls: int = 600
    long_run_batches: int = 1_000
    long_run_steps: int = 2_000
    searched_runs: tuple[int, ...] = (10_000, 100_000)
    stored_points: tuple[int, ...] = (1_000_000, 10_000_000)
    log_calls: int = 1_000
    log_rounds: int = 5
    long_calls: int = 30_000
    outage_s: float = 20.0
    backlog_points: int = 2_000_000
    watch_s: float = 30.0
    fresh_points: int = 600
    loop_blocks: int = 16
    loop_steps: int = 50
    pair_starts: int = 3
    pair_rounds: int = 6
    pair_steps: int = 100
    watched_steps: int = 100
    sweep_runs: int = 1_000
    page_runs: int = 1_000
    page_metrics: int = 50
    page_points: int = 10_000
    stock_page_rounds: int = 21
    guesses: int = 1_000_000
    guessing_s: float = 30.0
    ingest_servers: tuple[int, ...] = (1, 2, 4)
    ingest_agents: int = 12
    ingest_s: int = 30
    cold_runs: int = 200
    import_runs: int = 20


LONG = Sizes(
    searched_runs=(10_000, 100_000, 1_000_000),
    stored_points=(1_000_000, 10_000_000, 100_000_000),
    sweep_runs=10_000,
    guesses=10_000_000,
)
SMOKE = Sizes(
    20_000, 5, 500, 2, 20, 20, 50, (200, 400), (20_000, 140_000),
    log_calls=40, log_rounds=2, long_calls=400, outage_s=2.0, backlog_points=40_000, watch_s=1.0,
    fresh_points=40, loop_blocks=2, loop_steps=5, pair_starts=1, pair_rounds=2,
    pair_steps=5, watched_steps=10,
    sweep_runs=40, page_runs=70, page_metrics=8, page_points=1_200,
    stock_page_rounds=2, guesses=3_000, guessing_s=3.0,
    ingest_servers=(1, 2), ingest_agents=8, ingest_s=3, cold_runs=6, import_runs=1,
)  # fmt: skip


@dataclass(frozen=True)
class Row:
    """One figure, stock MLflow's beside ours.

    Attributes:
        measure: What was done.
        database: ``SQLite`` or ``PostgreSQL``.
        unit: ``s``, ``bytes`` (a point), ``points/s``, ``MB`` (10^6 bytes), ``%`` (of a core) or
            ``runs`` (how many).
        stock: MLflow's own store; None where it was not run.
        weir: Weir's store; None where it was not run.
        target: What design.md asks for, in its words; empty where it asks for nothing.
        passed: Whether the target is met; None without one.
        note: What the reader should know about this figure.
        load: Load average of the last minute when the figure was there.
        beside: Everybody's figures by name, where more than those two take part.
    """

    measure: str
    database: str
    unit: str
    stock: float | None
    weir: float | None
    target: str = ""
    passed: bool | None = None
    note: str = ""
    load: float = field(default_factory=lambda: round(os.getloadavg()[0], 1))
    beside: dict[str, float] = field(default_factory=dict)


def say(text: str) -> None:
    """Print a progress line, with the seconds since the start."""
    print(f"[{time.monotonic() - _STARTED_S:6.1f} s] {text}", file=sys.stderr, flush=True)


def timed(action: Callable[[], T]) -> tuple[T, float]:
    """Do it once; return what it returned and the seconds it took."""
    gc.collect()
    start_s = time.perf_counter()
    result = action()
    return result, time.perf_counter() - start_s


def median_of(repeats: int, action: Callable[[], object]) -> float:
    """Return the median of the seconds that ``repeats`` calls take."""
    return statistics.median(timed(action)[1] for _ in range(repeats))


def quantile(samples: Sequence[float], q: float) -> float:
    """Return the sample below which a share ``q`` of all lies."""
    ordered = sorted(samples)
    return ordered[min(len(ordered) - 1, int(q * len(ordered)))]
