"""What a rewind leaves is what stock MLflow would hold had the rest never been logged."""

from __future__ import annotations

import math
import random
import threading
import time
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import sqlalchemy as sa
from mlflow.entities import Metric
from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore
from sqlalchemy.orm import Session

from databases import DatabaseServer
from deliveries import ARTIFACTS, Both
from metric_writers import make_small
from mlflow_weir.errors import StoreUnavailable
from mlflow_weir.store import schema
from mlflow_weir.store.delivery.records import encode_points
from mlflow_weir.store.maintenance.check import check
from mlflow_weir.store.maintenance.progress import Silent
from mlflow_weir.store.metrics.points import stored_value

pytestmark = pytest.mark.slow

KEYS = ("loss", "acc", "val/loss", "system/gpu")
VALUES = (1.5, -2.0, math.nan, math.inf, -math.inf, 1 / 3, 1e-300, -5.0)


@pytest.fixture
def both(database_server: DatabaseServer, monkeypatch: pytest.MonkeyPatch) -> Iterator[Both]:
    make_small(monkeypatch.setattr)
    opened = Both(database_server)
    yield opened
    opened.close()


class Rewound:
    """A run on ours; what is left of it is logged to stock at the end, and compared."""

    def __init__(self, both: Both) -> None:
        self.both = both
        self.run_id = both.create_run("0", "0", 5, [], "a run")
        self.left: list[Metric] = []
        both.deliver()

    def log(self, metrics: list[Metric]) -> None:
        self.left += metrics
        points = [(m.key, m.timestamp, m.step, stored_value(m.value)) for m in metrics]
        self.both.journal.add(encode_points(self.run_id, points))
        of_models = [
            {
                "key": metric.key,
                "value": metric.value,
                "timestamp": metric.timestamp,
                "step": metric.step,
                "model_id": metric.model_id,
            }
            for metric in metrics
            if metric.model_id is not None
        ]
        if of_models:
            self.both.journal.operation("model_metrics", run_id=self.run_id, metrics=of_models)

    def log_long_ago(self, metrics: list[Metric]) -> None:
        """Log as stock MLflow did before Weir opened the database."""
        self.left += metrics
        stock: Any = SqlAlchemyStore(
            self.both.engine.url.render_as_string(hide_password=False), ARTIFACTS
        )
        stock.log_batch(self.run_id, metrics, [], [])
        stock._dispose_engine()

    def rewind(self, step: int) -> None:
        self.both.journal.operation("rewind", run_id=self.run_id, step=step)
        self.left = [m for m in self.left if m.step <= step or m.key.startswith("system/")]

    def deliver(self, *, is_final: bool | None = None) -> None:
        self.both.deliver()
        if is_final is not None:
            self.both.weir._compact(self.run_id, is_final=is_final)

    def compare(self, *others: Rewound) -> None:
        """Compare this run and all others of the database."""
        for one in (self, *others):
            for start in range(0, len(one.left), 500):
                self.both.stock.log_batch(one.run_id, one.left[start : start + 500], [], [])
            self.both.keys |= {(one.run_id, key) for key in KEYS}
        self.both.compare()
        assert check(self.both.engine, Silent()).problems == []


@pytest.fixture
def run(both: Both) -> Rewound:
    return Rewound(both)


def test_the_rest_is_what_stock_mlflow_would_hold(run: Rewound) -> None:
    """Points in MLflow's rows, in sealed chunks, packs and batches, and on their way."""
    rng = random.Random(11)
    at_ms = 0

    def metrics(n: int, key: str | None = None) -> list[Metric]:
        nonlocal at_ms
        found = []
        for _ in range(n):
            at_ms += rng.randint(0, 2)
            found.append(
                Metric(
                    key or rng.choice(KEYS), rng.choice(VALUES), at_ms, rng.randint(-3, at_ms + 3)
                )
            )
        return found

    run.log_long_ago(metrics(120))
    for _ in range(12):
        for _ in range(rng.randint(1, 8)):
            run.log(metrics(rng.randint(1, 60), rng.choice([None, None, "loss"])))
        if rng.random() < 0.6:
            run.rewind(rng.randint(at_ms // 2, at_ms))
        if rng.random() < 0.7:
            run.deliver(is_final=rng.random() < 0.3)
    run.log(metrics(5))
    run.compare()


@pytest.mark.parametrize("place", ["on its way", "batch", "chunk", "row"])
def test_every_place_is_rewound(run: Rewound, place: str) -> None:
    first = [Metric(key, step / 3, step, step) for step in range(300) for key in ("loss", "acc")]
    first += [Metric("system/gpu", float(step), step, step) for step in range(300)]
    first += [Metric("late", 1.0, 1, 200)]
    if place == "row":
        run.log_long_ago(first)
    else:
        run.log(first)
        if place == "batch":
            run.deliver()
        elif place == "chunk":
            run.deliver(is_final=True)
    run.rewind(120)
    run.log([Metric("loss", 7.0, 900, 121)])
    run.deliver()
    found = run.both.weir.get_run(run.run_id).data.metrics
    assert found == {"loss": 7.0, "acc": 40.0, "system/gpu": 299.0}
    assert len(run.both.weir.get_metric_history(run.run_id, "loss")) == 122
    assert len(run.both.weir.get_metric_history(run.run_id, "late")) == 0
    buckets = run.both.weir.get_metric_history_bulk_interval([run.run_id], "loss", 10, None, None)
    assert max(one.step for one in buckets) == 121
    run.compare()


def test_to_before_the_first_step_nothing_is_left(run: Rewound) -> None:
    run.log_long_ago([Metric("loss", 1.0, 1, 0), Metric("acc", 1.0, 1, 5)])
    run.log([Metric("loss", 2.0, step, step) for step in range(600)])
    run.deliver(is_final=True)
    run.log([Metric("acc", 2.0, step, step) for step in range(10)])
    run.deliver()
    run.rewind(-1)
    run.deliver()
    assert run.both.weir.get_run(run.run_id).data.metrics == {}
    with run.both.engine.connect() as connection:
        for table in (schema.batch, schema.chunk, schema.series, schema.rollup):
            assert connection.execute(sa.select(sa.func.count()).select_from(table)).scalar() == 0
    run.compare()


def test_a_models_metrics_go_with_the_runs(run: Rewound) -> None:
    model_id = run.both.create_logged_model("0", "0", "net", None, [])
    other = Rewound(run.both)
    for one in (run, other):
        one.log([Metric("loss", 1.0, step, step, model_id=model_id) for step in range(9)])
    run.rewind(4)
    run.log([Metric("loss", 3.0, 50, 5, model_id=model_id)])
    run.compare(other)


def test_another_run_is_left_alone(run: Rewound) -> None:
    other = Rewound(run.both)
    for one in (run, other):
        one.log([Metric("loss", float(step), step, step) for step in range(90)])
    run.deliver(is_final=True)
    run.rewind(3)
    run.compare(other)


def test_a_rewind_that_is_refused_takes_nothing_of_its_drain(run: Rewound) -> None:
    run.log([Metric("loss", 1.0, 1, 9)])
    for fields in ({"step": "3"}, {"step": True}, {"step": 1 << 63}, {"step": None}):
        run.both.journal.operation("rewind", run_id=run.run_id, **fields)
    run.both.journal.operation("rewind", run_id="f" * 32, step=1)
    run.both.journal.operation("rewind", run_id=[run.run_id], step=1)
    run.both.deliver()
    assert len(run.both.rejected) == 6
    assert run.both.weir.get_run(run.run_id).data.metrics == {"loss": 1.0}


def test_a_deleted_run_is_not_rewound(run: Rewound) -> None:
    run.log([Metric("loss", 1.0, 1, 9)])
    run.both.delete_run(run.run_id)
    run.both.journal.operation("rewind", run_id=run.run_id, step=1)
    run.both.deliver()
    (rejected,) = run.both.rejected
    assert "is deleted" in rejected.reason
    assert len(run.both.weir.get_metric_history(run.run_id, "loss")) == 1


def test_a_damaged_row_stays_and_the_rest_is_rewound(run: Rewound) -> None:
    run.log([Metric("loss", 1.0, step, step) for step in range(9)])
    run.deliver(is_final=True)
    run.log([Metric("acc", 1.0, step, step) for step in range(9)])
    run.deliver()
    with run.both.engine.begin() as connection:
        connection.execute(sa.update(schema.chunk).values(crc32=schema.chunk.c.crc32 + 1))
    run.rewind(3)
    run.both.deliver()
    assert run.both.rejected == []
    assert run.both.weir.get_run(run.run_id).data.metrics == {"acc": 1.0}
    assert [m.step for m in run.both.weir.get_metric_history(run.run_id, "acc")] == [0, 1, 2, 3]
    assert len(check(run.both.engine, Silent()).problems) == 1


def test_steps_that_sqlite_keeps_as_they_came(run: Rewound) -> None:
    """A NumPy integer became its bytes in stock MLflow on SQLite, which sort after all numbers."""
    if run.both.engine.dialect.name != "sqlite":
        pytest.skip("the others refuse them")
    steps: list[Any] = [np.int64(3), np.int64(9), 4, 10]
    run.log_long_ago([Metric("loss", float(step), 1, step) for step in steps])
    run.rewind(4)
    run.both.deliver()
    left = run.both.weir.get_metric_history(run.run_id, "loss")
    assert sorted(metric.step for metric in left) == [3, 4]
    assert run.both.weir.get_run(run.run_id).data.metrics == {"loss": 4.0}


def test_compaction_at_the_same_time_loses_and_keeps_nothing_wrongly(run: Rewound) -> None:
    """Two threads, the compactor's and the delivery's, until the rewinds are through."""
    stop = threading.Event()
    failures: list[BaseException] = []

    def keep_house() -> None:
        rng = random.Random(1)
        while not stop.is_set():
            try:
                run.both.weir._compact(run.run_id, is_final=rng.random() < 0.5)
            except BaseException as exc:
                failures.append(exc)
                raise

    compactor = threading.Thread(target=keep_house)
    compactor.start()
    rng = random.Random(2)
    try:
        step = 0
        for _ in range(20):
            for _ in range(3):
                run.log(
                    [Metric(key, rng.random(), step, step + n) for n in range(40) for key in KEYS]
                )
                step += 40
            step -= rng.randint(1, 100)
            run.rewind(step)
            give_up_s = time.monotonic() + 120
            while run.both.journal.delivered < len(run.both.journal.payloads):
                try:
                    run.both.deliver()
                except StoreUnavailable:  # locked, or a deadlock that was broken
                    assert time.monotonic() < give_up_s
    finally:
        stop.set()
        compactor.join()
    assert failures == []
    run.compare()


def test_without_a_journal(run: Rewound) -> None:
    run.log([Metric("loss", float(step), step, step) for step in range(90)])
    run.deliver(is_final=True)
    run.both.weir.rewind_run(run.run_id, 4)
    assert run.both.weir.get_run(run.run_id).data.metrics == {"loss": 4.0}
    with Session(run.both.engine) as session:
        assert session.execute(sa.select(sa.func.sum(schema.series.c.n_points))).scalar() == 5
