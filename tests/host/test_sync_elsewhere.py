"""``weir sync --to``: a journal, its artifacts and its traces, delivered to another place.

Trainings are real and run while their server is away; what arrived is read by MLflow's own client.
Journals that somebody has tampered with must not make us read or write anything else.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from mlflow import MlflowClient

from databases import DatabaseServer
from mlflow_server import ServerSpec, free_port, start_servers
from mlflow_weir.plugin.journal import files
from mlflow_weir.plugin.journal.spool import Credentials, Spool, Target
from mlflow_weir.plugin.journal.writer import Journal
from mlflow_weir.store.delivery.records import encode_operation, encode_points
from trainings import NO_JOBS, Place, Training, begin, server_command, with_weir

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("agent")]

OFFLINE = """
mlflow.set_experiment("begun offline")
with mlflow.start_run() as run:
    mlflow.log_metric("m", 1.0, step=3)
    for text in ("first", "the second"):
        mlflow.log_text(text, "notes/a.txt")
    os.makedirs("tree/deep")
    open("tree/deep/b.bin", "wb").write(bytes(range(256)))
    mlflow.log_artifacts("tree", "kept")
    model = mlflow.initialize_logged_model(name="net")
    mlflow.log_metric("score", 2.0, model_id=model.model_id)

@mlflow.trace
def traced(x):
    return x + 1

with mlflow.start_run(run_id=run.info.run_id):
    traced(1)
print(run.info.run_id)
"""


@pytest.fixture(autouse=True)
def no_journal_here(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WEIR_CLIENT", "off")


@pytest.fixture
def offline(tmp_path: Path) -> Iterator[Training]:
    """A training whose server has never been there."""
    home = tmp_path / "training"
    home.mkdir()
    nowhere = Place(f"http://127.0.0.1:{free_port()}", {"WEIR_CLIENT": "on"})
    yield from begin(home, nowhere)


def left_behind(training: Training, into: Path, **variables: str) -> tuple[Path, str]:
    """Run the training, then carry its journal away; return the copy and the run."""
    out = training.run(OFFLINE, WEIR_EXIT_WAIT_SECONDS="0.2", **variables)
    (folder,) = Spool(training.spool).journals()
    shutil.copytree(folder.path, into)
    return into, out.split()[-1]


def require_all(uri: str, run_id: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Hold what is in a place against what the training logged."""
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    client = MlflowClient(uri)
    run = client.get_run(run_id)
    assert run.data.metrics == {"m": 1.0, "score": 2.0}
    experiment = client.get_experiment_by_name("begun offline")
    assert experiment is not None
    assert experiment.experiment_id == run.info.experiment_id
    top = Path(client.download_artifacts(run_id, ""))
    found = {p.relative_to(top).as_posix(): p.read_bytes() for p in top.rglob("*.*")}
    assert found == {"notes/a.txt": b"the second", "kept/deep/b.bin": bytes(range(256))}
    (trace,) = client.search_traces(locations=[experiment.experiment_id])
    assert trace.info.trace_metadata["mlflow.sourceRun"] == run_id
    assert [span.name for span in trace.data.spans] == ["traced"]


def test_artifacts_and_traces_of_a_copy_go_to_the_new_place(
    offline: Training, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    copy, run_id = left_behind(offline, tmp_path / "copy")
    before = {path: path.stat().st_mtime_ns for path in copy.rglob("*")}
    other = tmp_path / "other"
    for turn in range(2):
        done = offline.weir("sync", str(copy), "--to", f"weir://{other}", "--json")
        assert done.returncode == 0, done.stdout + done.stderr
        (one,) = json.loads(done.stdout)
        assert (one["error"], one["is_removed"]) == ("", False)
        assert one["n_files"] >= 4
        require_all(f"weir://{other}", run_id, monkeypatch)
        if turn == 0:
            run = MlflowClient(f"weir://{other}").get_run(run_id)
            file = Path(run.info.artifact_uri.removeprefix("file://"), "kept/deep/b.bin")
            assert file.is_relative_to(other)
            sent_ns = file.stat().st_mtime_ns
    assert file.stat().st_mtime_ns == sent_ns, "what is there is not sent again"
    assert {path: path.stat().st_mtime_ns for path in copy.rglob("*")} == before
    assert not list((offline.spool / "journals").glob(".new-*"))


@pytest.mark.parametrize("kind", ["weir", pytest.param("stock", marks=pytest.mark.long)])
def test_a_journal_of_this_machine_goes_to_another_server_and_is_gone(
    offline: Training,
    tmp_path: Path,
    sqlite_folder: DatabaseServer,
    monkeypatch: pytest.MonkeyPatch,
    kind: str,
) -> None:
    out = offline.run(OFFLINE, WEIR_EXIT_WAIT_SECONDS="0.2")
    run_id = out.split()[-1]
    url = sqlite_folder.new_mlflow_database()
    home = tmp_path / "server"
    home.mkdir()
    arguments = server_command(with_weir(url) if kind == "weir" else url)
    with start_servers(ServerSpec(arguments, home, (NO_JOBS,))) as (server,):
        # The first experiment there has the number that the training's would have had.
        MlflowClient(server.address).create_experiment("another's")
        done = offline.weir("sync", "--to", server.address, "--json")
        assert done.returncode == 0, done.stdout + done.stderr
        assert not Spool(offline.spool).journals()
        client = MlflowClient(server.address)
        if kind == "stock":
            experiment = client.get_experiment_by_name("begun offline")
            assert experiment is not None
            (run,) = client.search_runs([experiment.experiment_id])
            assert run.data.tags["weir.run_key"] == run_id
            run_id = run.info.run_id
        require_all(server.address, run_id, monkeypatch)


class Made:
    """A journal as a process writes it, for a server where experiment 1 is called "mine"."""

    def __init__(self, root: Path) -> None:
        self.run_id, self.model_id = "a" * 32, f"m-{'b' * 32}"
        uri = "http://tracking.example"
        self._journal = Journal.create(Spool.open(root), Target("http", uri), Credentials(uri))
        self.path = self._journal.folder
        root_of_run = f"mlflow-artifacts:/1/{self.run_id}/artifacts"
        self._write(
            "create_run",
            run_id=self.run_id,
            experiment_id="1",
            experiment_name="mine",
            user_id="me",
            start_time=1,
            tags=[],
            run_name="a run",
            artifact_uri=root_of_run,
        )
        self._write(
            "create_logged_model",
            model_id=self.model_id,
            experiment_id="1",
            name="net",
            source_run_id=self.run_id,
            model_type=None,
            params=[],
            tags=[],
            artifact_location=f"mlflow-artifacts:/1/models/{self.model_id}/artifacts",
            at_ms=1,
        )
        self._write("set_experiment_tag", experiment_id="1", key="k", value="v")
        self._journal.append(encode_points(self.run_id, [("loss", 1, 1, 0.5)]))
        self.add(root_of_run, "a.txt", b"of the run")
        self.add(f"mlflow-artifacts:/1/models/{self.model_id}/artifacts", "m.txt", b"of the model")

    def _write(self, operation: str, /, **fields: Any) -> None:
        self._journal.append(encode_operation(operation, fields))

    def add(self, uri: str, name: str, content: bytes, path: str = "") -> Path:
        """Put a file beside the journal; return the folder of the call."""
        source = self.path.parent / "source"
        source.write_bytes(content)
        upload = files.Upload(uri, path, name, len(content), {"MLFLOW_TRACKING_URI": "evil:"})
        return files.add(
            self.path / "files", self._journal.end, upload, [(str(source), name)]
        ).path

    def copy(self, into: Path) -> Path:
        """End the process, as it were, and carry the journal away."""
        self._journal.flush()
        self._journal.close()
        shutil.copytree(self.path, into)
        shutil.rmtree(self.path)
        return into


@pytest.fixture
def made(tmp_path: Path) -> Made:
    return Made(tmp_path / "elsewhere")


@pytest.fixture
def other(tmp_path: Path) -> Callable[[], MlflowClient]:
    """The place that copies go to; experiment 1 is somebody else's there."""
    uri = f"weir://{tmp_path}/other"
    MlflowClient(uri).create_experiment("another's")
    return lambda: MlflowClient(uri)


def sync(training: Training, copy: Path, to: Path) -> dict[str, Any]:
    done = training.weir("sync", str(copy), "--to", f"weir://{to}", "--json")
    (one,) = json.loads(done.stdout)
    assert (done.returncode != 0) == bool(one["error"]), done.stderr
    found: dict[str, Any] = one
    return found


def test_experiments_are_found_by_name_and_roots_are_the_new_places(
    offline: Training, made: Made, other: Callable[[], MlflowClient], tmp_path: Path
) -> None:
    copy = made.copy(tmp_path / "copy")
    for _ in range(2):
        found = sync(offline, copy, tmp_path / "other")
        assert (found["error"], found["n_rejected"], found["n_files"]) == ("", 0, 2)
    client = other()
    mine = client.get_experiment_by_name("mine")
    assert mine is not None
    assert mine.tags["k"] == "v"
    run = client.get_run(made.run_id)
    assert run.info.experiment_id == mine.experiment_id != "1"
    assert run.data.metrics == {"loss": 0.5}
    root = Path(run.info.artifact_uri.removeprefix("file://"))
    assert root.is_relative_to(tmp_path / "other")
    assert (root / "a.txt").read_bytes() == b"of the run"
    model = client.get_logged_model(made.model_id)
    assert model.experiment_id == mine.experiment_id
    where = Path(str(model.artifact_location).removeprefix("file://"))
    assert where.is_relative_to(tmp_path / "other")
    assert (where / "m.txt").read_bytes() == b"of the model"
    assert not client.search_runs(["1"])


def test_samples_without_the_journal_of_their_run_wait_for_it(
    offline: Training, made: Made, other: Callable[[], MlflowClient], tmp_path: Path
) -> None:
    uri = "http://tracking.example"
    spool = Spool.open(tmp_path / "elsewhere")
    journal = Journal.create(spool, Target("http", uri), Credentials(uri))
    journal.append(encode_points(made.run_id, [("system/load_average", 1, 0, 0.25)]))
    journal.flush()
    journal.close()
    both = tmp_path / "both"
    alone = both / "a-samples"  # the first of the folder
    shutil.copytree(journal.folder, alone)
    found = sync(offline, alone, tmp_path / "other")
    assert f"run {made.run_id} is not there" in found["error"]
    assert "Deliver the training's journal first" in found["error"]
    assert (found["position"], found["n_rejected"]) == (0, 0)
    made.copy(both / "b-training")
    done = offline.weir("sync", str(both), "--to", f"weir://{tmp_path}/other", "--json")
    assert done.returncode == 0, done.stderr
    assert other().get_run(made.run_id).data.metrics == {
        "loss": 0.5,
        "system/load_average": 0.25,
    }


def _link_file(call: Path, secret: Path) -> None:
    (call / "data" / "x.txt").unlink()
    (call / "data" / "x.txt").symlink_to(secret)


def _link_folder(call: Path, secret: Path) -> None:
    shutil.rmtree(call / "data")
    (call / "data").symlink_to(secret.parent)


def _link_below(call: Path, secret: Path) -> None:
    (call / "data" / "deep").symlink_to(secret.parent)


def _link_entry(call: Path, secret: Path) -> None:
    shutil.move(call / "entry.json", secret.with_name("entry"))
    (call / "entry.json").symlink_to(secret.with_name("entry"))


def _link_call(call: Path, secret: Path) -> None:
    shutil.move(call, secret.parent / "call")
    call.symlink_to(secret.parent / "call")


def _pipe(call: Path, secret: Path) -> None:
    (call / "data" / "x.txt").unlink()
    os.mkfifo(call / "data" / "x.txt")


def _larger(call: Path, secret: Path) -> None:
    with (call / "data" / "x.txt").open("ab") as file:
        file.truncate(1 << 43)  # a hole


def _change(**fields: str) -> Callable[[Path, Path], None]:
    def change(call: Path, secret: Path) -> None:
        found = json.loads((call / "entry.json").read_text())
        (call / "entry.json").write_text(json.dumps({**found, **fields}))

    return change


TAMPERED = {
    "a linked file": _link_file,
    "a linked data folder": _link_folder,
    "a linked folder below": _link_below,
    "a linked entry": _link_entry,
    "a linked call": _link_call,
    "a pipe": _pipe,
    "a file larger than the disk": _larger,
    "a path upwards": _change(artifact_path="../../../up"),
    "an absolute path": _change(artifact_path="/tmp"),
    "a name upwards": _change(name=".."),
    "a root upwards": _change(artifact_uri=f"weir-pending:{'a' * 32}/../../up"),
    "a root of its own": _change(artifact_uri="file:///tmp/chosen"),
    "another run's root": _change(artifact_uri=f"s3://bucket/{'c' * 32}/artifacts"),
}


def test_a_journal_that_was_tampered_with_reads_and_writes_nothing_else(
    offline: Training, made: Made, other: Callable[[], MlflowClient], tmp_path: Path
) -> None:
    private = tmp_path / "private"
    root = f"mlflow-artifacts:/1/{made.run_id}/artifacts"
    calls = {how: made.add(root, "x.txt", b"x" * 10) for how in TAMPERED}
    copy = made.copy(tmp_path / "copy")
    for number, (how, call) in enumerate(calls.items()):
        secret = private / str(number) / "secret.txt"
        secret.parent.mkdir(parents=True)
        secret.write_bytes(b"x-secret-x")
        TAMPERED[how](copy / "files" / call.name, secret)
    top = tmp_path / "other"

    def outside() -> set[Path]:
        mine = (top, offline.spool)
        return {one for one in tmp_path.rglob("*") if not any(map(one.is_relative_to, mine))}

    before = outside()
    found = sync(offline, copy, top)
    assert found["n_points"] == 1, "the records are delivered all the same"
    assert f"the files of {len(TAMPERED)} calls are not uploaded" in found["error"]
    written = [one.read_bytes() for one in top.rglob("*.txt")]
    assert sorted(written) == [b"of the model", b"of the run"], "the others are there"
    assert outside() == before
    shutil.move(copy / "files", private / "files")
    (copy / "files").symlink_to(private / "files")
    assert "not a folder" in sync(offline, copy, top)["error"]
