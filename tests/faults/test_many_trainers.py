"""Many trainings on two servers, a PgBouncer, a PostgreSQL and an S3, killed in turn.

Simulated trainings write journals as real ones do, 50 metrics ten times a second, and real agents,
one a simulated machine, deliver them through a load balancer. Two real trainings beside them time
their own ``mlflow.log_metrics`` and log artifacts. In the end what was logged is there, once, with
the values that it had. How long it takes and how many there are is told by the environment:

    LOAD_TRAINERS   simulated trainings (20)
    LOAD_SECONDS    how long they train (60)
    LOAD_MACHINES   simulated machines that they share (4)
    LOAD_KILLS      0 kills nothing: what a log call takes then, to compare (1)
    LOAD_REPORT     file that the figures are written to

many_trainers.json is what half an hour of 200 trainings gave; docs/performance.md has the command.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
import sqlalchemy as sa
from sqlalchemy.orm import Session

from agents import kill_agents
from balancer import run_balancer
from databases import CrashingPostgres, or_skip, run_crashing_postgres
from mlflow_server import RUNS_NO_JOB, ServerProcess, ServerSpec, free_port, start_servers
from mlflow_weir.plugin.journal.spool import Spool
from mlflow_weir.store import schema
from mlflow_weir.store.maintenance.check import check
from mlflow_weir.store.maintenance.progress import Silent
from mlflow_weir.store.metrics import reading
from pooler import Pooler, run_pooler
from s3_server import S3Server

N_TRAINERS = int(os.environ.get("LOAD_TRAINERS", "20"))
SECONDS = float(os.environ.get("LOAD_SECONDS", "60"))
N_MACHINES = int(os.environ.get("LOAD_MACHINES", "4"))
HAS_KILLS = os.environ.get("LOAD_KILLS", "1") == "1"
REPORT = os.environ.get("LOAD_REPORT", "")
N_METRICS, STEPS_A_SECOND = 50, 10
N_REAL = 2
PATIENCE_S = 600.0 + 4 * SECONDS
DOWN_S = 4.0

pytestmark = [
    pytest.mark.long,
    pytest.mark.fault,
    pytest.mark.slow,
    pytest.mark.timeout(1_200 + 8 * SECONDS),
    pytest.mark.filterwarnings("ignore", "error:::mlflow_weir"),
]

# One machine: its trainings in one process, each with a journal of its own.
# Arguments: spool, server, number of trainings, seconds, metrics, steps a second.
MACHINE = """
import json, sys, time, uuid
from pathlib import Path
from mlflow_weir.plugin.agent import client
from mlflow_weir.plugin.journal.spool import Credentials, Spool, Target
from mlflow_weir.plugin.journal.writer import Journal
from mlflow_weir.store.delivery.records import OPERATIONS, encode_operation, encode_points

spool, uri = Spool.open(Path(sys.argv[1])), sys.argv[2]
n_trainers, seconds, n_metrics, rate = int(sys.argv[3]), *map(float, sys.argv[4:7])
keys = [f"metric_{i:02}" for i in range(int(n_metrics))]

def write(journal, name, **fields):
    journal.append(encode_operation(name, dict.fromkeys(OPERATIONS[name]) | fields))

trainers = []
for number in range(n_trainers):
    journal = Journal.create(spool, Target("http", uri), Credentials(uri))
    run_id = uuid.uuid4().hex
    write(journal, "create_run", run_id=run_id, experiment_id="0", user_id="load", start_time=1,
          tags=[], run_name=f"load {number}")
    write(journal, "own_run", run_id=run_id, how="fluent")
    trainers.append((journal, run_id))
took, began, step = [], time.monotonic(), 0
while time.monotonic() < began + seconds:
    now_ms = time.time_ns() // 1_000_000
    for journal, run_id in trainers:
        points = [(key, now_ms, step, step + i / 64) for i, key in enumerate(keys)]
        before = time.perf_counter()
        journal.append(encode_points(run_id, points))
        client.ensure_agent(spool.root)
        took.append(time.perf_counter() - before)
    step += 1
    time.sleep(max(0.0, began + step / rate - time.monotonic()))
trained_s = time.monotonic() - began
for journal, run_id in trainers:
    write(journal, "update_run", run_id=run_id, status="FINISHED", end_time=2)
deadline = time.monotonic() + float(sys.argv[7])
for journal, run_id in trainers:
    assert client.wait_delivered(journal.folder, journal.end, deadline - time.monotonic())
took.sort()
print(json.dumps({
    "runs": {run_id: step for _, run_id in trainers}, "trained_s": trained_s,
    "delivered_after_s": time.monotonic() - began - trained_s,
    "log_call_ms": {str(q): 1000 * took[int(len(took) * q)] for q in (0.5, 0.99, 0.999)},
    "longest_ms": 1000 * took[-1]}))
"""

# A training as users write it. Arguments: seconds, metrics, steps a second.
TRAINING = """
import json, sys, time
import mlflow
seconds, n_metrics, rate = map(float, sys.argv[1:4])
keys = [f"metric_{i:02}" for i in range(int(n_metrics))]
took, step, n_files = [], 0, 0
with mlflow.start_run() as run:
    began = time.monotonic()
    while time.monotonic() < began + seconds:
        values = {key: step + i / 64 for i, key in enumerate(keys)}
        before = time.perf_counter()
        mlflow.log_metrics(values, step=step)
        took.append(time.perf_counter() - before)
        if step % (5 * rate) == 0:
            mlflow.log_text(f"at {step}", f"notes/{step}.txt")
            n_files += 1
        step += 1
        time.sleep(max(0.0, began + step / rate - time.monotonic()))
took.sort()
print(json.dumps({
    "runs": {run.info.run_id: step}, "n_files": n_files,
    "log_call_ms": {str(q): 1000 * took[int(len(took) * q)] for q in (0.5, 0.99, 0.999)},
    "longest_ms": 1000 * took[-1]}))
"""


class Replica:
    """A server that is killed and started again at its address."""

    def __init__(self, spec: ServerSpec) -> None:
        self._spec = spec
        self._stack = contextlib.ExitStack()
        self.server: ServerProcess | None = None

    def start(self) -> None:
        (self.server,) = self._stack.enter_context(start_servers(self._spec))

    def kill(self) -> None:
        assert self.server is not None
        os.killpg(self.server.group, signal.SIGKILL)
        self._stack.close()
        self.server = None

    def stop(self) -> None:
        self._stack.close()

    def rss_mib(self) -> float:
        """Return the memory of its largest process."""
        if self.server is None:
            return 0.0
        sizes = [0]
        with contextlib.suppress(psutil.Error):
            parent = psutil.Process(self.server.group)
            for process in [parent, *parent.children(recursive=True)]:
                with contextlib.suppress(psutil.Error):
                    sizes.append(process.memory_info().rss)
        return max(sizes) / (1 << 20)


def stop_s3(is_stopped: bool) -> None:
    """Have every process of the gateway stand still, or go on."""
    for process in psutil.Process().children(recursive=True):
        with contextlib.suppress(psutil.Error):
            if process.name() in {"radosgw", "ceph-osd", "ceph-mon"}:
                process.suspend() if is_stopped else process.resume()


def rounds(
    replicas: list[Replica], postgres: CrashingPostgres, pooler: Pooler
) -> Iterator[tuple[str, Callable[[], None], Callable[[], None]]]:
    """Yield what is killed next, how, and how it comes back, without end."""
    while True:
        yield "server 1", replicas[0].kill, replicas[0].start
        yield "PostgreSQL", postgres.kill, postgres.start
        yield "S3", lambda: stop_s3(True), lambda: stop_s3(False)
        yield "server 2", replicas[1].kill, replicas[1].start
        yield "PgBouncer", pooler.kill, pooler.start


def start(code: str, *arguments: object, **variables: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", code, *map(str, arguments)],
        stdout=subprocess.PIPE,
        env={**os.environ, **variables},
        text=True,
    )


def outcome(process: subprocess.Popen[str]) -> dict[str, Any]:
    told, _ = process.communicate(timeout=PATIENCE_S + 60)
    assert process.returncode == 0
    found: dict[str, Any] = json.loads(told.splitlines()[-1])
    return found


def test_nothing_is_lost_or_counted_twice_while_everything_is_killed_in_turn(
    s3: S3Server, tmp_path: Path
) -> None:
    bucket = s3.new_bucket("many-trainers")
    ports = [free_port(), free_port()]
    with contextlib.ExitStack() as stack:
        postgres = stack.enter_context(or_skip(run_crashing_postgres(Path(tempfile.gettempdir()))))
        url = postgres.new_mlflow_database()
        pooler = stack.enter_context(or_skip(run_pooler(url, 20)))
        command = ["server", "--backend-store-uri", pooler.url(url, "weir")]
        command += ["--artifacts-destination", f"s3://{bucket}/mlflow"]
        variables = (
            RUNS_NO_JOB,
            *((n, os.environ[n]) for n in os.environ if n.startswith("AWS_")),
            ("MLFLOW_S3_ENDPOINT_URL", s3.address),
        )
        replicas = []
        for port in ports:
            folder = tmp_path / f"server-{port}"
            folder.mkdir()
            spec = ServerSpec(command, folder, variables, workers=1, port=port)
            replicas.append(Replica(spec))
            stack.callback(replicas[-1].stop)
            replicas[-1].start()
        balancer = stack.enter_context(run_balancer(ports))
        report = _train(stack, balancer.address, replicas, postgres, pooler)
        engine = sa.create_engine(url)
        stack.callback(engine.dispose)
        _compare(engine, report, s3, bucket)
        if REPORT:
            rss = report["rss_mib"]
            shown = report | {"rss_mib": rss[:: max(1, len(rss) // 60)]}
            Path(REPORT).write_text(json.dumps(shown, indent=1))
        print(json.dumps({name: report[name] for name in report if name != "rss_mib"}))


def _train(
    stack: contextlib.ExitStack,
    address: str,
    replicas: list[Replica],
    postgres: CrashingPostgres,
    pooler: Pooler,
) -> dict[str, Any]:
    """Run all trainings to their end while things are killed; return what was sent and seen."""
    patient = {"WEIR_EXIT_WAIT_SECONDS": str(PATIENCE_S), "MLFLOW_TRACKING_URI": address}
    processes = []
    for number in range(N_MACHINES + N_REAL):
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="weir-load-")))
        spool = folder / "s"
        stack.callback(kill_agents, Spool.open(spool))
        if number < N_MACHINES:
            n = N_TRAINERS // N_MACHINES + (number < N_TRAINERS % N_MACHINES)
            arguments = (spool, address, n, SECONDS, N_METRICS, STEPS_A_SECOND, PATIENCE_S)
            processes.append(start(MACHINE, *arguments))
        else:
            given = {**patient, "WEIR_SPOOL": str(spool), "WEIR_CAPTURE": "off"}
            processes.append(start(TRAINING, SECONDS, N_METRICS, STEPS_A_SECOND, **given))
        stack.callback(processes[-1].kill)
    began = time.monotonic()
    killed: list[str] = []
    rss: list[list[float]] = []
    for name, kill, start_again in rounds(replicas, postgres, pooler) if HAS_KILLS else ():
        _watch(replicas, rss, began, until_s=time.monotonic() + max(4.0, SECONDS / 20))
        if time.monotonic() > began + 0.85 * SECONDS and len(killed) >= 5:
            break
        kill()
        killed.append(f"{time.monotonic() - began:.0f} s: {name}")
        _watch(replicas, rss, began, until_s=time.monotonic() + DOWN_S)
        start_again()
    while any(process.poll() is None for process in processes[:N_MACHINES]):
        _watch(replicas, rss, began, until_s=time.monotonic() + 5)
        assert time.monotonic() < began + SECONDS + PATIENCE_S, "not delivered"
    outcomes = [outcome(process) for process in processes]
    simulated, real = outcomes[:N_MACHINES], outcomes[N_MACHINES:]
    return {
        "trainers": N_TRAINERS,
        "seconds": SECONDS,
        "load_average": os.getloadavg(),
        "killed": killed,
        "runs": {run: n for one in outcomes for run, n in one.pop("runs").items()},
        "machines": simulated,
        "real": real,
        "rss_mib": rss,
    }


def _watch(replicas: list[Replica], rss: list[list[float]], began: float, until_s: float) -> None:
    """Note what the servers hold until a moment comes."""
    while True:
        sizes = [round(replica.rss_mib(), 1) for replica in replicas]
        rss.append([round(time.monotonic() - began, 1), *sizes])
        left_s = until_s - time.monotonic()
        if left_s <= 0:
            return
        time.sleep(min(left_s, 2.0))


def _compare(engine: sa.Engine, report: dict[str, Any], s3: S3Server, bucket: str) -> None:
    """Fail where what is stored is not what was sent."""
    sent: dict[str, int] = report.pop("runs")
    with Session(engine) as session:
        stored = {
            run_id: session.execute(
                sa.select(
                    sa.select(sa.func.coalesce(sa.func.sum(schema.chunk.c.n_points), 0))
                    .where(schema.chunk.c.run_uuid == run_id)
                    .scalar_subquery()
                    + sa.select(sa.func.coalesce(sa.func.sum(schema.batch.c.n_points), 0))
                    .where(schema.batch.c.run_uuid == run_id)
                    .scalar_subquery()
                )
            ).scalar_one()
            for run_id in sent
        }
        assert stored == {run_id: N_METRICS * n_steps for run_id, n_steps in sent.items()}
        report["points"] = sum(stored.values())
        statuses = session.execute(sa.text("SELECT DISTINCT status FROM runs")).scalars().all()
        assert statuses == ["FINISHED"]
        for run_id in sorted(sent)[:: max(1, len(sent) // 20)]:
            for number in (0, N_METRICS - 1):
                series = reading.read_history(session, [run_id], f"metric_{number:02}")[run_id]
                steps = list(range(sent[run_id]))
                assert series.step.tolist() == steps
                assert series.value.tolist() == [step + number / 64 for step in steps]
    assert check(engine, Silent()).problems == []
    listed = s3.client.get_paginator("list_objects_v2").paginate(Bucket=bucket)
    names = [one["Key"] for page in listed for one in page.get("Contents", [])]
    n_files = sum(one["n_files"] for one in report["real"])
    assert sum(name.endswith(".txt") for name in names) == n_files
    # No server holds on to what it was sent.
    assert max(size for _, *sizes in report["rss_mib"] for size in sizes) < 1_500
