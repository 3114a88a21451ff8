"""Which files are followed, and when a version is taken."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from mlflow_weir.plugin.capture import following
from mlflow_weir.plugin.capture.following import Follower, Pattern
from mlflow_weir.plugin.capture.following_process import local_folder


class Folder:
    """A working folder, and what was taken from it."""

    def __init__(self, path: Path) -> None:
        self.path = path
        path.mkdir()
        self.taken: list[tuple[str, str]] = []
        self.refusal = ""

    def write(self, name: str, text: str = "x") -> Path:
        path = self.path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        return path

    def follower(self, *patterns: str, since_ns: int = 0, max_bytes: int = 1 << 20) -> Follower:
        def take(path: str, name: str) -> str:
            if not self.refusal:
                self.taken.append((name, Path(path).read_text()))
            return self.refusal

        found = Follower(self.path, take, not_below=str(self.path / "store"), max_bytes=max_bytes)
        for pattern in patterns:
            found.add(pattern, since_ns)
        return found

    def names(self, *patterns: str) -> set[str]:
        self.taken.clear()
        self.follower(*patterns).look(is_last=True)
        return {name for name, _ in self.taken}


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    return Folder(tmp_path / "work")


def test_patterns_match_as_in_a_shell_with_two_stars_for_any_folders(folder: Folder) -> None:
    names = ["a.pt", "b.txt", "out/a.pt", "out/deep/er/a.pt", "out/[1].pt", "out/.hidden.pt",
             ".dot/a.pt", "out/x7.log"]  # fmt: skip
    for name in names:
        folder.write(name)
    assert folder.names("*.pt") == {"a.pt"}
    assert folder.names("**/*.pt") == {"a.pt", "out/a.pt", "out/deep/er/a.pt", "out/[1].pt"}
    assert folder.names("out/*") == {"out/a.pt", "out/[1].pt", "out/x7.log"}
    assert folder.names("out/x[0-9].log") == {"out/x7.log"}
    assert folder.names("out/x[!0-9].log") == set()
    assert folder.names("out/.*") == {"out/.hidden.pt"}
    assert folder.names("*/deep/*/?.pt") == {"out/deep/er/a.pt"}
    assert folder.names("out/deep") == {"out/deep/er/a.pt"}
    assert folder.names("b.txt", "./a.pt", str(folder.path / "b.txt")) == {"b.txt", "a.pt"}


@pytest.mark.parametrize("pattern", ["../x", "/etc/passwd", "a/../../b", ".", ""])
def test_patterns_do_not_lead_out_of_the_folder(pattern: str, folder: Folder) -> None:
    with pytest.raises(ValueError, match="leads out"):
        Pattern(pattern, folder.path)
    follower = folder.follower(pattern)
    follower.look(is_last=True)
    assert (folder.taken, list(follower.left_out)) == ([], [pattern])


def test_links_out_of_the_folder_are_left_out_and_said(folder: Folder, tmp_path: Path) -> None:
    (tmp_path / "secret.txt").write_text("secret")
    folder.write("inside.txt")
    (folder.path / "out.txt").symlink_to(tmp_path / "secret.txt")
    (folder.path / "in.txt").symlink_to("inside.txt")
    (folder.path / "there").symlink_to(tmp_path)
    follower = folder.follower("**", "there/*.txt")
    follower.look(is_last=True)
    assert {name for name, _ in folder.taken} == {"inside.txt", "in.txt"}
    assert follower.left_out.keys() == {"out.txt", "there"}


def test_what_is_written_is_taken_when_it_has_rested_or_at_the_end(folder: Folder) -> None:
    follower = folder.follower("*.txt")
    for number in range(3):
        folder.write("a.txt", "x" * (number + 1))
        follower.look()
    assert folder.taken == []
    follower.look()
    follower.look()
    assert folder.taken == [("a.txt", "xxx")]
    folder.write("a.txt", "the last")
    follower.look(is_last=True)
    assert folder.taken[1:] == [("a.txt", "the last")]
    assert (follower.n_files, follower.n_versions) == (1, 2)


def test_a_log_that_grows_for_ever_is_taken_more_rarely_the_larger_it_is(folder: Folder) -> None:
    now_s = 0.0

    def take(path: str, name: str) -> str:
        folder.taken.append((name, ""))
        return ""

    follower = Follower(folder.path, take, clock=lambda: now_s)
    follower.add("*.log", 0)
    log = folder.write("a.log", "x" * 3_000_000)
    n_bytes = 0
    for number in range(150):  # it rests between two looks, and has grown at the next but one
        if number % 2 == 0:
            log.write_text("x" * (3_000_000 + number))
        before = len(folder.taken)
        follower.look()
        n_bytes += 3_000_000 * (len(folder.taken) - before)
        now_s += 2.0
    assert 300e6 * 0.5 <= n_bytes <= 300e6 * 1.05  # 300 s
    log.write_text("the end")
    before = len(folder.taken)
    follower.look(is_last=True)
    assert len(folder.taken) == before + 1


def test_what_has_not_changed_since_is_not_taken(folder: Folder) -> None:
    folder.write("old.txt")
    since_ns = (folder.path / "old.txt").stat().st_ctime_ns + 1
    new = folder.write("new.txt")
    while new.stat().st_ctime_ns < since_ns:  # a coarse clock
        new.write_text("again")
    follower = folder.follower("*.txt", since_ns=since_ns)
    follower.look(is_last=True)
    assert [name for name, _ in folder.taken] == ["new.txt"]
    folder.write("kept.txt")
    os.utime(folder.path / "kept.txt", (1, 1))  # as a copy that keeps its times
    follower.look(is_last=True)
    assert [name for name, _ in folder.taken] == ["new.txt", "kept.txt"]


def test_large_secret_and_too_many_files_are_left_out_and_said(
    folder: Folder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(following, "MAX_FILES", 2)
    for name in ("a.txt", "b.txt", "c.txt", "credentials.txt"):
        folder.write(name)
    folder.write("big.txt", "x" * 100)
    for name in (".git/x.txt", "weir-artifacts/x.txt", "store/x.txt"):
        folder.write(name)
    follower = folder.follower("**/*.txt", max_bytes=99)
    follower.look(is_last=True)
    assert len(folder.taken) == 2
    assert follower.left_out.keys() == {"credentials.txt", "big.txt", "…"}


def test_what_could_not_be_taken_is_tried_again(folder: Folder) -> None:
    folder.write("a.txt")
    follower = folder.follower("*.txt")
    folder.refusal = "the disk is full"
    follower.look()
    follower.look()
    assert follower.left_out == {"a.txt": "the disk is full"}
    folder.refusal = ""
    follower.look()
    assert (folder.taken, follower.left_out) == ([("a.txt", "x")], {})


def test_looking_at_many_files_ends_soon(folder: Folder) -> None:
    for number in range(3000):
        folder.write(f"d{number % 30}/f{number}.txt")
    began = time.process_time()
    folder.follower("d1/*.txt").look(is_last=True)
    assert len(folder.taken) == 100
    assert time.process_time() - began < 1.0


@pytest.mark.parametrize(
    ("root", "wanted"),
    [
        ("/a/b c", "/a/b c"),
        ("file:///a/b%20c", "/a/b c"),
        ("s3://bucket/x", ""),
        ("file://elsewhere/a", ""),
        ("weir-pending:0", ""),
    ],
)
def test_local_artifact_roots_are_told_from_others(root: str, wanted: str) -> None:
    assert local_folder(root) == wanted
