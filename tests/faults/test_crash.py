"""Kills in the middle: every acknowledged point is there exactly once afterwards."""

from __future__ import annotations

import contextlib
import os
import random
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest
import sqlalchemy as sa
from mlflow.entities import Metric
from mlflow.exceptions import MlflowException

from databases import DatabaseServer
from disks import mounted
from kills import last_words
from metric_writers import ARTIFACTS
from mlflow_weir.store.maintenance.check import check
from mlflow_weir.store.maintenance.progress import Silent
from mlflow_weir.store.tracking_store import WeirStore

pytestmark = [pytest.mark.fault, pytest.mark.slow]

# Logs for ever, in small batches that are compacted often, and says which step is safe.
WRITER = """
import sys
from mlflow.entities import Metric
from mlflow_weir.store.tracking_store import WeirStore
from metric_writers import make_small
make_small()
url, run_id, first = sys.argv[1], sys.argv[2], int(sys.argv[3])
store = WeirStore(url, "/nowhere")
print("ready", flush=True)
for step in range(first, first + 100_000):
    metrics = [Metric("loss", step / 3, step, step), Metric("b", 1.0, step, 0)]
    store.log_batch(run_id, metrics, [], [])
    print(step, flush=True)
"""


def new_run(url: str) -> str:
    store: Any = WeirStore(url, ARTIFACTS)
    run_id = str(store.create_run("0", "somebody", 0, [], "a run").info.run_id)
    store._dispose_engine()
    return run_id


def start_writer(url: str, run_id: str, first: int, *wrapper: str) -> subprocess.Popen[str]:
    support = str(Path(__file__).parent.parent / "support")
    return subprocess.Popen(
        [*wrapper, sys.executable, "-c", WRITER, url, run_id, str(first)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": support, "WEIR_WRITE_DEADLINE_SECONDS": "3"},
    )


def steps_said(output: str) -> list[int]:
    return [int(line) for line in output.splitlines() if line.isdigit()]


def require_exactly_once(url: str, run_id: str, acknowledged: list[int]) -> int:
    """Compare what is stored with what was acknowledged; return how many steps are stored."""
    store: Any = WeirStore(url, ARTIFACTS)
    try:
        found = [m.step for m in store.get_metric_history(run_id, "loss")]
        assert found == list(range(len(found))), "a step is missing or there twice"
        assert set(acknowledged) <= set(found)
        # A batch whose commit was not said yet may be there, whole; no other may.
        assert len(found) <= len(acknowledged) + 1
        assert len(store.get_metric_history(run_id, "b")) == len(found)
        if found:
            assert store.get_run(run_id).data.metrics["loss"] == found[-1] / 3
        assert check(store.engine, Silent()).problems == []
        if store.engine.dialect.name == "sqlite":
            with store.engine.connect() as connection:
                assert connection.execute(sa.text("PRAGMA integrity_check")).scalar() == "ok"
    finally:
        store._dispose_engine()
    return len(found)


@pytest.mark.parametrize(
    "n_kills", [4, pytest.param(60, marks=[pytest.mark.long, pytest.mark.timeout(1200)])]
)
def test_a_writer_killed_at_random_moments(sqlite_url: str, n_kills: int) -> None:
    run_id = new_run(sqlite_url)
    rng = random.Random(n_kills)
    acknowledged: list[int] = []
    stored = 0
    for _ in range(n_kills):
        writer = start_writer(sqlite_url, run_id, stored)
        assert writer.stdout is not None
        assert writer.stdout.readline() == "ready\n"
        said = "".join(writer.stdout.readline() for _ in range(rng.randint(3, 40)))
        time.sleep(rng.random() / 20)  # to be anywhere in a step
        writer.send_signal(signal.SIGKILL)
        rest, error = last_words(writer)
        assert writer.returncode == -signal.SIGKILL, error
        acknowledged = [*range(stored), *steps_said(said + rest)]
        stored = require_exactly_once(sqlite_url, run_id, acknowledged)
    assert stored > 8


@pytest.mark.skipif(shutil.which("strace") is None, reason="missing component: strace")
@pytest.mark.parametrize(
    "when",
    [17, 76, *(pytest.param(n, marks=pytest.mark.long) for n in (3, 40, *range(80, 240, 7)))],
)
def test_a_writer_killed_inside_a_write_to_the_database(sqlite_url: str, when: int) -> None:
    run_id = new_run(sqlite_url)
    # strace counts from the process's first such call: opening the store makes few.
    writer = start_writer(
        sqlite_url,
        run_id,
        0,
        *("strace", "-qq", "-f", "-o", os.devnull, "-e", "trace=pwrite64"),
        *("-e", f"inject=pwrite64:signal=SIGKILL:when={when}"),
    )
    said, error = writer.communicate(timeout=300)
    if "ptrace" in error:
        pytest.skip("strace may not trace here")
    assert writer.returncode in (-signal.SIGKILL, 128 + signal.SIGKILL), error
    require_exactly_once(sqlite_url, run_id, steps_said(said))


@pytest.fixture
def small_disk() -> Iterator[Path]:
    """Mount a file system of 3 MiB."""
    with mounted("3m") as folder:
        yield folder


def test_a_full_disk_is_an_error_and_loses_nothing_that_was_acknowledged(
    small_disk: Path, sqlite_folder: DatabaseServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WEIR_WRITE_DEADLINE_SECONDS", "2")
    source = sqlite_folder.new_mlflow_database().removeprefix("sqlite:///")
    shutil.copyfile(source, small_disk / "a.db")
    url = f"sqlite:///{small_disk}/a.db"
    run_id = new_run(url)
    ballast = small_disk / "ballast"
    ballast.write_bytes(bytes(200_000))
    store: Any = WeirStore(url, ARTIFACTS)
    rng = random.Random(1)
    n = 0
    while True:
        batch = [Metric("loss", rng.random(), i, i) for i in range(n, n + 900)]
        try:
            store.log_batch(run_id, batch, [], [])
        except MlflowException as exc:
            assert "full" in str(exc)  # noqa: PT017 - which call it is that fails is open
            break
        n += 900
        assert n < 1_000_000
    assert n > 0
    history = store.get_metric_history(run_id, "loss")
    assert [m.step for m in history][:n] == list(range(n))
    ballast.unlink()
    store.log_batch(run_id, [Metric("loss", 1.0, 10**7, 10**7)], [], [])
    steps = [m.step for m in store.get_metric_history(run_id, "loss")]
    assert steps[:n] == list(range(n))
    assert steps[-1] == 10**7
    assert check(store.engine, Silent()).problems == []
    store._dispose_engine()
    with contextlib.closing(sqlite3.connect(small_disk / "a.db")) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)


def terminate_backends(url: str) -> None:
    name = sa.make_url(url)
    address = f"host={name.host} port={name.port} user={name.username} dbname=postgres"
    with psycopg.connect(address, autocommit=True) as connection:
        connection.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s",
            (name.database,),
        )


def test_postgresql_that_ends_connections_loses_nothing(
    postgres_server: DatabaseServer,
) -> None:
    url = postgres_server.new_mlflow_database()
    run_id = new_run(url)
    rng = random.Random(5)
    stored = 0
    for _ in range(3):
        writer = start_writer(url, run_id, stored)
        assert writer.stdout is not None
        assert writer.stdout.readline() == "ready\n"
        time.sleep(0.2 + rng.random())
        terminate_backends(url)
        try:
            writer.wait(timeout=1)
        except subprocess.TimeoutExpired:  # between two calls: the pool connected again
            writer.kill()
        said, _ = last_words(writer)
        acknowledged = [*range(stored), *steps_said(said)]
        stored = require_exactly_once(url, run_id, acknowledged)
    assert stored > 3
