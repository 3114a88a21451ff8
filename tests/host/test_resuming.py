"""A training that is preempted, goes on, and takes its metrics back to its last checkpoint."""

from __future__ import annotations

import contextlib
import json
import signal
import socket
import sqlite3
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from mlflow import MlflowClient
from mlflow.entities import Run

from databases import DatabaseServer
from mlflow_weir.plugin.agent import client as agent
from mlflow_weir.store.tracking_store import WeirStore
from trainings import Place, Training, with_weir
from trainings import begin as begin_trainings

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("agent")]


@pytest.fixture
def training(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, sqlite_folder: DatabaseServer
) -> Iterator[Training]:
    monkeypatch.setenv("WEIR_CLIENT", "off")  # of the test, not of its trainings
    url = sqlite_folder.new_mlflow_database()
    store: Any = WeirStore(url, "/nowhere/artifacts")
    store._dispose_engine()
    made = Training(tmp_path, Place(with_weir(url), {}))
    yield made
    agent.nudge(made.spool, agent.STOP)


def database(training: Training) -> str:
    """Return the path of the store's database."""
    return training.place.uri.removeprefix("sqlite+weir:///")


def the_run(training: Training) -> Run:
    training.settle()
    (run,) = MlflowClient(training.place.uri).search_runs(["0"])
    return run


def history(training: Training, run: Run, key: str) -> list[tuple[int, float]]:
    points = MlflowClient(training.place.uri).get_metric_history(run.info.run_id, key)
    return [(point.step, point.value) for point in points]


# Rewinding

FIRST = """
with mlflow.start_run() as run:
    for step in range(100):
        mlflow.log_metrics({"loss": float(step), "acc": 1.0}, step=step)
    mlflow.log_metric("late", 1.0, step=60)
    mlflow.log_metric("system/gpu", 5.0, step=400)
    mlflow.log_param("lr", 1)
print(run.info.run_id)
"""


def begun(training: Training) -> str:
    """Log a first run; return its id once it is in the store."""
    run_id = training.run(FIRST).strip()
    training.settle()
    return run_id


@pytest.mark.long
def test_a_resumed_run_is_rewound_and_goes_on(training: Training) -> None:
    run_id = begun(training)
    out = training.run(
        """
import json, mlflow_weir
with mlflow.start_run(run_id=sys.argv[1]) as run:
    mlflow.log_metric("loss", 0.0, step=100)
    mlflow_weir.rewind(run.info.run_id, 49)
    client = mlflow.MlflowClient()
    print(json.dumps(client.get_run(run.info.run_id).data.metrics))
    print(len(client.get_metric_history(run.info.run_id, "loss")))
    mlflow.log_metric("loss", -1.0, step=50)
    print(json.dumps(client.get_run(run.info.run_id).data.metrics))
    print(client.get_metric_history(run.info.run_id, "loss")[-1].value)
""",
        run_id,
    ).split("\n")
    assert json.loads(out[0]) == {"loss": 49.0, "acc": 1.0, "system/gpu": 5.0}
    assert out[1] == "50"
    assert json.loads(out[2]) == {"loss": -1.0, "acc": 1.0, "system/gpu": 5.0}
    assert out[3] == "-1.0"
    run = the_run(training)
    assert run.data.metrics == {"loss": -1.0, "acc": 1.0, "system/gpu": 5.0}
    assert run.data.params == {"lr": "1"}
    assert run.info.status == "FINISHED"
    assert history(training, run, "loss") == [(n, float(n)) for n in range(50)] + [(50, -1.0)]
    assert history(training, run, "late") == []


def test_what_is_rewound_is_seen_before_it_is_delivered(training: Training) -> None:
    """The database is locked, so that neither points nor rewinds get into it."""
    run_id = begun(training)
    out = training.run(
        """
import json, sqlite3, subprocess, mlflow_weir
client = mlflow.MlflowClient()
with mlflow.start_run(run_id=sys.argv[1]) as run:
    assert mlflow_weir.finish(300)
    lock = sqlite3.connect(sys.argv[2], isolation_level=None, timeout=120)
    lock.execute("BEGIN IMMEDIATE")
    for step in (100, 101, 102):
        mlflow.log_metric("loss", step * 1.0, step=step)
    mlflow.log_metric("new", 1.0, step=100)
    mlflow.log_metric("new", 2.0, step=101)
    mlflow_weir.rewind(run.info.run_id, 101)
    print(json.dumps(client.get_run(run.info.run_id).data.metrics))
    mlflow_weir.rewind(run.info.run_id, 100)
    mlflow.log_metric("loss", -1.0, step=101)
    print(json.dumps(client.get_run(run.info.run_id).data.metrics))
    print([m.value for m in client.get_metric_history(run.info.run_id, "loss")][-2:])
    print([m.value for m in client.get_metric_history(run.info.run_id, "new")])
    mlflow_weir.rewind(run.info.run_id, 20)
    print(json.dumps(client.get_run(run.info.run_id).data.metrics))
    print(len(client.get_metric_history(run.info.run_id, "loss")))
    read = "import json, mlflow, sys; print(json.dumps(mlflow.get_run(sys.argv[1]).data.metrics))"
    print(subprocess.check_output([sys.executable, "-c", read, sys.argv[1]], text=True).strip())
    lock.rollback()
    assert mlflow_weir.finish(300)
    print(json.dumps(client.get_run(run.info.run_id).data.metrics))
""",
        run_id,
        database(training),
    ).split("\n")
    system = {"acc": 1.0, "late": 1.0, "system/gpu": 5.0}
    assert json.loads(out[0]) == {**system, "loss": 101.0, "new": 2.0}
    assert json.loads(out[1]) == {**system, "loss": -1.0, "new": 1.0}
    assert out[2:4] == ["[100.0, -1.0]", "[1.0]"]
    left = {"loss": 20.0, "acc": 1.0, "system/gpu": 5.0}
    assert json.loads(out[4]) == left  # from the history: the rewind is not in the store yet
    assert out[5] == "21"
    assert json.loads(out[6]) == left  # in another process
    assert json.loads(out[7]) == left
    assert the_run(training).data.metrics == left


def test_mistakes_are_raised_at_once(training: Training) -> None:
    out = training.run("""
import mlflow_weir
client = mlflow.MlflowClient()
with mlflow.start_run() as run:
    mlflow.log_metric("loss", 1.0, step=3)
with mlflow.start_run() as gone:
    pass
client.delete_run(gone.info.run_id)
def attempt(run_id, step):
    try:
        mlflow_weir.rewind(run_id, step)
    except mlflow.MlflowException as exc:
        print(exc.error_code)
    else:
        print("no error")
attempt("f" * 32, 1)
attempt("not/an id", 1)
attempt(gone.info.run_id, 1)
for step in ("2", 2.0, True, None, 1 << 63):
    attempt(run.info.run_id, step)
uri = mlflow.get_tracking_uri()
mlflow.set_tracking_uri("sqlite:///stock.db")
with mlflow.start_run() as stock:
    attempt(stock.info.run_id, 1)
import numpy as np
mlflow.set_tracking_uri(uri)  # it is in the environment's place now
attempt(run.info.run_id, np.int64(2))
print(client.get_run(run.info.run_id).data.metrics)
""").split("\n")
    missing, invalid = "RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE"
    assert out[:9] == [missing, invalid, invalid, *[invalid] * 5, "FEATURE_DISABLED"]
    assert out[9:11] == ["no error", "{}"]


def test_without_a_journal_it_is_done_at_once(training: Training) -> None:
    run_id = begun(training)
    out = training.run(
        "import mlflow_weir; mlflow_weir.rewind(sys.argv[1], 7)\n"
        "print(mlflow.MlflowClient().get_run(sys.argv[1]).data.metrics['loss'])",
        run_id,
        WEIR_CLIENT="off",
    )
    assert out == "7.0\n"


# Preempting

# What SLURM does: SIGTERM, a time of grace, SIGKILL. The program never ends by itself, and its
# agent knows it: nobody tells how a process ended that an agent has not seen alive.
PREEMPTED = """
import signal, mlflow_weir
run = mlflow.start_run()
mlflow.log_metric("loss", 1.0, step=1)
assert mlflow_weir.finish(300)
def warned(*_):
    if sys.argv[1] == "mark":
        mlflow_weir.mark_preempting()
    print("warned", flush=True)
signal.signal(signal.SIGTERM, warned)
print(run.info.run_id, flush=True)
while True:
    signal.pause()
"""


def begin(training: Training, script: str, *arguments: str) -> tuple[subprocess.Popen[str], str]:
    process = training.start(script, *arguments)
    assert process.stdout is not None
    return process, process.stdout.readline().strip()


def preempt(process: subprocess.Popen[str]) -> None:
    process.send_signal(signal.SIGTERM)
    assert process.stdout is not None
    assert process.stdout.readline() == "warned\n"
    process.kill()
    process.communicate(timeout=300)


@pytest.mark.parametrize(
    ("how", "cause"),
    [("mark", "preempted (signal SIGKILL)"), ("ignore", "signal SIGKILL")],
)
def test_sigterm_a_time_of_grace_and_sigkill(training: Training, how: str, cause: str) -> None:
    process, _ = begin(training, PREEMPTED, how)
    preempt(process)
    run = the_run(training)
    assert run.info.status == "KILLED"
    assert run.data.tags["weir.exit_cause"] == cause
    assert "weir.preempting" not in run.data.tags
    assert run.data.metrics == {"loss": 1.0}


def test_sigterm_alone_ends_a_run_as_before(training: Training) -> None:
    process, _ = begin(
        training,
        "run = mlflow.start_run(); mlflow.log_metric('loss', 1)\n"
        "import mlflow_weir; assert mlflow_weir.finish(300)\n"  # the agent knows the process
        "print(run.info.run_id, flush=True); time.sleep(600)",
    )
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=300)
    run = the_run(training)
    assert (run.info.status, run.data.tags["weir.exit_cause"]) == ("KILLED", "signal SIGTERM")


@pytest.mark.parametrize(
    ("end", "status", "cause"),
    [
        ("sys.exit(143)", "KILLED", "preempted (exit code 143)"),
        pytest.param("os._exit(1)", "KILLED", "preempted (exit code 1)", marks=pytest.mark.long),
        pytest.param(
            "raise RuntimeError('out')",
            "KILLED",
            "preempted (uncaught RuntimeError: out)",
            marks=pytest.mark.long,
        ),
        pytest.param("mlflow.end_run()", "FINISHED", None, marks=pytest.mark.long),
        ("with mlflow.active_run(): sys.exit(143)", "KILLED", "preempted (exit code 143)"),
        ("pass", "FINISHED", None),
        pytest.param("mlflow.end_run('FAILED')", "FAILED", None, marks=pytest.mark.long),
    ],
)
def test_how_a_marked_process_ends(
    training: Training, end: str, status: str, cause: str | None
) -> None:
    training.outcome(f"""
import mlflow_weir
mlflow.start_run(); mlflow.log_metric("loss", 1)
mlflow_weir.mark_preempting()
assert mlflow_weir.finish(300)  # the agent knows the process
{end}
""")
    run = the_run(training)
    assert (run.info.status, run.data.tags.get("weir.exit_cause")) == (status, cause)


def test_a_preempted_run_goes_on(training: Training) -> None:
    process, run_id = begin(training, PREEMPTED, "mark")
    preempt(process)
    assert the_run(training).info.status == "KILLED"
    training.run(
        """
with mlflow.start_run(run_id=sys.argv[1]) as run:
    assert run.info.status == "RUNNING", run.info
    mlflow.log_metric("loss", 2.0, step=2)
""",
        run_id,
    )
    run = the_run(training)
    assert run.info.status == "FINISHED"
    assert run.data.metrics == {"loss": 2.0}
    assert not {"weir.exit_cause", "weir.preempting"} & run.data.tags.keys()


def test_a_resumed_run_that_is_killed_later_was_not_preempted(training: Training) -> None:
    process, run_id = begin(training, PREEMPTED, "mark")
    preempt(process)
    training.outcome(
        "import mlflow_weir; mlflow.start_run(run_id=sys.argv[1])\n"
        "assert mlflow_weir.finish(300); os.kill(os.getpid(), 9)",
        run_id,
    )
    run = the_run(training)
    assert (run.info.status, run.data.tags["weir.exit_cause"]) == ("KILLED", "signal SIGKILL")


def test_the_runs_of_all_threads_are_marked(training: Training) -> None:
    training.outcome("""
import threading, mlflow_weir
mlflow.set_experiment("of threads")
started, client = threading.Barrier(3), mlflow.MlflowClient()
def work():
    mlflow.start_run(); started.wait(); time.sleep(600)
for _ in range(2):
    threading.Thread(target=work, daemon=True).start()
started.wait()
other = client.create_run(client.get_experiment_by_name("of threads").experiment_id)
with mlflow.start_run():
    pass
mlflow_weir.mark_preempting()
assert mlflow_weir.finish(300)
os._exit(1)
""")
    training.settle()
    client = MlflowClient(training.place.uri)
    experiment = client.get_experiment_by_name("of threads")
    assert experiment is not None
    found = [
        (run.info.status, run.data.tags.get("weir.exit_cause"))
        for run in client.search_runs([experiment.experiment_id])
    ]
    assert sorted(found, key=str) == [
        ("FAILED", "exit code 1"),
        ("FINISHED", None),
        ("KILLED", "preempted (exit code 1)"),
        ("KILLED", "preempted (exit code 1)"),
    ]


@pytest.mark.parametrize("client", ["auto", "off"])
def test_without_a_run_it_is_an_error(training: Training, client: str) -> None:
    out = training.run(
        """
import mlflow_weir
mlflow.MlflowClient().create_run("0")
try:
    mlflow_weir.mark_preempting()
except mlflow.MlflowException as exc:
    print(exc.error_code)
""",
        WEIR_CLIENT=client,
    )
    assert out == "INVALID_STATE\n"


# Going on at the right step


@pytest.mark.long
def test_what_goes_on_by_step_goes_on_at_the_right_one(training: Training) -> None:
    """MLflow's system metrics ask for the run's last step, which may wait in the journal."""
    pytest.importorskip("psutil")  # which MLflow's monitor imports
    script = """
from mlflow.system_metrics.system_metrics_monitor import SystemMetricsMonitor
with mlflow.start_run(run_id=sys.argv[1] if len(sys.argv) > 1 else None) as run:
    monitor = SystemMetricsMonitor(run.info.run_id, resume_logging=len(sys.argv) > 1)
    first = monitor._logging_step
    for _ in range(3):
        monitor.publish_metrics({"cpu": 1.0})
    monitor.mlflow_logger.flush()
    data = mlflow.get_run(run.info.run_id).data
    print(run.info.run_id, first, max(metric.step for metric in data._metric_objs), flush=True)
    if len(sys.argv) > 2:
        os.kill(os.getpid(), 9)
"""
    run_id, first, last = training.run(script).split()
    assert (first, last) == ("0", "2")
    # At once, and after a kill: of what the first ones logged, not all may be in the store.
    _, out, err = training.outcome(script, run_id, "killed")
    assert out.split() == [run_id, "3", "5"], err
    assert training.run(script, run_id).split() == [run_id, "6", "8"]
    run = the_run(training)
    assert [step for step, _ in history(training, run, "system/cpu")] == list(range(9))


def test_a_run_that_is_resumed_at_once_sees_its_last_steps(training: Training) -> None:
    """The agent cannot deliver when it is resumed: what was logged before is seen soon after."""
    run_id = begun(training)
    with sqlite3.connect(database(training), isolation_level=None, timeout=120) as lock:
        lock.execute("BEGIN IMMEDIATE")
        killed = "mlflow.start_run(run_id=sys.argv[1]); mlflow.log_metric('loss', 5.0, step=900)"
        training.outcome(f"{killed}; os._exit(1)", run_id)
        process, line = begin(
            training,
            "run = mlflow.start_run(run_id=sys.argv[1]); print('begun', flush=True)\n"
            "give_up = time.monotonic() + 120\n"
            "def last(): return mlflow.get_run(sys.argv[1]).data.metrics.get('loss')\n"
            "while last() != 5.0 and time.monotonic() < give_up: time.sleep(0.1)\n"
            "print(last(), flush=True)",
            run_id,
        )
        assert line == "begun"
        lock.rollback()
    assert process.stdout is not None
    said = process.stdout.readline()  # it may have come with the first line: no new read
    _, err = process.communicate(timeout=300)
    assert said == "5.0\n", err


# Resumed before it is delivered

KILLED = """
import os
run = mlflow.start_run(run_name="first")
mlflow.log_params({"lr": 1, "gone": 2})
mlflow.set_tag("team", "vision")
for step in range(100):
    mlflow.log_metric("loss", float(step), step=step)
print(run.info.run_id, flush=True)
os.kill(os.getpid(), 9)
"""

RESUMED = """
import json
from mlflow_weir.plugin import journaled_reads
journaled_reads.SETTLE_WAIT_S = 0.0  # as on a machine too busy to deliver, or to read, in time
with mlflow.start_run(run_id=sys.argv[1]) as run:
    client = mlflow.MlflowClient()
    seen = client.get_run(run.info.run_id)
    points = client.get_metric_history(run.info.run_id, "loss")
    try:
        mlflow.log_param("lr", 7)
        refused = False
    except mlflow.MlflowException:
        refused = True
    mlflow.log_metric("loss", -1.0, step=100)
print(json.dumps([seen.data.metrics, seen.data.params, seen.data.tags["team"],
                  seen.info.run_name, len(points), refused]))
"""


def test_a_run_of_a_killed_process_is_resumed_before_it_is_delivered(training: Training) -> None:
    """The store is locked: all that is known of the run is in the journal of the dead."""
    training.run("mlflow.set_experiment('Default')")
    training.settle()
    with sqlite3.connect(database(training), isolation_level=None, timeout=120) as lock:
        lock.execute("BEGIN EXCLUSIVE")
        first = training.start(KILLED)
        out, _ = first.communicate(timeout=300)
        second = training.start(RESUMED, out.strip(), WEIR_EXIT_WAIT_SECONDS="1")
        said, _ = second.communicate(timeout=300)
        lock.execute("ROLLBACK")
    assert json.loads(said) == [
        {"loss": 99.0},
        {"lr": "1", "gone": "2"},
        "vision",
        "first",
        100,
        True,
    ]
    run = the_run(training)
    assert run.info.status == "FINISHED"
    assert run.data.params == {"lr": "1", "gone": "2"}
    assert history(training, run, "loss") == [(n, float(n)) for n in range(100)] + [(100, -1.0)]


ELSEWHERE = """
client = mlflow.MlflowClient()
try:
    client.get_run(sys.argv[1])
except mlflow.MlflowException as exc:
    print(exc.error_code)
client.log_text(sys.argv[2], "theirs", "b.txt")
mlflow.set_experiment("trained")
with mlflow.start_run(run_id=sys.argv[1]) as run:
    assert run.info.run_id == sys.argv[1]
    mlflow.log_metric("loss", 1.0, step=1)
    mlflow.log_metric("acc", 2.0, step=1, run_id=sys.argv[2])
    mlflow.log_params({"again": 1})
    mlflow.log_text("hello", "a.txt")
    with mlflow.start_run(nested=True, run_name="inner"):
        mlflow.log_metric("loss", 3.0)
mlflow.start_run(run_id="f" * 32)
mlflow.log_metric("loss", 4.0)
"""


def test_a_run_begun_elsewhere_goes_on_while_the_store_is_away(
    postgres_server: DatabaseServer, training: Training
) -> None:
    """As after a preemption: another machine, on which nothing tells of the run."""
    url = postgres_server.new_mlflow_database()
    training.place = Place(with_weir(url), {})
    client = MlflowClient(training.place.uri)
    root = (training.folder / "artifacts").as_uri()
    experiment_id = client.create_experiment("trained", artifact_location=root)
    ids = [client.create_run(experiment_id).info.run_id for _ in range(2)]
    client.log_metric(ids[0], "loss", 0.5, step=0)
    client.set_terminated(ids[0], "KILLED")
    with renamed_away(url):
        code, out, err = training.outcome(
            ELSEWHERE,
            *ids,
            MLFLOW_TRACKING_URI=training.place.uri,
            WEIR_EXIT_WAIT_SECONDS="0.1",
        )
        assert code == 0, err
        assert out.splitlines()[:1] == ["TEMPORARILY_UNAVAILABLE"], err
    training.settle()
    first, second = (client.get_run(run_id) for run_id in ids)
    assert (first.info.status, first.data.params) == ("FINISHED", {"again": "1"})
    assert history(training, first, "loss") == [(0, 0.5), (1, 1.0)]
    assert [one.path for one in client.list_artifacts(ids[0])] == ["a.txt"]
    assert [one.path for one in client.list_artifacts(ids[1])] == ["b.txt"]
    assert (second.info.status, second.data.metrics) == ("RUNNING", {"acc": 2.0})
    (inner,) = client.search_runs([experiment_id], "attributes.run_name = 'inner'")
    assert inner.data.tags["mlflow.parentRunId"] == ids[0]
    assert f"run {'f' * 32} does not exist" in training.weir("status", "--json").stdout


@contextlib.contextmanager
def renamed_away(url: str) -> Iterator[None]:
    """Let a database have another name meanwhile."""
    name = sa.make_url(url).database
    engine = sa.create_engine(
        sa.make_url(url).set(database="postgres"), isolation_level="AUTOCOMMIT"
    )
    with engine.connect() as connection:
        connection.exec_driver_sql(
            f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{name}'"
        )
        connection.exec_driver_sql(f"ALTER DATABASE {name} RENAME TO {name}_away")
        yield
        connection.exec_driver_sql(f"ALTER DATABASE {name}_away RENAME TO {name}")
    engine.dispose()


def test_a_run_that_nobody_here_began_is_not_made_up(training: Training) -> None:
    unknown = "f" * 32
    said = training.run(
        f"""
try:
    mlflow.start_run(run_id={unknown!r})
except mlflow.MlflowException as exc:
    print(exc.error_code)
"""
    )
    assert said.strip() == "RESOURCE_DOES_NOT_EXIST"


def test_who_resumes_on_a_silent_server_waits_once(tmp_path: Path) -> None:
    """Each call asks what MLflow shows; after no answer came, what is known is shown."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        address = f"http://127.0.0.1:{silent.getsockname()[1]}"
        place = Place(address, {"WEIR_EXIT_WAIT_SECONDS": "0.1"})
        for training in begin_trainings(tmp_path, place):
            out = training.run("""
import json, threading
from mlflow_weir.plugin.contact import Contact
from mlflow_weir.plugin.recorder import Recorder
waits = []
def settle(recorder, timeout_s, *arguments):
    if threading.current_thread() is threading.main_thread():
        waits.append(timeout_s)
    return False
Recorder.settle = settle
mlflow.set_experiment("e")
begun = len(waits)
mlflow.start_run(run_id="a" * 32)
mlflow.log_metric("m", 1)
mlflow.end_run()
after = waits[begun:]
Contact.is_away = lambda contact: False  # long after
mlflow.start_run(run_id="b" * 32)
mlflow.end_run()
print(json.dumps([after, waits[begun + len(after):]]))
""")
            at_once, later = json.loads(out.splitlines()[-1])
            assert sum(at_once) <= 0.1
            assert sum(later) <= 4.1
