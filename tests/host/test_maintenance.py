"""Retention and archive by servers, on a schedule; with two real servers: test_replicas.py."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from mlflow.entities import Metric, RunStatus, RunTag

from agents import wait_until
from databases import DatabaseServer
from mlflow_weir.errors import ConfigError
from mlflow_weir.store import leases, schema
from mlflow_weir.store.cold import reading
from mlflow_weir.store.delivery import mlflow_tables as tables
from mlflow_weir.store.delivery.connection import open_engine
from mlflow_weir.store.maintenance import retention
from mlflow_weir.store.maintenance.cold import MARKER
from mlflow_weir.store.tracking_store import WeirStore
from mlflow_weir.ui_extensions import deliveries, maintenance
from mlflow_weir.ui_extensions.maintenance import Maintainer
from warm_python import WarmProcess, warm_python

pytestmark = pytest.mark.slow

DAY_MS = 86_400_000
START_MS, TERM_MS = 1_800_000_000_000, 60_000


def make_run(store: Any, name: str, *, age_days: int = 100, **tags: str) -> str:
    """Make a run of some points that ended so long ago."""
    ended = time.time_ns() // 1_000_000 - age_days * DAY_MS
    run_id = str(store.create_run("0", "alice", ended - 1000, [], name).info.run_id)
    points = [Metric("loss", i / 7, ended + i, i) for i in range(100)]
    store.log_batch(run_id, points, [], [RunTag(*one) for one in tags.items()])
    store.update_run_info(run_id, RunStatus.FINISHED, ended, None)
    return run_id


def stages(engine: sa.Engine, *run_ids: str) -> list[str]:
    columns = tables.runs.c
    query = sa.select(columns.run_uuid, columns.lifecycle_stage)
    with engine.connect() as connection:
        found = {run_id: stage for run_id, stage in connection.execute(query)}
    return [found[run_id] for run_id in run_ids]


def lease_of(engine: sa.Engine, name: str) -> Any:
    query = sa.select(schema.lease).where(schema.lease.c.name == name)
    with engine.connect() as connection:
        return connection.execute(query).one_or_none()


def set_lease(engine: sa.Engine, name: str, **values: Any) -> None:
    of = schema.lease.c.name == name
    with engine.begin() as connection:
        assert connection.execute(sa.update(schema.lease).where(of).values(**values)).rowcount == 1


@pytest.fixture
def store(mlflow_database_url: str) -> Iterator[Any]:
    opened: Any = WeirStore(mlflow_database_url, "file:///nowhere")
    yield opened
    opened._dispose_engine()
    WeirStore._weir_engines.pop(mlflow_database_url)


def test_work_that_is_done_now_and_then_rests_and_is_taken_over_unfinished(store: Any) -> None:
    def due(holder: str, at_ms: int) -> bool:
        with store.engine.begin() as connection:
            return leases.take_due(connection, "work", holder, START_MS + at_ms, TERM_MS)

    def ours(holder: str, at_ms: int) -> bool:
        with store.engine.begin() as connection:
            return leases.renew(connection, "work", holder, START_MS + at_ms, TERM_MS)

    def rests(holder: str, at_ms: int, pause_ms: int) -> bool:
        with store.engine.begin() as connection:
            return leases.rest(connection, "work", holder, START_MS + at_ms, pause_ms)

    assert due("a", 0)  # it was never done
    assert not due("b", 1)
    assert ours("a", 50_000)
    assert not due("b", 109_000)  # renewed
    assert due("b", 111_000)  # a is gone, and has not finished
    assert not ours("a", 112_000)
    assert not rests("a", 112_000, 1)  # it does not undo what b has
    assert rests("b", 113_000, 500_000)
    assert not ours("b", 114_000)
    assert [due(one, 612_000) for one in "abc"] == [False] * 3
    assert due("c", 613_000)
    assert rests("c", 614_000, 500_000)
    assert due("a", -1)  # the clock was set back: it rests since a time to come


@pytest.fixture
def rounds(store: Any, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """Give a turn of a server's thread, in this process."""
    engine = open_engine(store.engine.url.render_as_string(hide_password=False))
    monkeypatch.setattr(deliveries, "engine_if_any", lambda: engine)
    monkeypatch.setenv("WEIR_RETENTION", "--older-than 30d --tag kind=sweep\n--older-than 60d")
    maintainer = Maintainer()

    def turn() -> None:
        for work in maintenance._works():
            maintainer._turn(work)

    yield turn
    engine.dispose()


@pytest.mark.quick_on("postgresql")
def test_a_round_does_what_the_policies_say_tells_it_and_rests(
    store: Any, rounds: Any, caplog: pytest.LogCaptureFixture
) -> None:
    old = make_run(store, "old")
    sweep = make_run(store, "sweep", age_days=40, kind="sweep")
    plain = make_run(store, "plain", age_days=40)
    began_ms = time.time_ns() // 1_000_000
    rounds()
    assert stages(store.engine, old, sweep, plain) == ["deleted", "deleted", "active"]
    assert store.get_metric_history(old, "loss") == []
    assert len(store.get_metric_history(plain, "loss")) == 100
    with store.engine.connect() as connection:
        deeds = connection.execute(sa.select(schema.audit)).all()
    assert [(deed.action, deed.target) for deed in deeds] == [
        ("run.retention", sweep),
        ("run.retention", old),
    ]
    assert all(deed.who.endswith("(WEIR_RETENTION)") for deed in deeds)
    said = [record.getMessage() for record in caplog.records]
    assert [line for line in said if f"run {old} of experiment 0: marked as deleted" in line]
    assert "retention, --older-than 60d: 1 runs gone, 0 kept" in said
    lease = lease_of(store.engine, "retention")
    assert lease.holder == ""
    assert lease.until_ms - lease.since_ms == DAY_MS  # from the end of the round
    # By the database's clock, which is this machine's.
    assert began_ms - 60_000 <= lease.since_ms
    late = make_run(store, "late")
    rounds()
    assert stages(store.engine, late) == ["active"]
    set_lease(store.engine, "retention", until_ms=lease.since_ms)
    rounds()
    assert stages(store.engine, late) == ["deleted"]


@pytest.mark.quick_on("sqlite")
def test_one_that_was_overtaken_removes_no_more(
    store: Any, rounds: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    run_ids = [make_run(store, f"run {i}") for i in range(3)]
    monkeypatch.setattr(retention, "RUNS_AT_ONCE", 1)
    # It was stopped after the first, and another has the lease since.
    monkeypatch.setattr(
        maintenance, "_tell", lambda gone: set_lease(store.engine, "retention", holder="another")
    )
    rounds()
    assert sorted(stages(store.engine, *run_ids)) == ["active", "active", "deleted"]
    assert lease_of(store.engine, "retention").holder == "another"


@pytest.mark.quick_on("sqlite")
def test_what_fails_is_told_and_tried_again_sooner(
    store: Any,
    rounds: Any,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    old = make_run(store, "old")
    monkeypatch.setenv(
        "WEIR_RETENTION", "--older-than 1d --experiment none\n--older-than 1d --experiment 0"
    )
    monkeypatch.setenv("WEIR_ARCHIVE", "--older-than 30d")
    with pytest.raises(ConfigError, match="WEIR_ARCHIVE does not say where"):
        rounds()
    moves = make_run(store, "moves", age_days=50, keep="1")
    monkeypatch.setenv("WEIR_RETENTION", "--older-than 60d --experiment none\n--older-than 60d")
    monkeypatch.setenv("WEIR_COLD_STORE", str(tmp_path / "cold"))
    (tmp_path / "cold").mkdir()
    (tmp_path / "cold" / MARKER).write_text('{"dataset": "of another database"}')
    rounds()
    assert stages(store.engine, old, moves) == ["deleted", "active"]
    said = [record.getMessage() for record in caplog.records]
    assert any("--experiment none: no experiment has the name" in line for line in said)
    (failed,) = [line for line in said if line.startswith("archive failed")]
    assert "tried again in 900 s" in failed
    assert "chunks of another database" in failed
    lease = lease_of(store.engine, "archive")
    assert (lease.holder, lease.until_ms - lease.since_ms) == ("", 900_000)
    (tmp_path / "cold" / MARKER).unlink()
    set_lease(store.engine, "archive", until_ms=lease.since_ms)
    rounds()
    assert len(list((tmp_path / "cold").rglob("*.parquet"))) == 1
    reading.forget()
    assert len(store.get_metric_history(moves, "loss")) == 100
    assert any(
        record.getMessage().startswith("archive: 100 points of 1 runs moved")
        for record in caplog.records
    )


# A server's thread in a process of its own.
KEEPER = """
import sys, time
from mlflow_weir.store.delivery.connection import open_engine
from mlflow_weir.ui_extensions import deliveries, maintenance
engine = open_engine(sys.argv[1])
deliveries.engine_if_any = lambda: engine
maintenance.start()
time.sleep(3600)
"""


def test_another_takes_over_when_the_one_at_work_is_killed(
    postgres_server: DatabaseServer, tmp_path: Path
) -> None:
    url = postgres_server.new_mlflow_database()
    store: Any = WeirStore(url, "file:///nowhere")
    run_ids = [make_run(store, f"run {i}") for i in range(2)]
    engine = sa.create_engine(url)
    environment = {
        **os.environ,
        "WEIR_RETENTION": "--older-than 30d",
        "WEIR_HEARTBEAT_TIMEOUT_SECONDS": "2",  # a turn of half a second, a term of two
    }
    keepers: list[WarmProcess] = []
    waiting = sa.text(
        "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' "
        "AND datname = current_database() AND query LIKE '%runs%FOR UPDATE%'"
    )
    with (tmp_path / "log").open("wb") as log:
        try:
            # Within a transaction pg_stat_activity says the same again.
            looking = engine.execution_options(isolation_level="AUTOCOMMIT")
            with looking.connect() as looker, engine.connect() as locker:
                # So that its transaction cannot come to an end.
                locked = tables.runs.c.run_uuid == run_ids[0]
                locker.execute(sa.select(tables.runs).where(locked).with_for_update())
                for _ in range(2):
                    keepers.append(
                        warm_python().start_session(
                            KEEPER, ["-c", url], environment, tmp_path, log
                        )
                    )
                wait_until(
                    lambda: looker.execute(waiting).scalar_one(),
                    "one is about to remove runs",
                )
                lease = lease_of(engine, "retention")
                at_work = int(lease.holder.partition("-")[0])
                (dead,) = [one for one in keepers if one.pid == at_work]
                os.kill(dead.pid, signal.SIGKILL)
                dead.wait()
                assert stages(engine, *run_ids) == ["active", "active"]
            wait_until(
                lambda: stages(engine, *run_ids) == ["deleted", "deleted"],
                f"the other removes them: {(tmp_path / 'log').read_text()}",
            )
            wait_until(lambda: lease_of(engine, "retention").holder == "", "the round ends")
        finally:
            for one in keepers:
                if one.poll() is None:
                    os.kill(one.pid, signal.SIGKILL)
                    one.wait()
    with engine.connect() as connection:
        deeds = connection.execute(sa.select(schema.audit.c.target)).scalars().all()
    assert sorted(deeds) == sorted(run_ids)  # each once
    engine.dispose()
    store._dispose_engine()
