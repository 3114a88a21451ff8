"""``weir import``: runs that wandb and TensorBoard have made, value by value.

They are in ``imported/``, made by their own packages, with what was logged written down beside
them. What stock MLflow holds is brought in ``test_import_mlflow.py``.
"""

from __future__ import annotations

import json
import shutil
import struct
import sys
from pathlib import Path
from time import monotonic
from types import SimpleNamespace
from typing import Any

import mlflow
import pytest
import sqlalchemy as sa
from click.testing import CliRunner
from mlflow import MlflowClient
from mlflow.entities import Run
from mlflow.exceptions import MlflowException
from PIL import Image
from sqlalchemy.orm import Session

from dying_imports import import_dying
from mlflow_weir.errors import StoreUnavailable
from mlflow_weir.plugin.agent.sql_target import SqlTarget
from mlflow_weir.plugin.cli import import_history, main
from mlflow_weir.plugin.importing import bringing, point_records
from mlflow_weir.plugin.importing.names import is_below
from mlflow_weir.plugin.importing.tensorboard_run import TensorboardRun
from mlflow_weir.plugin.importing.wandb_run import _take_out
from mlflow_weir.store.console.reading import list_sources, read_lines
from mlflow_weir.store.histograms.reading import read_series

pytestmark = [
    pytest.mark.slow,
    # MLflow's client in this process warns about itself.
    pytest.mark.filterwarnings("ignore", "error:::mlflow_weir"),
]

HERE = Path(__file__).parent / "imported"
EXPECTED = json.loads((HERE / "expected.json").read_text())
History = dict[str, list[list[Any]]]


@pytest.fixture(autouse=True)
def direct(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WEIR_CLIENT", "off")


@pytest.fixture
def uri(new_store: Path) -> str:
    return f"weir://{new_store}"


def bring(*words: str | Path, exit_code: int = 0) -> list[dict[str, Any]]:
    """Run the command and return what it says of each run."""
    found = CliRunner().invoke(main, ["import", *map(str, words), "--json"])
    assert found.exit_code == exit_code, (found.output, found.exception)
    said: list[dict[str, Any]] = json.loads(found.stdout)
    return said


def runs_at(uri: str) -> dict[str, Run]:
    client = MlflowClient(uri)
    names = [one.experiment_id for one in client.search_experiments()]
    return {run.info.run_name: run for run in client.search_runs(names)}


def history(uri: str, run_id: str, key: str) -> list[list[Any]]:
    """Return (step, value as Python writes it) of a metric, in the order of the steps."""
    found = MlflowClient(uri).get_metric_history(run_id, key)
    assert all(1e12 < one.timestamp < 4e12 for one in found)
    return [[one.step, repr(one.value)] for one in sorted(found, key=lambda one: one.step)]


def require_history(uri: str, run_id: str, wanted: History) -> None:
    """Compare all points; MLflow's stores keep an infinity as the largest number."""
    kept = {"inf": repr(sys.float_info.max), "-inf": repr(-sys.float_info.max)}
    expected = {
        key: [[step, kept.get(value, value)] for step, value in points]
        for key, points in wanted.items()
    }
    assert {key: history(uri, run_id, key) for key in wanted} == expected


def artifacts_of(uri: str, run_id: str, path: str = "") -> set[str]:
    """Return the paths of a run's artifacts, whatever place its id was met in before."""
    found = set()
    for one in bringing.artifacts_of(MlflowClient(uri), run_id).list_artifacts(path):
        found |= artifacts_of(uri, run_id, one.path) if one.is_dir else {one.path}
    return found


def content(uri: str, run_id: str, path: str, folder: Path) -> Path:
    repository = bringing.artifacts_of(MlflowClient(uri), run_id)
    return Path(repository.download_artifacts(path, str(folder)))


def printed(url: str, run_id: str) -> list[tuple[int, str]]:
    engine = sa.create_engine(url)
    with engine.connect() as connection:
        (source,) = list_sources(connection, run_id)
        lines = [
            (line.stream, line.text) for line in read_lines(connection, run_id, source, 0, 99)
        ]
    engine.dispose()
    return lines


def mlflow_table(uri: str, run: Run, path: str) -> Any:
    """Return a table as ``mlflow.load_table`` finds it, by the run's tag."""
    mlflow.set_tracking_uri(uri)
    return MlflowClient(uri).load_table(run.info.experiment_id, path, [run.info.run_id])


def test_what_wandb_logged_as_text_and_tables(tmp_path: Path, uri: str) -> None:
    wanted = EXPECTED["told"]
    (said,) = bring("wandb", HERE / "told", "--to", uri)
    assert said["left_out"] == {}
    run = runs_at(uri)["told"]
    for path, rows in wanted["tables"].items():
        table = mlflow_table(uri, run, path)
        assert [list(table.columns), *table.values.tolist()] == rows
    for path, text in wanted["pages"].items():
        assert text in content(uri, run.info.run_id, path, tmp_path).read_text()


def test_what_wandb_logged(tmp_path: Path, uri: str) -> None:
    wanted = EXPECTED["wandb"]
    said = {one["title"].split()[-2].rpartition("/")[2]: one for one in
            bring("wandb", HERE / "wandb", "--to", uri)}  # fmt: skip
    first, crashed = (runs_at(uri)[name] for name in ("first", "crashed"))
    require_history(uri, first.info.run_id, wanted["history"])
    assert first.data.params == wanted["params"]
    assert first.data.tags["mlflow.note.content"] == wanted["notes"]
    assert {"wandb.tag.baseline", "wandb.tag.müde"} <= set(first.data.tags)
    assert (first.info.status, crashed.info.status) == ("FINISHED", "FAILED")
    assert crashed.data.tags["weir.exit_cause"] == "exit code 3"
    assert 0 < first.info.end_time - first.info.start_time < 600_000
    assert MlflowClient(uri).get_experiment(first.info.experiment_id).name == "seen elsewhere"
    assert "system/system_memory_usage_percentage" in first.data.metrics

    assert artifacts_of(uri, first.info.run_id) == {
        "media/picture/step_1000.png",
        "model.txt",
        "text/word.json",
        "wandb/config.json",
        "wandb/requirements.txt",
        "wandb/summary.json",
    }
    with Image.open(
        content(uri, first.info.run_id, "media/picture/step_1000.png", tmp_path)
    ) as it:
        assert it.convert("RGB").getpixel((2, 2)) == (255, 0, 0)
    assert content(uri, first.info.run_id, "model.txt", tmp_path).read_text() == "weights\n"
    # A picture that the console was printed in keeps its last state alone.
    assert printed(f"sqlite:///{tmp_path}/store/weir.db", first.info.run_id) == [
        (1, "step 0 of 120 password=[redacted]"),
        (1, "progress 100 %"),
        (2, "a warning"),
    ]
    words = mlflow_table(uri, first, "text/word.json")
    assert words.values.tolist() == [[step, "text"] for step in range(120)]
    assert said["first"]["left_out"] == {}
    assert not said["first"]["refused"]
    bins = EXPECTED["wandb"]["histogram"]
    engine = sa.create_engine(f"sqlite:///{tmp_path}/store/weir.db")
    with Session(engine) as session:
        table = read_series(session, first.info.run_id, "gradients", "layer.weight", 9)
    engine.dispose()
    assert table is not None
    assert (table.step.tolist(), table.counts.tolist()) == ([1000], [bins["counts"]])
    assert (table.first[0], table.last[0]) == (bins["first"], bins["last"])


def test_what_changed_while_wandb_logged_and_what_the_run_made(
    tmp_path: Path, uri: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Name, notes, tags, captions, artifacts; and the run again, in a folder of its own."""
    wanted = EXPECTED["changed"]
    shutil.copytree(HERE / "changed", tmp_path / "changed")
    monkeypatch.setenv("WANDB_DATA_DIR", str(tmp_path / "changed" / "data"))
    said, again = bring("wandb", tmp_path / "changed" / "wandb", "--to", uri)
    assert said["run_id"] == again["run_id"]
    assert (said["refused"], again["refused"]) == ([], [])
    run = runs_at(uri)[wanted["name"]]
    assert run.data.tags["mlflow.note.content"] == wanted["notes"]
    assert [tag for tag in sorted(run.data.tags) if "wandb.tag" in tag] == wanted["tags"]
    # Two names of which MLflow takes neither stay two; what was taken out of the summary is.
    (told_apart,) = (key for key in run.data.metrics if key.startswith("acc _val_~"))
    assert {key: run.data.metrics[key] for key in ("acc _val_", told_apart, "later")} == {
        "acc _val_": 1.0,
        told_apart: 2.0,
        "later": 3.0,
    }
    assert "gone" not in run.data.metrics
    for key, captions in wanted["captions"].items():
        told = mlflow_table(uri, run, f"text/{key}/caption.json")
        assert told[["text"]].values.tolist() == captions
    for version, text in wanted["weights"].items():
        path = f"artifacts/net/{version}/deep/weights.bin"
        assert content(uri, run.info.run_id, path, tmp_path).read_text() == text
    told = json.loads(content(uri, run.info.run_id, "wandb/artifacts.json", tmp_path).read_text())
    assert [(one["name"], one["version"], one["type"], one["metadata"]) for one in told] == [
        ("net", "v0", "model", {"depth": 0}),
        ("net", "v1", "model", {"depth": 1}),
    ]
    assert told[0]["references"] == {"data.bin": "http://127.0.0.1/data.bin"}
    assert run.info.status == "FAILED"
    assert printed(f"sqlite:///{tmp_path}/store/weir.db", run.info.run_id) == [(1, "again")]
    for one in bring("wandb", tmp_path / "changed" / "wandb", "--to", uri):
        assert (one["n_points"], one["n_files"], one["refused"]) == (0, 0, [])
    # The client has uploaded its copies, and removed them.
    shutil.rmtree(tmp_path / "changed" / "data")
    said, _ = bring("wandb", tmp_path / "changed" / "wandb", "--to", uri)
    assert said["left_out"] == {"artifact net: files that are not on this machine": 2}


def test_what_tensorboard_logged(tmp_path: Path, uri: str) -> None:
    wanted = EXPECTED["tensorboard"]
    bring("tensorboard", HERE / "tensorboard", "--to", uri, "--experiment", "boards")
    runs = runs_at(uri)
    train, new = runs.pop("old/train"), runs.pop("new")
    (tried,) = runs.values()
    require_history(uri, train.info.run_id, wanted["old"])
    require_history(uri, new.info.run_id, wanted["new"])
    assert tried.data.params == wanted["params"]
    assert history(uri, tried.info.run_id, "final") == [[0, "1.5"]]
    assert {run.info.status for run in (train, new, tried)} == {"FINISHED"}
    assert MlflowClient(uri).get_experiment(new.info.experiment_id).name == "boards"
    files = artifacts_of(uri, train.info.run_id)
    assert files == {"media/sample/step_7.png", "text/remark/text_summary/step_2.md"}
    remark = content(uri, train.info.run_id, "text/remark/text_summary/step_2.md", tmp_path)
    assert remark.read_text() == "some *words*"
    engine = sa.create_engine(f"sqlite:///{tmp_path}/store/weir.db")
    with Session(engine) as session:
        table = read_series(session, train.info.run_id, "gradients", "w", 9)
    engine.dispose()
    assert table is not None
    assert (table.step.tolist(), int(table.counts.sum())) == ([5], wanted["n_values"])


def add_event(file: Path, event: bytes) -> None:
    with file.open("ab") as stream:
        stream.write(struct.pack("<Q4x", len(event)) + event + bytes(4))


def test_what_else_events_hold_is_counted(tmp_path: Path, uri: str) -> None:
    shutil.copytree(HERE / "tensorboard" / "new", tmp_path / "new")
    (file,) = (tmp_path / "new").iterdir()
    for _ in range(2):
        add_event(file, b"\x09" + struct.pack("<d", 1.8e9) + b"\x22\x03abc")  # graph_def
    (said,) = bring("tensorboard", tmp_path / "new", "--to", uri)
    assert said["left_out"] == {"graphs": 2}
    assert said["n_points"] == 50


def test_a_job_is_followed_and_files_that_stay_as_they_are_are_not_read_again(
    tmp_path: Path, uri: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(HERE / "tensorboard" / "new", tmp_path / "new")
    (file,) = (tmp_path / "new").iterdir()
    whole = file.read_bytes()
    file.write_bytes(whole[: len(whole) // 2])
    seen, opened = [], []
    begin = TensorboardRun.__init__

    def note(self: Any, *words: Any, **options: Any) -> None:
        opened.append(words)
        begin(self, *words, **options)

    def sleep(seconds: float) -> None:
        assert seconds >= 2
        run = runs_at(uri)["new"]
        seen.append((len(history(uri, run.info.run_id, "accuracy")), len(opened), run.info.status))
        if len(seen) == 2:
            file.write_bytes(whole)
        if len(seen) == 3:
            raise KeyboardInterrupt

    monkeypatch.setattr(TensorboardRun, "__init__", note)
    monkeypatch.setattr(import_history, "time", SimpleNamespace(sleep=sleep, monotonic=monotonic))
    said = bring("tensorboard", tmp_path / "new", "--to", uri, "--follow")
    assert [n for _, n, _ in seen] == [1, 1, 2]
    assert 0 < seen[0][0] == seen[1][0] < seen[2][0] == 50
    assert {status for *_, status in seen} == {"RUNNING"}
    assert (said[0]["n_points"], runs_at(uri)["new"].info.status) == (0, "FINISHED")


def test_what_is_there_is_left_alone_and_what_is_new_comes(tmp_path: Path, uri: str) -> None:
    """As ``--follow`` does: the same command, again, while a run goes on."""
    wanted = EXPECTED["wandb"]
    shutil.copytree(HERE / "wandb", tmp_path / "wandb", symlinks=True)
    (file,) = (tmp_path / "wandb").glob("*/run-aaaa1111.wandb")
    whole = file.read_bytes()
    file.write_bytes(whole[: len(whole) // 2])
    bring("wandb", file, "--to", uri)
    half = runs_at(uri)["first"]
    assert half.info.status == "RUNNING"  # it was written a moment ago, and has no end yet
    assert 0 < len(history(uri, half.info.run_id, "loss")) < len(wanted["history"]["loss"])
    file.write_bytes(whole)
    (more,) = bring("wandb", file, "--to", uri)
    (none,) = bring("wandb", file, "--to", uri)
    assert more["n_points"] > 0
    assert (none["n_points"], none["n_files"], none["refused"]) == (0, 0, [])
    first = runs_at(uri)["first"]
    assert first.info.status == "FINISHED"
    require_history(uri, first.info.run_id, wanted["history"])
    assert [
        text for _, text in printed(f"sqlite:///{tmp_path}/store/weir.db", first.info.run_id)
    ] == [
        "step 0 of 120 password=[redacted]",
        "progress 100 %",
        "a warning",
    ]

    file.write_bytes(whole[: len(whole) // 2] + b"x" + whole[len(whole) // 2 :])
    (broken,) = bring("wandb", file, "--to", uri, exit_code=1)
    assert "are not those that were imported before" in broken["error"]
    require_history(uri, first.info.run_id, wanted["history"])


def test_an_import_that_was_broken_off_goes_on(uri: str, monkeypatch: pytest.MonkeyPatch) -> None:
    wanted = EXPECTED["tensorboard"]
    monkeypatch.setattr(point_records, "_LONGEST_RECORDS", 16)
    monkeypatch.setattr(bringing, "_PATIENCE_S", 0.0)
    n_calls = 0
    apply = SqlTarget.apply

    def away(self: SqlTarget, *args: Any, **options: Any) -> Any:
        nonlocal n_calls
        n_calls += 1
        if n_calls % 5 == 0:
            raise StoreUnavailable("it is away")
        return apply(self, *args, **options)

    monkeypatch.setattr(SqlTarget, "apply", away)
    command = ["import", "tensorboard", str(HERE / "tensorboard"), "--to", uri]
    n_tries = 1
    while CliRunner().invoke(main, command).exit_code != 0:
        n_tries += 1
        assert n_tries < 50
    assert n_tries > 2
    runs = runs_at(uri)
    require_history(uri, runs["old/train"].info.run_id, wanted["old"])
    require_history(uri, runs["new"].info.run_id, wanted["new"])


def test_a_place_that_is_busy_is_asked_again(uri: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bringing, "_FIRST_PAUSE_S", 0.001)
    ways = {name: getattr(SqlTarget, name) for name in ("apply", "state")}
    n_calls = 0

    def busy(name: str) -> Any:
        def call(self: SqlTarget, *args: Any, **options: Any) -> Any:
            nonlocal n_calls
            n_calls += 1
            if n_calls % 3:
                raise StoreUnavailable("the server asks for patience (503)")
            return ways[name](self, *args, **options)

        return call

    for name in ways:
        monkeypatch.setattr(SqlTarget, name, busy(name))
    assert len(bring("tensorboard", HERE / "tensorboard", "--to", uri)) == 3
    require_history(uri, runs_at(uri)["new"].info.run_id, EXPECTED["tensorboard"]["new"])


def test_an_import_that_is_killed_goes_on(tmp_path: Path, uri: str) -> None:
    wandb, boards = EXPECTED["wandb"], EXPECTED["tensorboard"]
    assert import_dying(["wandb", str(HERE / "wandb"), "--to", uri], 12, tmp_path) > 0
    assert import_dying(["tensorboard", str(HERE / "tensorboard"), "--to", uri], 6, tmp_path) > 0
    runs = runs_at(uri)
    require_history(uri, runs["first"].info.run_id, wandb["history"])
    require_history(uri, runs["old/train"].info.run_id, boards["old"])
    require_history(uri, runs["new"].info.run_id, boards["new"])
    assert {run.info.status for run in runs.values()} == {"FINISHED", "FAILED"}
    assert printed(f"sqlite:///{tmp_path}/store/weir.db", runs["first"].info.run_id) == [
        (1, "step 0 of 120 password=[redacted]"),
        (1, "progress 100 %"),
        (2, "a warning"),
    ]
    for kind in ("wandb", "tensorboard"):
        for one in bring(kind, HERE / kind, "--to", uri):
            assert (one["n_points"], one["n_files"], one["refused"]) == (0, 0, [])


def test_a_damaged_file_gives_what_is_before_the_damage(tmp_path: Path, uri: str) -> None:
    (source,) = HERE.glob("wandb/*/run-aaaa1111.wandb")
    file = tmp_path / "run-aaaa1111.wandb"
    damaged = bytearray(source.read_bytes())
    damaged[len(damaged) // 2] ^= 0xFF
    file.write_bytes(damaged)
    bring("wandb", file, "--to", uri)
    run = runs_at(uri)["first"]
    assert run.info.status == "FAILED"
    assert "damaged from byte" in run.data.tags["weir.exit_cause"]
    assert len(history(uri, run.info.run_id, "loss")) > 10
    other = tmp_path / "run-zzzz.wandb"
    other.write_bytes(b"no such file")
    (said,) = bring("wandb", other, "--to", uri, exit_code=1)
    assert "is no file of wandb's records" in said["error"]


def test_a_file_that_leads_elsewhere_stays_out(tmp_path: Path, uri: str) -> None:
    shutil.copytree(HERE / "wandb", tmp_path / "train" / "wandb", symlinks=True)
    (tmp_path / "secret").write_text("mine")
    (folder,) = (tmp_path / "train" / "wandb").glob("*aaaa1111")
    (folder / "files" / "model.txt").unlink()
    (folder / "files" / "model.txt").symlink_to(tmp_path / "secret")
    (said,) = bring("wandb", folder, "--to", uri)
    assert "model.txt" not in artifacts_of(uri, said["run_id"])
    assert said["left_out"]["files that are gone or lie outside the training's folder"] == 1


def test_one_run_whose_artifacts_fail_stops_none_of_the_others(
    uri: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    find = bringing.artifacts_of

    def fail(client: MlflowClient, run_id: str) -> Any:
        if client.get_run(run_id).info.run_name == "old/train":
            raise MlflowException("its place is away")
        return find(client, run_id)

    monkeypatch.setattr(bringing, "artifacts_of", fail)
    found = bring("tensorboard", HERE / "tensorboard", "--to", uri, exit_code=1)
    assert {one["title"]: one["error"] for one in found if one["error"]} == {
        "old/train": "its place is away"
    }
    assert len(found) == 3


def test_a_database_that_an_import_makes_has_its_artifacts_where_mlflow_would(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    uri = f"sqlite+weir:///{tmp_path}/new.db"
    bring("tensorboard", HERE / "tensorboard" / "new", "--to", uri)
    places = {one.artifact_location for one in MlflowClient(uri).search_experiments()}
    assert places == {f"{tmp_path}/mlruns/{i}" for i in (0, 1)}


def test_a_nested_config_value_that_was_removed_is_no_param() -> None:
    config = {"optimizer": {"name": "adam", "beta": 0.9}, "lr": 1}
    for keys in (("optimizer", "beta"), ("lr",), ("lr", "deeper"), ("never",)):
        _take_out(config, keys)
    assert config == {"optimizer": {"name": "adam"}}


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["wandb", "{tmp}"], "no run of wandb's is there"),
        (["tensorboard", "{tmp}"], "no events of TensorBoard's"),
        (["mlflow", "nowhere"], "is no folder"),
        (["mlflow", "{tmp}"], "no experiment of MLflow's is in it"),
        (["mlflow", "sqlite:///{tmp}/none.db"], "there is no such file"),
        (["mlflow", "weir:///{tmp}/none"], "there is no"),
        (["mlflow", "http://127.0.0.1:9"], "does not answer"),
        (["mlflow", "what://it"], "is no place of MLflow's"),
        (
            ["tensorboard", str(HERE / "tensorboard"), "--to", "sqlite:///{tmp}/a.db"],
            "no store of",
        ),
    ],
)
def test_what_cannot_be_brought_is_said(tmp_path: Path, words: list[str], said: str) -> None:
    command = ["import", *(word.replace("{tmp}", str(tmp_path)) for word in words)]
    found = CliRunner().invoke(main, command)
    assert found.exit_code != 0
    assert said in found.output
    assert list(tmp_path.iterdir()) == []


def test_a_path_that_leads_elsewhere_is_known() -> None:
    assert all(map(is_below, ("a", "a/b.txt", "..a/b..", "ü/.x")))
    assert not any(map(is_below, ("", "/etc/x", "../../x", "a/../../x", "a\\..\\x", "a\0")))
