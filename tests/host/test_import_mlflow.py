"""``weir import mlflow``: all that stock MLflow holds, value by value, from each of its places.

What fills the source and reads both sides is in ``mlflow_places.py``.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from click.testing import CliRunner
from mlflow import MlflowClient
from mlflow.entities import Metric
from mlflow.exceptions import MlflowException
from mlflow.protos.databricks_pb2 import INVALID_PARAMETER_VALUE
from mlflow.store.artifact.local_artifact_repo import LocalArtifactRepository

from dying_imports import import_dying
from mlflow_places import T0, Found, default_place, fill, require_same
from mlflow_server import ServerSpec, start_servers
from mlflow_weir.plugin.cli import main
from mlflow_weir.store import schema
from mlflow_weir.store.sharing import reports, views
from trainings import NO_JOBS

pytestmark = [
    pytest.mark.slow,
    # MLflow's client in this process warns about itself, and says that folders are deprecated.
    pytest.mark.filterwarnings("ignore", "error:::mlflow_weir"),
]


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


def test_a_number_that_is_left_out_is_noted_nowhere(
    tmp_path: Path, servers: tuple[str, str]
) -> None:
    """A server writes on a logged model which versions were made of it."""
    _, target = servers
    source = f"sqlite:///{tmp_path}/stock.db"
    stock = MlflowClient(source, registry_uri=source)
    experiment = stock.create_experiment("numbers", (tmp_path / "artifacts").as_uri())
    model = stock.create_logged_model(experiment, "half")
    stock.create_registered_model("gaps")
    with default_place(source):
        for _ in range(3):
            stock.create_model_version(
                "gaps", f"models:/{model.model_id}", model_id=model.model_id, await_creation_for=0
            )
    for number in "12":
        stock.delete_model_version("gaps", number)
    bring(source, "--to", target)
    client = MlflowClient(target)
    versions = client.search_model_versions("name = 'gaps'")
    assert [int(one.version) for one in versions] == [3]
    noted = json.loads(client.get_logged_model(model.model_id).tags["mlflow.modelVersions"])
    assert [(one["name"], int(one["version"])) for one in noted] == [("gaps", 3)]
