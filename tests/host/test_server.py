"""Real ``mlflow server`` processes on Weir's URIs, stock MLflow's beside them.

The servers are started once: two that run jobs (ours and stock), one on ``weir:``, one with
workspaces.
"""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import mlflow
import pytest
from mlflow import MlflowClient
from mlflow.genai.scorers import ResponseLength
from mlflow.genai.utils import display_utils

from agents import wait_until
from databases import DatabaseServer
from mlflow_server import ServerProcess, ServerSpec, start_servers

JOB_DEADLINE_S = 180.0

pytestmark = [
    pytest.mark.slow,
    # MLflow warns about itself, and where a warning is an error its tracing swallows the span.
    pytest.mark.filterwarnings("ignore", "error:::mlflow_weir"),
]


class Servers(NamedTuple):
    """One of each kind, and the databases of the first two."""

    stock: ServerProcess
    ours: ServerProcess
    embedded: ServerProcess
    workspaces: ServerProcess
    stock_uri: str
    ours_uri: str


@pytest.fixture(scope="module")
def servers(
    tmp_path_factory: pytest.TempPathFactory, sqlite_folder: DatabaseServer
) -> Iterator[Servers]:
    folders = [tmp_path_factory.mktemp(name) for name in Servers._fields[:4]]
    stock, ours, workspaces = (sqlite_folder.new_mlflow_database() for _ in range(3))
    no_jobs = (("MLFLOW_SERVER_ENABLE_JOB_EXECUTION", "false"),)
    uris = [stock, ours.replace("sqlite:", "sqlite+weir:"), "weir:"]
    specs = [
        ServerSpec(["server", "--backend-store-uri", uris[0]], folders[0]),
        ServerSpec(["server", "--backend-store-uri", uris[1]], folders[1]),
        ServerSpec(["ui", "--backend-store-uri", uris[2]], folders[2]),
        ServerSpec(
            [
                *("server", "--enable-workspaces"),
                *("--backend-store-uri", workspaces.replace("sqlite:", "sqlite+weir:")),
            ],
            folders[3],
            no_jobs,
        ),
    ]
    with start_servers(*specs) as started:
        stock_server, ours_server, embedded, with_workspaces = started
        yield Servers(stock_server, ours_server, embedded, with_workspaces, uris[0], uris[1])


@pytest.fixture(autouse=True)
def client_settings() -> Iterator[None]:
    before = mlflow.get_tracking_uri()
    yield
    mlflow.set_tracking_uri(before)


def request(server: ServerProcess, path: str, body: Any = None, **headers: str) -> Any:
    """GET, or POST when there is a body; the decoded answer."""
    data = None if body is None else json.dumps(body).encode()
    call = urllib.request.Request(
        server.address + path, data, {"Content-Type": "application/json", **headers}
    )
    with urllib.request.urlopen(call, timeout=300) as answer:
        return json.load(answer)


def log_a_run(server: ServerProcess, folder: Path) -> dict[str, Any]:
    """Log to the server as a training script does, and return what it answers."""
    mlflow.set_tracking_uri(server.address)
    mlflow.set_experiment("training")
    with mlflow.start_run(run_name="first") as run:
        mlflow.log_params({"lr": 0.1, "layers": 3})
        for step in range(20):
            mlflow.log_metrics({"loss": 1 / (step + 1), "accuracy": step / 20}, step=step)
        mlflow.log_text("hello", "notes/hello.txt")
        mlflow.set_tag("kind", "test")
    client = MlflowClient()
    found = client.search_runs(
        [run.info.experiment_id], "metrics.loss < 0.1 and params.lr = '0.1'"
    )
    downloaded = mlflow.artifacts.download_artifacts(
        run_id=run.info.run_id, artifact_path="notes/hello.txt", dst_path=str(folder)
    )
    history = client.get_metric_history(run.info.run_id, "loss")
    return {
        "metrics": found[0].data.metrics,
        "params": found[0].data.params,
        "status": found[0].info.status,
        "history": [(point.step, point.value) for point in history],
        "text": Path(downloaded).read_text(encoding="utf-8"),
        "artifact root": run.info.artifact_uri.partition(run.info.run_id)[0],
    }


def test_a_client_logs_through_our_server_as_through_stock(
    servers: Servers, tmp_path: Path
) -> None:
    ours = log_a_run(servers.ours, tmp_path)
    assert ours == log_a_run(servers.stock, tmp_path)
    assert ours["artifact root"].startswith("mlflow-artifacts:/")


def run_scorer_job(server: ServerProcess) -> dict[str, Any]:
    """Submit MLflow's own ``invoke_scorer`` job and wait for its end."""
    mlflow.set_tracking_uri(server.address)
    experiment = mlflow.set_experiment("scored")
    with mlflow.start_span("answer") as span:
        span.set_inputs({"question": "How long?"})
        span.set_outputs("Short.")
    mlflow.flush_trace_async_logging()
    scorer = ResponseLength(max_length=100)
    job = request(
        server,
        "/ajax-api/3.0/jobs/",
        {
            "job_name": "invoke_scorer",
            "params": {
                "experiment_id": experiment.experiment_id,
                "serialized_scorer": json.dumps(scorer.model_dump()),
                "trace_ids": [span.trace_id],
            },
        },
    )
    deadline = time.monotonic() + JOB_DEADLINE_S
    while job["status"] in {"PENDING", "RUNNING"} and time.monotonic() < deadline:
        time.sleep(0.25)
        job = request(server, f"/ajax-api/3.0/jobs/{job['job_id']}")
    trace = mlflow.get_trace(span.trace_id)
    assert trace is not None
    return {
        "status": job["status"],
        "error": job.get("error_message"),  # since MLflow 3.17
        "assessed": [
            [(a["assessment_name"], a["feedback"]["value"]) for a in result["assessments"]]
            for result in (job["result"] or {}).values()
        ],
        "failures": [result["failures"] for result in (job["result"] or {}).values()],
        "on the trace": [(a.name, a.feedback.value) for a in trace.info.assessments],
        "listed": [
            (found["job_name"], found["status"])
            for found in request(server, "/ajax-api/3.0/jobs/search", {})["jobs"]
        ],
    }


def test_a_server_job_runs_to_its_end_on_ours_as_on_stock(servers: Servers) -> None:
    ours = run_scorer_job(servers.ours)
    assert ours["status"] == "SUCCEEDED", (ours, servers.ours.output()[-4000:])
    assert ours["on the trace"] == [("response_length", "yes")]
    assert ours == run_scorer_job(servers.stock)


def graphql_run(server: ServerProcess) -> Any:
    """What MLflow's run page asks for: the run with its model versions."""
    mlflow.set_tracking_uri(server.address)
    mlflow.set_experiment("pages")
    with mlflow.start_run(run_name="shown") as run:
        mlflow.log_metric("loss", 0.5, step=3)

    def has_ended() -> bool:
        with contextlib.suppress(urllib.error.HTTPError):  # it is on its way
            path = f"/api/2.0/mlflow/runs/get?run_id={run.info.run_id}"
            return bool(request(server, path)["run"]["info"]["status"] == "FINISHED")
        return False

    # The page asks the server, without this process's journal; others' may wait for ever.
    wait_until(has_ended, "the run is there to its end")
    client = MlflowClient()
    client.create_registered_model("registered")
    client.create_model_version("registered", run.info.artifact_uri, run.info.run_id)
    query = """
    query GetRun($data: MlflowGetRunInput!) {
      mlflowGetRun(input: $data) {
        apiError { message }
        run {
          info { runName status }
          data { metrics { key value step } }
          modelVersions { name version status }
        }
      }
    }"""
    body = {
        "operationName": "GetRun",
        "query": query,
        "variables": {"data": {"runId": run.info.run_id}},
    }
    return request(server, "/graphql", body)


def test_the_run_page_finds_a_runs_model_versions(servers: Servers) -> None:
    ours = graphql_run(servers.ours)
    assert ours == graphql_run(servers.stock)
    assert not ours.get("errors")
    versions = ours["data"]["mlflowGetRun"]["run"]["modelVersions"]
    assert [(v["name"], v["version"]) for v in versions] == [("registered", "1")]


def test_a_server_reports_our_store_as_an_sql_store(servers: Servers) -> None:
    path = "/api/3.0/mlflow/server-info"
    ours = request(servers.ours, path)
    assert ours == request(servers.stock, path)
    assert ours["store_type"] == "SqlStore"
    assert request(servers.embedded, path)["store_type"] == "SqlStore"


def test_the_server_lists_an_experiments_artifacts_through_its_proxy(servers: Servers) -> None:
    def is_stored(server: ServerProcess) -> None:
        mlflow.set_tracking_uri(server.address)
        mlflow.set_experiment("proxied")
        with mlflow.start_run() as run:
            mlflow.log_dict({"a": 1}, "a.json")
        file = f"{run.info.run_id}/artifacts/a.json"
        root = server.folder / "mlartifacts"
        # Artifacts wait beside the journal until the agent uploads them.
        wait_until(lambda: list(root.rglob(file)), "the artifact is stored")

    is_stored(servers.ours)
    is_stored(servers.stock)


def test_the_end_of_a_run_and_of_an_evaluation_say_where_to_see_it(
    servers: Servers, capsys: pytest.CaptureFixture[str]
) -> None:
    def said(server: ServerProcess) -> str:
        mlflow.set_tracking_uri(server.address)
        mlflow.set_experiment("with an address")
        capsys.readouterr()
        with mlflow.start_run(run_name="shown") as run:
            pass
        display_utils.display_evaluation_output(run.info.run_id)
        text = capsys.readouterr().out
        ids = (server.address, run.info.run_id, f"experiments/{run.info.experiment_id}")
        for name, known in zip(("<server>", "<run>", "<experiment>"), ids, strict=True):
            assert known in text
            text = text.replace(known, name)
        return text

    ours = said(servers.ours)
    assert ours == said(servers.stock)
    assert "View run shown at: <server>/#/<experiment>/runs/<run>" in ours


def gc_of_a_run(server: ServerProcess, uri: str) -> list[Any]:
    """Delete a run for good whose artifacts the server keeps; say what is there then."""
    mlflow.set_tracking_uri(server.address)
    mlflow.set_experiment("let go")
    with mlflow.start_run() as run:
        mlflow.log_metric("loss", 1.0)
        mlflow.log_text("x", "x.txt")
    run_id = run.info.run_id
    client = MlflowClient()
    files = (server.folder / "mlartifacts").rglob
    wait_until(lambda: list(files(f"{run_id}/artifacts/x.txt")), "the artifact is stored")
    client.delete_run(run_id)
    words = ["gc", "--backend-store-uri", uri, "--run-ids", run_id]
    done = subprocess.run(
        [sys.executable, "-m", "mlflow", *words, "--tracking-uri", server.address],
        env=os.environ | {"MLFLOW_DISABLE_TELEMETRY": "true"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    with pytest.raises(mlflow.MlflowException) as gone:
        client.get_run(run_id)
    return [
        done.stdout.replace(run_id, "<run>").splitlines(),
        list(files(f"{run_id}/artifacts/x.txt")),
        gone.value.error_code,
    ]


def test_gc_removes_what_the_server_keeps_of_a_run(servers: Servers) -> None:
    ours = gc_of_a_run(servers.ours, servers.ours_uri)
    assert ours == gc_of_a_run(servers.stock, servers.stock_uri)
    assert ours[1:] == [[], "RESOURCE_DOES_NOT_EXIST"]


def test_mlflow_ui_on_weir_serves_what_a_client_logged_there(
    servers: Servers, tmp_path: Path
) -> None:
    folder = servers.embedded.folder
    mlflow.set_tracking_uri(f"weir://{folder}")
    mlflow.set_experiment("written beside the server")
    with mlflow.start_run() as run:
        mlflow.log_metric("loss", 0.25, step=1)
        mlflow.log_text("beside", "beside.txt")
    through_server = MlflowClient(servers.embedded.address)
    assert through_server.get_run(run.info.run_id).data.metrics == {"loss": 0.25}
    assert [f.path for f in through_server.list_artifacts(run.info.run_id)] == ["beside.txt"]

    answers = log_a_run(servers.embedded, tmp_path)
    assert answers["text"] == "hello"
    assert answers["artifact root"].startswith(f"{folder}/weir-artifacts/")
    assert (folder / "weir.db").is_file()
    assert not (folder / "mlartifacts").exists()
    assert not (folder / "mlruns").exists()
    client = MlflowClient(f"weir://{folder}")
    for name in ("Default", "training"):
        experiment = client.get_experiment_by_name(name)
        assert experiment is not None
        assert experiment.artifact_location.startswith(f"{folder}/weir-artifacts/")


def test_mlflow_ui_on_weir_says_in_one_line_that_it_runs_no_jobs(servers: Servers) -> None:
    said = [line for line in servers.embedded.output().splitlines() if "background jobs" in line]
    assert len(said) == 1
    assert f"sqlite+weir:///{servers.embedded.folder}/weir.db" in said[0]
    assert "background jobs" not in servers.ours.output()
    assert "job execution requirements not met" not in servers.ours.output()


def test_a_server_with_workspaces_keeps_them_apart(
    servers: Servers, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = servers.workspaces
    request(server, "/api/3.0/mlflow/workspaces", {"name": "team-a"})
    for name, runs in (("team-a", 2), ("default", 1)):
        header = {"X-MLFLOW-WORKSPACE": name}
        created = request(
            server, "/api/2.0/mlflow/experiments/create", {"name": "same name"}, **header
        )
        for index in range(runs):
            run = request(
                server,
                "/api/2.0/mlflow/runs/create",
                {"experiment_id": created["experiment_id"], "start_time": index},
                **header,
            )["run"]
            request(
                server,
                "/api/2.0/mlflow/runs/log-metric",
                {"run_id": run["info"]["run_id"], "key": "m", "value": 1, "timestamp": 1},
                **header,
            )
    for name, runs in (("team-a", 2), ("default", 1)):
        header = {"X-MLFLOW-WORKSPACE": name}
        experiments = request(
            server, "/api/2.0/mlflow/experiments/search", {"max_results": 100}, **header
        )["experiments"]
        ids = [e["experiment_id"] for e in experiments if e["name"] == "same name"]
        assert len(ids) == 1
        found = request(
            server,
            "/api/2.0/mlflow/runs/search",
            {"experiment_ids": [e["experiment_id"] for e in experiments]},
            **header,
        )["runs"]
        assert len(found) == runs
