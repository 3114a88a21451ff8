"""``weir import mlflow``: all that stock MLflow holds, value by value, from each of its places.

MLflow's own client fills the source and reads both sides.
"""

from __future__ import annotations

import contextlib
import json
import math
import shutil
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import mlflow
import pytest
import sqlalchemy as sa
from click.testing import CliRunner
from mlflow import MlflowClient
from mlflow.entities import (
    AssessmentSource,
    Dataset,
    DatasetInput,
    Expectation,
    Feedback,
    LoggedModelInput,
    LoggedModelOutput,
    Metric,
)
from mlflow.exceptions import MlflowException
from mlflow.protos.databricks_pb2 import INVALID_PARAMETER_VALUE
from mlflow.store.artifact.local_artifact_repo import LocalArtifactRepository
from mlflow.tracing.attachments import Attachment
from mlflow.tracing.client import TracingClient

from dying_imports import import_dying
from mlflow_server import ServerSpec, start_servers
from mlflow_weir.plugin import mlflow_private
from mlflow_weir.plugin.artifact_places import repository_at
from mlflow_weir.plugin.cli import main
from mlflow_weir.store import schema
from mlflow_weir.store.sharing import reports, views
from trainings import NO_JOBS

pytestmark = [
    pytest.mark.slow,
    # MLflow's client in this process warns about itself, and says that folders are deprecated.
    pytest.mark.filterwarnings("ignore", "error:::mlflow_weir"),
]

T0 = 1_700_000_000_000
OURS = {"weir.imported_from", "weir.created_at"}
# What each store says of its own.
OF_THE_STORE = {
    "mlflow.artifactLocation",
    "mlflow.trace.spansLocation",
    "mlflow.trace.infoFinalized",
}
Found = dict[str, Any]


@pytest.fixture(autouse=True)
def direct(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("WEIR_CLIENT", "off")
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")


def bring(*words: str | Path, exit_code: int = 0) -> list[Found]:
    """Run the command and return what it says of each step."""
    found = CliRunner().invoke(main, ["import", "mlflow", *map(str, words), "--json"])
    said: list[Found] = json.loads(found.stdout)
    errors = [(one["title"], one["error"]) for one in said if one["error"]]
    assert found.exit_code == exit_code, (errors, found.stderr)
    return said


def news(said: list[Found]) -> int:
    """Return how much was new, and that nothing was refused."""
    assert [why for one in said for why in (*one["refused"], one["error"]) if why] == []
    return sum(one["n_new"] + one["n_points"] + one["n_files"] for one in said)


@contextlib.contextmanager
def default_place(uri: str) -> Iterator[None]:
    """Have MLflow's tracing and its registry find their way."""
    before = mlflow.get_tracking_uri()
    mlflow.set_tracking_uri(uri)
    yield
    mlflow.set_tracking_uri(before)


def fill(uri: str, artifacts: str | None) -> None:
    """Log one of everything with MLflow's client."""
    client = MlflowClient(uri, registry_uri=uri)
    experiment = client.create_experiment("all kinds", artifacts, {"mlflow.note.content": "why"})
    runs = [client.create_run(experiment, run_name=f"run {i}", tags={"i": str(i)}) for i in (0, 1)]
    first, second = (run.info.run_id for run in runs)
    model = client.create_logged_model(
        experiment, "net", first, {"kind": "small"}, {"lr": "0.1", "depth": "3"}, "pytorch"
    )
    other = client.create_logged_model(experiment, "half", model_type="none")
    for run_id in (first, second):
        client.log_param(run_id, "lr", "0.1")
        points = [
            Metric("loss", value, T0 + step, step)
            for step, value in enumerate([1.0, math.nan, math.inf, -math.inf, 0.5])
        ]
        client.log_batch(run_id, points)
        client.log_metric(
            run_id, "acc", 0.75, T0, 4, model_id=model.model_id, dataset_name="points",
            dataset_digest="d1ge5t",
        )  # fmt: skip
        client.log_text(run_id, f"words {run_id}", "deep/notes.txt")
    client.log_text(first, "weights", "old/model.bin")
    client.log_inputs(
        first,
        [DatasetInput(Dataset("points", "d1ge5t", "http", '{"url": "http://127.0.0.1/x"}'))],
        [LoggedModelInput(other.model_id)],
    )
    client.log_outputs(first, [LoggedModelOutput(model.model_id, 4)])
    repository = repository_at(client, model.artifact_location)
    with tempfile.TemporaryDirectory() as made:
        Path(made, "MLmodel").write_text("flavors: {}\n")
        repository.log_artifact(str(Path(made, "MLmodel")))
        repository.log_artifact(str(Path(made, "MLmodel")), "inner")
    client.set_terminated(first, "FAILED", T0 + 9_000)
    client.finalize_logged_model(model.model_id, "READY")
    register(client, uri, first, model)
    trace(client, uri, experiment, first, second)


def register(client: MlflowClient, uri: str, run_id: str, model: Any) -> None:
    """Register models with a version deleted, and a prompt with two versions."""
    store = mlflow_private.registry_store(uri)
    with default_place(uri):
        client.create_registered_model("net 'one'", {"team": "red"}, "the *net*")
        root = client.get_run(run_id).info.artifact_uri
        sources: list[tuple[str, str | None]] = [
            (f"{root}/old", None),
            (f"{root}/old", None),
            (f"models:/{model.model_id}", model.model_id),
        ]
        for source, model_id in sources:
            client.create_model_version(
                "net 'one'", source, run_id, {"n": source[:3]}, description="made",
                model_id=model_id, await_creation_for=0,
            )  # fmt: skip
    client.delete_model_version("net 'one'", "2")
    client.set_registered_model_alias("net 'one'", "champion", "3")
    store.transition_model_version_stage("net 'one'", "1", "Archived", False)
    with default_place(uri):
        client.create_prompt("greeting", "how to begin", {"lang": "de"})
        client.create_prompt_version("greeting", "Hallo {{name}}", "first", {"tone": "kind"})
        client.create_prompt_version("greeting", [{"role": "user", "content": "Hi {{name}}"}])
        client.set_prompt_alias("greeting", "live", 1)


def trace(client: MlflowClient, uri: str, experiment: str, first: str, second: str) -> None:
    """Record traces: one with all that a trace can have, and one that failed."""
    with default_place(uri):
        root = client.start_trace("ask", inputs={"q": "wie?"}, experiment_id=experiment,
                                  tags={"who": "ich"})  # fmt: skip
        inner = client.start_span("search", root.trace_id, root.span_id, "RETRIEVER",
                                  {"k": 3}, {"deep": {"a": [1, 2.5]}})  # fmt: skip
        client.end_span(root.trace_id, inner.span_id, outputs=["x", "y"])
        picture = Attachment(content_type="image/png", content_bytes=b"\x89PNG bytes")
        client.end_trace(root.trace_id, outputs={"a": picture})
        failed = client.start_trace("fail", experiment_id=experiment)
        client.end_trace(failed.trace_id, status="ERROR")
        mlflow.flush_trace_async_logging()
        source = AssessmentSource("HUMAN", "ich")
        tracing = TracingClient(uri)
        one = Feedback("good", 0.5, source=source, rationale="well", trace_id=root.trace_id)
        made = tracing.log_assessment(root.trace_id, one)
        better = Feedback("good", 1.0, source=source, overrides=made.assessment_id)
        tracing.log_assessment(root.trace_id, better)
        tracing.log_assessment(root.trace_id, Expectation("answer", {"x": 1}, source=source))
    with contextlib.suppress(MlflowException, NotImplementedError):  # folders know no links
        client.link_traces_to_run([root.trace_id], second)


def everything(uri: str, tmp_path: Path) -> Found:
    """Return all that a place holds, with MLflow's client, without where it holds it."""
    client = MlflowClient(uri, registry_uri=uri)
    experiments = {one.experiment_id: one for one in client.search_experiments()}
    shown: Found = {}
    for experiment_id, experiment in experiments.items():
        runs = client.search_runs([experiment_id], order_by=["attributes.run_name ASC"])
        models = client.search_logged_models([experiment_id])
        shown[experiment.name] = {
            "tags": experiment.tags,
            "runs": {run.info.run_id: shown_run(client, run, tmp_path) for run in runs},
            "models": {one.model_id: shown_model(client, one, tmp_path) for one in models},
            "traces": shown_traces(client, experiment_id, tmp_path),
            "of runs": {
                run.info.run_id: sorted(
                    one.info.trace_id
                    for one in client.search_traces(
                        locations=[experiment_id], run_id=run.info.run_id, include_spans=False
                    )
                )
                for run in runs
            },
        }
    return {**shown, "registry": shown_registry(client, uri)}


def without_ours(tags: dict[str, str]) -> dict[str, str]:
    return {key: text for key, text in tags.items() if key not in OURS | OF_THE_STORE}


def shown_run(client: MlflowClient, run: Any, tmp_path: Path) -> Found:
    run = client.get_run(run.info.run_id)  # of which a search leaves something out
    info = {
        name: getattr(run.info, name)
        for name in ("run_id", "run_name", "user_id", "status", "start_time", "end_time")
    }
    history = {
        key: sorted(
            (one.step, one.timestamp, kept(one.value))
            for one in client.get_metric_history(run.info.run_id, key)
        )
        for key in run.data.metrics
    }
    return {
        **info,
        "params": run.data.params,
        "tags": without_ours(run.data.tags),
        "history": history,
        "inputs": run.inputs.to_dictionary() if run.inputs else {},
        "outputs": run.outputs.to_dictionary() if run.outputs else {},
        "files": contents(client, run.info.artifact_uri, tmp_path),
    }


def kept(value: float) -> str:
    """Return a value as a database has it: an infinity is the largest number."""
    most = sys.float_info.max
    return "nan" if math.isnan(value) else repr(max(-most, min(most, value)))


def contents(client: MlflowClient, uri: str, tmp_path: Path, path: str = "") -> dict[str, bytes]:
    repository = repository_at(client, uri)
    found: dict[str, bytes] = {}
    for one in repository.list_artifacts(path or None):
        if one.is_dir:
            found |= contents(client, uri, tmp_path, one.path)
        elif one.path != "traces.json":
            folder = tmp_path / "content"
            folder.mkdir(exist_ok=True)
            found[one.path] = Path(
                repository.download_artifacts(one.path, str(folder))
            ).read_bytes()
            shutil.rmtree(folder)
    return found


def shown_model(client: MlflowClient, model: Any, tmp_path: Path) -> Found:
    model = client.get_logged_model(model.model_id)
    return {
        **{
            name: getattr(model, name)
            for name in (
                *("name", "model_type", "source_run_id", "creation_timestamp", "params"),
                "last_updated_timestamp",
            )
        },
        "status": str(model.status),
        "tags": without_ours(model.tags),
        "metrics": sorted(
            (
                one.key,
                one.value,
                one.timestamp,
                one.step,
                one.run_id,
                one.dataset_name,
                one.dataset_digest,
            )
            for one in model.metrics or ()
        ),
        "files": contents(client, model.artifact_location, tmp_path),
    }


def shown_traces(client: MlflowClient, experiment_id: str, tmp_path: Path) -> Found:
    shown = {}
    for one in client.search_traces(locations=[experiment_id]):
        info = one.info
        assessments = {
            found.assessment_id: {"valid": True, **found.to_dictionary()}
            for found in info.assessments
        }
        spans = {}
        for span in one.data.spans:
            fields = span.to_dict()
            fields["attributes"].pop("mlflow.experimentId", None)
            spans[span.span_id] = fields
        shown[info.trace_id] = {
            **{
                name: getattr(info, name)
                for name in (
                    *("request_time", "execution_duration", "state", "client_request_id"),
                    *("request_preview", "response_preview"),
                )
            },
            "tags": without_ours(info.tags),
            "metadata": without_ours(info.trace_metadata),
            "assessments": assessments,
            "spans": spans,
            "files": contents(client, info.tags["mlflow.artifactLocation"], tmp_path),
        }
    return shown


def shown_registry(client: MlflowClient, uri: str) -> Found:
    store = mlflow_private.registry_store(uri)
    shown = {}
    for query in (None, "tags.`mlflow.prompt.is_prompt` = 'true'"):
        for one in store.search_registered_models(filter_string=query, max_results=100):
            quote = '"' if "'" in one.name else "'"
            named = " AND ".join(filter(None, [f"name={quote}{one.name}{quote}", query]))
            versions = store.search_model_versions(named, 100)
            assert len(versions) == 2
            shown[one.name] = {
                "tags": without_ours(one.tags),
                "description": one.description,
                "aliases": {alias: str(number) for alias, number in one.aliases.items()},
                "versions": {
                    int(version.version): {
                        "tags": without_ours(version.tags),
                        "run": version.run_id or None,
                        "stage": version.current_stage,
                        "status": version.status,
                        "description": version.description,
                        "address": relative(client, version),
                    }
                    for version in versions
                },
            }
    return shown


def relative(client: MlflowClient, version: Any) -> str:
    """Return a version's address, with its run's root taken out."""
    source = str(version.source)
    if version.run_id:
        source = source.replace(client.get_run(version.run_id).info.artifact_uri, "RUN")
    return source


def require_same(source: str, target: str, tmp_path: Path) -> None:
    wanted, found = everything(source, tmp_path), everything(target, tmp_path)
    assert found.keys() == wanted.keys()
    for name in wanted:
        assert found[name].keys() == wanted[name].keys()
        for kind in wanted[name]:
            assert found[name][kind] == wanted[name][kind], (name, kind)


@pytest.fixture
def uri(new_store: Path) -> str:
    return f"weir://{new_store}"


def test_all_that_a_database_holds(tmp_path: Path, uri: str) -> None:
    source = f"sqlite:///{tmp_path}/stock.db"
    fill(source, (tmp_path / "artifacts").as_uri())
    assert import_dying(["mlflow", source, "--to", uri], 15, tmp_path) > 1
    require_same(source, uri, tmp_path)
    again = bring(source, "--to", uri)
    assert news(again) == 0
    (rest,) = [one for one in again if one["kind"] == "rest"]
    assert rest["left_out"] == {}
    # It goes on there.
    stock = MlflowClient(source, registry_uri=source)
    (experiment,) = [one for one in stock.search_experiments() if one.name == "all kinds"]
    (run, _) = stock.search_runs([experiment.experiment_id])
    stock.update_run(run.info.run_id, name="renamed")
    stock.log_metric(run.info.run_id, "loss", 0.25, T0 + 99, 5)
    stock.set_registered_model_alias("net 'one'", "champion", "1")
    (model, _) = stock.search_logged_models([experiment.experiment_id])
    stock.set_logged_model_tags(model.model_id, {"late": "yes"})
    (asked,) = [
        one.info
        for one in stock.search_traces(locations=[experiment.experiment_id])
        if one.info.tags["mlflow.traceName"] == "ask"
    ]
    stock.set_trace_tag(asked.trace_id, "late", "yes")
    bring(source, "--to", uri)
    require_same(source, uri, tmp_path)


def test_all_that_a_folder_holds(tmp_path: Path, uri: str) -> None:
    folder = tmp_path / "mlruns"
    fill(folder.as_uri(), None)
    before = sorted(folder.rglob("*"))
    assert news(bring(folder, "--to", uri)) > 0
    require_same(folder.as_uri(), uri, tmp_path)
    assert news(bring(folder, "--to", uri)) == 0
    assert sorted(folder.rglob("*")) == before


def test_all_that_another_store_of_weirs_holds_and_what_is_left_is_said(
    tmp_path: Path, uri: str
) -> None:
    source = f"weir://{tmp_path}/other"
    fill(source, None)
    client = MlflowClient(source)
    run_id = client.create_run("0", run_name="long").info.run_id
    values = [math.nan if i % 97 == 0 else i / 7 for i in range(2_500)]
    for first in range(0, len(values), 500):
        client.log_batch(
            run_id,
            [Metric("loss", values[i], T0 + i, i) for i in range(first, first + 500)],
        )
    client.set_terminated(run_id)
    wandb = Path(__file__).parent / "imported" / "wandb"
    found = CliRunner().invoke(main, ["import", "wandb", str(wandb), "--to", source])
    assert found.exit_code == 0, found.output
    database = f"sqlite:///{tmp_path}/other/weir.db"
    compacted = CliRunner().invoke(main, ["db", "compact", database])
    assert compacted.exit_code == 0, compacted.output
    engine = sa.create_engine(database)
    with engine.connect() as connection:
        assert not connection.execute(sa.select(schema.batch.c.batch_id)).all()
    views.save_named(engine, views.scope_of(["0"]), "mine", "me", "{}", None, 0)
    report = {"type": "doc", "content": [{"type": "paragraph"}]}
    reports.create(engine, ["0"], None, "What came out", report, "me")
    engine.dispose()

    said = bring(source, "--to", uri)
    assert news(said) > 2_500
    require_same(source, uri, tmp_path)
    (rest,) = [one for one in said if one["kind"] == "rest"]
    assert rest["left_out"] == {
        "what runs printed": 1,
        "runs' histograms": 1,
        "arrangements of the workspace": 1,
        "reports": 1,
    }
    assert news(bring(source, "--to", uri)) == 0
    (rest,) = [one for one in bring(source, "--to", uri, "--from", "all kinds") if one["left_out"]]
    assert rest["left_out"] == {"registered models and prompts, with --from": 1}


def test_artifacts_behind_a_server_are_said_to_be_there(tmp_path: Path, uri: str) -> None:
    """Who names the database of a server that hands out artifacts gets all but these."""
    source = f"sqlite:///{tmp_path}/stock.db"
    stock = MlflowClient(source)
    experiment = stock.create_experiment("served", "mlflow-artifacts:/1")
    run_id = stock.create_run(experiment).info.run_id
    stock.log_metric(run_id, "loss", 0.5, T0, 1)
    said = bring(source, "--to", uri, exit_code=1)
    (run,) = [one for one in said if one["run_id"]]
    assert run["n_points"] == 1
    assert run["error"] == (
        "its artifacts are behind a server (name the server's address, not its database)"
    )
    words = ["export", "--uri", source, "--to", str(tmp_path / "out"), "--artifacts", run_id]
    exported = CliRunner().invoke(main, words)
    assert exported.exit_code == 1
    assert "name the server's address, not its database" in exported.stdout


def test_points_that_come_late_and_what_becomes_again_what_it_was(
    tmp_path: Path, uri: str
) -> None:
    """A database is asked between any two of its writers, whose clocks need not agree."""
    source = f"sqlite:///{tmp_path}/stock.db"
    stock = MlflowClient(source)
    experiment = stock.create_experiment("late", (tmp_path / "artifacts").as_uri())
    run_id = stock.create_run(experiment).info.run_id
    stock.log_batch(
        run_id, [Metric("loss", step / 7, T0 + step, step) for step in range(0, 20, 2)]
    )
    stock.set_tag(run_id, "mood", "good")
    assert news(bring(source, "--to", uri)) == 10
    for step, mood in ((3, "bad"), (7, "good"), (5, "bad"), (1, "good")):
        stock.log_metric(run_id, "loss", math.nan if step == 7 else step / 7, T0 + step, step)
        stock.set_tag(run_id, "mood", mood)
        assert news(bring(source, "--to", uri)) == 1
        assert news(bring(source, "--to", uri)) == 0
        require_same(source, uri, tmp_path)
    # As SQLite took it from whoever gave a NumPy integer.
    with sa.create_engine(source).begin() as connection:
        changed = "UPDATE metrics SET step = x'1300000000000000' WHERE step = 18"
        connection.execute(sa.text(changed))
    assert news(bring(source, "--to", uri)) == 1
    assert 19 in [one.step for one in MlflowClient(uri).get_metric_history(run_id, "loss")]


def test_a_file_that_is_refused_or_gone_keeps_none_of_the_others_back(
    tmp_path: Path, uri: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = f"sqlite:///{tmp_path}/stock.db"
    stock = MlflowClient(source)
    experiment = stock.create_experiment("files", (tmp_path / "artifacts").as_uri())
    run_id = stock.create_run(experiment).info.run_id
    for name in ("a.txt", "b.txt", "c.txt", "d.txt", "e.txt"):
        stock.log_text(run_id, name, name)
    ways: dict[str, Any] = {
        name: getattr(LocalArtifactRepository, name)
        for name in ("log_artifact", "download_artifacts")
    }

    def refuse(self: Any, local: str, folder: str | None = None) -> None:
        if local.endswith("b.txt"):
            raise MlflowException("no such name", INVALID_PARAMETER_VALUE)
        ways["log_artifact"](self, local, folder)

    def lose(self: Any, path: str, to: str | None = None) -> str:
        if path == "d.txt":
            raise OSError("it is gone")
        return str(ways["download_artifacts"](self, path, to))

    monkeypatch.setattr(LocalArtifactRepository, "log_artifact", refuse)
    monkeypatch.setattr(LocalArtifactRepository, "download_artifacts", lose)
    said = bring(source, "--to", uri, exit_code=1)
    (run,) = [one for one in said if one["run_id"]]
    assert run["n_files"] == 3
    assert run["refused"] == ["artifact b.txt: no such name"]
    assert run["error"] == "files that cannot be read: d.txt: it is gone"
    monkeypatch.undo()
    monkeypatch.setenv("WEIR_CLIENT", "off")
    assert news(bring(source, "--to", uri)) == 2


@pytest.fixture(scope="module")
def servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, str]]:
    """Give the addresses of a stock server and of one that runs Weir."""
    folder = tmp_path_factory.mktemp("servers")
    specs = []
    for name, scheme in (("stock", "sqlite"), ("ours", "sqlite+weir")):
        (folder / name).mkdir()
        arguments = ["server", "--backend-store-uri", f"{scheme}:///{folder}/{name}/a.db"]
        specs.append(ServerSpec(arguments, folder / name, (NO_JOBS,)))
    with start_servers(*specs) as (stock, ours):
        yield stock.address, ours.address


def test_a_stock_server_is_refused_before_anything_is_made_there(
    tmp_path: Path, servers: tuple[str, str]
) -> None:
    stock, _ = servers
    folder = Path(__file__).parent / "imported" / "tensorboard"
    found = CliRunner().invoke(main, ["import", "tensorboard", str(folder), "--to", stock])
    assert found.exit_code == 1
    assert "does not run Weir" in found.output
    assert MlflowClient(stock).get_experiment_by_name("tensorboard") is None


def test_all_that_a_server_holds_goes_into_a_server(
    tmp_path: Path, servers: tuple[str, str]
) -> None:
    source, target = servers
    fill(source, None)
    assert news(bring(source, "--to", target)) > 0
    require_same(source, target, tmp_path)
    assert news(bring(source, "--to", target)) == 0
    # And on from there: history in chunks comes over HTTP, what a server has beside it is said.
    home = f"weir://{tmp_path}/home"
    said = bring(target, "--to", home)
    assert news(said) > 0
    require_same(target, home, tmp_path)
    (rest,) = [one for one in said if one["kind"] == "rest"]
    assert [what.partition(":")[0] for what in rest["left_out"]] == [
        "what a server of Weir's has beside MLflow's"
    ]


def test_a_name_that_is_another_one_in_an_address_is_refused(
    tmp_path: Path, servers: tuple[str, str]
) -> None:
    _, target = servers
    source = f"sqlite:///{tmp_path}/stock.db"
    stock = MlflowClient(source)
    experiment = stock.create_experiment("odd names", (tmp_path / "artifacts").as_uri())
    run_id = stock.create_run(experiment).info.run_id
    for name in ("w?1.txt", "w?2.txt", "deep?/a.txt", "ü & b+c.txt"):
        stock.log_text(run_id, name, name)
    (run,) = [one for one in bring(source, "--to", target) if one["run_id"]]
    assert sorted(one.partition(": ")[0] for one in run["refused"]) == [
        "artifact deep?/a.txt",
        "artifact w?1.txt",
        "artifact w?2.txt",
    ]
    there = MlflowClient(target).list_artifacts(run_id)
    assert (run["n_files"], [one.path for one in there]) == (1, ["ü & b+c.txt"])
