"""Delivery's promises: exactly once, refused alone, nothing in part, no wait without an end."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest
import sqlalchemy as sa
from sqlalchemy.orm import Session

from databases import DatabaseServer
from deliveries import JournalOfRecords
from mlflow_weir.errors import LeaseLost, PositionMismatch, StoreUnavailable
from mlflow_weir.store import schema
from mlflow_weir.store.delivery import connection as connections
from mlflow_weir.store.delivery import positions
from mlflow_weir.store.delivery.apply import Outcome
from mlflow_weir.store.delivery.connection import open_engine
from mlflow_weir.store.delivery.records import encode_points
from mlflow_weir.store.maintenance.check import check
from mlflow_weir.store.maintenance.progress import Silent
from mlflow_weir.store.metrics import batches, reading
from mlflow_weir.store.tracking_store import WeirStore

pytestmark = pytest.mark.slow

ARTIFACTS = "/nowhere/artifacts"
RUN = "0123456789abcdef" * 2

# Applies a journal that is generated again, from whatever position the database names.
APPLIER = """
import sys
from deliveries import JournalOfRecords
from mlflow_weir.store.delivery.connection import open_engine
from test_delivery import long_journal, deliver_all
url, seed = sys.argv[1], int(sys.argv[2])
print("ready", flush=True)
deliver_all(long_journal(), url, seed, say=lambda number: print(number, flush=True))
"""


def weir_database(server: DatabaseServer) -> str:
    url = server.new_mlflow_database()
    store: Any = WeirStore(url, ARTIFACTS)
    store._dispose_engine()
    return url


@pytest.fixture
def url(database_server: DatabaseServer) -> str:
    return weir_database(database_server)


@pytest.fixture
def engine(url: str) -> Iterator[sa.Engine]:
    opened = open_engine(url)
    yield opened
    opened.dispose()


def create_run(journal: JournalOfRecords, run_id: str = RUN, experiment_id: str = "0") -> None:
    journal.operation(
        "create_run",
        run_id=run_id,
        experiment_id=experiment_id,
        experiment_name=None,
        user_id="somebody",
        start_time=1,
        tags=[],
        run_name="a run",
        artifact_uri=None,
    )


def log(journal: JournalOfRecords, step: int, run_id: str = RUN, key: str = "loss") -> None:
    journal.add(encode_points(run_id, [(key, step, step, step / 7)]))


def long_journal(n: int = 400) -> JournalOfRecords:
    journal = JournalOfRecords(7)
    create_run(journal)
    for step in range(n):
        log(journal, step)
        if step % 10 == 0:
            tags = [["step", str(step)]]
            journal.operation("set_tags", run_id=RUN, tags=tags)
            journal.operation("points_dropped", run_id=RUN, n=1)
    return journal


def deliver_all(journal: JournalOfRecords, url: str, seed: int, say: Any = None) -> None:
    """Deliver as an agent does that knows nothing: from the start, then as the database says."""
    engine = open_engine(url)
    rng = random.Random(seed)
    first, give_up = 0, time.monotonic() + 100
    while first < len(journal.payloads):
        assert time.monotonic() < give_up
        last = min(len(journal.payloads), first + rng.randint(1, 20))
        try:
            outcome = journal.apply(engine, first, last)
        except PositionMismatch as exc:
            first = journal.number_at(exc.position)
            continue
        except StoreUnavailable:
            continue
        first = journal.number_at(outcome.position)
        if say is not None:
            say(last)
    engine.dispose()


def steps_of(engine: sa.Engine, run_id: str = RUN, key: str = "loss") -> list[int]:
    """Return every stored step, duplicates and all: batches hold what compaction would drop."""
    with Session(engine) as session:
        found = reading.read_history(session, [run_id], key).get(run_id)
        stored = session.execute(
            sa.select(sa.func.sum(schema.batch.c.n_points)).where(
                schema.batch.c.run_uuid == run_id
            )
        ).scalar()
    steps = [] if found is None else found.step.tolist()
    assert len(steps) == (stored or 0), "a point is there twice"
    return steps


def tags_of(engine: sa.Engine, run_id: str = RUN) -> dict[str, str]:
    with engine.connect() as connection:
        rows = connection.execute(
            sa.text("SELECT * FROM tags WHERE run_uuid = :run"), {"run": run_id}
        ).mappings()
        return {row["key"]: row["value"] for row in rows}


def require_applied_once(engine: sa.Engine, journal: JournalOfRecords) -> None:
    n = sum(payload.startswith(b"P") for payload in journal.payloads)
    assert steps_of(engine) == list(range(n))
    tags = tags_of(engine)
    assert tags["weir.points_dropped"] == str((n + 9) // 10)
    assert tags["step"] == str((n - 1) // 10 * 10)
    with engine.connect() as connection:
        state = positions.read(connection, journal.journal_id)
    assert state is not None
    assert state.position == journal.position(len(journal.payloads))
    assert (state.n_points, state.n_records, state.n_rejected) == (n, len(journal.payloads), 0)
    assert check(engine, Silent()).problems == []


def test_applied_exactly_once(engine: sa.Engine) -> None:
    journal = long_journal(40)
    rng = random.Random(3)
    told: list[tuple[int, int, bool]] = []
    done = 0
    while done < len(journal.payloads):
        first, last = sorted(rng.sample(range(len(journal.payloads) + 1), 2))
        try:
            outcome = journal.apply(engine, first, last)
        except PositionMismatch as exc:
            told.append((exc.position, journal.position(done), done < last))
            continue
        assert outcome.position == journal.position(max(done, last))
        assert outcome.was_applied == (last <= done)
        assert outcome.n_records == (0 if outcome.was_applied else last - first)
        if not outcome.was_applied:
            assert first == done
            done = last
    assert len(told) > 5
    assert all(position == expected and is_ahead for position, expected, is_ahead in told)
    require_applied_once(engine, journal)


def test_applied_exactly_once_by_several_at_once(url: str, engine: sa.Engine) -> None:
    journal = long_journal()
    errors: list[BaseException] = []

    def work(seed: int) -> None:
        try:
            deliver_all(journal, url, seed)
        except BaseException as exc:  # noqa: BLE001 - told to the main thread
            errors.append(exc)

    threads = [threading.Thread(target=work, args=(seed,)) for seed in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(120)
    assert errors == []
    require_applied_once(engine, journal)


def start_applier(url: str, seed: int) -> subprocess.Popen[str]:
    here = Path(__file__).parent
    return subprocess.Popen(
        [sys.executable, "-c", APPLIER, url, str(seed)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={
            **os.environ,
            "PYTHONPATH": os.pathsep.join([str(here), str(here.parent / "support")]),
        },
    )


@pytest.mark.fault
def test_applied_exactly_once_whenever_killed(url: str, engine: sa.Engine) -> None:
    rng = random.Random(11)
    journal = long_journal()
    n_killed = 0
    for seed in range(3):
        applier = start_applier(url, seed)
        assert applier.stdout is not None
        assert applier.stdout.readline() == "ready\n"
        for _ in range(rng.randint(1, 10)):
            applier.stdout.readline()
        time.sleep(rng.random() / 100)
        applier.send_signal(signal.SIGKILL)
        _, error = applier.communicate()
        assert applier.returncode in (0, -signal.SIGKILL), error
        n_killed += applier.returncode != 0
        steps = steps_of(engine)
        assert steps == list(range(len(steps)))
    assert n_killed > 0
    deliver_all(journal, url, 99)
    require_applied_once(engine, journal)


def test_two_journals_write_one_run_at_once(url: str, engine: sa.Engine) -> None:
    first = JournalOfRecords(1)
    create_run(first)
    first.deliver(engine)
    journals = [JournalOfRecords(10 + i) for i in range(3)]
    for i, journal in enumerate(journals):
        for step in range(60):
            log(journal, step, key=f"loss {i}")
            log(journal, step, key="shared")
            shared = [["same", "1"], [f"of {i}", "1"]]
            journal.operation("log_params", run_id=RUN, params=shared)
            journal.operation("set_tags", run_id=RUN, tags=[["who", str(i)], [f"t{step}", "x"]])
    errors: list[BaseException] = []

    def work(journal: JournalOfRecords, seed: int) -> None:
        try:
            deliver_all(journal, url, seed)
        except BaseException as exc:  # noqa: BLE001 - told to the main thread
            errors.append(exc)

    threads = [threading.Thread(target=work, args=(one, i)) for i, one in enumerate(journals)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(120)
    assert errors == []
    with engine.connect() as connection:
        for journal in journals:
            state = positions.read(connection, journal.journal_id)
            assert state is not None
            assert state.rejected == []
            assert state.n_points == 120
    store: Any = WeirStore(url, ARTIFACTS)
    run = store.get_run(RUN)
    assert run.data.params == {"same": "1", "of 0": "1", "of 1": "1", "of 2": "1"}
    assert run.data.tags["who"] in "012"
    assert len(run.data.tags) == 62
    for i in range(3):
        history = store.get_metric_history(RUN, f"loss {i}")
        assert [metric.step for metric in history] == list(range(60))
    assert len(store.get_metric_history(RUN, "shared")) == 60  # the same points, thrice
    store._dispose_engine()


def test_a_lower_fencing_number_is_turned_away(engine: sa.Engine) -> None:
    journal = long_journal(5)
    journal.apply(engine, 0, 2, fencing=7)
    with pytest.raises(LeaseLost, match="number 7"):
        journal.apply(engine, 2, 3, fencing=6)
    with pytest.raises(LeaseLost):
        journal.apply(engine, 0, 2, fencing=6)
    journal.apply(engine, 2, 3, fencing=7)
    journal.apply(engine, 3, 4, fencing=None)  # a copy: the position decides
    journal.apply(engine, 4, len(journal.payloads), fencing=8)
    require_applied_once(engine, journal)


def test_a_database_restored_from_before_says_where_to_read_on(engine: sa.Engine) -> None:
    journal = long_journal(5)
    journal.apply(engine, 0, 3)
    with engine.begin() as connection:
        connection.execute(sa.delete(schema.journal))
    with pytest.raises(PositionMismatch) as told:
        journal.apply(engine, 3, 5)
    assert told.value.position == 0


@pytest.mark.parametrize(("start", "end"), [(5, 5), (5, 4), (-1, 3)])
def test_a_range_that_is_none_is_refused(sqlite_url: str, start: int, end: int) -> None:
    from mlflow_weir.store.delivery.apply import apply

    engine = sa.create_engine(sqlite_url)
    with pytest.raises(ValueError, match="from position"):
        apply(engine, "a" * 32, 1, start, end, [])
    engine.dispose()


def is_known(outcome: Outcome, number: int, reason: str) -> bool:
    return any(number in one.records and reason in one.reason for one in outcome.rejected)


def test_a_refused_record_is_refused_alone(engine: sa.Engine) -> None:
    dialect = engine.dialect.name
    journal = JournalOfRecords()
    create_run(journal)
    create_run(journal, "d" * 32)
    journal.deliver(engine)
    with engine.begin() as connection:
        gone = sa.text(
            f"UPDATE runs SET lifecycle_stage = 'deleted' WHERE run_uuid = '{'d' * 32}'"
        )
        connection.execute(gone)
    expected: dict[int, str] = {}
    step = 0

    def poison(reason: str, payload: bytes) -> None:
        nonlocal step
        log(journal, step)
        journal.operation("log_params", run_id=RUN, params=[[f"p{step}", str(step)]])
        expected[len(journal.payloads) - journal.delivered] = reason
        journal.add(payload)
        step += 1

    def operation(reason: str, name: str, /, **fields: Any) -> None:
        from mlflow_weir.store.delivery import records

        poison(reason, b"O" + records._encode_json([name, fields]).encode())

    poison("unknown kind", b"")
    poison("unknown kind", b"\x00garbage")
    poison("cut short", encode_points(RUN, [("a", 1, 1, 1.0), ("b", 1, 1, 1.0)])[:30])
    poison("does not exist", encode_points("e" * 32, [("a", 1, 1, 1.0)]))
    poison("is deleted", encode_points("d" * 32, [("a", 1, 1, 1.0)]))
    poison("cannot hold", encode_points(RUN, [("\ud800", 1, 1, 1.0)]))
    poison("not JSON", b"O{")
    operation("newer one", "paint", run_id=RUN, colour="blue")
    operation("'p0' of run", "log_params", run_id=RUN, params=[["p0", "changed"]])
    operation("no key and value", "log_params", run_id=RUN, params=[["p", 1]])
    operation("'params' is not a list", "log_params", run_id=RUN, params="p")
    operation("'run_id' is not a text", "log_params", params=[])
    operation("cannot hold", "set_tags", run_id=RUN, tags=[["lone \ud800", "x"]])
    operation("no tag 'nothing'", "delete_tag", run_id=RUN, key="nothing")
    operation("not a status", "update_run", run_id=RUN, status="DONE")
    operation("not a whole number", "update_run", run_id=RUN, end_time=2**63)
    operation("not a whole number", "points_dropped", run_id=RUN, n=True)
    operation("exists already", "create_run", run_id=RUN, experiment_id="0")
    operation("32 hexadecimal", "create_run", run_id="../../etc", experiment_id="0")
    operation("experiment 77 does not", "create_run", run_id="f" * 32, experiment_id="77")
    operation("experiment x does not", "set_experiment_tag", experiment_id="x", key="k", value="v")
    operation("'m-1' does not exist", "model_metrics", run_id=RUN, metrics=[metric_of("m-1")])
    operation("neither true nor false", "update_run", run_id=RUN, is_revival="yes")
    if dialect != "sqlite":  # which has no limits
        operation("database refuses it", "set_tags", run_id=RUN, tags=[["k" * 300, "x"]])
        poison(
            "database refuses it", encode_points(RUN, [("k" * 300, 1, 1, 1.0), ("b", 1, 1, 1.0)])
        )
    if dialect == "postgresql":
        operation("database refuses it", "set_tags", run_id=RUN, tags=[["nul \x00", "x"]])
    if dialect == "mysql":
        operation("database refuses it", "log_params", run_id=RUN, params=[["P0", "x"]])
        poison("collation", encode_points(RUN, [("LOSS", 1, 1, 1.0)]))
    (outcome,) = journal.deliver(engine)
    for number, reason in expected.items():
        assert is_known(outcome, number, reason), (number, reason, outcome.rejected)
    assert len(outcome.rejected) == len(expected)
    assert steps_of_only(engine, "loss") == list(range(step))
    if dialect != "sqlite":
        assert steps_of_only(engine, "b") == [1]
    with engine.connect() as connection:
        n_params = connection.execute(sa.text("SELECT count(*) FROM params")).scalar()
        state = positions.read(connection, journal.journal_id)
    assert n_params == step
    assert state is not None
    assert state.n_rejected == len(expected)
    assert [one.reason for one in state.rejected] == [one.reason for one in outcome.rejected]
    assert outcome.n_points == step + (dialect != "sqlite")
    assert check(engine, Silent()).problems == []


def metric_of(model_id: str) -> dict[str, Any]:
    return {"model_id": model_id, "key": "k", "value": 1.0, "timestamp": 1, "step": 1}


def steps_of_only(engine: sa.Engine, key: str) -> list[int]:
    with Session(engine) as session:
        steps: list[int] = reading.read_history(session, [RUN], key)[RUN].step.tolist()
    return steps


def test_the_last_hundred_rejections_are_kept(sqlite_folder: DatabaseServer) -> None:
    engine = open_engine(weir_database(sqlite_folder))
    journal = JournalOfRecords()
    for i in range(150):
        journal.operation("delete_tag", run_id=f"{i:032x}", key="k" * 1000)
    journal.deliver(engine, random.Random(1))
    with engine.connect() as connection:
        state = positions.read(connection, journal.journal_id)
    assert state is not None
    assert state.n_rejected == 150
    assert [one.what[-4:] for one in state.rejected] == [f"{i:04x}" for i in range(50, 150)]
    engine.dispose()


def test_experiments_by_alias_and_by_name(engine: sa.Engine, url: str) -> None:
    journal = JournalOfRecords()
    for alias, name in (("a", "one"), ("b", "two"), ("c", "one")):
        journal.operation(
            "create_experiment",
            experiment_id=alias,
            name=name,
            artifact_location=None,
            tags=[],
            at_ms=1,
        )
    for number, alias in enumerate("abc"):
        create_run(journal, f"{number:032x}", alias)
    first = journal.apply(engine, 0, 3)
    second = journal.apply(engine, 3, 6)  # what an earlier delivery found out is known
    again = journal.apply(engine, 0, 3)
    assert first.aliases == second.aliases == again.aliases
    assert first.aliases["a"] == first.aliases["c"] != first.aliases["b"]
    other = JournalOfRecords(2)
    other.operation(
        "create_run",
        run_id="e" * 32,
        experiment_id="999",
        experiment_name="three",
        user_id=None,
        start_time=1,
        tags=[],
        run_name=None,
        artifact_uri="weir-pending:somewhere",
    )
    (outcome,) = other.deliver(engine)
    assert outcome.rejected == []
    store: Any = WeirStore(url, ARTIFACTS)
    experiment = store.get_experiment_by_name("three")
    run = store.get_run("e" * 32)
    assert run.info.experiment_id == experiment.experiment_id
    assert run.info.artifact_uri == f"{experiment.artifact_location}/{'e' * 32}/artifacts"
    assert experiment.artifact_location == f"{ARTIFACTS}/{experiment.experiment_id}"
    assert run.info.run_name == "run-eeeeeeee"
    store._dispose_engine()


def test_many_points_at_once(engine: sa.Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    from mlflow_weir.store.delivery import apply as applying

    monkeypatch.setattr(applying, "_MAX_BATCH_POINTS", 100)
    monkeypatch.setattr(batches, "MAX_WAITING_BATCHES", 5)
    journal = JournalOfRecords()
    create_run(journal)
    for first in range(0, 900, 90):
        steps = range(first, first + 90)
        journal.add(encode_points(RUN, [("loss", step, step, 0.5) for step in steps]))
    (outcome,) = journal.deliver(engine)
    assert outcome.n_points == 900
    assert outcome.due_runs == [RUN]
    assert steps_of(engine) == list(range(900))


# The world's faults


def test_nothing_is_applied_in_part(
    postgres_server: DatabaseServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = weir_database(postgres_server)
    engine = open_engine(url)
    journal = long_journal(50)
    n_lost = 0
    told: list[str] = []

    def lose(connection: sa.Connection) -> None:
        nonlocal n_lost
        if n_lost < 3:
            n_lost += 1
            terminate_backends(url)

    sa.event.listen(engine, "commit", lose)
    while journal.delivered < len(journal.payloads):
        last = journal.delivered + 10
        try:
            outcome = journal.apply(engine, journal.delivered, min(last, len(journal.payloads)))
        except StoreUnavailable as exc:
            told.append(str(exc))
            continue
        journal.delivered = journal.number_at(outcome.position)
    assert n_lost == len(told) == 3
    assert all("cannot be written" in one for one in told)
    require_applied_once(engine, journal)
    engine.dispose()


def terminate_backends(url: str) -> None:
    name = sa.make_url(url)
    address = f"host={name.host} port={name.port} user={name.username} dbname=postgres"
    with psycopg.connect(address, autocommit=True) as connection:
        connection.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s",
            (name.database,),
        )


def test_a_locked_database_is_unavailable(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connections, "_LOCK_WAIT_S", 1)
    engine, holder = open_engine(url), open_engine(url)
    journal = long_journal(5)
    journal.apply(engine, 0, 2)
    with holder.connect() as connection:
        if engine.dialect.name == "sqlite":
            connection.exec_driver_sql("BEGIN IMMEDIATE")
        connection.execute(sa.update(schema.journal).values(updated_ms=5))
        with pytest.raises(StoreUnavailable):
            journal.apply(engine, 2, 5)
        connection.rollback()
    journal.apply(engine, 2, len(journal.payloads))
    require_applied_once(engine, journal)
    engine.dispose()
    holder.dispose()


def test_a_sqlite_file_that_is_gone_is_unavailable_and_not_made_anew(
    sqlite_folder: DatabaseServer,
) -> None:
    url = weir_database(sqlite_folder)
    path = Path(url.removeprefix("sqlite:///"))
    engine = open_engine(url)
    path.rename(path.with_suffix(".away"))
    with pytest.raises(StoreUnavailable, match="is gone"):
        long_journal(1).apply(engine, 0, 1)
    assert not path.exists()
    path.with_suffix(".away").rename(path)
    long_journal(1).apply(engine, 0, 1)
    engine.dispose()


@pytest.mark.parametrize("kind", ["postgresql+psycopg", "mysql+pymysql"])
def test_nobody_listening_is_unavailable(kind: str, unused_port: int) -> None:
    engine = open_engine(f"{kind}://user:secret@127.0.0.1:{unused_port}/db")
    with pytest.raises(StoreUnavailable) as told:
        long_journal(1).apply(engine, 0, 1)
    assert "secret" not in str(told.value)
    engine.dispose()


@pytest.fixture
def unused_port() -> int:
    import socket

    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    return port


def test_a_database_without_our_tables_is_unavailable(database_server: DatabaseServer) -> None:
    engine = open_engine(database_server.new_mlflow_database())
    with pytest.raises(StoreUnavailable, match="weir_journal"):
        long_journal(1).apply(engine, 0, 1)
    engine.dispose()


def test_delivery_does_without_mlflow(sqlite_folder: DatabaseServer) -> None:
    url = weir_database(sqlite_folder)
    code = f"""
import sys
from mlflow_weir.store.delivery.apply import apply
from mlflow_weir.store.delivery.connection import open_engine
from mlflow_weir.store.delivery.heartbeats import beat
from mlflow_weir.store.delivery.records import encode_points
engine = open_engine({url!r})
print(apply(engine, "a" * 32, 1, 0, 9, [encode_points("b" * 32, [("k", 1, 1, 1.0)])]).rejected)
beat(engine, ["b" * 32], "a" * 32, "here", 1)
names = {{name.partition(".")[0] for name in sys.modules}}
print(sorted(names & {{"mlflow", "pyarrow", "pandas", "alembic"}}))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    rejected, loaded = done.stdout.splitlines()
    assert "does not exist" in rejected
    assert loaded == "[]"
