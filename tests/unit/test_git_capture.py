"""What is captured of a git repository, and that the patch brings the files back."""

from __future__ import annotations

import base64
import bz2
import gzip
import hashlib
import io
import lzma
import os
import random
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from mlflow_weir.plugin.capture import git as git_capture
from mlflow_weir.plugin.capture import git_patch
from mlflow_weir.redaction import Redactor

TOKEN = "ghp_" + "aB3" * 12


class Repository:
    """A real one, made by the git command."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        self.git("init", "-q", "-b", "main")

    def git(self, *words: str, stdin: bytes = b"") -> str:
        identity = ("-c", "user.name=me", "-c", "user.email=me@example.com")
        allowed = ("-c", "protocol.file.allow=always")
        done = subprocess.run(
            ["git", *identity, *allowed, *words],
            cwd=self.folder,
            input=stdin,
            capture_output=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr.decode()
        return done.stdout.decode().strip()

    def write(self, name: str, content: bytes) -> Path:
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
        return path

    def commit(self, **files: bytes) -> str:
        for name, content in files.items():
            self.write(name.replace("__", "."), content)
        self.git("add", "-A")
        self.git("commit", "-q", "-m", "a commit")
        return self.git("rev-parse", "HEAD")

    def hashes(self) -> dict[str, str]:
        """Return what the tracked and added files hold, and whether they may be executed."""
        names = self.git("ls-files", "-z", "--cached").split("\0")
        found = {}
        for name in filter(None, names):
            path = self.folder / name
            if path.is_file():
                digest = hashlib.sha256(path.read_bytes()).hexdigest()
                found[name] = f"{digest} {os.access(path, os.X_OK)}"
        return found

    def capture(self, *, time_limit_s: float = 30.0) -> git_capture.GitState:
        state = git_capture.capture(self.folder, Redactor(), time_limit_s=time_limit_s)
        assert state is not None
        return state

    def clone(self, folder: Path, commit: str) -> Repository:
        self.git("clone", "-q", "--no-checkout", str(self.folder), str(folder))
        other = Repository(folder)
        other.git("checkout", "-q", commit)
        return other


@pytest.fixture(autouse=True)
def nobodys_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", os.devnull)
    monkeypatch.setenv("GIT_CONFIG_NOSYSTEM", "1")


@pytest.fixture
def repository(tmp_path: Path) -> Repository:
    found = Repository(tmp_path / "project")
    found.commit(a__py=b"x = 1\n" * 50, b__py=b"y = 1\n", c__bin=bytes(range(256)) * 20)
    return found


def test_a_clean_repository_has_a_commit_and_no_patch(repository: Repository) -> None:
    repository.git("tag", "v1")
    state = repository.capture()
    assert state.commit == repository.git("rev-parse", "HEAD")
    assert (state.branch, state.tags, state.is_dirty) == ("main", ["v1"], False)
    assert (state.patch, state.untracked, state.faults) == (b"", [], [])
    assert state.root == str(repository.folder)


def test_the_patch_brings_every_kind_of_change_back(
    repository: Repository, tmp_path: Path
) -> None:
    odd = "with space, ümläut & 'quote'.txt"
    commit = repository.commit(
        **{odd.replace(".", "__"): b"old\n"}, d__sh=b"#!/bin/sh\n", e__txt=b"e"
    )
    repository.write("a.py", b"x = 2\n" * 50)
    repository.write("a.py", b"x = 2\r\n" + b"x = 3\n" * 49)
    repository.write("c.bin", bytes(reversed(range(256))) * 20)
    (repository.folder / "b.py").unlink()
    repository.write(odd, b"new without end")
    (repository.folder / "d.sh").chmod(0o755)
    repository.git("mv", "e.txt", "f.txt")
    repository.write("staged.py", b"z = 1\n")
    repository.git("add", "staged.py")
    state = repository.capture()
    assert state.is_dirty
    assert state.faults == []
    other = repository.clone(tmp_path / "other", commit)
    other.git("apply", "--index", "-", stdin=state.patch)
    repository.git("add", "-u")
    assert other.hashes() == repository.hashes()


def test_a_repository_without_commits_gives_all_that_was_added(tmp_path: Path) -> None:
    repository = Repository(tmp_path / "new")
    repository.write("a.py", b"x = 1\n")
    repository.git("add", "a.py")
    repository.write("b.py", b"y = 1\n")
    state = repository.capture()
    assert (state.commit, state.branch, state.untracked) == ("", "main", ["b.py"])
    other = Repository(tmp_path / "other")
    other.git("apply", "--index", "-", stdin=state.patch)
    assert other.hashes() == repository.hashes()


def test_no_repository_and_no_git_are_no_error(
    tmp_path: Path, repository: Repository, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert git_capture.capture(tmp_path, Redactor()) is None
    monkeypatch.setenv("PATH", str(tmp_path))
    assert git_capture.capture(repository.folder, Redactor()) is None


@pytest.mark.parametrize("how", ["broken", "late"])
def test_a_repository_that_git_cannot_read_is_a_fault(
    repository: Repository, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    if how == "broken":
        (repository.folder / ".git/config").write_text("[core\n")
    else:
        slow = tmp_path / "bin" / "git"
        slow.parent.mkdir()
        slow.write_text("#!/bin/sh\nexec sleep 60\n")
        slow.chmod(0o755)
        monkeypatch.setenv("PATH", f"{slow.parent}:{os.environ['PATH']}")
    (repository.folder / "in").mkdir()
    state = git_capture.capture(repository.folder / "in", Redactor(), time_limit_s=2.0)
    assert state is not None
    assert (state.commit, state.is_dirty) == ("", None)
    (fault,) = state.faults
    assert ("bad config line 1" if how == "broken" else "took longer") in fault


def test_it_is_looked_for_from_a_folder_inside(repository: Repository) -> None:
    repository.commit(**{"sub/in__py": b"1\n"})
    repository.write("sub/in.py", b"2\n")
    repository.write("a.py", b"2\n")
    state = git_capture.capture(repository.folder / "sub", Redactor())
    assert state is not None
    assert b"a/a.py" in state.patch
    assert b"a/sub/in.py" in state.patch


def test_what_is_not_pushed_has_a_patch_from_what_is(
    repository: Repository, tmp_path: Path
) -> None:
    pushed = repository.git("rev-parse", "HEAD")
    mine = repository.clone(tmp_path / "mine", "main")
    mine.commit(a__py=b"committed\n")
    mine.write("b.py", b"changed\n")
    state = mine.capture()
    assert (state.ahead, state.behind) == (1, 0)
    assert state.upstream is not None
    assert state.upstream[0] == pushed
    other = repository.clone(tmp_path / "other", pushed)
    other.git("apply", "--index", "-", stdin=state.upstream[1])
    mine.git("add", "-u")
    assert other.hashes() == mine.hashes()


def test_a_branch_that_tracks_a_local_one_is_not_pushed_by_that(
    repository: Repository, tmp_path: Path
) -> None:
    pushed = repository.git("rev-parse", "HEAD")
    mine = repository.clone(tmp_path / "mine", "main")
    mine.commit(a__py=b"committed\n")
    mine.git("checkout", "-q", "-b", "idea", "--track", "main")
    state = mine.capture()
    assert state.ahead == 0
    assert state.upstream is not None
    assert state.upstream[0] == pushed
    assert b"+committed" in state.upstream[1]


@pytest.mark.parametrize(
    ("remote", "wanted"),
    [
        ("https://TOKEN:x-oauth-basic@example.com/a.git", "https://example.com/a.git"),
        ("https://TOKEN@example.com/a.git", "https://example.com/a.git"),
        ("git@example.com:team/a.git", "git@example.com:team/a.git"),  # which is everybody
        ("jane-deploy@example.com:team/a.git", "example.com:team/a.git"),
        ("/srv/me@home:1/a.git", "/srv/me@home:1/a.git"),
    ],
)
def test_the_remote_has_no_user_and_password(
    remote: str, wanted: str, repository: Repository
) -> None:
    repository.git("remote", "add", "origin", remote)
    assert repository.capture().remote == wanted


def test_secrets_are_taken_out_of_the_patch_and_counted(repository: Repository) -> None:
    repository.write("a.py", f'API_TOKEN = "{TOKEN}"\nx = 2\n'.encode())
    state = repository.capture()
    assert TOKEN.encode() not in state.patch
    assert b'+API_TOKEN = "[redacted]"\n+x = 2\n' in state.patch
    assert state.n_redacted == 1


def test_secrets_are_taken_out_of_names(repository: Repository) -> None:
    repository.commit(**{f"{TOKEN}__ipynb": b"{}"})
    repository.git("checkout", "-q", "-b", f"try/{TOKEN}")
    repository.git("tag", f"with-{TOKEN}")
    repository.write(f"{TOKEN}.ipynb", b"{ }")
    state = git_capture.capture(repository.folder, Redactor())
    assert state is not None
    assert TOKEN not in repr(state)
    assert (state.branch, state.tags) == ("try/[redacted]", ["with-[redacted]"])
    assert list(state.left_out) == ["[redacted]"]
    assert state.n_redacted >= 3


@pytest.mark.parametrize(
    "name",
    [
        ".env",
        ".env.local",
        "conf/id_rsa",
        "server.pem",
        "credentials.json",
        "Secrets.yaml",
        ".npmrc",
    ],
)
def test_files_named_like_secrets_are_left_out(name: str, repository: Repository) -> None:
    repository.write(name, b"old\n")
    repository.git("add", "-f", name)
    repository.git("commit", "-q", "-m", "oops")
    repository.write(name, b"something secret\n")
    repository.write("a.py", b"x = 2\n")
    state = repository.capture()
    assert b"something secret" not in state.patch
    assert b"x = 2" in state.patch
    assert state.left_out == {name: "its name says that it holds secrets"}


def test_notebooks_are_left_out_for_their_outputs(repository: Repository) -> None:
    repository.commit(study__ipynb=b'{"cells": []}\n')
    repository.write("study.ipynb", b'{"cells": [{"outputs": ["the salaries"]}]}\n')
    repository.write("a.py", b"x = 2\n")
    state = repository.capture()
    assert b"salaries" not in state.patch
    assert b"x = 2" in state.patch
    assert state.left_out == {"study.ipynb": "a notebook, whose outputs would be in it"}


def test_a_binary_file_with_a_secret_in_it_is_left_out_whole(repository: Repository) -> None:
    repository.write("c.bin", b"\0\1\2" + f"token={TOKEN}\n".encode() + bytes(range(256)))
    repository.write("new.bin", bytes(range(256)) * 3)
    repository.git("add", "new.bin")
    state = repository.capture()
    assert state.left_out == {"c.bin": "a binary file with a secret in it"}
    assert b"b/c.bin" not in state.patch
    assert b"b/new.bin" in state.patch


def as_zip(text: bytes) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("settings.txt", text)
    return file.getvalue()


@pytest.mark.parametrize(
    "pack",
    [
        lambda text: text.decode().encode("utf-16"),
        lambda text: b"\0" + random.Random(1).randbytes(3000) + text + b"\0",
        lambda text: gzip.compress(text * 9),
        lambda text: bz2.compress(text * 9),
        lambda text: lzma.compress(text * 9),
        as_zip,
    ],
    ids=["UTF-16", "delta", "gzip", "bzip2", "xz", "zip"],
)
def test_a_secret_is_found_however_a_binary_file_holds_it(
    pack: Callable[[bytes], bytes], repository: Repository
) -> None:
    # In a delta the new token lacks its beginning, which the old one had.
    repository.commit(c__bin=pack(f"token hf_{'Zy' * 17} here\n".encode()))
    repository.write("c.bin", pack(f"token {TOKEN} here\n".encode()))
    repository.write("new.bin", pack(b"nothing to hide here\n"))
    repository.git("add", "new.bin")
    state = repository.capture()
    assert state.left_out == {"c.bin": "a binary file with a secret in it"}
    assert b"b/new.bin" in state.patch


def test_random_bytes_are_no_secret(repository: Repository) -> None:
    repository.write("c.bin", random.Random(3).randbytes(3 << 20))
    state = repository.capture()
    assert state.left_out == {}
    assert b"GIT binary patch" in state.patch


def test_files_of_lfs_that_are_what_was_committed_are_no_change(repository: Repository) -> None:
    weights = random.Random(2).randbytes(3000)
    digest = hashlib.sha256(weights).hexdigest()
    pointer = f"version https://git-lfs.github.com/spec/v1\noid sha256:{digest}\nsize 3000\n"
    repository.commit(__gitattributes=b"*.ckpt filter=lfs diff=lfs -text\n")
    for name in ("same.ckpt", "other.ckpt"):
        repository.write(name, pointer.encode())
    repository.git("-c", "filter.lfs.clean=cat", "add", "-A")
    repository.git("-c", "filter.lfs.clean=cat", "commit", "-q", "-m", "pointers")
    repository.write("same.ckpt", weights)
    assert repository.write("other.ckpt", weights).stat().st_size == 3000
    assert repository.capture().is_dirty is False
    repository.write("other.ckpt", weights[::-1])
    state = repository.capture()
    assert state.is_dirty
    assert list(state.left_out) == ["other.ckpt"]


def test_a_file_that_takes_too_long_does_not_take_the_codes_time(
    repository: Repository, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    repository.commit(big__bin=random.Random(3).randbytes(70_000), huge__bin=b"1" * 300_000)
    repository.write("big.bin", random.Random(4).randbytes(70_000))
    repository.write("huge.bin", b"2" * 300_000)
    repository.write("a.py", b"x = 2\n")
    git = tmp_path / "bin/git"
    git.parent.mkdir()
    slow = 'case "$*" in *--binary*big.bin*) sleep 600;; esac'
    git.write_text(f'#!/bin/sh\n{slow}\nexec {shutil.which("git")} "$@"\n')
    git.chmod(0o755)
    monkeypatch.setenv("PATH", str(git.parent), prepend=os.pathsep)
    monkeypatch.setattr(git_patch, "MAX_FILE_BYTES", 200_000)
    state = repository.capture(time_limit_s=16.0)
    assert state.left_out.keys() == {"big.bin", "huge.bin"}
    assert "larger than 200,000 bytes" in state.left_out["huge.bin"]
    assert b"+x = 2" in state.patch
    assert state.is_dirty


def test_large_files_kept_elsewhere_are_left_out(repository: Repository) -> None:
    repository.commit(__gitattributes=b"*.ckpt filter=lfs diff=lfs -text\n")
    repository.write("big.ckpt", b"version https://git-lfs\n")
    repository.git("-c", "filter.lfs.clean=cat", "add", "big.ckpt")
    repository.git("commit", "-q", "-m", "pointer")
    ran = repository.folder.parent / "ran"
    repository.git("config", "filter.lfs.clean", f"touch {ran}; sleep 60")
    repository.git("config", "filter.lfs.required", "true")
    repository.write("big.ckpt", b"the weights\n" * 1000)
    repository.write("a.py", b"x = 2\n")
    state = repository.capture()
    assert not ran.exists()
    assert b"weights" not in state.patch
    assert b"x = 2" in state.patch
    assert list(state.left_out) == ["big.ckpt"]


def test_nothing_of_the_repositorys_is_executed(repository: Repository) -> None:
    ran = repository.folder.parent / "ran"
    for setting in ("diff.external", "core.fsmonitor", "core.pager", "diff.py.textconv"):
        repository.git("config", setting, f"touch {ran} ; false")
    (repository.folder / ".git/hooks/post-index-change").write_text(f"#!/bin/sh\ntouch {ran}\n")
    (repository.folder / ".git/hooks/post-index-change").chmod(0o755)
    repository.git("-c", "core.fsmonitor=", "config", "diff.py.command", f"touch {ran} ; false")
    repository.write(".gitattributes", b"*.py diff=py\n")
    repository.write("a.py", b"x = 2\n")
    repository.write("unknown.py", b"y = 2\n")
    ran.unlink(missing_ok=True)
    state = git_capture.capture(repository.folder, Redactor(), has_untracked=True)
    assert state is not None
    assert b"+x = 2" in state.patch
    assert b"+y = 2" in state.untracked_patch
    assert not ran.exists()


def test_git_that_hangs_ends_in_time_and_what_is_known_stays(repository: Repository) -> None:
    repository.git("config", "filter.slow.clean", "sleep 600")
    repository.commit(__gitattributes=b"*.slow filter=slow\n")
    repository.write("a.slow", b"old\n")
    repository.git("-c", "filter.slow.clean=cat", "add", "a.slow")
    repository.git("-c", "filter.slow.clean=cat", "commit", "-q", "-m", "slow")
    repository.write("a.slow", b"changed, and longer\n")
    state = repository.capture(time_limit_s=10.0)
    assert state.commit == repository.git("rev-parse", "HEAD")
    assert any("took longer" in fault or "no time left" in fault for fault in state.faults)


def test_variables_that_point_git_elsewhere_are_not_followed(
    repository: Repository, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = Repository(tmp_path / "elsewhere")
    other.commit(a__py=b"1\n")
    monkeypatch.setenv("GIT_DIR", str(other.folder / ".git"))
    monkeypatch.setenv("GIT_WORK_TREE", str(other.folder))
    assert repository.capture().root == str(repository.folder)


def test_a_patch_that_is_too_large_becomes_a_summary(
    repository: Repository, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(git_patch, "MAX_PATCH_BYTES", 10_000)
    repository.write("a.py", b"a line of code\n" * 2000)
    state = repository.capture()
    assert state.left_out == {"*": "the patch is larger than 10,000 bytes"}
    assert b"a.py | 2050" in state.patch
    assert len(state.patch) < 10_000


def test_changes_inside_a_submodule_are_in_the_patch(
    repository: Repository, tmp_path: Path
) -> None:
    library = Repository(tmp_path / "library")
    library.commit(lib__py=b"one\n")
    repository.git("submodule", "-q", "add", str(library.folder), "lib")
    repository.git("commit", "-q", "-m", "submodule")
    repository.write("lib/lib.py", b"two\n")
    repository.write("a.py", b"x = 2\n")
    state = repository.capture()
    assert b"diff --git a/lib/lib.py b/lib/lib.py" in state.patch
    assert b"+two" in state.patch
    assert b"+x = 2" in state.patch


def test_a_thousand_changed_files_are_one_patch(repository: Repository, tmp_path: Path) -> None:
    names = [f"many/file-{number:04}.txt" for number in range(1000)]
    for name in names:
        repository.write(name, b"old\n")
    commit = repository.commit()
    for name in names:
        repository.write(name, b"new\n")
    state = repository.capture(time_limit_s=60)
    other = repository.clone(tmp_path / "other", commit)
    other.git("apply", "--index", "-", stdin=state.patch)
    repository.git("add", "-u")
    assert other.hashes() == repository.hashes()


def test_untracked_files_are_listed_up_to_a_limit(
    repository: Repository, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(git_capture, "MAX_UNTRACKED", 3)
    repository.commit(__gitignore=b"*.log\n")
    for name in ("b.txt", "a.txt", "c.txt", "d.txt", "e.log"):
        repository.write(name, b"")
    state = repository.capture()
    assert state.untracked == ["a.txt", "b.txt", "c.txt"]
    assert state.faults == ["4 untracked files, of which 3 are listed"]


def test_where_runs_are_kept_is_no_part_of_the_code(repository: Repository) -> None:
    kept = ("weir.db", "weir.db-wal", "weir-artifacts/0/a/weir/git/untracked.patch", "mlflow.db")
    for name in (*kept, "in/mlruns/0/meta.yaml", "weir.dbt.py", "new.py"):
        repository.write(name, b"1\n")
    state = git_capture.capture(repository.folder, Redactor(), has_untracked=True)
    assert state is not None
    assert state.untracked == ["new.py", "weir.dbt.py"]
    assert state.untracked_patch.count(b"diff --git ") == 2


def test_secrets_inside_a_submodule_are_left_out_too(
    repository: Repository, tmp_path: Path
) -> None:
    library = Repository(tmp_path / "library")
    library.write(".env", b"old\n")
    library.commit(lib__py=b"one\n")
    repository.git("submodule", "-q", "add", str(library.folder), "lib")
    repository.git("commit", "-q", "-m", "submodule")
    repository.write("lib/.env", b"something secret\n")
    repository.write("lib/lib.py", b"two\n")
    state = repository.capture()
    assert b"something secret" not in state.patch
    assert b"+two" in state.patch
    assert state.left_out == {"lib/.env": "its name says that it holds secrets"}
    assert state.submodules == {"lib": library.git("rev-parse", "HEAD")}


def test_secrets_are_left_out_however_many_files_have_changed(
    repository: Repository, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(git_patch, "_MAX_ARGUMENT_CHARACTERS", 50)
    names = [f"many/file-{number:02}.txt" for number in range(20)]
    for name in [*names, ".env"]:
        repository.write(name, b"old\n")
    repository.git("add", "-f", ".env")
    repository.commit()
    for name in [*names, ".env"]:
        repository.write(name, b"something new\n")
    state = repository.capture()
    assert state.patch.count(b"+something new") == 20
    assert b"b/.env" not in state.patch


def test_a_large_file_is_left_out_and_the_code_stays(
    repository: Repository, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(git_patch, "MAX_PATCH_BYTES", 200_000)
    commit = repository.commit(data__csv=b"1,2\n", old__bin=os.urandom(1 << 18))
    repository.write("data.csv", b"3,4\n" * 400_000)
    (repository.folder / "old.bin").unlink()
    repository.write("a.py", b"x = 2\n")
    state = repository.capture()
    assert state.left_out.keys() == {"data.csv", "old.bin"}
    other = repository.clone(tmp_path / "other", commit)
    other.git("apply", "--index", "-", stdin=state.patch)
    assert (other.folder / "a.py").read_bytes() == b"x = 2\n"


def test_what_git_does_not_know_comes_back_where_it_is_wanted(
    repository: Repository, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(git_patch, "MAX_UNTRACKED_FILE_BYTES", 5000)
    commit = repository.commit(__gitignore=b"*.log\n")
    repository.write("new/ümläut 'file'.py", b"x = 1\r\nno end")
    repository.write("tool.sh", b"#!/bin/sh\n").chmod(0o755)
    repository.write("picture.bin", bytes(range(256)) * 10)
    repository.write("empty.txt", b"")
    (repository.folder / "link").symlink_to("a.py")
    os.mkfifo(repository.folder / "pipe")
    Repository(repository.folder / "inner").commit(c__py=b"1\n")
    names = {"new/ümläut 'file'.py", "tool.sh", "picture.bin", "empty.txt", "link"}
    hidden = {".env": b"S=1\n", "big.csv": b"1" * 6000, "a.ipynb": b"{}", "x.log": b"log"}
    for name, content in hidden.items():
        repository.write(name, content)
    before = repository.git("status", "--porcelain")
    n_objects = len(list((repository.folder / ".git/objects").rglob("*")))
    assert repository.capture().untracked_patch == b""
    state = git_capture.capture(repository.folder, Redactor(), has_untracked=True)
    assert state is not None
    assert state.faults == []
    assert state.left_out.keys() - {"pipe"} == {".env", "big.csv", "a.ipynb", "inner/"}
    assert repository.git("status", "--porcelain") == before
    assert len(list((repository.folder / ".git/objects").rglob("*"))) == n_objects
    other = repository.clone(tmp_path / "other", commit)
    other.git("apply", "--index", "-", stdin=state.untracked_patch)
    found = other.hashes()
    assert names <= found.keys()
    for name in names - {"link"}:
        path = repository.folder / name
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
        assert found[name] == f"{digest} {os.access(path, os.X_OK)}"
    assert os.readlink(other.folder / "link") == "a.py"


def test_secrets_are_taken_out_of_what_git_does_not_know(repository: Repository) -> None:
    repository.write("keys.py", f'API_TOKEN = "{TOKEN}"\n'.encode())
    state = git_capture.capture(repository.folder, Redactor(), has_untracked=True)
    assert state is not None
    assert b'+API_TOKEN = "[redacted]"' in state.untracked_patch


def test_settings_of_the_users_do_not_spoil_the_patch(
    repository: Repository, tmp_path: Path
) -> None:
    commit = repository.git("rev-parse", "HEAD")
    for setting, value in {
        "diff.context": "0",
        "diff.noprefix": "true",
        "diff.relative": "true",
        "diff.srcPrefix": "x/",
        "color.ui": "always",
        "diff.ignoreSubmodules": "all",
        "core.quotepath": "true",
    }.items():
        repository.git("config", setting, value)
    repository.write("a.py", b"x = 1\n" * 30 + b"x = 2\n" + b"x = 1\n" * 20)
    state = repository.capture()
    other = repository.clone(tmp_path / "other", commit)
    other.git("apply", "--index", "-", stdin=state.patch)
    assert other.hashes() == repository.hashes()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a folder away")
def test_a_repository_of_somebody_elses_is_a_fault_that_says_what_to_do(
    repository: Repository,
) -> None:
    for path in (repository.folder, repository.folder / ".git"):
        os.chown(path, 12345, 12345)
    (repository.folder / "in").mkdir()
    state = git_capture.capture(repository.folder / "in", Redactor())
    assert state is not None
    assert (state.commit, state.is_dirty) == ("", None)
    assert state.faults[0].endswith(f"safe.directory {repository.folder}")


_CAPTURE = """
import sys
from pathlib import Path
from mlflow_weir.plugin.capture import git
from mlflow_weir.redaction import Redactor
state = git.capture(Path(sys.argv[1]), Redactor(), has_untracked=True, time_limit_s=60)
print(state.left_out, state.faults)
sys.stdout.buffer.write(state.patch + state.untracked_patch)
"""


@pytest.mark.skipif(
    os.geteuid() == 0 and shutil.which("setpriv") is None, reason="root may read everything"
)
def test_a_file_that_cannot_be_read_takes_nothing_of_the_others(repository: Repository) -> None:
    repository.write("a.py", b"changed\n")
    repository.write("new.txt", b"a new one\n")
    for name in ("b.py", "locked.txt"):
        repository.write(name, b"a change\n").chmod(0)
    less = ["setpriv", "--bounding-set=-dac_override,-dac_read_search"]
    done = subprocess.run(
        [*(less if os.geteuid() == 0 else []), sys.executable, "-c", _CAPTURE, repository.folder],
        capture_output=True,
        check=True,
    )
    said, _, patches = done.stdout.decode().partition("\n")
    why = "it cannot be read"
    assert said == f"{ ({'b.py': why, 'locked.txt': why}) } []"
    assert "+changed" in patches
    assert "+a new one" in patches
    assert "+a change\n" not in patches


def test_the_patch_of_a_worktree_a_detached_head_and_a_shallow_clone(
    repository: Repository, tmp_path: Path
) -> None:
    repository.commit(a__py=b"second\n")
    commit = repository.git("rev-parse", "HEAD")
    repository.git("worktree", "add", "-q", "--detach", str(tmp_path / "tree"), commit)
    repository.git(
        "clone", "-q", "--depth", "1", f"file://{repository.folder}", str(tmp_path / "shallow")
    )
    for folder in (tmp_path / "tree", tmp_path / "shallow"):
        (folder / "b.py").write_bytes(b"changed\n")
        state = git_capture.capture(folder, Redactor())
        assert state is not None
        assert (state.commit, state.faults, state.upstream) == (commit, [], None)
        assert b"+changed" in state.patch


def test_names_that_are_no_unicode_are_kept(repository: Repository, tmp_path: Path) -> None:
    name = os.fsdecode(b"caf\xe9.py")
    repository.write(name, b"one\n")
    commit = repository.commit()
    repository.write(name, b"two\n")
    repository.write(os.fsdecode(b"untracked\xff"), b"")
    state = repository.capture()
    assert state.faults == []
    assert state.untracked == [os.fsdecode(b"untracked\xff")]
    other = repository.clone(tmp_path / "other", commit)
    other.git("apply", "--index", "-", stdin=state.patch)
    assert (other.folder / name).read_bytes() == b"two\n"


def test_other_repositories_are_those_named_that_of_the_script_and_editable_installs(
    repository: Repository, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    named, scripts, package = (Repository(tmp_path / name / "lib") for name in "abc")
    for one in (named, scripts, package):
        one.commit(lib__py=b"one\n", train__py=b"")
        one.write("lib.py", b"two\n")
    packages = {"lib": package.folder, "mine": repository.folder, "gone": tmp_path}
    monkeypatch.setattr(git_capture, "_editable_packages", lambda: packages)
    state = repository.capture()
    others = git_capture.capture_others(
        state,
        [named.folder, repository.folder, tmp_path],
        Redactor(),
        script=scripts.folder / "train.py",
    )
    assert [(one.name, one.root) for one in others] == [
        ("lib", str(named.folder)),
        (tmp_path.name, str(tmp_path)),
        ("lib-2", str(scripts.folder)),
        ("lib-3", str(package.folder)),
    ]
    assert [bool(one.patch) for one in others] == [True, False, True, False]
    assert [one.is_dirty for one in others] == [True, None, True, True]
    assert others[1].faults == ["no git repository"]
    assert others[3].packages == ["lib"]
    assert state.packages == ["mine"]


@pytest.mark.parametrize("n_folders", [10, pytest.param(100, marks=pytest.mark.long)])
def test_thousands_of_files_with_lfs_are_looked_at(tmp_path: Path, n_folders: int) -> None:
    repository = Repository(tmp_path / "large")
    repository.write(".gitattributes", b"*.bin filter=lfs diff=lfs merge=lfs -text\n")
    listed = []
    for folder in range(n_folders):
        path = repository.folder / f"d{folder}"
        path.mkdir()
        for number in range(100):
            (path / f"f{number}.bin").write_bytes(b"weights %d" % number)
    pointer = repository.git("hash-object", "-w", "--stdin", stdin=b"version https://git-lfs\n")
    for folder in range(n_folders):
        listed += [f"100644 {pointer}\td{folder}/f{number}.bin\n" for number in range(100)]
    repository.git("update-index", "--index-info", stdin="".join(listed).encode())
    repository.write("train.py", b"x = 1\n")
    repository.git("add", "train.py", ".gitattributes")
    repository.git("commit", "-q", "-m", "all")
    repository.write("train.py", b"x = 2\n")
    state = repository.capture(time_limit_s=300)
    # Nothing in the index tells git that the large files are as they were.
    assert b"+x = 2" in state.patch
    assert b"weights" not in state.patch
    assert len(state.left_out) == 100 * n_folders
    assert state.faults == []


def test_a_private_key_that_a_hunk_cuts_takes_nothing_of_what_follows(
    repository: Repository, tmp_path: Path
) -> None:
    draw = random.Random(5).randbytes
    drawn = [base64.b64encode(draw(48)).decode() for _ in range(20)]
    body = "\n".join(drawn)
    key = f"-----BEGIN PRIVATE KEY-----\n{body}\n-----END PRIVATE KEY-----\n"
    key = key.replace("\n-----END", "\nab12CD==\n-----END")
    text = f"# one\n{key}# three\n" + "".join(f"value {n}\n" for n in range(30))
    commit = repository.commit(keys__txt=text.encode())
    repository.write(
        "keys.txt",
        text.replace("# one", "# two").replace("29", "thirty").replace("three", "four").encode(),
    )
    repository.write("zeta.py", b"z = 2\n")
    repository.git("add", "-A")
    state = repository.capture()
    assert not [line for line in [*drawn, "ab12CD"] if line.encode() in state.patch]
    assert b"+value thirty" in state.patch
    other = repository.clone(tmp_path / "other", commit)
    other.git("apply", "--include=zeta.py", "-", stdin=state.patch)
    assert (other.folder / "zeta.py").read_bytes() == b"z = 2\n"
