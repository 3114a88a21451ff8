"""Several servers on one PostgreSQL, through a PgBouncer that keeps no session for anybody."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import threading
import urllib.parse
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

import psutil
import pytest
import sqlalchemy as sa
from alembic.config import Config
from mlflow.entities import Metric

from agents import wait_until
from databases import DatabaseServer, or_skip, run_read_replica
from mlflow_server import RUNS_NO_JOB, ServerProcess, ServerSpec, start_servers
from mlflow_weir.plugin.uri import strip
from mlflow_weir.store import migrations, schema
from mlflow_weir.store.delivery.connection import open_engine
from mlflow_weir.store.tracking_store import WeirStore
from mlflow_weir.ui_extensions import health, mlflow_private
from pooler import Pooler, run_pooler
from senders import (
    ROUTES,
    Answer,
    Sender,
    call,
    create_run,
    new_id,
    operation,
    points,
)
from warm_python import warm_python

pytestmark = [
    pytest.mark.slow,
    # MLflow warns about itself.
    pytest.mark.filterwarnings("ignore", "error:::mlflow_weir"),
]

PATIENCE_S = 120.0
N_STARTERS = 4
# Were all that wait for the lock to wait on a connection each, none would be left to migrate on.
POOL_SIZE = N_STARTERS

# Opens the store as a worker of a server does, says what it migrated, and logs more often than
# psycopg runs a statement before it prepares it.
STARTER = """
import sys
from mlflow.entities import Metric
from mlflow_weir.store import migrations
from mlflow_weir.store.tracking_store import WeirStore
from mlflow_weir.ui_extensions import health
upgrade, applied = migrations.upgrade, []
migrations.upgrade = lambda engine: applied.extend(upgrade(engine)) or applied
store = WeirStore(sys.argv[1], "/nowhere")
run_id = store.create_run("0", "somebody", 0, [], "a run").info.run_id
for step in range(8):
    store.log_metric(run_id, Metric("loss", step / 3, step, step))
assert len(store.get_metric_history(run_id, "loss")) == 8
print(len(applied))
"""


@pytest.fixture(scope="module")
def database(postgres_server: DatabaseServer) -> str:
    # By a name, so that no other fixture drops it.
    return postgres_server.new_mlflow_database("weir_replicas")


@pytest.fixture(scope="module")
def pooler(database: str) -> Iterator[Pooler]:
    with or_skip(run_pooler(database, POOL_SIZE)) as running:
        yield running


def test_processes_that_start_together_migrate_once_through_a_small_pool(
    postgres_server: DatabaseServer, pooler: Pooler
) -> None:
    url = postgres_server.new_mlflow_database("weir_replicas_together")
    engine = sa.create_engine(url)
    with engine.connect() as connection:
        assert migrations.current_revision(connection) is None
    way, python = pooler.url(url), warm_python()

    def start(_: int) -> tuple[int, str, str]:
        return python.outcome(STARTER, [way], dict(os.environ), Path.cwd())

    with ThreadPoolExecutor(N_STARTERS) as starters:
        outcomes = list(starters.map(start, range(N_STARTERS)))
    assert [code for code, _, _ in outcomes] == [0] * N_STARTERS, outcomes
    migrated = sorted(int(out) for _, out, _ in outcomes)
    assert migrated == [0] * (N_STARTERS - 1) + [int(migrations.HEAD)]
    with engine.connect() as connection:
        assert migrations.current_revision(connection) == migrations.HEAD
        # Nobody has left a connection with a transaction, or a lock, behind.
        left = connection.execute(
            sa.text(
                "SELECT count(*) FROM pg_locks JOIN pg_database d ON d.oid = database "
                "WHERE locktype = 'advisory' AND datname = current_database()"
            )
        )
        assert left.scalar_one() == 0
    engine.dispose()


# A step of a version to come that has to have a table of its own for a moment.
LATER = """
import sqlalchemy as sa
from alembic import op
revision, down_revision = "9999", {head!r}
def upgrade():
    op.add_column("weir_batch", sa.Column("later", sa.Integer, nullable=True))
"""


def test_a_migration_that_must_wait_does_not_hold_up_those_who_serve(
    postgres_server: DatabaseServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = postgres_server.new_mlflow_database("weir_replicas_later")
    old: Any = WeirStore(url, "/nowhere")
    run_id = old.create_run("0", "somebody", 0, [], "a run").info.run_id
    (tmp_path / "v9999_later.py").write_text(LATER.format(head=migrations.HEAD))
    configuration = migrations.configuration

    def with_later(connection: sa.Connection | None = None) -> Config:
        config = configuration(connection)
        here = Path(migrations.__file__).parent / "versions"
        config.set_main_option("path_separator", "os")
        config.set_main_option("version_locations", os.pathsep.join([str(here), str(tmp_path)]))
        return config

    monkeypatch.setattr(migrations, "configuration", with_later)
    monkeypatch.setattr(migrations, "_TABLE_WAIT_S", 1)
    engine = sa.create_engine(url)
    waiting = sa.text(
        "SELECT count(*) FROM pg_locks WHERE NOT granted AND relation = 'weir_batch'::regclass"
    )
    applied: list[str] = []
    with engine.connect() as reader, engine.connect() as looker:
        reader.execute(sa.select(schema.batch.c.batch_id)).all()  # such as a long back-up
        monkeypatch.setattr(migrations, "HEAD", "9999")
        migrating = threading.Thread(target=lambda: applied.extend(migrations.upgrade(old.engine)))
        migrating.start()
        wait_until(
            lambda: looker.execute(waiting).scalar_one(), "the migration waits for the reader"
        )
        for step in range(5):  # while the reader reads on: at once, or when the migration lets go
            old.log_batch(run_id, [Metric("loss", 1.0, step, step)], [], [])
        assert applied == []
    migrating.join(PATIENCE_S)
    assert [step.partition(" ")[0] for step in applied] == ["9999"]
    old.log_batch(run_id, [Metric("loss", 1.0, 5, 5)], [], [])
    assert len(old.get_metric_history(run_id, "loss")) == 6
    engine.dispose()
    old._dispose_engine()


class Replicas(NamedTuple):
    """Two servers and what is behind them."""

    servers: list[ServerProcess]
    engine: sa.Engine


@pytest.fixture(scope="module")
def replicas(
    database: str, pooler: Pooler, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Replicas]:
    uri = pooler.url(database, "weir")
    arguments = ["server", "--backend-store-uri", uri, "--artifacts-destination", "/nowhere"]
    # Lost after two seconds of silence, so that the turn of its checks is half of one.
    cold = tmp_path_factory.mktemp("cold")
    variables = (
        RUNS_NO_JOB,
        ("WEIR_HEARTBEAT_TIMEOUT_SECONDS", "2"),
        ("WEIR_RETENTION", "--older-than 30d --tag expendable"),
        ("WEIR_ARCHIVE", f"--older-than 30d --to {cold}"),
        ("WEIR_MAINTENANCE_HOURS", "0.001"),
        ("WEIR_LOG_FORMAT", "json"),
    )
    specs = [
        ServerSpec(arguments, tmp_path_factory.mktemp(name), variables) for name in ("one", "two")
    ]
    with start_servers(*specs) as servers:
        engine = open_engine(database)
        yield Replicas(servers, engine)
        engine.dispose()


def ready(server: ServerProcess) -> Answer:
    return call(server, "GET", "/weir/ready")


def until_ready(server: ServerProcess, status: int, what: str) -> None:
    wait_until(lambda: ready(server).status == status, what)


def test_ready_says_whether_the_database_is_there_and_live_that_the_process_is(
    replicas: Replicas, pooler: Pooler
) -> None:
    for server in replicas.servers:
        until_ready(server, 200, "ready")
        assert ready(server).body == {"ready": True}
    pooler.kill()
    try:
        for server in replicas.servers:
            until_ready(server, 503, "not ready")
            assert ready(server).body == {
                "ready": False,
                "reason": "the database does not answer",
            }
            live = call(server, "GET", "/weir/live")
            assert (live.status, live.body) == (200, {"live": True})
    finally:
        pooler.start()
    for server in replicas.servers:
        until_ready(server, 200, "ready again")
    # Tables of a later version: those of this one serve on. Of an older: they would fail.
    revision = sa.table(migrations.VERSION_TABLE, sa.column("version_num"))
    for found, status in (("9999", 200), ("0001", 503), (migrations.HEAD, 200)):
        with replicas.engine.begin() as connection:
            connection.execute(sa.update(revision).values(version_num=found))
        for server in replicas.servers:
            until_ready(server, status, f"{status} at {found}")


def test_one_of_the_servers_lets_runs_go_and_moves_the_history_of_others(
    replicas: Replicas,
) -> None:
    one, two = replicas.servers
    sender, expendable, registered, moved = Sender(one), *(new_id() for _ in range(3))
    tags = {expendable: [["expendable", "1"]], registered: [["expendable", "1"]], moved: []}
    for run_id in tags:
        sender.send(create_run(run_id, tags=tags[run_id]), *points(run_id, "loss", [1.0] * 20))
    model = {"name": "net", "source": "s3://bucket/net", "run_id": registered}
    for path in ("registered-models", "model-versions"):
        made = call(two, "POST", f"/api/2.0/mlflow/{path}/create", model)
        assert made.status == 200, made
    ended = {"status": "FINISHED", "end_time": 1_700_000_001_000}
    # All at once: whoever sees that one has ended sees that the others have.
    sender.send(*(operation("update_run", run_id=run_id, **ended) for run_id in tags))

    def stage(of: str) -> str:
        answer = call(two, "GET", f"/api/2.0/mlflow/runs/get?run_id={of}")
        return str(answer.body["run"]["info"]["lifecycle_stage"])

    wait_until(lambda: stage(expendable) == "deleted", "the run is let go")
    assert (stage(registered), stage(moved)) == ("active", "active")
    n_cold = sa.select(sa.func.count()).select_from(schema.cold)
    n_moved = n_cold.where(schema.cold.c.run_uuid == moved)

    def count() -> int:
        with replicas.engine.connect() as connection:
            return int(connection.execute(n_moved).scalar_one())

    wait_until(count, "the history of the other has moved")
    for server in replicas.servers:
        assert len(_history(server, moved)) == 20
        assert len(_history(server, registered)) == 20
    audit = call(two, "POST", f"{ROUTES}/audit", {"action": "run.retention"})
    (deed,) = audit.body["entries"]
    assert (deed["target"], deed["experiment_id"]) == (expendable, "0")
    assert deed["detail"]["points"] == 20

    def said() -> list[str]:
        lines = [line for server in replicas.servers for line in server.output().splitlines()]
        messages = [json.loads(line).get("message", "") for line in lines if line[:1] == "{"]
        return [one for one in messages if f"run {expendable} of experiment 0" in one]

    wait_until(said, "the server's log tells of it")
    assert len(said()) == 1


N_SLOW, SAID_BYTES, SENT_BYTES = 40, 8 << 20, 6 << 20


def test_many_large_and_slow_deliveries_take_no_more_memory_than_is_set_aside(
    replicas: Replicas,
) -> None:
    server = replicas.servers[0]
    address = urllib.parse.urlsplit(server.address)
    run_id, sender = new_id(), Sender(server)
    sender.send(create_run(run_id))
    before = memory_of(server)
    head = (
        f"POST {ROUTES}/ingest HTTP/1.1\r\nHost: {address.netloc}\r\n"
        f"Content-Type: application/octet-stream\r\nContent-Length: {SAID_BYTES}\r\n"
        f"X-Weir-Journal: {new_id()}\r\nX-Weir-Start: 0\r\nX-Weir-End: {SAID_BYTES}\r\n\r\n"
    ).encode()
    with contextlib.ExitStack() as stack:
        slow = [
            stack.enter_context(socket.create_connection((address.hostname, address.port)))
            for _ in range(N_SLOW)
        ]
        for one in slow:
            one.settimeout(PATIENCE_S)
            one.sendall(head)
        # What is announced and does not come keeps nobody out.
        sender.send(*points(run_id, "loss", [1.0]))
        request = sender.request(points(run_id, "loss", [2.0], 1))
        with ThreadPoolExecutor(N_SLOW) as pool:
            list(pool.map(lambda one: one.sendall(bytes(SENT_BYTES)), slow))
            wait_until(
                lambda: unread_bytes(address.port or 0) == 0, "the server has read all of it"
            )
            # Eight have room, and what the others sent is forgotten.
            assert memory_of(server) - before < N_SLOW * SENT_BYTES // 2
            list(pool.map(lambda one: one.sendall(bytes(SAID_BYTES - SENT_BYTES)), slow))
            answers = list(pool.map(lambda one: one.recv(12), slow))
    # No frames; too late on a slow machine; no room.
    assert {answer[9:] for answer in answers} <= {b"400", b"408", b"503"}
    assert b"503" in {answer[9:] for answer in answers}
    again = wait_until(
        lambda: next((a for a in [sender.post(*request)] if a.status == 200), None),
        "there is room again",
    )
    assert again.body["n_points"] == 1


def memory_of(server: ServerProcess) -> int:
    """Return the bytes of memory that a server's processes have."""
    found = 0
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error, ProcessLookupError):
            if os.getpgid(process.pid) == server.group:
                found += process.memory_info().rss
    return found


def unread_bytes(port: int) -> int:
    """Return what has been sent to a port of this machine and is not read, on all connections."""
    n_bytes = 0
    for line in Path("/proc/net/tcp").read_text().splitlines()[1:]:
        _, here, there, _, queues, *_ = line.split()
        sent, received = (int(part, 16) for part in queues.split(":"))
        n_bytes += received if here.endswith(f":{port:04X}") else 0
        n_bytes += sent if there.endswith(f":{port:04X}") else 0
    return n_bytes


def lease_holders(engine: sa.Engine) -> dict[str, int]:
    """Return which process holds which lease."""
    with engine.connect() as connection:
        rows = connection.execute(sa.select(schema.lease.c.name, schema.lease.c.holder)).all()
    # Nobody's where it rests until the next round.
    return {name: int(holder.partition("-")[0]) for name, holder in rows if holder}


def test_either_server_takes_a_delivery_and_the_other_takes_over_when_one_is_killed(
    replicas: Replicas,
) -> None:
    one, two = replicas.servers
    run_id, lost = new_id(), new_id()
    sender = Sender(one)
    sender.send(create_run(run_id), create_run(lost), *points(run_id, "loss", [1.0] * 20))
    again = sender.request(points(run_id, "loss", [2.0] * 5, 20))
    sender.server = two
    first = sender.post(*again)
    sender.server = one
    second = sender.post(*again)  # whose answer from the other was not heard
    assert (first.status, first.body["was_applied"]) == (200, False), first
    assert (second.status, second.body["was_applied"]) == (200, True), second
    sender.position = second.body["position"]
    sender.server = two
    sender.send(*points(run_id, "loss", [3.0] * 5, 25))
    assert len(_history(one, run_id)) == 30
    sender.beat(lost)

    holder = wait_until(
        lambda: lease_holders(replicas.engine).get("node-lost"), "somebody looks for lost runs"
    )
    dead, alive = (one, two) if _is_of(one, holder) else (two, one)
    # A run that ended, whose batches nobody is to compact any more.
    with replicas.engine.begin() as connection:
        runs = sa.table("runs", sa.column("run_uuid"), sa.column("status"))
        connection.execute(
            sa.update(runs).where(runs.c.run_uuid == run_id).values(status="FINISHED")
        )
        n_left = sa.select(sa.func.count()).where(schema.batch.c.run_uuid == run_id)
        assert connection.execute(n_left).scalar_one() >= 1
    os.killpg(dead.group, signal.SIGKILL)

    def status(of: str) -> str:
        answer = call(alive, "GET", f"/api/2.0/mlflow/runs/get?run_id={of}")
        return str(answer.body["run"]["info"]["status"])

    wait_until(lambda: status(lost) == "FAILED", "the lost run is marked by the other")

    def n_batches() -> int:
        with replicas.engine.connect() as connection:
            return int(connection.execute(n_left).scalar_one())

    wait_until(lambda: n_batches() == 0, "what the killed one left is compacted by the other")
    assert len(_history(alive, run_id)) == 30
    for name in ("node-lost", "compaction"):
        until_held(replicas.engine, name, alive)


def until_held(engine: sa.Engine, name: str, server: ServerProcess) -> None:
    wait_until(lambda: _is_of(server, lease_holders(engine)[name]), f"the other has {name}")


def _history(server: ServerProcess, run_id: str) -> list[dict[str, Any]]:
    path = f"/api/2.0/mlflow/metrics/get-history?run_id={run_id}&metric_key=loss&max_results=1000"
    answer = call(server, "GET", path)
    assert answer.status == 200, answer
    found: list[dict[str, Any]] = answer.body["metrics"]
    return found


def _is_of(server: ServerProcess, pid: int) -> bool:
    """Say whether a process is in the server's group."""
    try:
        return os.getpgid(pid) == server.group
    except ProcessLookupError:
        return False


def test_reads_go_to_a_read_replica_and_writes_find_the_primary_of_two(
    postgres_server: DatabaseServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = postgres_server.new_mlflow_database("weir_replicas_read")
    first: Any = WeirStore(url, "/nowhere")
    first._dispose_engine()  # the replica is to have Weir's tables
    with run_read_replica(url) as replica:
        store: Any = WeirStore(url, "/nowhere", read_db_uri=replica)
        run_id = store.create_run("0", "somebody", 0, [], "a run").info.run_id
        for step in range(8):
            store.log_batch(run_id, [Metric("loss", step / 3, step, step)], [], [])
        is_replica = sa.text("SELECT pg_is_in_recovery()")
        for read_only in (True, False):
            with store.ManagedSessionMaker(read_only=read_only) as session:
                assert session.execute(is_replica).scalar_one() is read_only

        def n_read() -> int:
            found = store.search_runs(["0"], "", 1, 10, None, None)
            return len(store.get_metric_history(run_id, "loss")) if found else 0

        wait_until(lambda: n_read() == 8, "the replica has what was written")
        ports = [sa.make_url(one).port for one in (replica, url)]
        hosts = "&".join(f"host=127.0.0.1:{port}" for port in ports)
        written = (
            f"postgresql+weir://postgres@/weir_replicas_read?{hosts}"
            "&target_session_attrs=read-write"
        )
        engine = open_engine(strip(written))
        with engine.connect() as connection:
            assert connection.execute(is_replica).scalar_one() is False
        engine.dispose()
        # A server whose database was made a standby meanwhile is to be taken out.
        monkeypatch.setattr(mlflow_private, "tracking_store", lambda: store)
        assert health.Prober().fault() is None
        store.db_uri = replica
        assert health.Prober().fault() == "the database takes no writes"
        store._dispose_engine()
        store.read_engine.dispose()
