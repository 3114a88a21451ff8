"""Run searches timed on MLflow's own store and on Weir's, on two databases with the same rows.

``build_database`` fills MLflow's tables by bulk SQL, in the order in which a run's own log calls
would have written them (all of one run's rows together, run ids random). ``measure`` then times
every query on both stores in turn, so that a busy machine slows both alike, and gives medians.
The stores get a database each because our indexes would change stock's plans.
"""

from __future__ import annotations

import itertools
import random
import statistics
import time
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import sqlalchemy as sa
from mlflow.entities import ViewType
from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore

from mlflow_weir.store.runs.indexes import create_missing
from mlflow_weir.store.tracking_store import WeirStore

N_METRICS = 20
N_PARAMS = 10
N_TAGS = 6
PAGE = 1_000
_RUNS_A_BATCH = 2_000
_FIRST_START_MS = 1_700_000_000_000

Rows = dict[str, list[tuple[Any, ...]]]

_COLUMNS = {
    "runs": (
        "run_uuid", "name", "source_type", "user_id", "status", "start_time", "end_time",
        "lifecycle_stage", "artifact_uri", "experiment_id",
    ),
    "latest_metrics": ("key", "value", "timestamp", "step", "is_nan", "run_uuid"),
    "params": ("key", "value", "run_uuid"),
    "tags": ("key", "value", "run_uuid"),
}  # fmt: skip


class Query(NamedTuple):
    """One search of the table of numbers.

    Attributes:
        name: What the results call it.
        filter_string: As a user writes it, or empty.
        order_by: As a user writes it, or empty for MLflow's default order.
        depth: Where in the result the page lies, from 0 (its start) towards 1.
    """

    name: str
    filter_string: str
    order_by: list[str]
    depth: float


QUERIES = (
    Query("default order", "", [], 0.0),
    Query("default order, 90 % in", "", [], 0.9),
    Query("by a metric", "", ["metrics.metric_3 DESC"], 0.0),
    Query("by a metric, 90 % in", "", ["metrics.metric_3 DESC"], 0.9),
    Query("one metric filter", "metrics.metric_7 > 0.5", [], 0.0),
    Query("one metric filter, 80 % in", "metrics.metric_7 > 0.5", [], 0.4),
)


class Timing(NamedTuple):
    """Medians of one query, in milliseconds.

    Attributes:
        query: The query's name.
        n_runs: Runs in the database.
        stock_ms: MLflow's store, or None where it was not asked.
        weir_ms: Weir's store.
    """

    query: str
    n_runs: int
    stock_ms: float | None
    weir_ms: float


def build_database(url: str, n_runs: int, *, with_indexes: bool, seed: int = 1) -> str:
    """Create MLflow's schema at ``url`` and fill it with one experiment of ``n_runs`` runs.

    Args:
        url: A plain SQLAlchemy URL of an empty database (SQLite, PostgreSQL or MariaDB).
        n_runs: Runs to write, each with 20 metrics, 10 params and 6 tags.
        with_indexes: Add Weir's own indexes, as ``weir db upgrade`` does.
        seed: The same seed gives the same rows.

    Returns:
        The experiment's id.
    """
    store = SqlAlchemyStore(url, "weir-bench-artifacts")
    experiment_id: str = store.create_experiment("search")
    engine = store.engine
    for batch in _row_batches(n_runs, int(experiment_id), random.Random(seed)):
        _insert(engine, batch)
    with engine.begin() as connection:
        if with_indexes:
            create_missing(connection)
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        if engine.dialect.name == "postgresql":
            connection.exec_driver_sql("VACUUM ANALYZE")
    engine.dispose()
    return experiment_id


def measure(
    stock_url: str | None,
    weir_url: str,
    experiment_id: str,
    n_runs: int,
    *,
    queries: Sequence[Query] = QUERIES,
    repeats: int = 5,
    stock_asks: int | None = None,
) -> list[Timing]:
    """Time ``queries`` on the databases that ``build_database`` made.

    Args:
        stock_url: The database without our indexes; None leaves stock out (it needs minutes a
            query from 1,000,000 runs on).
        weir_url: The database with them.
        experiment_id: What ``build_database`` returned.
        n_runs: How many runs it was given.
        queries: What to ask.
        repeats: Times each store is asked, after one warm-up; the median counts.
        stock_asks: Times stock is asked at most, the warm-up among them; 1 counts as it is.

    Returns:
        One timing a query, in their order.

    Raises:
        AssertionError: The two stores did not return the same runs.
    """
    weir = WeirStore(weir_url, "weir-bench-artifacts")
    stock = SqlAlchemyStore(stock_url, "weir-bench-artifacts") if stock_url else None
    timings = []
    for query in queries:
        spent: dict[str, list[float]] = {"stock": [], "weir": []}
        for number in range(repeats + 1):
            weir_ids, elapsed_ms = _ask(weir, experiment_id, query, n_runs)
            spent["weir"].append(elapsed_ms)
            if stock is not None and (stock_asks is None or number < stock_asks):
                stock_ids, elapsed_ms = _ask(stock, experiment_id, query, n_runs)
                spent["stock"].append(elapsed_ms)
                if stock_ids != weir_ids:
                    raise AssertionError(f"{query.name}: the stores disagree")
        timings.append(
            Timing(
                query.name,
                n_runs,
                statistics.median(spent["stock"][1:] or spent["stock"]) if stock else None,
                statistics.median(spent["weir"][1:]),
            )
        )
    return timings


def _ask(store: Any, experiment_id: str, query: Query, n_runs: int) -> tuple[list[str], float]:
    from mlflow.utils.search_utils import SearchUtils

    token = SearchUtils.create_page_token(int(n_runs * query.depth)) if query.depth else None
    start_s = time.perf_counter()
    runs = store.search_runs(
        [experiment_id],
        query.filter_string,
        ViewType.ACTIVE_ONLY,
        PAGE,
        query.order_by,
        token,
    )
    elapsed_ms = (time.perf_counter() - start_s) * 1e3
    return [run.info.run_id for run in runs], elapsed_ms


def _row_batches(n_runs: int, experiment_id: int, rng: random.Random) -> Iterator[Rows]:
    numbers = iter(range(n_runs))
    while chunk := list(itertools.islice(numbers, _RUNS_A_BATCH)):
        rows: Rows = {table: [] for table in _COLUMNS}
        for number in chunk:
            run_id = f"{rng.getrandbits(128):032x}"
            start_ms = _FIRST_START_MS + number * 1_000 + rng.randrange(900)
            rows["runs"].append(
                (
                    run_id, f"run-{number}", "LOCAL", "someone", "FINISHED", start_ms,
                    start_ms + 60_000, "active", f"artifacts/{experiment_id}/{run_id}/artifacts",
                    experiment_id,
                )
            )  # fmt: skip
            rows["latest_metrics"] += [
                (f"metric_{i}", rng.random(), start_ms + 50_000, 1_000, False, run_id)
                for i in range(N_METRICS)
            ]
            rows["params"] += [
                (f"param_{i}", str(rng.randrange(100)), run_id) for i in range(N_PARAMS)
            ]
            rows["tags"].append(("mlflow.runName", f"run-{number}", run_id))
            rows["tags"] += [
                (f"tag_{i}", f"value {rng.randrange(10)}", run_id) for i in range(1, N_TAGS)
            ]
        yield rows


def _insert(engine: sa.Engine, batch: Rows) -> None:
    """Write one batch in one transaction, by the fastest way the driver has."""
    raw = engine.raw_connection()
    try:
        cursor = raw.cursor()
        if engine.dialect.name == "sqlite":
            # The index of 20 million metrics does not fit the default 2 MB of cache.
            cursor.execute("PRAGMA cache_size = -2000000")
            cursor.execute("PRAGMA synchronous = OFF")
        for table, rows in batch.items():
            names = _COLUMNS[table]
            quoted = ", ".join(map(engine.dialect.identifier_preparer.quote, names))
            if engine.dialect.name == "postgresql":
                with cursor.copy(f"COPY {table} ({quoted}) FROM STDIN") as copy:
                    for row in rows:
                        copy.write_row(row)
            else:
                mark = "?" if engine.dialect.name == "sqlite" else "%s"
                marks = ", ".join([mark] * len(names))
                cursor.executemany(f"INSERT INTO {table} ({quoted}) VALUES ({marks})", rows)
        raw.commit()
    finally:
        raw.close()
