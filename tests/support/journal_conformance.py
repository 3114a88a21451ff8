"""What every journal promises its writer and its reader; subclass it and supply ``folder``."""

from __future__ import annotations

import random
from abc import ABC, abstractmethod
from pathlib import Path

import pytest

from mlflow_weir.errors import JournalError
from mlflow_weir.plugin.journal.reader import JournalReader
from mlflow_weir.plugin.journal.writer import Journal


class JournalConformance(ABC):
    """Checks that write and read one journal."""

    @abstractmethod
    def open_journal(self, tmp_path: Path) -> Journal:
        """Return a journal to append to, whatever is in it already."""

    @pytest.fixture
    def journal(self, tmp_path: Path) -> Journal:
        return self.open_journal(tmp_path)

    @pytest.fixture
    def reader(self, journal: Journal) -> JournalReader:
        return JournalReader(journal.folder, journal.end)

    def test_records_come_back_in_order(self, journal: Journal, reader: JournalReader) -> None:
        payloads = [random.Random(n).randbytes(n % 90) for n in range(500)]
        ends = [journal.append(payload) for payload in payloads]
        assert ends == sorted(set(ends))
        found = []
        while (records := reader.read(700)).payloads:
            found += records.payloads
            assert records.end == reader.position == ends[len(found) - 1]
        assert found == payloads
        assert reader.is_at_end()

    def test_what_was_appended_is_there_for_the_next_read(
        self, journal: Journal, reader: JournalReader
    ) -> None:
        for n in range(200):
            start = journal.end
            end = journal.append(b"%d" % n)
            assert reader.read() == (start, end, [b"%d" % n])

    def test_reading_again_from_any_end_gives_the_same(self, journal: Journal) -> None:
        start = journal.end
        ends = [start, *(journal.append(b"%d" % n) for n in range(50))]
        for n, position in enumerate(ends):
            reader, found = JournalReader(journal.folder, position), list[bytes]()
            while payloads := reader.read().payloads:
                found += payloads
            assert found == [b"%d" % number for number in range(n, 50)]

    def test_two_readers_do_not_disturb_each_other(
        self, journal: Journal, reader: JournalReader
    ) -> None:
        other = JournalReader(journal.folder, journal.end)
        journal.append(b"a")
        assert other.read() == reader.read()
        journal.append(b"b")
        assert reader.read().payloads == [b"b"]
        assert other.read().payloads == [b"b"]

    def test_any_bytes_are_a_record(self, journal: Journal, reader: JournalReader) -> None:
        payloads = [b"", b"\0" * 8, b"\n", bytes(range(256)), b"\xff" * 1000]
        for payload in payloads:
            journal.append(payload)
        found = []
        while (records := reader.read()).payloads:
            found += records.payloads
        assert found == payloads

    def test_a_closed_journal_takes_nothing_and_is_readable(
        self, journal: Journal, reader: JournalReader
    ) -> None:
        journal.append(b"a")
        journal.sync()
        journal.close()
        with pytest.raises(JournalError, match="closed"):
            journal.append(b"b")
        reader.is_final = True
        assert reader.read().payloads == [b"a"]
        assert reader.is_at_end()
