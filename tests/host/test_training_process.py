"""A training as users write it, in a process of its own: what it logs, how it ends, what it costs.

Scripts know nothing of Weir. What they wrote is read by another process of MLflow, without a
journal, once the agent says that all is delivered.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa
from mlflow import MlflowClient
from mlflow.entities import Run

from agents import old_kernel, start_agent, wait_until
from databases import DatabaseServer, put_mlflow_tables
from mlflow_weir.plugin.agent import client as agent
from mlflow_weir.plugin.contact import Away
from mlflow_weir.plugin.journal.spool import Spool
from mlflow_weir.plugin.journaled_store import refuse_locked
from trainings import COUNT_QUESTIONS, with_weir
from warm_python import warm_python

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("agent")]

DEADLINE_S = 120.0

# Before each script: ``seen`` returns once the agent has delivered, and so knows the process.
PRELUDE = """
import mlflow, os, sys, time
def seen():
    import mlflow_weir
    assert mlflow_weir.finish(300)
"""


class Training:
    """Runs scripts on one embedded store, with a spool of their own."""

    def __init__(self, folder: Path) -> None:
        self.uri = f"weir://{folder}/store"
        self.folder = folder
        self.spool = folder / "spool"
        self._environment = {
            **os.environ,
            "MLFLOW_TRACKING_URI": self.uri,
            "WEIR_SPOOL": str(self.spool),
            "MLFLOW_DISABLE_TELEMETRY": "true",
        }

    def start(self, script: str, *arguments: str, **variables: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, "-c", PRELUDE + script, *arguments],
            env={**self._environment, **variables},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def run(self, script: str, *arguments: str, **variables: str) -> tuple[int, str, str]:
        """Run a script forked from a Python that has imported MLflow."""
        environment = {**self._environment, **variables}
        return warm_python().outcome(PRELUDE + script, arguments, environment, self.folder)

    def run_new(self, script: str, *arguments: str, **variables: str) -> tuple[int, str, str]:
        """Run a script in a Python of its own."""
        process = self.start(script, *arguments, **variables)
        out, err = process.communicate(timeout=300)
        return process.returncode, out, err

    def settle(self) -> None:
        """Wait until no journal is left: everything is delivered, exit states too."""
        deadline = time.monotonic() + DEADLINE_S
        while (left := Spool(self.spool).journals()) and time.monotonic() < deadline:
            agent.ensure_agent(self.spool)
            agent.nudge(self.spool)
            time.sleep(0.02)
        assert not left

    def client(self, monkeypatch: pytest.MonkeyPatch) -> MlflowClient:
        monkeypatch.setenv("WEIR_CLIENT", "off")
        return MlflowClient(self.uri)

    def only_run(self, monkeypatch: pytest.MonkeyPatch) -> Run:
        self.settle()
        (run,) = self.client(monkeypatch).search_runs(["0"])
        return run


@pytest.fixture
def training(tmp_path: Path) -> Iterator[Training]:
    put_mlflow_tables(tmp_path / "store" / "weir.db")
    made = Training(tmp_path)
    yield made
    agent.nudge(made.spool, agent.STOP)


def test_what_a_script_logs_is_in_the_store(
    training: Training, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "store" / "weir.db").unlink()  # this one makes its store
    code, out, err = training.run_new("""
mlflow.set_experiment("first")
with mlflow.start_run(run_name="parent") as run:
    mlflow.log_params({"lr": 0.1, "layers": 3})
    mlflow.set_tags({"a": "1", "b": "2"})
    mlflow.delete_tag("b")
    for step in range(500):
        mlflow.log_metric("loss", 1 / (1 + step), step=step)
        mlflow.log_metrics({"x": step, "y": -step}, step=step)
    mlflow.log_text("hello", "notes/a.txt")
    with mlflow.start_run(nested=True, run_name="child"):
        mlflow.log_metric("loss", 7.0)
print(run.info.run_id)
""")
    assert code == 0, err
    training.settle()
    client = training.client(monkeypatch)
    experiment = client.get_experiment_by_name("first")
    assert experiment is not None
    runs = {run.info.run_name: run for run in client.search_runs([experiment.experiment_id])}
    parent, child = runs["parent"], runs["child"]
    assert parent.info.run_id == out.strip()
    assert (parent.info.status, child.info.status) == ("FINISHED", "FINISHED")
    assert parent.data.params == {"lr": "0.1", "layers": "3"}
    assert parent.data.tags["a"] == "1"
    assert "b" not in parent.data.tags
    assert child.data.tags["mlflow.parentRunId"] == parent.info.run_id
    history = client.get_metric_history(parent.info.run_id, "loss")
    assert [point.step for point in history] == list(range(500))
    assert parent.data.metrics == {"loss": 1 / 500, "x": 499.0, "y": -499.0}
    assert [item.path for item in client.list_artifacts(parent.info.run_id)] == ["notes"]
    (line,) = [line for line in err.splitlines() if "see it with" in line]
    assert f"run parent ({out.strip()})" in line


ENDS = {
    "with-block": ("with mlflow.start_run(): mlflow.log_metric('m', 1)", 0, "FINISHED", None),
    "no-end": ("mlflow.start_run(); mlflow.log_metric('m', 1)", 0, "FINISHED", None),
    "exception": (
        "mlflow.start_run(); mlflow.log_metric('m', 1); raise ValueError('boom')",
        1,
        "FAILED",
        "uncaught ValueError: boom",
    ),
    "sys.exit": (
        "mlflow.start_run(); mlflow.log_metric('m', 1); sys.exit(3)",
        3,
        "FAILED",
        "exit code 3",
    ),
    "sys.exit-0": (
        "mlflow.start_run(); mlflow.log_metric('m', 1); sys.exit()",
        0,
        "FINISHED",
        None,
    ),
    "SystemExit": (
        "mlflow.start_run(); mlflow.log_metric('m', 1); raise SystemExit(4)",
        4,
        "FAILED",
        "exit code 4",
    ),
    "caught-exit": (
        """
mlflow.start_run(); mlflow.log_metric('m', 1)
try:
    sys.exit(3)
except SystemExit:
    pass
""",
        0,
        "FINISHED",
        None,
    ),
    "keyboard": (
        "mlflow.start_run(); mlflow.log_metric('m', 1); raise KeyboardInterrupt",
        -signal.SIGINT,
        "KILLED",
        "uncaught KeyboardInterrupt",
    ),
    "os._exit": (
        "mlflow.start_run(); mlflow.log_metric('m', 1); seen(); os._exit(7)",
        7,
        "FAILED",
        "exit code 7",
    ),
    "terminated": (
        "mlflow.start_run(); mlflow.log_metric('m', 1); seen(); os.kill(os.getpid(), 15)",
        -signal.SIGTERM,
        "KILLED",
        "signal SIGTERM",
    ),
    "killed": (
        "mlflow.start_run(); mlflow.log_metric('m', 1); seen(); os.kill(os.getpid(), 9)",
        -signal.SIGKILL,
        "KILLED",
        "signal SIGKILL",
    ),
    "ended-as-failed-by-the-user": (
        "mlflow.start_run(); mlflow.log_metric('m', 1); mlflow.end_run('KILLED')",
        0,
        "KILLED",
        None,
    ),
}


@pytest.mark.parametrize(("script", "code", "status", "cause"), ENDS.values(), ids=ENDS)
def test_a_run_ends_as_its_process_does(
    script: str,
    code: int,
    status: str,
    cause: str | None,
    training: Training,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    found_code, _, err = training.run_new(script)
    assert found_code == code, err
    run = training.only_run(monkeypatch)
    assert (run.info.status, run.data.tags.get("weir.exit_cause")) == (status, cause)
    assert run.data.metrics == {"m": 1.0}
    assert run.info.end_time is not None


@pytest.mark.parametrize(
    ("ending", "code"),
    [
        ("raise SystemExit(4)", 4),
        ("exit(5)", 5),
        ("leave(6)", 6),
    ],
)
def test_an_older_kernel_is_no_reason_not_to_know_the_exit_code(
    ending: str, code: int, training: Training, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """It tells nobody but the parent, which has it forgotten at once."""
    kernel = tmp_path / "kernel"
    kernel.mkdir()
    start_agent(Spool.open(training.spool), **old_kernel(kernel))
    script = f"from sys import exit as leave; mlflow.start_run(); seen()\n{ending}"
    found_code, _, err = training.run_new(script)
    assert found_code == code, err
    run = training.only_run(monkeypatch)
    cause = run.data.tags.get("weir.exit_cause")
    assert (run.info.status, cause) == ("FAILED", f"exit code {code}")


def test_a_launcher_that_ends_well_leaves_its_run_alone(
    training: Training, monkeypatch: pytest.MonkeyPatch
) -> None:
    code, _, err = training.run_new("""
client = mlflow.MlflowClient()
run = client.create_run("0")
client.set_tag(run.info.run_id, "launched", "yes")
""")
    assert code == 0, err
    run = training.only_run(monkeypatch)
    assert (run.info.status, run.data.tags["launched"]) == ("RUNNING", "yes")


def test_mistakes_are_raised_by_the_call(training: Training) -> None:
    code, out, err = training.run("""
client = mlflow.MlflowClient()
deleted = client.create_run("0").info.run_id
client.delete_run(deleted)
mlflow.start_run()
mlflow.log_param("a", 1)
model = client.create_logged_model("0", name="m")
output = mlflow.entities.LoggedModelOutput(model.model_id, 1)
mlflow.log_outputs([output])
for call in (
    lambda: mlflow.log_outputs([output]),
    lambda: mlflow.log_metric("bad//key", 1),
    lambda: mlflow.log_metric("m", "text"),
    lambda: mlflow.log_param("a", 2),
    lambda: client.log_metric("f" * 32, "m", 1),
    lambda: client.log_metric(deleted, "m", 1),
    lambda: client.delete_tag(mlflow.active_run().info.run_id, "absent"),
    lambda: client.create_run("4711"),
):
    try:
        call()
    except mlflow.MlflowException as exc:
        print(exc.error_code)
    else:
        print("nothing")
""")
    assert code == 0, err
    assert out.split() == [
        "BAD_REQUEST",
        "INVALID_PARAMETER_VALUE",
        "INVALID_PARAMETER_VALUE",
        "INVALID_PARAMETER_VALUE",
        "RESOURCE_DOES_NOT_EXIST",
        "INVALID_PARAMETER_VALUE",
        "RESOURCE_DOES_NOT_EXIST",
        "RESOURCE_DOES_NOT_EXIST",
    ]


def test_reads_see_the_writes_before_them(training: Training) -> None:
    code, out, err = training.run("""
import json
client = mlflow.MlflowClient()
found = []
with mlflow.start_run() as run:
    for step in range(20):
        mlflow.log_metric("m", step, step=step)
        found.append(len(client.get_metric_history(run.info.run_id, "m")))
        found.append(client.get_run(run.info.run_id).data.metrics["m"])
        found.append(len(mlflow.search_runs(["0"], filter_string=f"metrics.m = {step}")))
print(json.dumps(found))
""")
    assert code == 0, err
    assert json.loads(out) == [value for step in range(20) for value in (step + 1, step, 1)]


@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_a_child_process_logs_to_its_parents_run(
    training: Training, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, method: str
) -> None:
    script = tmp_path / "train.py"  # which a spawned child imports
    script.write_text("""
import multiprocessing, sys
import mlflow
def work(run_id, start):
    client = mlflow.MlflowClient()
    for step in range(start, start + 100):
        client.log_metric(run_id, "m", step, step=step)
        mlflow.log_metric("m", step + 100, step=step + 100, run_id=run_id)
if __name__ == "__main__":
    with mlflow.start_run() as run:
        mlflow.log_metric("before", 1)
        processes = multiprocessing.get_context(sys.argv[1])
        starts = [200 * i for i in range(3)]
        children = [processes.Process(target=work, args=(run.info.run_id, i)) for i in starts]
        for child in children: child.start()
        for step in range(600, 800): mlflow.log_metric("m", step, step=step)
        for child in children: child.join()
        assert [child.exitcode for child in children] == [0, 0, 0]
""")
    as_main = "os.execv(sys.executable, [sys.executable, *sys.argv[1:]])"
    code, _, err = training.run_new(as_main, str(script), method)
    assert code == 0, err
    run = training.only_run(monkeypatch)
    assert run.info.status == "FINISHED"
    history = training.client(monkeypatch).get_metric_history(run.info.run_id, "m")
    assert sorted(point.step for point in history) == list(range(800))


def test_a_resumed_run_goes_on(training: Training, monkeypatch: pytest.MonkeyPatch) -> None:
    code, out, err = training.run("""
with mlflow.start_run() as run:
    mlflow.log_param("a", 1); mlflow.log_metric("m", 1, step=1)
print(run.info.run_id)
""")
    assert code == 0, err
    code, out, err = training.run(
        """
with mlflow.start_run(run_id=sys.argv[1]) as run:
    assert run.data.params == {"a": "1"}, run.data
    assert run.data.metrics == {"m": 1.0}, run.data
    mlflow.log_param("a", 1); mlflow.log_metric("m", 2, step=2)
    try:
        mlflow.log_param("a", 2)
    except mlflow.MlflowException:
        print("refused")
""",
        out.strip(),
    )
    assert (code, out.strip()) == (0, "refused"), err
    run = training.only_run(monkeypatch)
    assert (run.info.status, run.data.metrics) == ("FINISHED", {"m": 2.0})


def test_a_locked_database_does_not_hold_up_a_training(
    training: Training, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert training.run("mlflow.start_run(); mlflow.log_metric('warm', 1)")[0] == 0
    training.settle()
    process = training.start(f"""
{COUNT_QUESTIONS}
mlflow.start_run()
mlflow.log_metric("m", -1)
print("ready", flush=True)
sys.stdin.readline()
before = n_asked
for step in range(2000):
    mlflow.log_metric("m", step, step=step)
    mlflow.log_param(f"p{{step}}", step) if step < 50 else None
print(n_asked - before, flush=True)
""")
    assert process.stdout is not None
    assert process.stdout.readline().strip() == "ready"
    file = training.uri.removeprefix("weir://") + "/weir.db"
    with contextlib.closing(sqlite3.connect(file, isolation_level=None, timeout=120)) as lock:
        lock.execute("BEGIN IMMEDIATE")
        assert process.stdin is not None
        process.stdin.write("go on\n")
        process.stdin.flush()
        assert process.stdout.readline() == "0\n", "no log call has asked the store"
        lock.execute("ROLLBACK")
    _, err = process.communicate(timeout=300)
    assert process.returncode == 0, err
    training.settle()
    client = training.client(monkeypatch)
    (run,) = client.search_runs(["0"], "metrics.m > 0")
    assert len(client.get_metric_history(run.info.run_id, "m")) == 2001


def test_a_store_that_is_away_is_met_by_going_on(
    postgres_server: DatabaseServer, training: Training, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = postgres_server.new_mlflow_database()
    nowhere = with_weir(f"{url}_later")
    code, out, err = training.run(
        COUNT_QUESTIONS
        + """
mlflow.set_experiment("offline")
with mlflow.start_run(run_name="begun offline") as run:
    before = n_asked
    for step in range(200):
        mlflow.log_metric("m", step, step=step)
    mlflow.log_param("a", 1)
    is_free = n_asked == before
    print(mlflow.get_run(run.info.run_id).data.params, is_free)
    client = mlflow.MlflowClient()
    print(len(client.get_metric_history(run.info.run_id, "m")))
    for wanted in ("params.a = '1'", "metrics.m < 0"):
        print(len(client.search_runs([run.info.experiment_id], wanted)))
print(run.info.run_id)
""",
        MLFLOW_TRACKING_URI=nowhere,
        WEIR_EXIT_WAIT_SECONDS="0.5",
    )
    assert code == 0, err
    assert out.splitlines()[:4] == ["{'a': '1'} True", "200", "1", "0"]
    assert "weir sync" in err
    name = sa.make_url(url).database
    engine = sa.create_engine(
        sa.make_url(url).set(database="postgres"), isolation_level="AUTOCOMMIT"
    )
    with engine.connect() as connection:
        connection.exec_driver_sql(f"ALTER DATABASE {name} RENAME TO {name}_later")
    engine.dispose()
    training.settle()
    monkeypatch.setenv("WEIR_CLIENT", "off")
    client = MlflowClient(nowhere)
    experiment = client.get_experiment_by_name("offline")
    assert experiment is not None
    (run,) = client.search_runs([experiment.experiment_id])
    assert run.info.run_id == out.splitlines()[-1]
    assert (run.info.status, run.data.params) == ("FINISHED", {"a": "1"})
    assert len(client.get_metric_history(run.info.run_id, "m")) == 200


def test_a_process_that_may_open_no_more_files_goes_on(
    training: Training, monkeypatch: pytest.MonkeyPatch
) -> None:
    code, out, err = training.run_new("""
import resource
sys.stderr = None
run_id = mlflow.start_run().info.run_id
resource.setrlimit(resource.RLIMIT_NOFILE, (200, 200))
held = []
try:
    while True: held.append(open(os.devnull))
except OSError:
    pass
mlflow.log_metric("m", 1, step=1)
assert mlflow.get_run(run_id).data.metrics == {"m": 1.0}
mlflow.MlflowClient().log_metric(run_id, "m", 2, step=2)
mlflow.end_run()
held.clear()
""")
    assert code == 0, err
    assert not out, "a line for stderr is on stdout"
    run = training.only_run(monkeypatch)
    assert (run.info.status, run.data.metrics["m"]) == ("FINISHED", 2.0)


def test_switched_off_nothing_is_journaled(training: Training) -> None:
    code, _, err = training.run_new(
        "with mlflow.start_run(): mlflow.log_metric('m', 1)", WEIR_CLIENT="off"
    )
    assert code == 0, err
    assert not training.spool.exists()


def test_passwords_are_nowhere_but_in_the_private_file(
    postgres_url: str, training: Training
) -> None:
    url = with_weir(postgres_url)
    scheme, rest = url.split("://", 1)
    secret = f"{scheme}://nobody:pass-word-4711@{rest.rpartition('@')[2]}"
    code, out, err = training.run(
        "mlflow.set_experiment('x'); mlflow.start_run(); mlflow.log_metric('m', 1)",
        MLFLOW_TRACKING_URI=secret,
        WEIR_EXIT_WAIT_SECONDS="1",
    )
    assert code == 0, err
    assert "4711" not in out + err
    found = {
        path.name: path.stat().st_mode & 0o777
        for path in training.spool.rglob("*")
        if path.is_file() and b"pass-word-4711" in path.read_bytes()
    }
    assert found == {"credentials.json": 0o600}


def test_an_unreachable_store_says_so_to_a_read(training: Training) -> None:
    code, out, err = training.run(
        """
try:
    mlflow.MlflowClient().get_run("f" * 32)
except mlflow.MlflowException as exc:
    print(exc.error_code)
""",
        MLFLOW_TRACKING_URI="postgresql+weir://127.0.0.1:9/nothing",
    )
    assert (code, out.strip()) == (0, "TEMPORARILY_UNAVAILABLE"), err


def test_nothing_is_left_when_all_is_delivered(
    training: Training, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert training.run("mlflow.start_run(); mlflow.log_metric('m', 1)")[0] == 0
    training.settle()
    # A journal that is removed is emptied after it has left its place.
    wait_until(lambda: not any((training.spool / "journals").iterdir()), "nothing is left")


LOG_MODEL = """
from sklearn.linear_model import LinearRegression
import numpy
mlflow.set_experiment("models")
with mlflow.start_run() as run:
    fitted = LinearRegression().fit(numpy.eye(3), numpy.arange(3))
    info = mlflow.sklearn.log_model(fitted, name="fit", step=5, params={"depth": 3},
        pip_requirements=[])  # or MLflow starts a Python to find them out
    mlflow.log_metric("quality", 0.5, step=5, model_id=info.model_id)
    mlflow.set_logged_model_tags(info.model_id, {"a": "1", "b": "2"})
    mlflow.delete_logged_model_tag(info.model_id, "b")
    assert mlflow.get_logged_model(info.model_id).tags["a"] == "1"
    loaded = mlflow.sklearn.load_model(info.model_uri)
    assert numpy.allclose(loaded.predict(numpy.eye(3)), numpy.arange(3))
print(info.model_id)
"""


def test_a_logged_model_is_there_with_its_params_tags_and_metrics(
    training: Training, monkeypatch: pytest.MonkeyPatch
) -> None:
    code, out, err = training.run(LOG_MODEL)
    assert code == 0, err
    training.settle()
    client = training.client(monkeypatch)
    model_id = out.split()[-1]
    model = client.get_logged_model(model_id)
    assert (str(model.status), model.params["depth"], model.tags["a"]) == ("READY", "3", "1")
    assert "b" not in model.tags
    assert [(metric.key, metric.value, metric.step) for metric in model.metrics or []] == [
        ("quality", 0.5, 5)
    ]
    run = client.get_run(model.source_run_id or "")
    assert run.outputs is not None
    assert [(found.model_id, found.step) for found in run.outputs.model_outputs] == [(model_id, 5)]
    files = {item.path for item in client.list_logged_model_artifacts(model_id)}
    assert {"MLmodel", "model.pkl"} & files


def test_a_spool_that_cannot_be_used_costs_a_line_and_no_point(
    training: Training, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    training.spool = tmp_path / "home" / ".local" / "state" / "weir"
    code, _, err = training.run_new(
        "with mlflow.start_run(): mlflow.log_metric('m', 1)",
        WEIR_SPOOL="/proc/nothing",
        HOME=str(tmp_path / "home"),
        XDG_STATE_HOME="",
    )
    assert code == 0, err
    assert "/proc/nothing" in err
    run = training.only_run(monkeypatch)
    assert (run.info.status, run.data.metrics) == ("FINISHED", {"m": 1.0})


NO_FOLDER = """
from mlflow_weir.plugin.journal import spool
spool._default_roots = list
with mlflow.start_run() as run:
    mlflow.log_metric("m", 1)
    mlflow.log_param("a", 1)
    assert mlflow.get_run(run.info.run_id).data.params == {"a": "1"}
"""


def test_without_any_folder_records_wait_in_memory_until_the_end(
    training: Training, monkeypatch: pytest.MonkeyPatch
) -> None:
    code, _, err = training.run(NO_FOLDER, WEIR_SPOOL="/proc/nothing")
    assert code == 0, err
    assert "what is logged waits in memory" in err
    assert "lost" not in err
    (run,) = training.client(monkeypatch).search_runs(["0"])
    assert (run.info.status, run.data.metrics) == ("FINISHED", {"m": 1.0})


def test_values_that_are_no_text_are_stored_as_stock_stores_them(
    training: Training, monkeypatch: pytest.MonkeyPatch
) -> None:
    code, out, err = training.run("""
with mlflow.start_run(tags={"version": 2, "none": None}) as run:
    mlflow.log_param("width", 7)
    mlflow.set_tag("flag", True)
    try:
        mlflow.log_param("file", "\\udcff")
    except mlflow.MlflowException as exc:
        print(exc.error_code)
    print(mlflow.active_run().data.tags["version"])
""")
    assert (code, out.split()) == (0, ["INVALID_PARAMETER_VALUE", "2"]), err
    run = training.only_run(monkeypatch)
    assert (run.info.status, run.data.params) == ("FINISHED", {"width": "7"})
    assert (run.data.tags["version"], run.data.tags["flag"], run.data.tags["none"]) == (
        "2",
        "True",
        "",
    )


def test_what_the_store_refuses_is_said_and_kept(
    training: Training, monkeypatch: pytest.MonkeyPatch
) -> None:
    code, _, err = training.run("""
import subprocess
with mlflow.start_run() as run:
    mlflow.log_metric("m", 1)
    assert mlflow.get_run(run.info.run_id)
    other = (
        "import mlflow, sys; mlflow.MlflowClient().log_param(sys.argv[1], 'lr', 'theirs')"
    )
    subprocess.run([sys.executable, "-c", other, run.info.run_id], check=True)
    mlflow.log_metric("m", 2)
    mlflow.MlflowClient().log_param(run.info.run_id, "lr", "ours")
""")
    assert code == 0, err
    assert "the store refused 1 records; `weir status` says why" in err
    training.settle()
    weir = str(Path(sys.executable).with_name("weir"))
    done = subprocess.run(
        [weir, "status", "--json"],
        env={**os.environ, "WEIR_SPOOL": str(training.spool)},
        capture_output=True,
        text=True,
        check=True,
    )
    (refused,) = json.loads(done.stdout)["refused"]
    assert refused["n_rejected"] == 1
    assert "'theirs' already" in refused["rejected"][0]["reason"]


def test_an_open_run_shows_what_other_processes_wrote(training: Training) -> None:
    code, out, err = training.run("""
import subprocess
with mlflow.start_run() as run:
    mlflow.log_metric("ours", 1)
    other = (
        "import mlflow, sys; mlflow.MlflowClient().log_metric(sys.argv[1], 'theirs', 2)"
    )
    subprocess.run([sys.executable, "-c", other, run.info.run_id], check=True)
    print(mlflow.get_run(run.info.run_id).data.metrics)
""")
    assert (code, out.strip()) == (0, "{'ours': 1.0, 'theirs': 2.0}"), err


LOG_BY_ID = """
import logging, threading
from mlflow_weir.plugin.recorder import Recorder
from mlflow_weir.plugin.uri import expand, strip
from mlflow_weir.store.tracking_store import WeirStore

settle = Recorder.settle
def settle_elsewhere(*arguments):
    assert threading.current_thread() is not threading.main_thread(), "a log call waits"
    return settle(*arguments)

class Heard(logging.Handler):
    def emit(self, record):
        self.said = record.getMessage()

heard = Heard()
heard.said = ""
logging.getLogger("mlflow_weir").addHandler(heard)
others = WeirStore(strip(expand(mlflow.get_tracking_uri()).database_uri), "artifacts")
run_id = others.create_run("0", "somebody", 1, [], "theirs").info.run_id
if ours:
    mlflow.start_run(run_id=run_id)
mlflow.log_metric("loss", -1, step=0, run_id=run_id)
Recorder.settle = settle_elsewhere
others.delete_run(run_id)
step, is_refused = 0, False
give_up_s = time.monotonic() + 120
while not heard.said and not is_refused:
    assert time.monotonic() < give_up_s, "the deletion is not seen"
    step += 1
    try:
        mlflow.log_metric("loss", 1 / step, step=step, run_id=run_id)
    except mlflow.MlflowException as exc:
        is_refused = "must be in the 'active' state" in str(exc)
    time.sleep(0.01)
Recorder.settle = settle
print(is_refused, "was deleted while it is logged to" in heard.said)
"""


@pytest.mark.parametrize("is_ours", [True, False], ids=["resumed", "by-id-alone"])
def test_a_metric_by_run_id_waits_for_nobody_and_learns_what_others_did(
    training: Training, is_ours: bool
) -> None:
    code, out, err = training.run(f"ours = {is_ours}{LOG_BY_ID}")
    assert (code, out.split()[-2:]) == (0, [str(not is_ours), str(is_ours)]), err


SILENCE = """
import threading
from mlflow_weir.plugin.contact import Contact, TookTooLong
waits, glance = [], Contact.glance
def be_silent(self, timeout_s, *_):
    if threading.current_thread() is threading.main_thread():
        waits.append(timeout_s)
    raise TookTooLong("silence")
Contact.glance = be_silent
client = mlflow.MlflowClient()
"""


def test_no_log_call_waits_for_a_silent_store(training: Training) -> None:
    """To runs of somebody else, of which a process knows nothing."""
    code, out, err = training.run(
        f"""{SILENCE}
mlflow.set_tracking_uri("http://127.0.0.1:9")
for n in range(3):
    mlflow.MlflowClient().log_metric(f"{{n:032x}}", "m", 1)
print(len(waits), max(waits) <= 0.1)
""",
        WEIR_CLIENT="on",
        WEIR_EXIT_WAIT_SECONDS="0.1",
    )
    assert (code, out.split()) == (0, ["3", "True"]), err


def test_a_mistake_that_a_silent_store_did_not_tell_is_raised_once_it_does(
    training: Training,
) -> None:
    code, out, err = training.run(f"""
from mlflow_weir.plugin.uri import expand, strip
from mlflow_weir.store.tracking_store import WeirStore
others = WeirStore(strip(expand(mlflow.get_tracking_uri()).database_uri), "artifacts")
theirs = others.create_run("0", "somebody", 1, [], "theirs").info.run_id
gone = others.create_run("0", "somebody", 1, [], "deleted").info.run_id
others.delete_run(gone)
{SILENCE}
unknown, step = "f" * 32, 0
for run_id in (unknown, gone, theirs):
    client.log_metric(run_id, "m", step, step=step)
Contact.glance = glance
give_up_s = time.monotonic() + 120
for run_id in (unknown, gone):
    told = None
    while told is None:
        assert time.monotonic() < give_up_s, "it is never told"
        step += 1
        try:
            client.log_metric(run_id, "m", step, step=step)
        except mlflow.MlflowException as exc:
            told = exc
        time.sleep(0.01)
    print(told.error_code)
client.log_metric(theirs, "m", step, step=step)
print(len(client.get_metric_history(theirs, "m")))
""")
    assert code == 0, err
    assert out.split() == ["RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE", "2"]
    assert "`weir status` says why" in err


def test_a_file_that_somebody_holds_is_not_waited_for(tmp_path: Path) -> None:
    path = tmp_path / "weir.db"
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as holder:
        refuse_locked(f"sqlite:///{path}")
        holder.execute("CREATE TABLE t (n INTEGER)")
        holder.execute("BEGIN EXCLUSIVE")
        with pytest.raises(Away, match="locked"):
            refuse_locked(f"sqlite:///{path}")
        holder.execute("ROLLBACK")
        refuse_locked(f"sqlite:///{path}")
    refuse_locked(f"sqlite:///{tmp_path}/not_there_yet.db")
    assert not (tmp_path / "not_there_yet.db").exists()


def test_what_does_not_end_the_process_does_not_fail_the_run(
    training: Training, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another thread's exception, another thread's exit, a typo in a session."""
    code, _, err = training.run_new("""
import _thread, threading
mlflow.start_run(); mlflow.log_metric('m', 1)
threading.excepthook = lambda found: sys.excepthook(*found[:3])
thread = threading.Thread(target=lambda: 1 / 0)
thread.start(); thread.join()

done = threading.Event()
def leave():
    try:
        sys.exit(3)
    finally:
        done.set()
_thread.start_new_thread(leave, ())
done.wait()

sys.ps1 = ">>> "
sys.excepthook(ValueError, ValueError("typo"), None)
""")
    assert code == 0, err
    assert "ZeroDivisionError" in err
    assert "typo" in err
    run = training.only_run(monkeypatch)
    assert (run.info.status, "weir.exit_cause" in run.data.tags) == ("FINISHED", False)


@pytest.mark.parametrize("database", [":memory:", "file:{folder}/a.db?uri=true"])
def test_a_database_that_only_this_process_reaches_is_written_directly(
    training: Training, tmp_path: Path, database: str
) -> None:
    put_mlflow_tables(tmp_path / "a.db")
    code, out, err = training.run(
        """
with mlflow.start_run() as run:
    mlflow.log_metric("m", 1)
print(mlflow.get_run(run.info.run_id).data.metrics)
""",
        MLFLOW_TRACKING_URI=f"sqlite+weir:///{database.format(folder=tmp_path)}",
    )
    assert (code, out.strip()) == (0, "{'m': 1.0}"), err
    assert not training.spool.exists()
