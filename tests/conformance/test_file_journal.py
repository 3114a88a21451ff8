"""A journal keeps its promises however it was opened, and however small its segments are."""

from __future__ import annotations

from pathlib import Path

import pytest

from journal_conformance import JournalConformance
from journals import new_journal
from mlflow_weir.plugin.journal import format as layout
from mlflow_weir.plugin.journal.format import frame, list_segments, segment_name
from mlflow_weir.plugin.journal.spool import JournalFolder
from mlflow_weir.plugin.journal.writer import Journal


@pytest.fixture(params=[1, 100, 4096, 8 << 20], ids="segments of {} bytes".format, autouse=True)
def segment_bytes(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(layout, "SEGMENT_BYTES", request.param)


class TestNewJournal(JournalConformance):
    """One that this process made."""

    def open_journal(self, tmp_path: Path) -> Journal:
        return new_journal(tmp_path / "spool")


class TestAdoptedJournal(JournalConformance):
    """One whose owner died in the middle of a record."""

    def open_journal(self, tmp_path: Path) -> Journal:
        journal = new_journal(tmp_path / "spool")
        for n in range(20):
            journal.append(b"from before %d" % n)
        journal.close()
        last = journal.folder / segment_name(list_segments(journal.folder)[-1])
        with last.open("ab") as file:
            file.write(frame(b"torn")[:-1])
        return Journal.adopt(JournalFolder(journal.folder))
