"""``weir restore``: the tree that comes back is the tree that was trained with."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner
from mlflow import MlflowClient

from databases import put_mlflow_tables
from mlflow_weir.plugin.capture.__main__ import git_files, git_tags
from mlflow_weir.plugin.capture.git import capture, capture_others
from mlflow_weir.plugin.cli import main
from mlflow_weir.redaction import Redactor

pytestmark = pytest.mark.slow


class Project:
    """A repository, and a store with runs whose code was captured from it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder / "project"
        self.uri = f"weir://{folder}/store"
        self.folder.mkdir()
        put_mlflow_tables(folder / "store" / "weir.db")
        self.git("init", "-q", "-b", "main")
        self.write("train.py", b"lr = 0.1\n")
        self.write("data.bin", bytes(range(256)))
        self.commit()

    def git(self, *words: str, folder: Path | None = None) -> str:
        identity = ("-c", "user.name=me", "-c", "user.email=me@example.com")
        done = subprocess.run(
            ["git", *identity, *words],
            cwd=folder or self.folder,
            check=True,
            capture_output=True,
            text=True,
        )
        return done.stdout.strip()

    def write(self, name: str, content: bytes) -> None:
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)

    def commit(self) -> str:
        self.git("add", "-A")
        self.git("commit", "-q", "-m", "a commit")
        return self.git("rev-parse", "HEAD")

    def train(self, *others: Path, has_untracked: bool = False) -> str:
        """Log a run with what the capture finds now; return its id."""
        client = MlflowClient(self.uri)
        run_id: str = client.create_run("0").info.run_id
        state = capture(self.folder, Redactor(), has_untracked=has_untracked)
        assert state is not None
        for name, value in git_tags(state).items():
            client.set_tag(run_id, name, value)
        files = git_files(state)
        for other in capture_others(state, others, Redactor()):
            files.update(git_files(other, f"git/repositories/{other.name}"))
        for name, content in files.items():
            path = self.folder.parent / name.rpartition("/")[2]
            path.write_bytes(content)
            client.log_artifact(run_id, str(path), f"weir/{name.rpartition('/')[0]}")
        return run_id

    def restore(self, *words: str, folder: Path | None = None) -> tuple[int, str]:
        before = Path.cwd()
        os.chdir(folder or self.folder)
        try:
            done = CliRunner().invoke(main, ["restore", "--uri", self.uri, *words])
        finally:
            os.chdir(before)
        assert done.exception is None or isinstance(done.exception, SystemExit), done.exception
        return done.exit_code, done.output


def hashes(folder: Path) -> dict[str, str]:
    files = [path for path in folder.rglob("*") if path.is_file() and ".git" not in path.parts]
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in files
    }


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Project:
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", os.devnull)
    monkeypatch.setenv("GIT_CONFIG_NOSYSTEM", "1")
    monkeypatch.setenv("WEIR_CLIENT", "off")
    return Project(tmp_path)


def test_the_exact_tree_comes_back_and_the_work_in_hand_stays(
    project: Project, tmp_path: Path
) -> None:
    project.write("train.py", b"lr = 0.2\r\n")
    project.write("data.bin", bytes(reversed(range(256))))
    project.write("new/ümläut file.py", b"x = 1")
    project.git("add", "-A")
    trained = hashes(project.folder)
    run_id = project.train()
    project.git("rm", "-rqf", "new")
    project.write("train.py", b"lr = 0.3\n")
    later = hashes(project.folder)
    code, output = project.restore(run_id, "--yes", "--to", str(tmp_path / "back"))
    assert code == 0, output
    assert hashes(tmp_path / "back") == trained
    assert hashes(project.folder) == later
    assert "with changes to 3 files" in output


def test_submodules_untracked_files_and_other_repositories_come_back(
    project: Project, tmp_path: Path
) -> None:
    allowed = ("-c", "protocol.file.allow=always")
    library = tmp_path / "library"
    library.mkdir()
    project.git("init", "-q", folder=library)
    (library / "lib.py").write_bytes(b"one\n")
    project.git("add", "-A", folder=library)
    project.git("commit", "-q", "-m", "one", folder=library)
    project.git(*allowed, "submodule", "-q", "add", str(library), "deep/lib")
    project.commit()
    inside = project.folder / "deep/lib"
    (inside / "lib.py").write_bytes(b"two\n")  # committed there, and the super knows it not
    project.git("commit", "-q", "-am", "two", folder=inside)
    (inside / "lib.py").write_bytes(b"three\n")
    (library / "lib.py").write_bytes(b"mine\n")
    project.write("train.py", b"lr = 0.2\n")
    project.write("notes/new 'file'.bin", bytes(range(256)) * 3)
    project.write("tool.sh", b"#!/bin/sh\n")
    trained = hashes(project.folder)
    run_id = project.train(library, has_untracked=True)
    project.write("train.py", b"lr = 0.3\n")
    (inside / "lib.py").write_bytes(b"four\n")
    (project.folder / "tool.sh").unlink()
    (library / "lib.py").write_bytes(b"others\n")
    code, output = project.restore(run_id, "--yes", "--to", str(tmp_path / "back"))
    assert code == 0, output
    assert "and 2 files that git did not know" in output
    assert "only in part" not in output
    assert hashes(tmp_path / "back") == trained
    code, output = project.restore(
        run_id, "--yes", "--to", str(tmp_path / "other"), "--repository", "library", folder=library
    )
    assert code == 0, output
    assert (tmp_path / "other/lib.py").read_bytes() == b"mine\n"
    code, output = project.restore(run_id, "--yes", "--repository", "../git")
    assert (code, "no name of a repository" in output) == (1, True), output


def test_submodules_within_submodules_and_new_ones_come_back(
    project: Project, tmp_path: Path
) -> None:
    allowed = ("-c", "protocol.file.allow=always")
    for name in ("inner", "library"):
        folder = tmp_path / name
        folder.mkdir()
        project.git("init", "-q", folder=folder)
        (folder / "code.py").write_bytes(b"one\n")
        if name == "library":
            project.git(
                *allowed, "submodule", "-q", "add", str(tmp_path / "inner"), "in", folder=folder
            )
        project.git("add", "-A", folder=folder)
        project.git("commit", "-q", "-m", "one", folder=folder)
    project.git(*allowed, "submodule", "-q", "add", str(tmp_path / "library"), "lib")
    project.git(*allowed, "submodule", "-q", "update", "--init", "--recursive")
    project.commit()
    project.git(*allowed, "submodule", "-q", "add", str(tmp_path / "inner"), "new")
    project.write("lib/code.py", b"two\n")
    project.write("lib/in/code.py", b"three\n")
    project.write("lib/in/unknown.py", b"four\n")
    project.write("new/code.py", b"five\n")
    project.write("train.py", b"lr = 0.2\n")
    trained = hashes(project.folder)
    run_id = project.train(has_untracked=True)
    code, output = project.restore(run_id, "--yes", "--to", str(tmp_path / "x" / ".." / "back"))
    assert code == 0, output
    assert "its commit is not in" not in output
    assert hashes(tmp_path / "back") == trained


def test_it_asks_first_and_names_a_folder_itself(project: Project, tmp_path: Path) -> None:
    run_id = project.train()
    code, output = project.restore(run_id)
    assert code == 1
    assert "Do it?" in output
    folder = tmp_path / f"project-{run_id[:8]}"
    assert not folder.exists()
    code, output = project.restore(run_id, "--yes", "--branch", "again", "--json")
    assert code == 0, output
    answer = json.loads(output)
    assert answer["folder"] == str(folder)
    assert answer["refused"] == []
    assert project.git("symbolic-ref", "--short", "HEAD", folder=folder) == "again"
    code, output = project.restore(run_id, "--yes")
    assert code == 1
    assert "is there already" in output


def test_where_the_commit_was_never_pushed_the_pushed_one_is_the_base(
    project: Project, tmp_path: Path
) -> None:
    origin = tmp_path / "origin"
    project.git("clone", "-q", "--bare", str(project.folder), str(origin))
    project.git("remote", "add", "origin", str(origin))
    project.git("fetch", "-q", "origin")
    project.write("train.py", b"lr = 0.5\n")
    project.commit()
    project.write("data.bin", b"changed")
    trained = hashes(project.folder)
    run_id = project.train()
    other = tmp_path / "other"
    project.git("clone", "-q", str(origin), str(other))
    code, output = project.restore(run_id, "--yes", "--to", str(tmp_path / "back"), folder=other)
    assert code == 0, output
    assert "the newest that was pushed" in output
    assert hashes(tmp_path / "back") == trained


def test_a_redacted_line_is_said_and_the_rest_comes_back(project: Project, tmp_path: Path) -> None:
    token = "ghp_" + "aB3" * 12
    project.write("keys.py", f'A = "{token}"\nB = 1\nC = 2\n'.encode())
    project.commit()
    project.write("keys.py", b'A = "none"\nB = 1\nC = 2\n')
    project.write("train.py", b"lr = 0.9\n")
    run_id = project.train()
    code, output = project.restore(run_id, "--yes", "--to", str(tmp_path / "back"))
    assert code == 0, output
    assert "secrets were taken out" in output
    assert "only in part: keys.py" in output
    assert (tmp_path / "back/train.py").read_text() == "lr = 0.9\n"
    assert token not in output


@pytest.mark.parametrize(
    "name", ["../outside.txt", ".git/hooks/post-checkout", "link/outside.txt"]
)
def test_a_hostile_patch_writes_nothing_outside_the_tree(
    name: str, project: Project, tmp_path: Path
) -> None:
    (tmp_path / "there").mkdir()
    (project.folder / "link").symlink_to(tmp_path / "there")
    project.commit()
    project.write("train.py", b"lr = 0.9\n")
    run_id = project.train()
    patch = (
        f"diff --git a/{name} b/{name}\nnew file mode 100755\n--- /dev/null\n+++ b/{name}\n"
        "@@ -0,0 +1 @@\n+touched\n"
    )
    path = tmp_path / "diff.patch"
    path.write_text(patch)
    MlflowClient(project.uri).log_artifact(run_id, str(path), "weir/git")
    code, output = project.restore(run_id, "--yes", "--to", str(tmp_path / "back"))
    assert code == 1, output
    assert "does not apply" in output
    assert not (tmp_path / "outside.txt").exists()
    assert list((tmp_path / "there").iterdir()) == []
    assert not (project.folder / ".git/hooks/post-checkout").exists()


@pytest.mark.parametrize("path", ["../deep/x", "link/x"])
def test_a_hostile_submodule_is_checked_out_nowhere_else(
    path: str, project: Project, tmp_path: Path
) -> None:
    (project.folder / "link").symlink_to("../linked")
    commit = project.commit()
    for place in (tmp_path / "deep/x", tmp_path / "linked/x"):
        project.git("clone", "-q", str(project.folder), str(place), folder=tmp_path)
    run_id = project.train()
    state, patch = tmp_path / "state.json", tmp_path / "diff.patch"
    state.write_text(json.dumps({"commit": commit, "submodules": {path: commit}}))
    patch.write_text(f"diff --git a/{path} b/{path}\nnew file mode 160000\n")
    for file in (state, patch):
        MlflowClient(project.uri).log_artifact(run_id, str(file), "weir/git")
    (tmp_path / "b/linked").mkdir(parents=True)
    project.restore(run_id, "--yes", "--to", str(tmp_path / "b/back"))
    assert (tmp_path / "b/back/train.py").exists()
    assert list((tmp_path / "b/linked").iterdir()) == []
    assert not (tmp_path / "b/deep").exists()


def test_no_hook_runs(project: Project, tmp_path: Path) -> None:
    run_id = project.train()
    hook = project.folder / ".git/hooks/post-checkout"
    hook.parent.mkdir(exist_ok=True)
    hook.write_text(f"#!/bin/sh\ntouch {tmp_path}/ran\n")
    hook.chmod(0o755)
    assert project.restore(run_id, "--yes", "--to", str(tmp_path / "back"))[0] == 0
    assert not (tmp_path / "ran").exists()


def test_what_cannot_be_brought_back_is_said(project: Project, tmp_path: Path) -> None:
    client = MlflowClient(project.uri)
    bare = client.create_run("0").info.run_id
    code, output = project.restore(bare, "--yes")
    assert (code, "no commit was captured" in output) == (1, True), output
    client.set_tag(bare, "weir.git.commit", "--upload-pack=touch ran")
    code, output = project.restore(bare, "--yes")
    assert (code, "no commit was captured" in output) == (1, True), output
    code, output = project.restore("0" * 32, "--yes")
    assert (code, "0" * 32 in output) == (1, True), output
    other = tmp_path / "elsewhere"
    subprocess.run(["git", "init", "-q", str(other)], check=True)
    code, output = project.restore(project.train(), "--yes", folder=other)
    assert (code, "is not in" in output) == (1, True), output


def test_a_repository_without_commits_comes_back_as_a_new_one(
    project: Project, tmp_path: Path
) -> None:
    (project.folder / ".git").rename(tmp_path / "old.git")
    project.git("init", "-q")
    project.git("add", "train.py", "data.bin")
    project.write("train.py", b"lr = 0.3\n")
    project.write("notes.txt", b"untracked")
    run_id = project.train(has_untracked=True)
    code, output = project.restore(run_id, "--yes", "--to", str(tmp_path / "back"))
    assert (code, "a repository without commits" in output) == (0, True), output
    assert hashes(tmp_path / "back") == hashes(project.folder)


def test_the_command_starts_without_mlflow() -> None:
    script = (
        "import sys; from mlflow_weir.plugin.cli import main\n"
        "main(['restore', '--help'], standalone_mode=False); assert 'mlflow' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", script], check=True, capture_output=True)
