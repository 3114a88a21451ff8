"""A training with ``WEIR_CLIENT=on`` on a tracking server that knows nothing of Weir.

Everything goes by MLflow's REST API. What a script wrote is read by MLflow's own client, without a
journal, and held against what the same script leaves without Weir.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import threading
import time
from collections.abc import Iterator
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from mlflow import MlflowClient
from mlflow.entities import Run

from agents import agents_of, kill_agents, wait_until
from databases import DatabaseServer
from mlflow_server import ServerSpec, start_servers
from mlflow_weir.plugin.agent import client as agent
from mlflow_weir.plugin.journal.spool import Spool
from senders import User, login_variables
from trainings import (
    COUNT_QUESTIONS,
    NO_JOBS,
    Moving,
    Place,
    Training,
    begin,
    ends,
    error_of,
    server_command,
    with_weir,
)

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("agent")]

ADMIN = User("admin", "password1234567")
ON = {"WEIR_CLIENT": "on"}


@pytest.fixture(autouse=True)
def no_journal_here(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WEIR_CLIENT", "off")
    monkeypatch.setenv("MLFLOW_TRACKING_USERNAME", ADMIN.name)
    monkeypatch.setenv("MLFLOW_TRACKING_PASSWORD", ADMIN.password)


@pytest.fixture(scope="module")
def places(
    tmp_path_factory: pytest.TempPathFactory, sqlite_folder: DatabaseServer
) -> Iterator[dict[str, Place]]:
    folders = {name: tmp_path_factory.mktemp(name) for name in ("stock", "auth")}
    auth_variables = login_variables(folders["auth"], ADMIN)
    urls = {name: sqlite_folder.new_mlflow_database() for name in folders}
    specs = [
        ServerSpec(server_command(urls["stock"]), folders["stock"], (NO_JOBS,)),
        ServerSpec(
            [*server_command(urls["auth"]), "--app-name", "basic-auth"],
            folders["auth"],
            (NO_JOBS, *auth_variables),
        ),
    ]
    with start_servers(*specs) as (stock, auth):
        yield {
            "stock": Place(stock.address, ON),
            "auth": Place(
                auth.address,
                {
                    **ON,
                    "MLFLOW_TRACKING_USERNAME": ADMIN.name,
                    "MLFLOW_TRACKING_PASSWORD": ADMIN.password,
                },
            ),
        }


@pytest.fixture(params=["stock", pytest.param("auth", marks=pytest.mark.long)])
def training(
    request: pytest.FixtureRequest, tmp_path: Path, places: dict[str, Place]
) -> Iterator[Training]:
    yield from begin(tmp_path, places[request.param])


@pytest.fixture
def stock(tmp_path: Path, places: dict[str, Place]) -> Iterator[Training]:
    yield from begin(tmp_path, places["stock"])


@pytest.fixture
def url(sqlite_folder: DatabaseServer) -> str:
    return sqlite_folder.new_mlflow_database()


@pytest.fixture
def moving(tmp_path: Path, url: str) -> Iterator[Moving]:
    folder = tmp_path / "server"
    folder.mkdir()
    server = Moving(folder, url)
    yield server
    server.close()


@pytest.fixture
def away(tmp_path: Path, moving: Moving) -> Iterator[Training]:
    """A training on a stock server that has not started."""
    yield from begin(tmp_path, Place(moving.place.uri, ON))


EVERYTHING = """
import numpy as np
from sklearn.linear_model import LinearRegression
x = np.arange(20.0).reshape(-1, 1)
name = sys.argv[1]
mlflow.set_experiment(name)
with mlflow.start_run(run_name="parent", tags={"begun": "with"}) as run:
    mlflow.log_text("hello", "notes/a.txt")
    with open("b.txt", "w") as file: file.write("b")
    mlflow.log_artifact("b.txt", "notes")
    os.remove("b.txt")
    mlflow.log_params({f"p{i}": "v" * (i % 400) for i in range(150)})
    mlflow.set_tags({"a": "1", "b": "2", "ü": "ß " * 100})
    mlflow.delete_tag("b")
    for step in range(120):
        mlflow.log_metrics({"x": step, "y": -step}, step=step)
    for step, value in enumerate([float("nan"), float("inf"), -float("inf"), 1e-300]):
        mlflow.log_metric("odd", value, step=step)
    with mlflow.start_run(nested=True, run_name="child"):
        mlflow.log_metric("x", 7.0)
    line = LinearRegression().fit(x, x[:, 0])
    model = mlflow.sklearn.log_model(line, name="line", pip_requirements=[])
    mlflow.log_metric("score", 0.5, model_id=model.model_id)
    mlflow.log_input(mlflow.data.from_numpy(x, name="numbers"), context="training")
    mlflow.set_experiment_tag("team", "blue")
assert mlflow.sklearn.load_model(f"models:/{model.model_id}").predict([[3.0]])[0] > 2.9
assert len(mlflow.search_runs(experiment_names=[name])) == 2
client = mlflow.MlflowClient()
assert len(client.get_metric_history(run.info.run_id, "x")) == 120
assert client.get_run(run.info.run_id).data.params["p7"] == "v" * 7
listed = [item.path for item in client.list_artifacts(run.info.run_id, "notes")]
assert listed == ["notes/a.txt", "notes/b.txt"], listed
print(run.info.run_id)
"""


def seen(client: MlflowClient, experiment_name: str) -> dict[str, Any]:
    """Return all that a script left, without what differs from one run of it to the next."""
    experiment = client.get_experiment_by_name(experiment_name)
    assert experiment is not None
    runs = client.search_runs([experiment.experiment_id])
    names = {run.info.run_id: run.info.run_name for run in runs}
    models = client.search_logged_models([experiment.experiment_id])
    names |= {model.model_id: model.name for model in models}
    assert all(run.info.artifact_uri.split("/")[-2] == run.info.run_id for run in runs)
    return {
        "tags": experiment.tags,
        "runs": {run.info.run_name: _facts(client, run, names) for run in runs},
        "models": {
            model.name: (
                str(model.status),
                model.params,
                names.get(model.source_run_id or ""),
                [(metric.key, metric.value, metric.step) for metric in model.metrics or ()],
            )
            for model in models
        },
    }


def _facts(client: MlflowClient, run: Run, names: dict[str, str]) -> dict[str, Any]:
    run_id = run.info.run_id
    tags = {key: value for key, value in run.data.tags.items() if not key.startswith("weir.")}
    for key in ("mlflow.log-model.history", "mlflow.source.name"):
        tags.pop(key, None)
    if parent := tags.pop("mlflow.parentRunId", None):
        tags["parent"] = names[parent]
    assert run.inputs is not None
    assert run.outputs is not None
    return {
        "status": run.info.status,
        "has_ended": run.info.end_time is not None,
        "user": run.info.user_id,
        "params": run.data.params,
        "tags": tags,
        "history": {
            key: [
                (point.step, str(point.value)) for point in client.get_metric_history(run_id, key)
            ]
            for key in sorted(run.data.metrics)
        },
        "latest": {key: str(value) for key, value in run.data.metrics.items()},
        "artifacts": sorted(item.path for item in client.list_artifacts(run_id, "notes")),
        "datasets": [(one.dataset.name, one.dataset.digest) for one in run.inputs.dataset_inputs],
        "outputs": [(names[one.model_id], one.step) for one in run.outputs.model_outputs],
    }


def test_a_script_leaves_what_it_leaves_without_weir(training: Training) -> None:
    run_id = training.run(EVERYTHING, "ours").splitlines()[-1]
    training.settle()
    assert (
        training.client().get_run(run_id).info.run_id == run_id
    )  # it is the server's from the start
    training.run(EVERYTHING, "stock", WEIR_CLIENT="off")
    ours, stocks = (seen(training.client(), name) for name in ("ours", "stock"))
    assert ours == stocks


def test_a_script_without_a_server_leaves_the_same_once_it_is_there(
    away: Training, moving: Moving
) -> None:
    # Reads of what only the server knows are left out.
    offline = EVERYTHING.partition("assert mlflow.sklearn")[0] + "\nprint(run.info.run_id)"
    code, out, err = away.outcome(offline, "ours", WEIR_EXIT_WAIT_SECONDS="0.5")
    assert code == 0, err
    moving.start()
    away.settle()
    away.run(EVERYTHING, "stock", WEIR_CLIENT="off")
    client = away.client()
    assert seen(client, "ours") == seen(client, "stock")
    experiment = client.get_experiment_by_name("ours")
    assert experiment is not None
    key = out.splitlines()[-1]
    (run,) = client.search_runs([experiment.experiment_id], f"tags.`weir.run_key` = '{key}'")
    assert run.info.run_name == "parent"
    (model,) = client.search_logged_models([experiment.experiment_id])
    files = {item.path for item in client.list_logged_model_artifacts(model.model_id)}
    assert "MLmodel" in files


LOG_FOR_A_WHILE = f"""
{COUNT_QUESTIONS}
run = mlflow.start_run()
print(run.info.run_id, flush=True)
before, step, n_reads = n_asked, 0, 0
while not os.path.exists(sys.argv[1]):
    mlflow.log_metric("m", step, step=step)
    if step % 50 == 0:
        mlflow.log_param(f"p{{step}}", step)
        mlflow.set_tag("at", step)
        assert mlflow.get_run(run.info.run_id).data.metrics["m"] == step
        n_reads += 1
    step += 1
    time.sleep(0.002)
print(step, n_asked - before <= n_reads)
"""


@pytest.mark.long
def test_a_server_that_is_killed_in_mid_training_costs_nothing(
    away: Training, moving: Moving, tmp_path: Path
) -> None:
    moving.start()
    process = away.start(LOG_FOR_A_WHILE, str(tmp_path / "end"))
    assert process.stdout is not None
    run_id = process.stdout.readline().strip()

    def delivered() -> int:
        (folder,) = Spool(away.spool).journals()
        return folder.delivered().n_points

    def is_beyond(least: int) -> bool:
        return delivered() > least

    for _ in range(2):
        before = delivered()
        wait_until(partial(is_beyond, before), "the server gets points")
        moving.kill()
        (folder,) = Spool(away.spool).journals()
        wait_until(partial(error_of, folder), "the agent says why")
        moving.start()
    last = delivered()
    wait_until(lambda: delivered() > last, "the server gets points again")
    (tmp_path / "end").touch()
    out, err = process.communicate(timeout=300)
    assert process.returncode == 0, err
    n_points, only_reads_ask = out.splitlines()[0].split()
    assert only_reads_ask == "True"
    run = away.run_named(run_id)
    history = away.client().get_metric_history(run_id, "m")
    assert [point.step for point in history] == list(range(int(n_points)))
    assert run.info.status == "FINISHED"
    assert run.data.tags["at"] == str((int(n_points) - 1) // 50 * 50)
    assert len(away.client().search_runs(["0"])) == 1


TRAIN_OFFLINE = f"""
{COUNT_QUESTIONS}
mlflow.set_experiment("offline")
with mlflow.start_run(run_name="begun offline") as run:
    before = n_asked
    for step in range(200):
        mlflow.log_metric("m", step, step=step)
    mlflow.log_param("a", 1)
    assert n_asked == before, "log calls ask nothing"
    mlflow.log_text("hello", "a.txt")
    assert mlflow.get_run(run.info.run_id).data.params == {{"a": "1"}}
print(run.info.run_id)
"""


def run_with_key(client: MlflowClient, experiment_name: str, key: str) -> Run:
    experiment = client.get_experiment_by_name(experiment_name)
    assert experiment is not None
    (run,) = client.search_runs([experiment.experiment_id])
    assert run.data.tags["weir.run_key"] == key
    return run


@pytest.mark.parametrize("client", [pytest.param("on", marks=pytest.mark.long), "auto"])
@pytest.mark.parametrize("by", ["agent", pytest.param("sync", marks=pytest.mark.long)])
def test_a_training_runs_to_its_end_while_the_server_is_away(
    client: str, by: str, away: Training, moving: Moving
) -> None:
    code, out, err = away.outcome(TRAIN_OFFLINE, WEIR_EXIT_WAIT_SECONDS="0.5", WEIR_CLIENT=client)
    assert code == 0, err
    assert "weir sync" in err
    key = [line for line in out.splitlines() if line[:1] in "0123456789abcdef"][-1]
    if by == "sync":
        kill_agents(Spool(away.spool))
    moving.start()
    if by == "sync":
        done = away.weir("sync")
        assert done.returncode == 0, done.stdout + done.stderr
    away.settle()
    run = run_with_key(away.client(), "offline", key)
    assert (run.info.status, run.data.params) == ("FINISHED", {"a": "1"})
    assert len(away.client().get_metric_history(run.info.run_id, "m")) == 200
    assert [item.path for item in away.client().list_artifacts(run.info.run_id)] == ["a.txt"]


@pytest.mark.long
def test_an_id_that_was_chosen_offline_keeps_working_in_its_process(
    away: Training, moving: Moving, tmp_path: Path
) -> None:
    process = away.start(
        """
import mlflow_weir
mlflow.set_experiment("offline")
run = mlflow.start_run()
mlflow.log_metric("m", 1)
mlflow.log_text("one", "one.txt")
print(run.info.run_id, flush=True)
while not os.path.exists(sys.argv[1]): time.sleep(0.05)
mlflow.log_metric("m", 2, step=2)
with mlflow.start_run(nested=True): pass
assert mlflow_weir.finish(60)
client = mlflow.MlflowClient()
ours = run.info.run_id
assert mlflow.get_run(ours).data.metrics == {"m": 2.0}
mlflow.log_text("two", "two.txt")
mlflow.end_run()
assert mlflow_weir.finish(60)
give_up = time.monotonic() + 120  # the server is not asked again at once
while (there := mlflow.get_run(ours)).info.run_id == ours and time.monotonic() < give_up:
    time.sleep(0.1)
assert there.info.run_id != ours, there
assert there.info.status == "FINISHED"
assert [point.value for point in client.get_metric_history(ours, "m")] == [1.0, 2.0]
listed = [item.path for item in client.list_artifacts(ours)]
assert listed == ["one.txt", "two.txt"], listed
client.set_tag(ours, "late", "yes")
assert mlflow_weir.finish(60)
found = mlflow.search_runs(experiment_names=["offline"], filter_string="tags.late = 'yes'")
assert list(found.run_id) == [there.info.run_id], found
found = mlflow.search_runs(experiment_names=["offline"])
assert len(found) == 2, found
print(there.info.run_id)
""",
        str(tmp_path / "go"),
    )
    assert process.stdout is not None
    key = process.stdout.readline().strip()
    moving.start()
    (tmp_path / "go").touch()
    out, err = process.communicate(timeout=300)
    assert process.returncode == 0, err
    run = away.run_named(out.splitlines()[-1])
    assert run.data.tags["weir.run_key"] == key
    assert run.data.tags["late"] == "yes"
    (child,) = away.client().search_runs(
        [run.info.experiment_id], f"tags.mlflow.parentRunId = '{run.info.run_id}'"
    )
    assert child.info.status == "FINISHED"


@pytest.mark.long
def test_another_process_logs_to_a_run_by_the_id_that_was_chosen_offline(
    away: Training, moving: Moving
) -> None:
    out = away.run(
        """
import subprocess
run = mlflow.start_run()
mlflow.log_metric("m", 1)
script = f"import mlflow; mlflow.MlflowClient().log_metric({run.info.run_id!r}, 'm', 2, step=2)"
subprocess.run([sys.executable, "-c", script], check=True)
mlflow.end_run()  # which prints where to look
print(run.info.run_id)
""",
        WEIR_EXIT_WAIT_SECONDS="0.5",
    )
    moving.start()
    away.settle()
    (run,) = away.client().search_runs(["0"])
    assert run.data.tags["weir.run_key"] == out.splitlines()[-1]
    history = away.client().get_metric_history(run.info.run_id, "m")
    assert [point.value for point in history] == [1.0, 2.0]


@pytest.mark.parametrize(("ending", "code", "status", "cause"), ends())
def test_a_run_ends_as_its_process_does(
    ending: str, code: int, status: str, cause: str | None, stock: Training
) -> None:
    found_code, out, err = stock.outcome_of_new(f"""
print(mlflow.start_run().info.run_id, flush=True)
mlflow.log_metric("m", 1)
{ending}
""")
    assert found_code == code, err
    run = stock.run_named(out.splitlines()[0])
    assert (run.info.status, run.data.tags.get("weir.exit_cause")) == (status, cause)
    assert run.data.metrics == {"m": 1.0}
    assert run.info.end_time is not None


def test_what_the_server_refuses_is_named_and_the_rest_is_delivered(
    away: Training, moving: Moving
) -> None:
    moving.start()
    run_id = away.client().create_run("0").info.run_id
    away.client().log_param(run_id, "a", "first")
    gone = away.client().create_run("0").info.run_id
    away.client().delete_run(gone)
    moving.kill()
    away.run(
        f"""
client = mlflow.MlflowClient()
client.log_param({run_id!r}, "b", 1)
client.log_param({run_id!r}, "a", "second")       # nobody can know that it is there
client.log_batch({run_id!r}, [mlflow.entities.Metric("m", 1.0, 1, 1)],
                 [mlflow.entities.Param("c", "1")], [mlflow.entities.RunTag("t", "1")])
client.log_metric("f" * 32, "m", 1)
with mlflow.start_run(run_id={gone!r}):           # deleted meanwhile
    mlflow.log_metric("m", 1)
    mlflow.log_param("lr", 1)
    mlflow.log_text("x", "x.txt")
client.set_tag({run_id!r}, "after", "it")
""",
        WEIR_EXIT_WAIT_SECONDS="0.5",
    )
    moving.start()
    away.settle()
    run = away.client().get_run(run_id)
    assert run.data.params == {"a": "first", "b": "1", "c": "1"}
    assert (run.data.metrics, run.data.tags["t"]) == ({"m": 1.0}, "1")
    assert run.data.tags["after"] == "it"
    deleted = away.client().get_run(gone)
    assert (deleted.info.lifecycle_stage, deleted.data.metrics) == ("deleted", {})
    told = json.dumps(json.loads(away.weir("status", "--json").stdout))
    assert f"param 'a' of run {run_id}" in told
    assert "Changing param values is not allowed" in told
    assert f"run {'f' * 32} does not exist" in told
    assert f"run {gone} is deleted or not there" in told


MANY_KINDS = """
mlflow.set_experiment("killed")
print("ready", flush=True)
for i in range(12):
    with mlflow.start_run(run_name=f"run {i}"):
        for step in range(30):
            mlflow.log_metric("m", step, step=step)
        mlflow.log_params({"a": i, "b": "x"})
        mlflow.set_tags({"t": i, "u": "1"})
        mlflow.delete_tag("u")
        model = mlflow.initialize_logged_model(name=f"model{i}", params={"p": "1"})
        mlflow.log_metric("score", i, model_id=model.model_id)
        mlflow.finalize_logged_model(model.model_id, "READY")
        mlflow.log_outputs(models=[mlflow.entities.LoggedModelOutput(model.model_id, 1)])
        mlflow.log_text("x", "x.txt")
"""


@pytest.mark.long
def test_an_agent_killed_between_requests_leaves_every_point_once_and_no_second_run(
    away: Training, moving: Moving
) -> None:
    code, _, err = away.outcome(MANY_KINDS, WEIR_EXIT_WAIT_SECONDS="0.2")
    assert code == 0, err
    moving.start()
    n_kills, deadline_s = 0, time.monotonic() + 600
    while Spool(away.spool).journals() and time.monotonic() < deadline_s:
        before = moving.output().count('HTTP/1.1"')
        agent.ensure_agent(away.spool)
        agent.nudge(away.spool)
        if n_kills < 12:  # after another number of requests each time
            wanted = before + 3 + 2 * n_kills
            while moving.output().count('HTTP/1.1"') < wanted and Spool(away.spool).journals():
                agent.ensure_agent(away.spool)
                agent.nudge(away.spool)  # which ends a pause, as that after the server was away
                time.sleep(0.01)
            for pid in agents_of(Spool(away.spool)):
                os.kill(pid, signal.SIGKILL)
            n_kills += 1
        else:
            time.sleep(0.2)
    print(f"{n_kills} kills")
    assert not Spool(away.spool).journals()
    assert n_kills > 5
    client = away.client()
    experiment = client.get_experiment_by_name("killed")
    assert experiment is not None
    runs = client.search_runs([experiment.experiment_id])
    assert sorted(run.info.run_name for run in runs) == sorted(f"run {i}" for i in range(12))
    models = client.search_logged_models([experiment.experiment_id])
    assert sorted(model.name for model in models) == sorted(f"model{i}" for i in range(12))
    by_name = {model.name: model for model in models}
    for run in runs:
        number = run.info.run_name.removeprefix("run ")
        history = client.get_metric_history(run.info.run_id, "m")
        assert [point.step for point in history] == list(range(30))
        assert run.info.status == "FINISHED"
        assert run.data.params == {"a": number, "b": "x"}
        assert run.data.tags["t"] == number
        assert "u" not in run.data.tags
        model = by_name[f"model{number}"]
        assert str(model.status) == "READY"
        assert model.source_run_id == run.info.run_id
        assert [metric.value for metric in model.metrics or ()] == [float(number)]
        assert run.outputs is not None
        assert [one.model_id for one in run.outputs.model_outputs] == [model.model_id]
        assert [item.path for item in client.list_artifacts(run.info.run_id)] == ["x.txt"]
    status = json.loads(away.weir("status", "--json").stdout)
    assert "reason" not in json.dumps(status), status


def test_a_weir_server_that_has_become_a_stock_one_gets_plain_rest_and_nothing_is_lost(
    away: Training, moving: Moving, url: str, tmp_path: Path
) -> None:
    moving.becomes(with_weir(url))
    moving.start()
    process = away.start(LOG_FOR_A_WHILE, str(tmp_path / "end"), WEIR_CLIENT="auto")
    assert process.stdout is not None
    before = process.stdout.readline().strip()
    (folder,) = Spool(away.spool).journals()
    wait_until(lambda: folder.delivered().n_points, "Weir gets points")
    assert moving.place.uri in (away.spool / "servers.json").read_text()
    moving.kill()
    moving.becomes(url)
    moving.start()
    n_points = folder.delivered().n_points
    wait_until(lambda: folder.delivered().n_points > n_points, "a stock server gets points")
    assert moving.place.uri not in (away.spool / "servers.json").read_text()
    moving.kill()
    moving.becomes(with_weir(url))
    moving.start()  # in mid-journal, of which this server knows only the beginning
    n_points = folder.delivered().n_points
    wait_until(lambda: folder.delivered().n_points > n_points, "Weir gets points again")
    (tmp_path / "end").touch()
    out, err = process.communicate(timeout=300)
    assert process.returncode == 0, err
    run = away.run_named(before)
    n_points = int(out.splitlines()[0].split()[0])
    history = away.client().get_metric_history(before, "m")
    assert [point.step for point in history] == list(range(n_points))
    assert run.info.status == "FINISHED"


@pytest.mark.long
def test_a_run_begun_for_a_remembered_weir_server_is_found_on_a_stock_one(
    away: Training, moving: Moving, url: str
) -> None:
    moving.becomes(with_weir(url))
    moving.start()
    away.run("with mlflow.start_run(): mlflow.log_metric('m', 1)", WEIR_CLIENT="auto")
    away.settle()
    moving.kill()
    moving.becomes(url)
    moving.start()
    out = away.run(
        """
with mlflow.start_run() as run:
    mlflow.log_metric('m', 2)
    mlflow.log_text('x', 'x.txt')
print(run.info.run_id)""",
        WEIR_CLIENT="auto",
    )
    away.settle()
    runs = {run.data.tags.get("weir.run_key"): run for run in away.client().search_runs(["0"])}
    run = runs[out.splitlines()[-1]]
    assert run.data.metrics == {"m": 2.0}
    assert [item.path for item in away.client().list_artifacts(run.info.run_id)] == ["x.txt"]


class _Page(BaseHTTPRequestHandler):
    """Answers everything with a page, as a proxy's sign-in does."""

    def _answer(self) -> None:
        body = b"<html>Sign in</html>"
        self.send_response(200)
        self.send_header("Content-Type", "text/html")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    do_GET = do_POST = _answer

    def log_message(self, *arguments: object) -> None:
        pass


@contextlib.contextmanager
def page_at(port: int) -> Iterator[None]:
    server = ThreadingHTTPServer(("127.0.0.1", port), _Page)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def test_another_page_at_the_address_gets_nothing_and_the_journal_is_kept(
    away: Training, moving: Moving
) -> None:
    away.run("with mlflow.start_run(): mlflow.log_metric('m', 1)", WEIR_EXIT_WAIT_SECONDS="0.2")
    (folder,) = Spool(away.spool).journals()
    with page_at(moving.spec.port):
        agent.nudge(away.spool)
        wait_until(lambda: "another page" in folder.delivered().error, "the agent says why")
    moving.start()
    assert away.weir("sync").returncode == 0
    away.settle()
    (run,) = away.client().search_runs(["0"])
    assert run.data.metrics == {"m": 1.0}


@pytest.mark.long
def test_a_wrong_password_is_seen_in_the_status_and_harms_nothing(
    tmp_path: Path, places: dict[str, Place]
) -> None:
    for auth in begin(tmp_path, places["auth"]):
        auth.run(
            """
with mlflow.start_run(run_name="locked out") as run: mlflow.log_metric("m", 1)
""",
            MLFLOW_TRACKING_PASSWORD="not-the-password",
            WEIR_EXIT_WAIT_SECONDS="2",
        )
        (folder,) = Spool(auth.spool).journals()
        wait_until(partial(error_of, folder), "the agent says why")
        status = auth.weir("status")
        assert "does not accept the user name, password or token (401)" in status.stdout
        done = auth.weir("sync", "--to", auth.place.uri)  # with the right one
        assert done.returncode == 0, done.stdout + done.stderr
        runs = auth.client().search_runs(["0"], "attributes.run_name = 'locked out'")
        assert [run.data.metrics for run in runs] == [{"m": 1.0}]
