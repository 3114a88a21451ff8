"""Places of MLflow's with one of everything in them, and all that a place holds, to be compared.

MLflow's own client fills a place and reads it.
"""

from __future__ import annotations

import contextlib
import math
import shutil
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import mlflow
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
from mlflow.tracing.attachments import Attachment
from mlflow.tracing.client import TracingClient

from mlflow_weir.plugin import mlflow_private
from mlflow_weir.plugin.artifact_places import repository_at

T0 = 1_700_000_000_000
OURS = {"weir.imported_from", "weir.created_at"}
# What each store says of its own.
OF_THE_STORE = {
    "mlflow.artifactLocation",
    "mlflow.trace.spansLocation",
    "mlflow.trace.infoFinalized",
}
Found = dict[str, Any]


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
