"""Run searches timed on MLflow's own store and on Weir's, on two databases with the same rows.

``build_database`` fills MLflow's tables by bulk SQL, in the order in which a run's own log calls
would have written them (all of one run's rows together, run ids random). ``measure`` then times
every query on both stores in turn, so that a busy machine slows both alike, and gives medians.
The stores get a database each because our indexes would change stock's plans.
"""

from __future__ import annotations

import contextlib
import itertools
import random
import statistics
import time
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import sqlalchemy as sa
from mlflow.entities import ViewType
from mlflow.exceptions import MlflowException
from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore
from mlflow.utils.search_utils import SearchUtils

from mlflow_weir.store.maintenance.upgrade import upgrade
from mlflow_weir.store.tracking_store import WeirStore

N_METRICS = 20
N_PARAMS = 10
N_TAGS = 6
PAGE = 1_000
ARTIFACTS = "weir-bench-artifacts"
STOCK_LIMIT_S = 60.0
_RUNS_A_BATCH = 20_000
_FIRST_START_MS = 1_700_000_000_000

_RUN_COLUMNS = (
    "run_uuid", "name", "source_type", "user_id", "status", "start_time", "end_time",
    "lifecycle_stage", "artifact_uri", "experiment_id",
)  # fmt: skip
_PRIME = 1_000_000_007
# Of the run's number and the key's: no order in it that an index could follow, no two alike.
_NUMBER = f"(start_time - {_FIRST_START_MS}) / 1000"
_SPREAD = f"((({_NUMBER}) + 1) * (736338717 + {{salt}} + 15485863 * i) % {_PRIME})"
_CONTENTS = {
    "latest_metrics": (
        N_METRICS,
        "key, value, timestamp, step, is_nan, run_uuid",
        f"'metric_' || i, CAST({_SPREAD.format(salt=0)} AS double precision) / {_PRIME}, "
        "start_time + 50000, 1000, false, run_uuid",
    ),
    "params": (
        N_PARAMS,
        "key, value, run_uuid",
        f"'param_' || i, CAST({_SPREAD.format(salt=11)} % 100 AS text), run_uuid",
    ),
    "tags": (
        N_TAGS,
        "key, value, run_uuid",
        "CASE WHEN i = 0 THEN 'mlflow.runName' ELSE 'tag_' || i END, "
        f"CASE WHEN i = 0 THEN name ELSE 'value ' || ({_SPREAD.format(salt=23)} % 10) END, "
        "run_uuid",
    ),
}
"""What each run has, by table: rows, their columns, and their values, of a run and ``i``."""


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
        stock_ms: MLflow's store, or None where it was not asked or had no answer in
            ``STOCK_LIMIT_S``.
        weir_ms: Weir's store.
    """

    query: str
    n_runs: int
    stock_ms: float | None
    weir_ms: float


def build_database(url: str, n_runs: int) -> str:
    """Fill a database that has MLflow's tables with one experiment of ``n_runs`` runs.

    The same number of runs gives the same rows.

    Args:
        url: A plain SQLAlchemy URL (SQLite or PostgreSQL, there as a superuser).
        n_runs: Runs to write, each with 20 metrics, 10 params and 6 tags.

    Returns:
        The experiment's id.
    """
    store = SqlAlchemyStore(url, ARTIFACTS)
    experiment_id: str = store.create_experiment("search")
    store.engine.dispose()
    engine = sa.create_engine(url, poolclass=sa.NullPool)  # without MLflow's checks of each row
    with engine.connect() as connection:
        if engine.dialect.name == "sqlite":
            # A file that is not filled to its end is not used. The indexes of 20 million metrics
            # are written once, not once a transaction, as long as they fit the cache.
            for pragma in ("journal_mode = OFF", "synchronous = OFF", "cache_size = -2000000"):
                connection.exec_driver_sql(f"PRAGMA {pragma}")
        for rows in _batches_of_runs(n_runs, int(experiment_id)):
            _insert_runs(connection, rows)
        with _indexes_afterwards(connection):
            for table, (n_rows, columns, values) in _CONTENTS.items():
                numbers = " UNION ALL ".join(f"SELECT {i} AS i" for i in range(n_rows))
                connection.execute(
                    sa.text(
                        f"INSERT INTO {table} ({columns}) SELECT {values} "
                        f"FROM runs CROSS JOIN ({numbers}) AS numbers"
                    )
                )
        connection.commit()
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        if engine.dialect.name == "postgresql":
            connection.exec_driver_sql("VACUUM ANALYZE")
            connection.exec_driver_sql("CHECKPOINT")
        else:
            connection.exec_driver_sql("PRAGMA journal_mode = DELETE")
    return experiment_id


def migrate(url: str) -> None:
    """Make a database ours as ``weir db upgrade`` does: a store leaves out large indexes."""
    engine = sa.create_engine(url, poolclass=sa.NullPool)
    upgrade(engine)
    engine.dispose()


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
        stock_url: The database without our indexes; None leaves stock out.
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
    weir = WeirStore(weir_url, ARTIFACTS)
    stock = SqlAlchemyStore(stock_url, ARTIFACTS) if stock_url else None
    if stock is not None:
        _limit(stock.engine)
    timings = []
    for query in queries:
        spent: dict[str, list[float]] = {"stock": [], "weir": []}
        token = _token(weir, experiment_id, query, n_runs)  # stock reads it as well
        for number in range(repeats + 1):
            weir_ids, elapsed_ms = _ask(weir, experiment_id, query, token)
            spent["weir"].append(elapsed_ms)
            if stock is None or (stock_asks is not None and number >= stock_asks):
                continue
            try:
                stock_ids, elapsed_ms = _ask(stock, experiment_id, query, token)
            except MlflowException as exc:
                if not isinstance(exc.__cause__ or exc.__context__, sa.exc.OperationalError):
                    raise
                stock = None  # it took too long
                spent["stock"].clear()
                continue
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
    weir.engine.dispose()
    if stock is not None:
        stock.engine.dispose()
    return timings


def _limit(engine: sa.Engine) -> None:
    """Let a statement fail that has taken ``STOCK_LIMIT_S``."""
    if engine.dialect.name == "postgresql":
        statement = f"SET statement_timeout = {STOCK_LIMIT_S * 1e3:.0f}"
        sa.event.listen(engine, "connect", lambda raw, _: raw.execute(statement))
    else:
        started_s = 0.0

        def begin(*_: object) -> None:
            nonlocal started_s
            started_s = time.monotonic()

        def is_over() -> bool:
            return time.monotonic() - started_s > STOCK_LIMIT_S

        sa.event.listen(engine, "before_cursor_execute", begin)
        sa.event.listen(
            engine, "connect", lambda raw, _: raw.set_progress_handler(is_over, 100_000)
        )
    engine.dispose()  # connections from before do not know of it


def _token(store: Any, experiment_id: str, query: Query, n_runs: int) -> bytes | None:
    """Return the token that leads to the page, from the page before it."""
    if not query.depth:
        return None
    before = SearchUtils.create_page_token(int(n_runs * query.depth) - PAGE)
    token: bytes = _search(store, experiment_id, query, before).token
    return token


def _ask(
    store: Any, experiment_id: str, query: Query, token: bytes | None
) -> tuple[list[str], float]:
    start_s = time.perf_counter()
    runs = _search(store, experiment_id, query, token)
    elapsed_ms = (time.perf_counter() - start_s) * 1e3
    return [run.info.run_id for run in runs], elapsed_ms


def _search(store: Any, experiment_id: str, query: Query, token: bytes | None) -> Any:
    return store.search_runs(
        [experiment_id], query.filter_string, ViewType.ACTIVE_ONLY, PAGE, query.order_by, token
    )


def _batches_of_runs(n_runs: int, experiment_id: int) -> Iterator[list[tuple[Any, ...]]]:
    rng = random.Random(1)
    numbers = iter(range(n_runs))
    while chunk := list(itertools.islice(numbers, _RUNS_A_BATCH)):
        rows = []
        for number in chunk:
            run_id = f"{rng.getrandbits(128):032x}"
            start_ms = _FIRST_START_MS + number * 1_000 + rng.randrange(900)
            rows.append(
                (
                    run_id, f"run-{number}", "LOCAL", "someone", "FINISHED", start_ms,
                    start_ms + 60_000, "active", f"artifacts/{experiment_id}/{run_id}/artifacts",
                    experiment_id,
                )
            )  # fmt: skip
        yield rows


def _insert_runs(connection: sa.Connection, rows: list[tuple[Any, ...]]) -> None:
    """Write runs by the fastest way the driver has."""
    columns = ", ".join(_RUN_COLUMNS)
    cursor: Any = connection.connection.cursor()
    if connection.dialect.name == "postgresql":
        with cursor.copy(f"COPY runs ({columns}) FROM STDIN") as copy:
            for row in rows:
                copy.write_row(row)
    else:
        marks = ", ".join("?" * len(_RUN_COLUMNS))
        cursor.executemany(f"INSERT INTO runs ({columns}) VALUES ({marks})", rows)


@contextlib.contextmanager
def _indexes_afterwards(connection: sa.Connection) -> Iterator[None]:
    """On PostgreSQL, make primary keys and indexes of what the block fills once it is filled.

    Row by row, 36 million rows in random order would take an hour. SQLite cannot do without.
    """
    if connection.dialect.name != "postgresql":
        yield
        return
    connection.exec_driver_sql("SET LOCAL session_replication_role = replica")  # no foreign keys
    connection.exec_driver_sql("SET LOCAL maintenance_work_mem = '512MB'")
    tables = ", ".join(f"'{table}'" for table in _CONTENTS)
    keys = connection.exec_driver_sql(
        "SELECT conrelid::regclass::text, conname, pg_get_constraintdef(oid) FROM pg_constraint "
        f"WHERE contype = 'p' AND conrelid::regclass::text IN ({tables})"
    ).all()
    named = ", ".join(f"'{name}'" for _, name, _ in keys)
    indexes = connection.exec_driver_sql(
        "SELECT indexname, indexdef FROM pg_indexes "
        f"WHERE tablename IN ({tables}) AND indexname NOT IN ({named})"
    ).all()
    for table, name, _ in keys:
        connection.exec_driver_sql(f"ALTER TABLE {table} DROP CONSTRAINT {name}")
    for name, _ in indexes:
        connection.exec_driver_sql(f"DROP INDEX {name}")
    yield
    for table, name, definition in keys:
        connection.exec_driver_sql(f"ALTER TABLE {table} ADD CONSTRAINT {name} {definition}")
    for _, definition in indexes:
        connection.exec_driver_sql(definition)
