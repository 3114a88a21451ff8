"""PostgreSQL killed in the middle of writes: what it acknowledged is there, once, afterwards."""

from __future__ import annotations

import os
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

import pytest
import sqlalchemy as sa

from databases import CrashingPostgres, MissingComponent, run_crashing_postgres
from kills import last_words
from mlflow_weir.store import schema
from mlflow_weir.store.delivery import positions
from mlflow_weir.store.delivery.connection import open_engine
from mlflow_weir.store.maintenance.check import check
from mlflow_weir.store.maintenance.progress import Silent
from mlflow_weir.store.tracking_store import WeirStore

pytestmark = [pytest.mark.fault, pytest.mark.slow]

N_KILLS = [3, pytest.param(25, marks=[pytest.mark.long, pytest.mark.timeout(1200)])]
PATIENCE_S = 120.0

# Logs one step after the other, again when the server was gone, and says which is acknowledged.
STORE_WRITER = """
import sys, time
import sqlalchemy as sa
from mlflow.entities import Metric
from mlflow.exceptions import MlflowException
from mlflow_weir.store.tracking_store import WeirStore
from metric_writers import make_small
make_small()
url, run_id = sys.argv[1:]
store = WeirStore(url, "/nowhere")
step = 0
while True:
    try:
        store.log_batch(run_id, [Metric("loss", step / 3, step, step)], [], [])
    except (MlflowException, sa.exc.OperationalError):  # of MLflow's own rollback
        time.sleep(0.01)  # not to fill the log of a server that is gone
        continue
    print(step, flush=True)
    step += 1
"""

# Delivers a journal that grows without end, as an agent that goes on where the database says.
APPLIER = """
import sys, time
from deliveries import JournalOfRecords
from mlflow_weir.errors import PositionMismatch, StoreUnavailable
from mlflow_weir.store.delivery.connection import open_engine
from mlflow_weir.store.delivery.apply import apply
from mlflow_weir.store.delivery.records import encode_operation, encode_points
url, run_id = sys.argv[1:]
engine = open_engine(url)
step = position = 0
while True:
    steps = range(step, step + 5)
    payloads = [encode_points(run_id, [("loss", i, i, i / 3)]) for i in steps]
    payloads.append(encode_operation("points_dropped", {"run_id": run_id, "n": 1}))
    end = position + sum(map(len, payloads))
    try:
        outcome = apply(engine, "a" * 32, 1, position, end, payloads)
    except StoreUnavailable as exc:
        assert not isinstance(exc, PositionMismatch)
        time.sleep(0.01)
        continue
    assert outcome.position == end and not outcome.rejected
    position = end
    print(steps[-1], flush=True)
    step += 5
"""


@pytest.fixture
def server() -> Iterator[CrashingPostgres]:
    try:
        # Not in memory: a file system that syncs.
        with run_crashing_postgres(Path(tempfile.gettempdir())) as running:
            yield running
    except MissingComponent as exc:
        if os.environ.get("WEIR_REQUIRE_COMPONENTS") == "1":
            pytest.fail(f"missing component: {exc}")
        pytest.skip(f"missing component: {exc}")


def new_run(url: str) -> str:
    store: Any = WeirStore(url, "/nowhere")
    run_id = str(store.create_run("0", "somebody", 0, [], "a run").info.run_id)
    store._dispose_engine()
    return run_id


def start(code: str, *arguments: str) -> subprocess.Popen[str]:
    support = str(Path(__file__).parent.parent / "support")
    return subprocess.Popen(
        [sys.executable, "-W", "ignore", "-c", code, *arguments],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": support, "WEIR_WRITE_DEADLINE_SECONDS": "1"},
    )


def read_steps(lines: IO[str], n: int) -> int:
    """Wait for n more acknowledged steps; return the last."""
    give_up = time.monotonic() + PATIENCE_S
    last = -1
    for _ in range(n):
        line = lines.readline()
        assert line, "the writer is gone"
        last = int(line)
        assert time.monotonic() < give_up
    return last


def kill_while_it_writes(
    server: CrashingPostgres, writer: subprocess.Popen[str], n_kills: int, seed: int
) -> int:
    """Kill the server at random moments; return the last step that was acknowledged."""
    rng = random.Random(seed)
    assert writer.stdout is not None
    try:
        for _ in range(n_kills):
            read_steps(writer.stdout, rng.randint(3, 20))
            time.sleep(rng.random() / 50)
            server.kill()
            server.start()
        last = read_steps(writer.stdout, 5)
    except BaseException:
        writer.kill()
        writer.communicate()
        raise
    writer.kill()
    said, _ = last_words(writer)
    return max(last, *map(int, said.split()[-1:]), -1)


@pytest.mark.parametrize("n_kills", N_KILLS)
def test_what_the_store_acknowledged_is_there(server: CrashingPostgres, n_kills: int) -> None:
    url = server.new_mlflow_database()
    run_id = new_run(url)
    acknowledged = kill_while_it_writes(server, start(STORE_WRITER, url, run_id), n_kills, n_kills)
    store: Any = WeirStore(url, "/nowhere")
    found = [metric.step for metric in store.get_metric_history(run_id, "loss")]
    assert found == list(range(len(found)))
    assert len(found) > max(acknowledged, 5 * n_kills // 2)
    assert store.get_run(run_id).data.metrics["loss"] == found[-1] / 3
    assert check(store.engine, Silent()).problems == []
    store._dispose_engine()


@pytest.mark.parametrize("n_kills", N_KILLS)
def test_what_was_delivered_is_there_once(server: CrashingPostgres, n_kills: int) -> None:
    url = server.new_mlflow_database()
    run_id = new_run(url)
    acknowledged = kill_while_it_writes(server, start(APPLIER, url, run_id), n_kills, n_kills)
    engine = open_engine(url)
    with engine.connect() as connection:
        state = positions.read(connection, "a" * 32)
        stored = connection.execute(sa.select(sa.func.sum(schema.batch.c.n_points))).scalar()
    assert state is not None
    assert stored is not None
    assert state.n_points == stored > acknowledged
    store: Any = WeirStore(url, "/nowhere")
    found = [metric.step for metric in store.get_metric_history(run_id, "loss")]
    assert found == list(range(stored))
    # Added to once a delivery: what was applied twice would be counted twice.
    assert store.get_run(run_id).data.tags["weir.points_dropped"] == str(stored // 5)
    assert check(store.engine, Silent()).problems == []
    store._dispose_engine()
    engine.dispose()
