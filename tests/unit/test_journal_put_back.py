"""A journal whose folder somebody removes while its process writes."""

from __future__ import annotations

import os
import shutil
import signal
from collections.abc import Callable
from pathlib import Path

import pytest

from journals import SECRETS, new_journal, read_all
from mlflow_weir.plugin.journal import building
from mlflow_weir.plugin.journal import format as layout
from mlflow_weir.plugin.journal.format import list_segments
from mlflow_weir.plugin.journal.owner import is_owned
from mlflow_weir.plugin.journal.reader import JournalReader
from mlflow_weir.plugin.journal.spool import JournalFolder
from mlflow_weir.plugin.journal.writer import Journal


def remove_segment(folder: Path) -> None:
    next(folder.glob("*.seg")).unlink()


def move_away(folder: Path) -> None:
    os.rename(folder, folder.with_name("elsewhere"))


HARM: dict[str, Callable[[Path], None]] = {
    "the spool": lambda folder: shutil.rmtree(folder.parent.parent),
    "the folder": shutil.rmtree,
    "the segment": remove_segment,
    "the lock": lambda folder: (folder / "owner.lock").unlink(),
    "moved away": move_away,
}


@pytest.mark.parametrize("what", HARM)
def test_a_journal_that_was_removed_is_put_back_whole(
    what: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    journal = new_journal(tmp_path / "spool")
    (journal.folder / "hardware").mkdir()
    journal.append(b"before")
    assert not journal.put_back()  # it is where it was
    HARM[what](journal.folder)
    journal.append(b"while it is gone")
    assert journal.put_back()
    assert not journal.put_back()
    journal.append(b"after")
    assert read_all(journal.folder) == [b"before", b"while it is gone", b"after"]
    assert is_owned(journal.folder)
    folder = JournalFolder(journal.folder)
    assert (folder.header().journal_id, folder.credentials()) == (journal.journal_id, SECRETS)
    assert (journal.folder / "files").is_dir()
    assert (journal.folder / "hardware").is_dir() == (what in {"the segment", "the lock"})
    assert os.stat(journal.folder).st_mode & 0o777 == 0o700
    assert capfd.readouterr().err.count("was removed, and is put back") == 1
    assert [one.path for one in journal_folders(journal)] == [journal.folder]
    journal.close()
    assert not is_owned(journal.folder)


def journal_folders(journal: Journal) -> list[JournalFolder]:
    assert journal._spool is not None
    return journal._spool.journals()


def test_what_earlier_segments_held_is_the_targets(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(layout, "SEGMENT_BYTES", 100)
    journal = new_journal(tmp_path / "spool")
    for n in range(20):
        journal.append(b"record %02d" % n)
    start = list_segments(journal.folder)[-1]
    n_before = start // (8 + len(b"record 00"))
    assert building.put_back_from(journal.folder) is None
    shutil.rmtree(tmp_path / "spool")
    assert journal.put_back()
    assert list_segments(journal.folder) == [start]
    assert building.put_back_from(journal.folder) == start
    assert f"not delivered before byte {start}" in capfd.readouterr().err
    end = journal.append(b"and on")
    assert end == 20 * 17 + 14
    with_it = [b"record %02d" % n for n in range(n_before, 20)] + [b"and on"]
    with JournalReader(journal.folder, start) as reader:
        assert reader.read().payloads == with_it


def test_a_signal_handler_that_logs_meanwhile_loses_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    journal = new_journal(tmp_path / "spool")
    journal.append(b"before")
    copy = building._copy

    def interrupted(last: building.Last, file: int) -> None:
        copy(last, file)
        os.kill(os.getpid(), signal.SIGUSR1)

    monkeypatch.setattr(building, "_copy", interrupted)
    before = signal.signal(signal.SIGUSR1, lambda *_: journal.append(b"amid"))
    try:
        shutil.rmtree(tmp_path / "spool")
        assert journal.put_back()
    finally:
        signal.signal(signal.SIGUSR1, before)
    journal.append(b"after")
    assert journal.flush()
    assert read_all(journal.folder) == [b"before", b"amid", b"after"]


def test_where_it_cannot_be_put_back_now_it_is_later(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    journal = new_journal(tmp_path / "spool")
    journal.append(b"before")
    shutil.rmtree(tmp_path / "spool")
    (tmp_path / "spool").touch()  # no folder can be here
    for n in range(3):
        assert not journal.put_back()
        journal.append(b"%d" % n)
    assert capfd.readouterr().err.count("cannot be put back yet") == 1
    (tmp_path / "spool").unlink()
    assert journal.put_back()
    assert read_all(journal.folder) == [b"before", b"0", b"1", b"2"]


def test_a_child_of_fork_leaves_its_parents_journal_alone(tmp_path: Path) -> None:
    journal = new_journal(tmp_path / "spool")
    journal.append(b"before")
    shutil.rmtree(tmp_path / "spool")
    child = os.fork()
    if not child:
        os._exit(int(journal.put_back() or (tmp_path / "spool").exists()))
    assert os.waitpid(child, 0)[1] == 0
    assert journal.put_back()
