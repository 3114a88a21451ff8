"""``weir export``: what is written is what the store has, and is written once."""

from __future__ import annotations

import csv
import json
import math
import os
import shutil
from contextlib import closing
from pathlib import Path
from typing import Any

import mlflow
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner
from mlflow import MlflowClient
from mlflow.entities import LoggedModelOutput, Metric, Param, RunTag
from mlflow.exceptions import MlflowException
from mlflow.store.artifact.local_artifact_repo import LocalArtifactRepository

from databases import DatabaseServer
from mlflow_weir.plugin import exporting
from mlflow_weir.plugin.cli import main
from mlflow_weir.plugin.exported_beside import beside
from mlflow_weir.plugin.recorder import Recorder
from s3_server import S3Server

pytestmark = pytest.mark.slow

VALUES = {"loss": [0.1, math.nan, math.inf, -2.5e-300], "längere/Namen: so": [1.0, 1.0]}


@pytest.fixture
def uri(database_server: DatabaseServer, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setenv("WEIR_CLIENT", "off")
    scheme, _, rest = database_server.new_mlflow_database().partition("://")
    return f"{scheme.partition('+')[0]}+weir://{rest}"


def export(uri: str, folder: Path, *words: str) -> dict[str, Any]:
    done = CliRunner().invoke(
        main, ["export", "--uri", uri, "--to", str(folder), "--json", *words]
    )
    assert done.stdout, done.exception
    report: dict[str, Any] = json.loads(done.stdout)
    assert done.exit_code == bool(report["failed"]), report
    return report


def fill(client: MlflowClient, folder: Path) -> list[str]:
    experiment = client.create_experiment("out", artifact_location=(folder / "store").as_uri())
    run_ids = []
    for number in range(3):
        run_id = str(client.create_run(experiment, run_name=f"run {number}").info.run_id)
        points = [
            Metric(key, value, 10**12 + step, step)
            for key, values in VALUES.items()
            for step, value in enumerate(values)
        ]
        client.log_batch(run_id, points, [Param("lr", "0.1")], [RunTag("who", "ich 🙂")])
        client.log_text(run_id, f"text {number}", "below/note.txt")
        client.set_terminated(run_id)
        run_ids.append(run_id)
    return run_ids


def written(folder: Path, file_format: str) -> list[tuple[str, int, int, str]]:
    """Give the points of an exported run: key, timestamp, step, value."""
    path = folder / f"metrics.{file_format}"
    if file_format == "parquet":
        rows = pq.read_table(path).to_pylist()
    elif file_format == "csv":
        with open(path, encoding="utf-8", newline="") as file:
            rows = list(csv.DictReader(file))
    else:
        found = json.loads(path.read_text("utf-8"))
        rows = [
            {"run_id": found["run_id"], "key": key, "timestamp": t, "step": s, "value": v}
            for key, points in found["metrics"].items()
            for t, s, v in points
        ]
    assert {row["run_id"] for row in rows} == {folder.name}
    return [
        (row["key"], int(row["timestamp"]), int(row["step"]), repr(float(row["value"])))
        for row in rows
    ]


@pytest.mark.quick_on("sqlite")
def test_it_writes_what_the_store_has_once(uri: str, tmp_path: Path) -> None:
    client = MlflowClient(uri)
    run_ids = fill(client, tmp_path)
    expected = [
        (key, point.timestamp, point.step, repr(point.value))
        for key in sorted(VALUES)
        for point in client.get_metric_history(run_ids[0], key)
    ]
    for file_format in exporting.FORMATS:
        folder = tmp_path / file_format
        report = export(uri, folder, "--format", file_format, run_ids[0])
        assert (report["n_runs"], report["n_points"]) == (1, 6)
        (experiment,) = folder.iterdir()
        assert written(experiment / run_ids[0], file_format) == expected
    folder = tmp_path / "all"
    words = ["--experiment", "out", "--filter", "params.lr = '0.1'", "--artifacts"]
    report = export(uri, folder, *words)
    assert (report["n_runs"], report["n_same"], report["n_artifacts"]) == (3, 0, 3)
    (experiment,) = folder.iterdir()
    facts = json.loads((experiment / run_ids[1] / "run.json").read_text("utf-8"))
    assert facts["info"]["status"] == "FINISHED"
    assert facts["params"] == {"lr": "0.1"}
    assert facts["tags"]["who"] == "ich 🙂"
    assert facts["experiment"]["name"] == "out"
    note = experiment / run_ids[2] / "artifacts" / "below" / "note.txt"
    assert note.read_text() == "text 2"
    # Again: nothing but what has changed.
    client.set_tag(run_ids[1], "who", "du")
    before = note.stat().st_mtime_ns
    report = export(uri, folder, *words)
    assert (report["n_runs"], report["n_same"]) == (1, 2)
    assert note.stat().st_mtime_ns == before
    facts = json.loads((experiment / run_ids[1] / "run.json").read_text("utf-8"))
    assert facts["tags"]["who"] == "du"
    # What a run that has ended is given later is a change as well.
    client.log_text(run_ids[2], "text, longer", "below/note.txt")
    client.log_text(run_ids[0], "new", "late.txt")
    report = export(uri, folder, *words)
    assert (report["n_runs"], report["n_same"], report["n_artifacts"]) == (2, 1, 3)
    assert note.read_text() == "text, longer"
    assert (experiment / run_ids[0] / "artifacts" / "late.txt").read_text() == "new"
    assert export(uri, folder, *words)["n_same"] == 3


@pytest.mark.filterwarnings("ignore", "error:::mlflow_weir")  # MLflow's tracing warns of itself
@pytest.mark.quick_on("sqlite")
def test_logged_models_and_traces_of_a_run_come_along(uri: str, tmp_path: Path) -> None:
    client = MlflowClient(uri)
    run_ids = fill(client, tmp_path)
    run = client.get_run(run_ids[0])
    model = client.create_logged_model(run.info.experiment_id, "net", run_ids[0])
    weights = tmp_path / "weights.bin"
    weights.write_bytes(b"1234")
    client.log_model_artifact(model.model_id, str(weights))
    client.log_metric(run_ids[0], "acc", 0.5, 10**12, 1, model_id=model.model_id)
    client.finalize_logged_model(model.model_id, "READY")
    before = mlflow.get_tracking_uri()
    mlflow.set_tracking_uri(uri)  # where the client's traces go
    root = client.start_trace("ask", inputs={"q": 1}, experiment_id=run.info.experiment_id)
    client.end_trace(root.trace_id, outputs={"a": 2})
    mlflow.flush_trace_async_logging()
    mlflow.set_tracking_uri(before)
    client.link_traces_to_run([root.trace_id], run_ids[0])
    folder = tmp_path / "out"
    report = export(uri, folder, "--artifacts", *run_ids)
    assert (report["n_runs"], report["n_models"], report["n_traces"]) == (3, 1, 1)
    (experiment,) = folder.iterdir()
    facts = json.loads((experiment / run_ids[0] / "run.json").read_text("utf-8"))
    (found,) = facts["models"]
    assert (found["model_id"], found["name"], found["status"]) == (model.model_id, "net", "READY")
    assert [(one["key"], one["value"]) for one in found["metrics"]] == [("acc", "0.5")]
    kept = experiment / run_ids[0] / "models" / model.model_id / "weights.bin"
    assert kept.read_bytes() == b"1234"
    (trace,) = json.loads((experiment / run_ids[0] / "traces.json").read_text("utf-8"))
    assert trace["info"]["trace_id"] == root.trace_id
    assert [span["name"] for span in trace["data"]["spans"]] == ["ask"]
    assert not (experiment / run_ids[1] / "traces.json").exists()
    assert export(uri, folder, "--artifacts", *run_ids)["n_same"] == 3
    client.set_logged_model_tags(model.model_id, {"late": "yes"})
    assert export(uri, folder, "--artifacts", *run_ids)["n_runs"] == 1


@pytest.mark.quick_on("sqlite")
def test_what_was_stopped_or_failed_is_not_taken_for_whole(
    uri: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = MlflowClient(uri)
    run_ids = fill(client, tmp_path)
    folder = tmp_path / "out"
    download = LocalArtifactRepository.download_artifacts
    failing = [MlflowException("the store is away"), KeyboardInterrupt()]

    def fail(self: LocalArtifactRepository, path: str, target: str) -> str:
        if run_ids[1] in self.artifact_dir:
            raise failing.pop(0)
        return str(download(self, path, target))  # type: ignore[no-untyped-call]

    monkeypatch.setattr(LocalArtifactRepository, "download_artifacts", fail)
    report = export(uri, folder, "--artifacts", *run_ids)
    assert report["failed"] == {run_ids[1]: "the store is away"}
    assert report["n_runs"] == 2
    (experiment,) = folder.iterdir()
    assert not (experiment / run_ids[1]).exists()
    kept = beside(uri)
    assert kept is not None
    with closing(kept), pytest.raises(KeyboardInterrupt):
        exporting.export(client, run_ids, folder, beside=kept, with_artifacts=True)
    monkeypatch.setattr(LocalArtifactRepository, "download_artifacts", download)
    report = export(uri, folder, "--artifacts", *run_ids)
    assert (report["n_runs"], report["n_same"]) == (1, 2)
    assert sorted(path.name for path in experiment.iterdir()) == sorted(run_ids)
    assert export(uri, folder, "0" * 32)["failed"].keys() == {"0" * 32}
    assert CliRunner().invoke(main, ["export", "--to", "x"]).exit_code == 2


@pytest.mark.quick_on("sqlite")
def test_a_file_replaced_by_one_of_its_size_and_time_is_another(uri: str, tmp_path: Path) -> None:
    client = MlflowClient(uri)
    run_ids = fill(client, tmp_path)
    folder = tmp_path / "out"
    export(uri, folder, "--artifacts", *run_ids)
    (stored,) = (tmp_path / "store" / run_ids[1]).rglob("note.txt")
    before = stored.stat()
    stored.write_text("text 9")
    os.utime(stored, ns=(before.st_atime_ns, before.st_mtime_ns))
    report = export(uri, folder, "--artifacts", *run_ids)
    assert (report["n_runs"], report["n_same"]) == (1, 2)
    (experiment,) = folder.iterdir()
    kept = experiment / run_ids[1] / "artifacts" / "below" / "note.txt"
    assert kept.read_text() == "text 9"


def test_an_object_replaced_by_one_of_its_size_is_another(
    new_store: Path, tmp_path: Path, s3: S3Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WEIR_CLIENT", "off")
    monkeypatch.setenv("MLFLOW_S3_ENDPOINT_URL", s3.address)
    s3.new_bucket("exported")
    uri = f"weir://{new_store}"
    client = MlflowClient(uri)
    experiment = client.create_experiment("in s3", artifact_location="s3://exported/here")
    run_id = client.create_run(experiment).info.run_id
    client.log_text(run_id, "text 0", "below/note.txt")
    client.set_terminated(run_id)
    folder = tmp_path / "out"
    assert export(uri, folder, "--artifacts", run_id)["n_artifacts"] == 1
    assert export(uri, folder, "--artifacts", run_id)["n_same"] == 1
    client.log_text(run_id, "text 1", "below/note.txt")
    assert export(uri, folder, "--artifacts", run_id)["n_runs"] == 1
    kept = folder / experiment / run_id / "artifacts" / "below" / "note.txt"
    assert kept.read_text() == "text 1"


@pytest.mark.quick_on("sqlite")
def test_points_that_come_late_are_a_change_and_stock_databases_tell_of_none(
    uri: str, tmp_path: Path
) -> None:
    client = MlflowClient(uri)
    (run_id, *_) = fill(client, tmp_path)
    folder = tmp_path / "out"
    export(uri, folder, run_id)
    client.log_metric(run_id, "loss", 7.0, 10**12, 0)  # older than the latest one
    assert client.get_run(run_id).data.metrics["loss"] == VALUES["loss"][-1]
    report = export(uri, folder, run_id)
    assert (report["n_runs"], report["n_points"]) == (1, 7)
    stock = f"sqlite:///{tmp_path}/stock.db"
    run_id = MlflowClient(stock).create_run("0").info.run_id
    MlflowClient(stock).set_terminated(run_id)
    assert export(stock, folder, run_id)["left_out"] == {}
    assert export(stock, folder, run_id)["left_out"] == {
        "runs compared by their latest values, not by all points": 1
    }


@pytest.mark.quick_on("sqlite")
def test_a_model_that_was_deleted_keeps_no_run_back(uri: str, tmp_path: Path) -> None:
    client = MlflowClient(uri)
    (run_id, *_) = fill(client, tmp_path)
    experiment = client.get_run(run_id).info.experiment_id
    model = client.create_logged_model(experiment, "net", run_id)
    client.log_outputs(run_id, [LoggedModelOutput(model.model_id, 1)])
    client.delete_logged_model(model.model_id)
    report = export(uri, tmp_path / "out", "--artifacts", run_id)
    assert (report["n_runs"], report["n_models"]) == (1, 0)
    assert report["left_out"] == {"logged models that are deleted": 1}


def test_a_run_is_there_whenever_an_export_is_killed(
    new_store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At each of the steps that put it in place: as it was before, or as it is."""
    monkeypatch.setenv("WEIR_CLIENT", "off")
    uri, folder = f"weir://{new_store}", tmp_path / "out"
    client = MlflowClient(uri)
    run_ids = fill(client, tmp_path)
    export(uri, folder, *run_ids)
    (experiment,) = folder.iterdir()
    facts = experiment / run_ids[0] / "run.json"
    steps = ["replace", "replace", "rmtree"]
    for number, name in enumerate(steps):
        client.set_tag(run_ids[0], "who", f"state {number}")
        place: Any = shutil if name == "rmtree" else os
        real = getattr(place, name)
        left = steps[:number].count(name) + (name == "rmtree") * 2  # two tidy up before

        def die(*words: Any, real: Any = real, **options: Any) -> Any:
            nonlocal left
            left -= 1
            if left < 0:
                raise KeyboardInterrupt
            return real(*words, **options)

        monkeypatch.setattr(place, name, die)
        with pytest.raises(KeyboardInterrupt):
            exporting.export(client, run_ids[:1], folder)
        monkeypatch.setattr(place, name, real)
        # Asked for what is there alone, it puts back what was on its way.
        exporting._put_back(experiment / run_ids[0])
        assert facts.exists()
        assert export(uri, folder, *run_ids)["failed"] == {}
        assert json.loads(facts.read_text("utf-8"))["tags"]["who"] == f"state {number}"
        assert sorted(one.name for one in experiment.iterdir()) == sorted(run_ids)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--uri", "sqlite:///{weir}/weir.db", "x"], "of which stock MLflow sees a part"),
        (["--uri", "sqlite:///{weir}/none.db", "x"], "there is no such file"),
        (["--uri", "weir:///{weir}/none", "x"], "there is no"),
        (["--uri", "{weir}/none", "x"], "is no folder"),
        (["--uri", "{weir}", "x"], "no experiment of MLflow's is in it"),
        (["--filter", "params.lr = '1'", "x"], "name one"),
        (["--uri", "http://127.0.0.1:9", "x"], "does not answer"),
    ],
)
def test_what_cannot_be_exported_is_said(
    new_store: Path, tmp_path: Path, words: list[str], said: str
) -> None:
    """A store of Weir's by its plain URI above all, which has no history for stock MLflow."""
    filled = [word.replace("{weir}", str(new_store)) for word in words]
    done = CliRunner().invoke(main, ["export", "--to", str(tmp_path / "out"), *filled])
    assert done.exit_code != 0
    assert said in done.output
    assert not (tmp_path / "out").exists()
    assert not list(new_store.glob("none*"))


def test_an_id_that_is_a_path_is_refused(tmp_path: Path) -> None:
    class Hostile:
        def get_run(self, run_id: str) -> Any:
            info = type("Info", (), {"run_id": "../../up", "experiment_id": "0"})
            return type("Run", (), {"info": info})

    client: Any = Hostile()
    report = exporting.export(client, ["x"], tmp_path)
    assert "no id that a folder may be named after" in report.failed["x"]
    assert list(tmp_path.iterdir()) == []


def test_a_folder_of_mlflows_is_exported_as_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
    client = MlflowClient((tmp_path / "mlruns").as_uri())
    run_id = client.create_run("0").info.run_id
    client.log_metric(run_id, "loss", 0.5, 10**12, 1)
    client.set_terminated(run_id)
    monkeypatch.delenv("MLFLOW_ALLOW_FILE_STORE")
    report = export(str(tmp_path / "mlruns"), tmp_path / "out", run_id)
    assert (report["n_runs"], report["n_points"]) == (1, 1)


def test_points_that_wait_on_this_machine_are_mlflows_to_add(
    new_store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A database is read by itself only where nothing of this machine is on its way to it."""
    monkeypatch.setenv("WEIR_CLIENT", "off")
    uri = f"weir://{new_store}"
    (run_id, *_) = fill(MlflowClient(uri), tmp_path)
    asked = []
    ask = MlflowClient.get_metric_history

    def history(self: MlflowClient, *words: str) -> Any:
        asked.append(words)
        return ask(self, *words)

    monkeypatch.setattr(MlflowClient, "get_metric_history", history)
    found = []
    for is_delivered in (True, False):
        monkeypatch.setattr(Recorder, "settle", lambda self, s, said=is_delivered: said)
        folder = tmp_path / str(is_delivered)
        export(uri, folder, run_id)
        (experiment,) = folder.iterdir()
        found.append(written(experiment / run_id, "parquet"))
        assert len(asked) == (0 if is_delivered else len(VALUES))
    assert found[0] == found[1]
