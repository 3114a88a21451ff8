"""Points to store, and both stores filled with the same ones by bulk means.

Stock rows are written as MLflow writes them, in log order, with the driver's fastest insert. Ours
go through the store's own chunk writer, and ``weir db compact`` follows, so what is measured is
what a user's file holds after it.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import numpy as np
import sqlalchemy as sa
from mlflow.entities import RunTag
from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore
from places import Place
from sqlalchemy.orm import Session

from mlflow_weir.store import schema
from mlflow_weir.store.maintenance.compact import compact
from mlflow_weir.store.maintenance.progress import Silent
from mlflow_weir.store.metrics import chunks
from mlflow_weir.store.metrics.points import Series
from mlflow_weir.store.tracking_store import WeirStore

ARTIFACTS = "weir-bench-artifacts"
FIRST_MS = 1_700_000_000_000
_STEP_MS = 50
_ROWS_A_WRITE = 50_000


class Pair(NamedTuple):
    """Two empty databases of one place, stock MLflow's and ours."""

    place: Place
    stock_url: str
    weir_url: str
    stock: SqlAlchemyStore
    weir: WeirStore


def new_pair(place: Place) -> Pair:
    """Create two databases with MLflow's tables, one of them with ours beside them."""
    stock_url, weir_url = place.new_database(), place.new_database()
    return Pair(
        place,
        stock_url,
        weir_url,
        SqlAlchemyStore(stock_url, ARTIFACTS),
        WeirStore(weir_url, ARTIFACTS),
    )


def loop_timestamps(n: int, rng: np.random.Generator) -> np.ndarray[Any, np.dtype[np.int64]]:
    """Return the timestamps (ms) of a training loop: 50 ms a step, give or take 10 %."""
    steps_ms = rng.uniform(0.9 * _STEP_MS, 1.1 * _STEP_MS, n)
    return FIRST_MS + np.cumsum(steps_ms).astype(np.int64)


def float32_losses(n: int, rng: np.random.Generator) -> np.ndarray[Any, np.dtype[np.float64]]:
    """Return a falling, noisy loss as a training computes it: float32, logged as float."""
    curve = 2.3 * np.exp(-np.arange(n) / (n / 5)) + 0.1 + rng.normal(0, 0.02, n)
    return curve.astype(np.float32).astype(np.float64)


def float64_noise(n: int, rng: np.random.Generator) -> np.ndarray[Any, np.dtype[np.float64]]:
    """Return values that no encoding can shorten much."""
    return rng.random(n)


def one_metric(key: str, n: int, seed: int, *, noise: bool = False) -> dict[str, Series]:
    """Return one metric of ``n`` steps."""
    rng = np.random.default_rng(seed)
    values = (float64_noise if noise else float32_losses)(n, rng)
    return {key: Series(loop_timestamps(n, rng), np.arange(n, dtype=np.int64), values)}


def many_metrics(n_keys: int, n: int, seed: int, *, noise: bool = False) -> dict[str, Series]:
    """Return ``n_keys`` metrics logged together at each of ``n`` steps."""
    rng = np.random.default_rng(seed)
    timestamps, steps = loop_timestamps(n, rng), np.arange(n, dtype=np.int64)
    values = float64_noise if noise else float32_losses
    return {
        f"train/metric_{i:02d}": Series(timestamps, steps, values(n, rng)) for i in range(n_keys)
    }


def new_run(store: SqlAlchemyStore, experiment_id: str, name: str) -> str:
    """Create a run as a client does and return its id."""
    run = store.create_run(
        experiment_id, "someone", FIRST_MS, [RunTag("mlflow.user", "someone")], name
    )
    return str(run.info.run_id)


def write_stock(engine: sa.Engine, run_id: str, content: Mapping[str, Series]) -> None:
    """Insert a run's points into MLflow's tables in log order."""
    names = ("key", "value", "timestamp", "step", "is_nan", "run_uuid")
    rows = _log_order(run_id, content)
    while block := list(itertools.islice(rows, _ROWS_A_WRITE)):
        _insert(engine, "metrics", names, block)
    last = [
        (
            key, float(points.value[-1]), int(points.timestamp[-1]), int(points.step[-1]),
            False, run_id,
        )
        for key, points in content.items()
    ]  # fmt: skip
    _insert(engine, "latest_metrics", names, last)


def _log_order(run_id: str, content: Mapping[str, Series]) -> Iterator[tuple[Any, ...]]:
    columns = [
        (key, points.value.tolist(), points.timestamp.tolist(), points.step.tolist())
        for key, points in content.items()
    ]
    n = max((len(points) for points in content.values()), default=0)
    for i in range(n):
        for key, values, timestamps, steps in columns:
            yield key, values[i], timestamps[i], steps[i], False, run_id


def _insert(
    engine: sa.Engine, table: str, names: tuple[str, ...], rows: list[tuple[Any, ...]]
) -> None:
    raw = engine.raw_connection()
    try:
        cursor = raw.cursor()
        columns = ", ".join(map(engine.dialect.identifier_preparer.quote, names))
        if engine.dialect.name == "postgresql":
            with cursor.copy(f"COPY {table} ({columns}) FROM STDIN") as copy:
                for row in rows:
                    copy.write_row(row)
        else:
            marks = ", ".join("?" * len(names))
            cursor.executemany(f"INSERT INTO {table} ({columns}) VALUES ({marks})", rows)
        raw.commit()
    finally:
        raw.close()


def write_weir(engine: sa.Engine, run_id: str, content: Mapping[str, Series]) -> None:
    """Write a run's points as chunks, as compaction does, and its ``latest_metrics``."""
    with Session(engine) as session, session.begin():
        chunks.write(session, run_id, content, level=1)
        session.execute(
            sa.insert(schema.mlflow_latest_metrics),
            [
                {
                    "run_uuid": run_id,
                    "key": key,
                    "timestamp": int(points.timestamp[-1]),
                    "step": int(points.step[-1]),
                    "value": float(points.value[-1]),
                    "is_nan": False,
                }
                for key, points in content.items()
            ],
        )


def finish(pair: Pair) -> None:
    """Leave both databases as time would: ours compacted, both vacuumed and analysed."""
    compact(pair.weir.engine, Silent())
    for url, store in ((pair.stock_url, pair.stock), (pair.weir_url, pair.weir)):
        store.engine.dispose()
        pair.place.tidy(url)


def make_cold(pair: Pair) -> bool:
    """Close all connections and drop the files from memory; say whether the latter worked."""
    pair.stock.engine.dispose()
    pair.weir.engine.dispose()
    return pair.place.forget(pair.stock_url) and pair.place.forget(pair.weir_url)
