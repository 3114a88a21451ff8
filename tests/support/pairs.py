"""Stock MLflow's store and ours side by side: the same calls on two databases, answers compared.

A ``StorePair`` holds MLflow's ``SqlAlchemyStore`` and a ``WeirStore``, each on a database of its
own but of one kind. ``call`` runs one method on both and fails where they differ in what they
return or raise; ``compare_tables`` fails where MLflow's own tables differ in what they hold. Two
things are left out of a comparison: moments that the stores read from the clock (that they are set
counts, not when), and the text of a message that a database driver wrote. Ids are equal, because
both stores draw the same ones.

What MLflow leaves open is left open here too: it orders a metric's history by timestamp, step and
value, and a NaN is stored with the value 0, so that a NaN and a 0 at one place may come in either
order.
"""

from __future__ import annotations

import contextlib
import math
import random
import re
import struct
import uuid
from collections.abc import Callable, Iterator, Sequence
from typing import Any
from unittest import mock

import sqlalchemy
from mlflow.entities import Metric
from mlflow.entities._mlflow_object import _MlflowObject
from mlflow.entities.metric import MetricWithRunId
from mlflow.exceptions import MlflowException
from mlflow.store.db.base_sql_model import Base
from mlflow.store.entities import PagedList
from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore

from databases import DatabaseServer
from mlflow_weir.plugin.journaled_store import sql_store
from mlflow_weir.store.tracking_store import WeirStore

# MLflow's tables hold one thing that is ours to differ: the metric history.
OURS = ("metrics",)

# Rows whose ids the agent draws; tests/host/test_delivery.py compares them.
DRAWN_ON_DELIVERY = ("datasets", "input_tags", "inputs")

# How SQLAlchemy begins to quote a driver's error; statement and parameters follow.
DRIVERS_WORDS = re.compile(r"\((?:sqlite3|psycopg|pymysql)\.|\(builtins\.")

CLOCK_FIELDS = frozenset(
    {
        "creation_time",
        "creation_timestamp",
        "creation_timestamp_ms",
        "deleted_time",
        "last_update_time",
        "last_updated_timestamp",
        "last_updated_timestamp_ms",
    }
)


class StorePair:
    """MLflow's store and ours, on a new database each.

    Attributes:
        stock: MLflow's store.
        weir: Ours, or a second one of MLflow's until ``reopen``.
        is_direct: Ours has no journal in front.
    """

    def __init__(
        self,
        server: DatabaseServer,
        artifact_root: str,
        *,
        begin_as_stock: bool = False,
        open_weir: Callable[[str, str], Any] = WeirStore,
    ) -> None:
        self._artifact_root = artifact_root
        self._open_weir = open_weir
        self.is_direct = open_weir is not open_journaled
        self.stock_url = server.new_mlflow_database()
        self.weir_url = server.new_mlflow_database()
        self.stock: Any = open_stock(self.stock_url, artifact_root)
        other = open_stock if begin_as_stock else open_weir
        self.weir: Any = other(self.weir_url, artifact_root)
        self._ids = random.Random(4711)

    def close(self) -> None:
        """Give back the connections of both stores."""
        self.stock._dispose_engine()
        self.weir._dispose_engine()

    def reopen(self) -> None:
        """Close both stores and open the same databases again, the second one as ours."""
        self.close()
        self.stock = open_stock(self.stock_url, self._artifact_root)
        self.weir = self._open_weir(self.weir_url, self._artifact_root)

    def call(self, method: str, *args: Any, **kwargs: Any) -> Any:
        """Call ``method`` on both stores, check that they answer alike, and return the answer.

        Args:
            method: A method of the store. Where its name ends in ``_limited`` the answer of the
                method without that ending is cut at a limit, so that the last point may be either
                of two whose order MLflow leaves open.
            args: Its arguments.
            kwargs: Its keyword arguments.

        Returns:
            What the stock store returned, or the exception that it raised.
        """
        method, limited = method.removesuffix("_limited"), method.endswith("_limited")
        seed = self._ids.getrandbits(64)
        stock = self._run(self.stock, seed, method, args, kwargs)
        weir = self._run(self.weir, seed, method, args, kwargs)
        expected, found = comparable(stock), comparable(weir)
        if method.startswith("get_metric_history"):
            expected, found = settle_ties(expected, limited), settle_ties(found, limited)
        assert found == expected, f"{method}: {difference(found, expected)}\n{args}{kwargs or ''}"
        return stock

    @staticmethod
    def _run(
        store: Any, seed: int, method: str, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> Any:
        source = random.Random(seed)

        def drawn() -> uuid.UUID:
            return uuid.UUID(int=source.getrandbits(128), version=4)

        with mock.patch("uuid.uuid4", drawn):
            try:
                return getattr(store, method)(*args, **kwargs)
            except Exception as exc:  # noqa: BLE001 - whatever is raised is compared
                return exc

    def new_experiment(self, name: str) -> str:
        """Create an experiment in both and return its id."""
        return str(self.call("create_experiment", name))

    def new_run(self, experiment_id: str = "0", name: str = "a run") -> str:
        """Create a run in both and return its id."""
        run = self.call("create_run", experiment_id, "somebody", 1_700_000_000_000, [], name)
        return str(run.info.run_id)

    def compare_history(self, run_id: str, keys: Sequence[str]) -> None:
        """Compare every way of reading these metrics of a run, whole and in pages."""
        self.call("get_run", run_id)
        for key in keys:
            whole = self.call("get_metric_history", run_id, key)
            self.call("get_max_step_for_metric", run_id, key)
            self.call("get_metric_history_bulk", [run_id], key, 25_000)
            steps = sorted({metric.step for metric in whole})[:500]
            self.call("get_metric_history_bulk_interval_from_steps", run_id, key, steps, 25_000)
            self.read_pages(run_id, key, 1 + len(whole) // 3)

    def read_pages(self, run_id: str, key: str, page_size: int) -> None:
        """Compare a history that is read page by page, and the number and tokens of the pages."""
        pages: list[list[Any]] = [[], []]
        for store, read in zip((self.stock, self.weir), pages, strict=True):
            token = None
            while True:
                page = store.get_metric_history(run_id, key, page_size, token)
                read.append((len(page), page.token))
                read.extend(comparable(list(page)))
                token = page.token
                if token is None:
                    break
        sizes = [[item for item in read if len(item) == 2] for read in pages]
        points = [[item for item in read if len(item) != 2] for read in pages]
        assert sizes[1] == sizes[0], f"pages: {difference(sizes[1], sizes[0])}"
        expected, found = settle_ties(points[0]), settle_ties(points[1])
        assert found == expected, f"points of pages: {difference(found, expected)}"

    def compare_tables(self) -> None:
        """Compare what MLflow's own tables hold, but for those that are ours to differ."""
        stock, weir = read_tables(self.stock.engine), read_tables(self.weir.engine)
        for name, rows in stock.items():
            if not self.is_direct and name in DRAWN_ON_DELIVERY:
                continue
            assert weir[name] == rows, f"table {name}: {difference(weir[name], rows)}"


def open_journaled(url: str, artifact_root: str) -> Any:
    """Open our store as a training process has it, with the journal in front."""
    return sql_store(url, artifact_root, None, has_workspaces=False)


def open_stock(url: str, artifact_root: str) -> Any:
    """Open MLflow's own store."""
    return SqlAlchemyStore(url, artifact_root)


@contextlib.contextmanager
def open_pair(
    server: DatabaseServer,
    artifact_root: str,
    *,
    begin_as_stock: bool = False,
    open_weir: Callable[[str, str], Any] = WeirStore,
) -> Iterator[StorePair]:
    """Open a pair and close it after the block."""
    pair = StorePair(server, artifact_root, begin_as_stock=begin_as_stock, open_weir=open_weir)
    try:
        yield pair
    finally:
        pair.close()


def comparable(value: Any) -> Any:
    """Turn an answer, or an exception, into plain values that compare exactly.

    Floats become their bits, so that NaN equals itself; -0.0 becomes the 0.0 that SQLite and
    MySQL make of it, and Weir everywhere. With BAD_REQUEST MLflow passes on what the database's
    driver says, so only that both refuse is compared.
    """
    if isinstance(value, MlflowException):
        if value.error_code == "BAD_REQUEST":
            return (type(value).__name__, value.error_code)
        text = DRIVERS_WORDS.split(str(value.message))[0]
        return (type(value).__name__, value.error_code, text)
    if isinstance(value, BaseException):
        return (type(value).__name__, str(value))
    if isinstance(value, MetricWithRunId):
        return (value.run_id, *_point(value))
    if isinstance(value, Metric):
        return (value.run_id, *_point(value))
    if isinstance(value, _MlflowObject):
        plain = {
            name: (item is None) if name in CLOCK_FIELDS else comparable(item)
            for name, item in dict(value).items()
        }
        metrics = plain.get("metrics")
        if isinstance(metrics, list):
            # A logged model's, which MLflow reads in no order: PostgreSQL gives another each time.
            plain["metrics"] = sorted(metrics, key=repr)
        return plain
    if isinstance(value, PagedList):
        return {"items": [comparable(item) for item in value], "token": value.token}
    if isinstance(value, dict):
        return {key: comparable(item) for key, item in sorted(value.items())}
    if isinstance(value, (list, tuple)):
        return [comparable(item) for item in value]
    if isinstance(value, float):
        return struct.pack(">d", value + 0.0).hex() if not math.isnan(value) else "nan"
    return value


def _point(metric: Any) -> tuple[Any, ...]:
    """Give a metric's fields, the three it is ordered by in the middle, and its type of number."""
    return (
        metric.key,
        metric.timestamp,
        metric.step,
        comparable(metric.value),
        type(metric.value).__name__,
        getattr(metric, "model_id", None),
        getattr(metric, "dataset_name", None),
        getattr(metric, "dataset_digest", None),
    )


def difference(ours: Any, stock: Any) -> str:
    """Say where two answers differ first."""
    if isinstance(ours, dict) and isinstance(stock, dict) and ours.keys() == stock.keys():
        name = next((name for name in stock if ours[name] != stock[name]), None)
        return f"{name}: {difference(ours[name], stock[name])}" if name is not None else "nowhere"
    if isinstance(ours, list) and isinstance(stock, list):
        pairs = enumerate(zip(ours, stock, strict=False))
        at = next((index for index, (one, other) in pairs if one != other), None)
        if at is None:
            return f"ours has {len(ours)} items, MLflow's {len(stock)}; what both have is equal"
        return f"item {at}: {difference(ours[at], stock[at])}"
    return f"ours {ours!r:.600}, MLflow's {stock!r:.600}"


ZERO = comparable(0.0)


def settle_ties(answer: Any, limited: bool = False) -> Any:
    """Put a NaN behind a 0 that is logged at the same place, where MLflow leaves the order open.

    Args:
        answer: A metric history as ``comparable`` gives it, or anything else.
        limited: The history goes on: its last point may be either of two.
    """
    if isinstance(answer, dict):
        return {**answer, "items": settle_ties(answer["items"], limited)}
    if not isinstance(answer, list):
        return answer
    settled: list[Any] = []
    for item in answer:
        settled.append(item)
        at = len(settled) - 1
        while (
            at > 0
            and settled[at][:4] == settled[at - 1][:4]
            and settled[at - 1][4] == "nan"
            and settled[at][4] == ZERO
        ):
            settled[at - 1], settled[at] = settled[at], settled[at - 1]
            at -= 1
    if limited and settled and settled[-1][4] in ("nan", ZERO):
        settled[-1] = (*settled[-1][:4], "either")
    return settled


TABLES = {table.name: table for table in Base.metadata.sorted_tables if table.name not in OURS}
# Most tables are empty in most tests, which one statement tells of all of them.
HAVE_ROWS = sqlalchemy.select(
    *(sqlalchemy.exists().select_from(table).label(name) for name, table in TABLES.items())
)


def read_tables(engine: sqlalchemy.Engine) -> dict[str, list[Any]]:
    """Read MLflow's tables, but for those that are ours to differ; rows in a fixed order."""
    found: dict[str, list[Any]] = {}
    with engine.connect() as connection:
        have_rows = connection.execute(HAVE_ROWS).one()._mapping
        for name, table in TABLES.items():
            if not have_rows[name]:
                found[name] = []
                continue
            rows = [
                tuple(
                    str(item is None) if column in CLOCK_FIELDS else comparable(item)
                    for column, item in row._mapping.items()
                )
                for row in connection.execute(sqlalchemy.select(table))
            ]
            found[name] = sorted(rows, key=repr)
    return found


def log_from_another_process(url: str, artifact_root: str, run_id: str, first_step: int) -> None:
    """Log 40 batches of 5 points of two metrics; for several processes at once on one run."""
    store = WeirStore(url, artifact_root)
    for batch in range(40):
        steps = range(first_step + 5 * batch, first_step + 5 * batch + 5)
        store.log_batch(
            run_id,
            [Metric(key, step / 7, step, step) for step in steps for key in ("a", "b")],
            [],
            [],
        )
    store._dispose_engine()
