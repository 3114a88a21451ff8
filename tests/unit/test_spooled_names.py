"""What a process has spooled before, by the names that it will have."""

from __future__ import annotations

from pathlib import Path

from mlflow_weir.plugin.journal.files import Waiting
from mlflow_weir.plugin.spooled_names import Spooled, SpooledNames


def spooled(folder: Path, number: int, *uris: str) -> Spooled:
    path = folder / f"{number:020}-{number:08}"
    path.mkdir(parents=True)
    return Spooled(Waiting.at(path), frozenset(uris), 10)


def test_calls_count_while_their_files_wait(tmp_path: Path) -> None:
    names = SpooledNames()
    first, second = spooled(tmp_path, 1, "s:/a", "s:/b"), spooled(tmp_path, 2, "s:/a")
    names.note(first)
    names.note(second)
    same = str
    assert set(names.waiting(tmp_path, ["s:/a"], same)) == {first, second}
    assert names.waiting(tmp_path, ["s:/b"], same) == [first]
    assert set(names.waiting(tmp_path, ["s:/a", "s:/b"], same)) == {first, second}
    assert not names.waiting(tmp_path, ["s:/c"], same)
    second.waiting.path.rmdir()
    assert names.waiting(tmp_path, ["s:/a"], same) == [first]


def test_a_parent_s_do_not_count(tmp_path: Path) -> None:
    names = SpooledNames()
    names.note(spooled(tmp_path / "parent", 1, "s:/a"))
    assert not names.waiting(tmp_path / "child", ["s:/a"], str)


def test_names_are_the_store_s_once_it_has_given_them(tmp_path: Path) -> None:
    names = SpooledNames()
    names.note(spooled(tmp_path, 1, "pending:x/a"))
    found = names.waiting(tmp_path, ["s:/x/a"], lambda uri: uri.replace("pending:", "s:/"))
    assert [one.uris for one in found] == [{"s:/x/a"}]


def test_what_is_uploaded_is_forgotten(tmp_path: Path) -> None:
    names = SpooledNames()
    for number in range(3000):
        one = spooled(tmp_path, number, f"s:/{number}")
        names.note(one)
        one.waiting.path.rmdir()
    assert len(names._calls) <= 1025
