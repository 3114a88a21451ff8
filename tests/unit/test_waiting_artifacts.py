"""Files that wait for an artifact store: how they are kept, and in which order they go."""

from __future__ import annotations

import os
import stat
import sys
from pathlib import Path
from typing import Any

import pytest
from mlflow.exceptions import MlflowException
from mlflow.store.artifact import artifact_repository_registry as registry
from mlflow.store.artifact.http_artifact_repo import HttpArtifactRepository
from mlflow.store.artifact.mlflow_artifacts_repo import MlflowArtifactsRepository

from mlflow_weir.errors import JournalError
from mlflow_weir.plugin import mlflow_private, spooled_repository
from mlflow_weir.plugin.agent import uploads
from mlflow_weir.plugin.agent.targets import Address
from mlflow_weir.plugin.artifact_spool import artifact_repository
from mlflow_weir.plugin.journal import files
from mlflow_weir.plugin.journal.files import Upload, is_within, join_uri
from mlflow_weir.plugin.journal.spool import JournalFolder, Spool, Target
from mlflow_weir.plugin.journal.writer import Journal
from mlflow_weir.plugin.upload_environment import upload_environment

ROOT = "s3://bucket/1/run/artifacts"


def upload(name: str, *, folder: str = "", size: int = 1, **environment: str) -> Upload:
    return Upload(ROOT, folder, name, size, environment)


@pytest.fixture
def journal(tmp_path: Path) -> JournalFolder:
    made = Journal.create(Spool.open(tmp_path / "s"), Target("sql", "sqlite:////x.db"), None)
    return JournalFolder(made.folder)


def keep(journal: JournalFolder, tmp_path: Path, what: Upload, *, position: int = 0) -> str:
    source = tmp_path / "source"
    source.write_bytes(b"x" * what.size)
    return files.add(journal.files, position, what, [(str(source), what.name or "x")]).path.name


def test_a_part_of_a_trace_waits_in_its_turn(journal: JournalFolder, tmp_path: Path) -> None:
    artifact = keep(journal, tmp_path, upload("a"))
    what = Upload("weir-trace:tr-1", "", "trace.json", 2, {"MLFLOW_TRACKING_TOKEN": "t"})
    trace = files.add_trace(journal.files, 0, what, b"{}")
    last = keep(journal, tmp_path, upload("b"))
    waiting = files.list_waiting(journal.files)
    assert [one.path.name for one in waiting] == [artifact, trace.path.name, last]
    assert [one.is_trace for one in waiting] == [False, True, False]
    assert files.Waiting.at(trace.path) == trace
    assert trace.read() == what
    assert trace.files() == {"trace.json": 2}
    for path in (trace.data / "trace.json", trace.path / "entry.json"):
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
    trace.remove()
    assert len(files.list_waiting(journal.files)) == 2


def test_who_a_journal_is_from_reaches_the_child_as_mlflow_says_it() -> None:
    assert uploads._who({}) == {}
    assert uploads._who({"Authorization": "Bearer abc"}) == {"MLFLOW_TRACKING_TOKEN": "abc"}
    assert uploads._who({"Authorization": "Basic bWU6czplY3JldA=="}) == {
        "MLFLOW_TRACKING_USERNAME": "me",
        "MLFLOW_TRACKING_PASSWORD": "s:ecret",
    }


def test_a_copy_does_not_change_with_the_file(journal: JournalFolder, tmp_path: Path) -> None:
    source = tmp_path / "a.txt"
    source.write_text("logged")
    kept = files.add(journal.files, 7, upload("a.txt", size=6), [(str(source), "a.txt")])
    with source.open("r+") as file:
        file.write("LATER!")
    assert (kept.data / "a.txt").read_text() == "logged"
    assert files.list_waiting(journal.files) == [kept]
    assert kept.read() == upload("a.txt", size=6)
    assert kept.position == 7
    kept.remove()
    assert list(journal.files.iterdir()) == []


def test_copies_and_what_reaches_a_store_are_private(
    journal: JournalFolder, tmp_path: Path
) -> None:
    source = tmp_path / "a.txt"
    source.write_text("a")
    kept = files.add(
        journal.files, 0, upload("a.txt", AWS_SECRET_ACCESS_KEY="s"), [(str(source), "d/a.txt")]
    )
    modes = {stat.S_IMODE(os.stat(p).st_mode) for p in kept.path.rglob("*") if p.is_file()}
    assert modes == {0o600}
    assert stat.S_IMODE(os.stat(journal.files).st_mode) == 0o700
    (kept.path / "entry.json").chmod(0o644)
    with pytest.raises(JournalError, match="others may read it"):
        kept.read()


def test_a_file_that_cannot_be_read_leaves_nothing(journal: JournalFolder, tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        files.add(journal.files, 0, upload("a"), [(str(tmp_path / "missing"), "a")])
    with pytest.raises(IsADirectoryError):
        files.add(journal.files, 0, upload("a"), [(str(tmp_path), "a")])
    assert list(journal.files.iterdir()) == []


def test_a_spool_that_cannot_be_written_is_no_error_of_the_file(
    journal: JournalFolder, tmp_path: Path
) -> None:
    journal.files.rmdir()
    journal.files.write_text("")
    source = tmp_path / "a"
    source.write_text("a")
    with pytest.raises(JournalError):
        files.add(journal.files, 0, upload("a"), [(str(source), "a")])


def test_what_waits_is_in_the_order_of_the_calls_and_nothing_else(
    journal: JournalFolder, tmp_path: Path
) -> None:
    names = [keep(journal, tmp_path, upload(str(n)), position=n // 3) for n in range(12)]
    (journal.files / ".new-00000000000000000000-00000000").mkdir()
    (journal.files / "0-1").mkdir()
    (journal.files / f"{0:020}-{99:08}").symlink_to(tmp_path)
    assert [one.path.name for one in files.list_waiting(journal.files)] == names


@pytest.mark.parametrize("text", ["{}", '{"artifact_uri": 1}', "[]", "no JSON"])
def test_a_damaged_entry_is_told(journal: JournalFolder, tmp_path: Path, text: str) -> None:
    keep(journal, tmp_path, upload("a"))
    (kept,) = files.list_waiting(journal.files)
    (kept.path / "entry.json").write_text(text)
    with pytest.raises(JournalError):
        kept.read()


def test_a_problem_is_kept_until_it_is_gone(journal: JournalFolder) -> None:
    assert files.read_problem(journal.files) == files.Problem()
    files.note_problem(journal.files, "no answer")
    assert files.read_problem(journal.files).error == "no answer"
    assert files.read_problem(journal.files).at_ms > 0
    files.note_problem(journal.files, "")
    assert list(journal.files.iterdir()) == []


@pytest.mark.parametrize(
    ("uri", "root", "is_there"),
    [
        ("s3://b/a/x", "s3://b/a", True),
        ("s3://b/a", "s3://b/a/", True),
        ("s3://b/ab", "s3://b/a", False),
        ("weir-pending:run/x", "weir-pending:run", True),
        ("weir-pending:run2", "weir-pending:run", False),
        ("weir-pending:run", "weir-pending:", True),
    ],
)
def test_a_uri_is_within_another(uri: str, root: str, is_there: bool) -> None:
    assert is_within(uri, root) is is_there


def test_uris_are_joined() -> None:
    assert join_uri("s3://b/a/", "x/y/") == "s3://b/a/x/y"
    assert join_uri("s3://b/a", "") == "s3://b/a"
    assert join_uri("weir-pending:", "run/x") == "weir-pending:run/x"
    assert upload("f", folder="a/b").destination == f"{ROOT}/a/b/f"
    assert upload("", folder="a").destination == f"{ROOT}/a"


class TestBatches:
    """Which files go next."""

    @pytest.fixture
    def queue(self, journal: JournalFolder) -> uploads._Queue:
        return uploads._Queue(journal, position=10)

    def batch(self, queue: uploads._Queue) -> list[str]:
        found, _ = uploads.Uploads(Address("sql", "x"), lambda: None)._batch(queue)
        return [one.read().name for one in found]

    def test_what_comes_after_the_delivered_records_waits(
        self, queue: uploads._Queue, tmp_path: Path
    ) -> None:
        keep(queue.folder, tmp_path, upload("a"), position=10)
        keep(queue.folder, tmp_path, upload("b"), position=11)
        assert self.batch(queue) == ["a"]

    def test_other_variables_begin_another_batch(
        self, queue: uploads._Queue, tmp_path: Path
    ) -> None:
        keep(queue.folder, tmp_path, upload("a", AWS_PROFILE="x"))
        keep(queue.folder, tmp_path, upload("b", AWS_PROFILE="x"))
        keep(queue.folder, tmp_path, upload("c", AWS_PROFILE="y"))
        assert self.batch(queue) == ["a", "b"]

    def test_a_batch_is_bounded(
        self, queue: uploads._Queue, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(uploads, "_BATCH_BYTES", 10)
        for name in "abc":
            keep(queue.folder, tmp_path, upload(name, size=4))
        assert self.batch(queue) == ["a", "b"]

    def test_what_was_refused_holds_up_only_its_own_place(
        self, queue: uploads._Queue, tmp_path: Path
    ) -> None:
        refused = keep(queue.folder, tmp_path, upload("x", folder="a"))
        keep(queue.folder, tmp_path, upload("x", folder="a", size=2))
        keep(queue.folder, tmp_path, upload("", folder="a"))
        keep(queue.folder, tmp_path, upload("y", folder="a"))
        keep(queue.folder, tmp_path, upload("x", folder="b"))
        queue.failed[refused], queue.retry_s = "no", float("inf")
        # The folder would write a/x as well; a/y would be written by the folder.
        assert self.batch(queue) == ["x"]
        queue.retry_s = 0.0
        assert self.batch(queue) == ["x", "x", "", "y", "x"]


def test_every_remote_scheme_is_ours_and_gives_mlflows_class_without_a_journal(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delitem(sys.modules, "mlflow_weir.plugin.recorder", raising=False)
    registered: dict[str, Any] = registry.get_registered_artifact_repositories()
    for scheme in mlflow_private._ARTIFACT_REPOSITORIES:
        assert registered[scheme] is artifact_repository
    uri = "http://127.0.0.1:1/api/2.0/mlflow-artifacts/artifacts/x"
    assert type(registry.get_artifact_repository(uri)) is HttpArtifactRepository
    found = registry.get_artifact_repository(
        "mlflow-artifacts:/x", tracking_uri="http://127.0.0.1:1"
    )
    assert type(found) is MlflowArtifactsRepository
    with pytest.raises(MlflowException, match="must be a valid http or https URI"):
        registry.get_artifact_repository("mlflow-artifacts:/x", tracking_uri="sqlite:///x.db")


def test_mlflow_registers_the_classes_that_ours_stand_for() -> None:
    """As its registry's source says, which the entry points overwrite in the registry itself."""
    for module, name in mlflow_private._ARTIFACT_REPOSITORIES.values():
        assert getattr(registry, name).__module__ == f"mlflow.store.artifact.{module}"


def test_a_store_that_does_not_journal_gets_mlflows_class(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WEIR_CLIENT", "off")
    uri = "http://127.0.0.1:1/api/2.0/mlflow-artifacts/artifacts/x"
    tracking_uri = f"sqlite+weir:///{tmp_path}/off.db"
    found = registry.get_artifact_repository(uri, tracking_uri=tracking_uri)
    assert type(found) is HttpArtifactRepository
    with pytest.raises(MlflowException, match="once their run is delivered"):
        registry.get_artifact_repository("weir-pending:x", tracking_uri=tracking_uri)


def test_variables_that_no_artifact_store_reads_stay_where_they_are(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("AWS_PROFILE", "p")
    monkeypatch.setenv("WANDB_API_KEY", "secret")
    monkeypatch.setenv("DATABASE_PASSWORD", "secret")
    found = upload_environment()
    assert found["AWS_PROFILE"] == "p"
    assert "secret" not in found.values()


def test_a_listing_shows_files_and_the_folders_above_them() -> None:
    sizes = {f"{ROOT}/a.txt": 1, f"{ROOT}/d/b.txt": 2, f"{ROOT}/d/e/c.txt": 3, "s3://other/x": 4}
    found = spooled_repository._children(sizes, ROOT, None)
    assert {(i.path, i.is_dir, i.file_size) for i in found.values()} == {
        ("a.txt", False, 1),
        ("d", True, None),
    }
    found = spooled_repository._children(sizes, ROOT, "d")
    assert {(i.path, i.is_dir, i.file_size) for i in found.values()} == {
        ("d/b.txt", False, 2),
        ("d/e", True, None),
    }
    assert not spooled_repository._children(sizes, ROOT, "a.txt")
