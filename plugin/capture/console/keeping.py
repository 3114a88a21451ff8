"""What the pump keeps: lines of each run's own time, without secrets, journaled and as a text.

Bytes become lines (``sheet.py``, ``screen.py``), each goes through the redactor when it is
complete, and only then is anything written: records ``console`` into a journal of the pump's own,
for the same store and with the same credentials as the run's, and at the run's end the artifact
``weir/console.log``. A pump's journal owns no run: it can neither keep one alive nor end it.

Of a run at most ``limit`` bytes are kept, half from its head and half from its tail. Beyond the
head, what comes faster than ``_LIVE_BYTES`` a turn is sent with the run's end, if it is still in
the tail then.
"""

from __future__ import annotations

import collections
import contextlib
import itertools
import os
import secrets
import time
from collections import OrderedDict
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from mlflow_weir.errors import WeirError
from mlflow_weir.plugin.agent import client
from mlflow_weir.plugin.capture.console.rescue import SAID, Rescue
from mlflow_weir.plugin.capture.console.sheet import Sheet, Taken
from mlflow_weir.plugin.journal import files
from mlflow_weir.plugin.journal.spool import Credentials, Spool, Target
from mlflow_weir.plugin.journal.writer import Journal
from mlflow_weir.redaction import Redactor
from mlflow_weir.store.console.document import FOLDER, text_of
from mlflow_weir.store.console.lines import Line, without_styles
from mlflow_weir.store.delivery.records import encode_operation

_RECORD_BYTES, _RECORD_LINES = 64 << 10, 2_000
_LIVE_BYTES = 128 << 10
_LINE_COST = 32  # bytes counted for a line beside its text
_NUDGE_S = 0.5
_MAX_SCROLLED = 20_000
_MAX_WAITING_BYTES = 4 << 20  # of records while there is no spool
_LIVE_S = 0.25


_Kept = tuple[int, int, str]
"""A line without its number: when it changed last in ms, its stream, its text."""


class Run:
    """One run that is going on: its lines, and what of them is in the journal.

    Attributes:
        base: The screen's number of its first line.
        n_lines: How many there were.
        cut: Numbers of lines that are not kept, from and before; until it is sent.
        last_cut: The same, for as long as the run goes on.
    """

    def __init__(self, said: dict[str, Any], base: int) -> None:
        self.said, self.base = said, base
        self.run_id: str = said["run_id"]
        self.source = secrets.token_hex(16)  # of its own each time that a run goes on
        self.n_lines = 0
        self._half = max(int(said["limit"]) // 2, 1)
        self._head: dict[int, _Kept] = {}
        self._tail: OrderedDict[int, _Kept] = OrderedDict()
        self._head_bytes = self._tail_bytes = 0
        self._is_head_full = False
        self._unsent_head: dict[int, None] = {}
        self._unsent_tail: dict[int, None] = {}
        self._next_live_s = 0.0
        self._cut_to = self._head_end = 0
        self.cut: tuple[int, int] | None = None
        self.last_cut: tuple[int, int] | None = None

    def add(self, n: int, kept: _Kept) -> None:
        """Keep a line, or put it in the place of one with its number."""
        if n >= self.n_lines:
            self.n_lines = n + 1
        cost = len(kept[2]) + _LINE_COST
        if n in self._head or (not self._is_head_full and n not in self._tail):
            before = self._head.get(n)
            self._head_bytes += cost if before is None else len(kept[2]) - len(before[2])
            self._head[n] = kept
            if n >= self._head_end:
                self._head_end = n + 1
            self._is_head_full = self._is_head_full or self._head_bytes >= self._half
            self._unsent_head[n] = None
            return
        before = self._tail.get(n)
        self._tail_bytes += cost if before is None else len(kept[2]) - len(before[2])
        self._tail[n] = kept
        self._unsent_tail[n] = None
        while self._tail_bytes > self._half and len(self._tail) > 1:
            self._drop_first()

    def _drop_first(self) -> None:
        n, gone = self._tail.popitem(last=False)
        self._tail_bytes -= len(gone[2]) + _LINE_COST
        self._unsent_tail.pop(n, None)
        first = self._head_end
        self._cut_to = max(self._cut_to, n + 1, first)
        self.cut = self.last_cut = (first, self._cut_to)

    def skip(self, n: int) -> None:
        """Take note of lines that nobody looked at."""
        first = self._head_end
        self._is_head_full = True
        self.n_lines += n
        for number in list(self._tail):
            self._tail_bytes -= len(self._tail.pop(number)[2]) + _LINE_COST
            self._unsent_tail.pop(number, None)
        self._cut_to = self.n_lines
        self.cut = self.last_cut = (first, self._cut_to)

    def take_unsent(self, *, is_last: bool) -> list[Line]:
        """Return what is to be sent now, by number."""
        wanted = list(self._unsent_head)
        self._unsent_head.clear()
        now_s = time.monotonic()
        if is_last:
            wanted += self._unsent_tail
            self._unsent_tail.clear()
        elif self._unsent_tail and now_s >= self._next_live_s:
            self._next_live_s, size = now_s + _LIVE_S, 0
            while self._unsent_tail and size < _LIVE_BYTES:
                n, _ = self._unsent_tail.popitem()
                size += len(self._tail[n][2]) + _LINE_COST
                wanted.append(n)
        return [self._line(n) for n in sorted(wanted)]

    def _line(self, n: int) -> Line:
        return Line(n, *(self._head.get(n) or self._tail[n]))

    def lines(self) -> Iterator[Line]:
        """Give the lines that are kept, in order."""
        for n in sorted([*self._head, *self._tail]):
            yield self._line(n)


class Keeper:
    """Keeps what it is fed, for the runs that are open."""

    def __init__(self, rescue: Rescue | None = None) -> None:
        """Begin with nothing.

        Args:
            rescue: Where another process finds what there is, if this one is killed.
        """
        self._rescue = rescue
        self._sheets: dict[int, Sheet] = {}  # by stream
        self._count_lines = itertools.count()
        self._end = 0  # the number after the last line
        self._counted = 0
        self._runs: dict[str, Run] = {}
        self._redactor: Redactor | None = None
        self._again: Redactor | None = None
        self._redacted_to = 0
        self._journals: dict[str, Journal] = {}
        self._waiting: collections.deque[tuple[Run, bytes]] = collections.deque()
        self._nudged_s = 0.0

    # What the pump tells

    def begin(self, said: dict[str, Any]) -> None:
        """Begin to keep lines for a run."""
        self.flush(is_last=True)
        run = self._open(said, self._end)
        if self._rescue is not None:
            self._rescue.begin(said, run.source)

    def take_over(self, still_open: list[dict[str, Any]] | None = None) -> None:
        """Go on with the runs of a process that was killed.

        Args:
            still_open: What was said of the runs that are open now; None where that process has
                heard of all that happened.
        """
        for said, source, n_lines, lines in [] if self._rescue is None else self._rescue.take():
            run = self._open(said, self._end - n_lines - 1)
            run.source = source
            for line in lines:
                run.add(line.n, (line.at_ms, line.stream, line.text))
            run.take_unsent(is_last=True)
            run.add(n_lines, (time.time_ns() // 1_000_000, 0, SAID))
            self._send(run, is_last=True)
        self._write_rescue_anew()
        if still_open is not None:
            for run_id in self._runs.keys() - {said["run_id"] for said in still_open}:
                self.end(run_id)
            for said in still_open:
                if said["run_id"] not in self._runs:
                    self.begin(said)

    def _open(self, said: dict[str, Any], base: int) -> Run:
        if self._redactor is None:
            self._redactor, self._again = Redactor(said["patterns"]), Redactor(said["patterns"])
        run = self._runs[said["run_id"]] = Run(said, base)
        return run

    def end(self, run_id: str) -> None:
        """A run has ended: send the rest of its lines and write its text."""
        self.flush(is_last=True)
        run = self._runs.pop(run_id, None)
        if run is not None:
            self._send(run, is_last=True)
            self._write_text(run)
            if self._rescue is not None:
                self._rescue.end(run_id)
            if not self._runs:
                self._write_rescue_anew()

    def feed(self, at_ms: int, stream: int, data: bytes) -> None:
        """Take what was printed."""
        if not self._runs:
            return
        sheet = self._sheets.get(stream)
        if sheet is None:
            sheet = self._sheets[stream] = Sheet(stream)
        sheet.feed(at_ms, data, self._count_lines)
        if sheet.n_scrolled > _MAX_SCROLLED:
            self.flush()

    def skip(self, n_lines: int) -> None:
        """Take note of lines that came faster than they could be looked at."""
        self.flush(is_last=True)
        self._end += n_lines
        self._redacted_to = self._end
        for run in self._runs.values():
            run.skip(n_lines)

    def flush(self, *, is_last: bool = False) -> None:
        """Bring what is complete to the journal.

        Args:
            is_last: What is not complete too; what comes then is on lines of its own.
        """
        self._write_waiting()
        lines = self._taken(is_last=is_last)
        for run in self._runs.values():
            for n, kept in lines:
                if n >= run.base:
                    run.add(n - run.base, kept)
            self._send(run, is_last=False)
        for sheet in self._sheets.values():
            sheet.forget()
        if self._rescue is not None and self._rescue.is_long:
            self._write_rescue_anew()

    def _write_rescue_anew(self) -> None:
        if self._rescue is not None:
            self._rescue.write_anew(
                (run.said, run.source, self._records(run, list(run.lines()), run.last_cut))
                for run in self._runs.values()
            )

    def close(self) -> None:
        """End all runs that are open, and give the journals up."""
        for run_id in list(self._runs):
            self.end(run_id)
        for journal in self._journals.values():
            journal.put_back(is_said=False)
            journal.close()

    def ends(self) -> list[tuple[str, int]]:
        """Return the folder of each journal and the position after its last record."""
        for journal in self._journals.values():
            journal.put_back(is_said=False)
        return [(str(journal.folder), journal.end) for journal in self._journals.values()]

    @property
    def is_idle(self) -> bool:
        """Say whether there is no run to keep anything for."""
        return not self._runs

    # How

    def _taken(self, *, is_last: bool) -> list[tuple[int, _Kept]]:
        """Return lines that are new or changed, redacted, by their numbers."""
        taken: list[tuple[Taken, Sheet]] = []
        for sheet in self._sheets.values():
            if is_last:
                sheet.print_waiting(self._count_lines)
                sheet.new_page()
            found = sheet.take(self._count_lines, is_last=is_last)
            taken += [(one, sheet) for one in found]
        if not taken or self._redactor is None or self._again is None:
            return []
        if len(self._sheets) > 1:
            taken.sort(key=_by_beginning)
        first_time: list[tuple[int, str]] = []
        others: list[tuple[int, str]] = []
        said: dict[int, tuple[int, int]] = {}
        for one, sheet in taken:
            n = sheet.numbers.get(one.n)
            if n is None:
                n = sheet.numbers[one.n] = self._end
                self._end += 1
            said[n] = one.at_ms, sheet.stream
            is_new = (one.is_complete or is_last) and n >= self._redacted_to
            (first_time if is_new else others).append((n, one.text))
        if first_time:
            self._redacted_to = first_time[-1][0] + 1
        found_all = _redacted(self._redactor, first_time) + _redacted(self._again, others)
        self._count()
        return [(n, (*said[n], text)) for n, text in sorted(found_all)]

    def _count(self) -> None:
        n = 0 if self._redactor is None else self._redactor.n_redacted
        if n > self._counted:
            for run in self._runs.values():
                fields = {"run_id": run.run_id, "n": n - self._counted}
                self._append(run, encode_operation("redacted", fields))
            self._counted = n

    def _send(self, run: Run, *, is_last: bool) -> None:
        cut, run.cut = run.cut, None
        lines = run.take_unsent(is_last=is_last)
        if not lines and cut is None:
            return
        for payload in self._records(run, lines, cut):
            self._append(run, payload)
            if self._rescue is not None:
                self._rescue.lines(payload)
        self._hurry(run)

    def _records(
        self, run: Run, lines: list[Line], cut: tuple[int, int] | None
    ) -> Iterator[bytes]:
        for part in _parts(lines) if lines else [[]]:
            first = part[0].n if part else 0
            at_ms = part[0].at_ms if part else 0
            fields = {
                "run_id": run.run_id,
                "source": run.source,
                "node": run.said["node"],
                "rank": run.said["rank"],
                "pid": run.said["pid"],
                "first": first,
                "at_ms": at_ms,
                "lines": [[one.at_ms - at_ms, one.stream, one.text] for one in part],
                "cut": None if cut is None else list(cut),
            }
            cut = None
            yield encode_operation("console", fields)

    def _append(self, run: Run, payload: bytes) -> None:
        """Write a record, after those for which there was no journal yet."""
        self._waiting.append((run, payload))
        self._write_waiting()
        while sum(len(one) for _, one in self._waiting) > _MAX_WAITING_BYTES:
            self._waiting.popleft()

    def _write_waiting(self) -> None:
        while self._waiting:
            run, payload = self._waiting[0]
            journal = self._journal_of(run)
            if journal is None:  # there is no spool at this moment; somebody removes it, perhaps
                return
            self._waiting.popleft()
            with contextlib.suppress(WeirError):
                journal.append(payload)

    def _journal_of(self, run: Run) -> Journal | None:
        said = run.said
        key = repr((said["target"], said["credentials"]))
        if key not in self._journals:
            target = Target(*said["target"])
            credentials = said["credentials"]
            try:
                self._journals[key] = Journal.create(
                    Spool.open(Path(said["spool"])) if said["spool"] else Spool.open_any(),
                    target,
                    None if credentials is None else Credentials(**credentials),
                    node=said["node"],
                )
            except WeirError:
                return None
        return self._journals[key]

    def _hurry(self, run: Run) -> None:
        journal = self._journal_of(run)
        if journal is not None and time.monotonic() - self._nudged_s > _NUDGE_S:
            self._nudged_s = time.monotonic()
            journal.put_back(is_said=False)  # the training says it, of its own
            client.ensure_agent(journal.folder.parent.parent)

    def _write_text(self, run: Run) -> None:
        """Write the artifact: where it belongs, if that is a folder, else beside the journal."""
        if not run.n_lines:
            return
        name, uri = str(run.said["name"]), str(run.said["artifact_uri"])
        folder = local_folder(uri)
        pieces = text_of(run.lines(), run.n_lines)
        try:
            if folder is not None:
                _write(folder / FOLDER / name, pieces)
                return
            self._spool_text(run, name, uri, pieces)
        except (OSError, WeirError):
            return  # a full disk; the lines are in the journal

    def _spool_text(self, run: Run, name: str, uri: str, pieces: Iterable[str]) -> None:
        journal = self._journal_of(run)
        if journal is None:
            return
        new = journal.folder / ".console"
        _write(new, pieces)
        try:
            size = new.stat().st_size
            upload = files.Upload(uri, FOLDER, name, size, run.said["environment"])
            files.add(journal.folder / "files", journal.end, upload, [(str(new), name)])
        finally:
            new.unlink(missing_ok=True)
        fields = {
            "run_id": run.run_id,
            "artifact_uri": uri,
            "artifact_path": FOLDER,
            "name": name,
            "size": size,
        }
        self._append(run, encode_operation("log_artifact", fields))


def _by_beginning(one: tuple[Taken, Sheet]) -> int:
    return one[0].began


def local_folder(uri: str) -> Path | None:
    """Return the folder that an artifact URI names; None where it is none of this machine."""
    if os.path.isabs(uri):
        return Path(uri)
    parts = urlsplit(uri)
    if parts.scheme == "file" and parts.netloc in ("", "localhost"):
        return Path(unquote(parts.path))
    return None


def _write(path: Path, pieces: Iterable[str]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    new = path.with_name(f".{path.name}.new")
    with open(new, "w", encoding="utf-8", errors="replace") as text:
        text.writelines(pieces)
    os.replace(new, path)


def _redacted(redactor: Redactor, lines: list[tuple[int, str]]) -> list[tuple[int, str]]:
    """Take the secrets out of lines; one that held some loses its colours."""
    if not lines:
        return []
    plain = [without_styles(text) for _, text in lines]
    block = "\n".join(plain) + "\n"
    cleaned = redactor.text(block)
    if cleaned == block:
        return lines
    after = cleaned.split("\n")
    return [
        (n, text if new == before else new)
        for (n, text), before, new in zip(lines, plain, after, strict=False)
    ]


def _parts(lines: list[Line]) -> Iterator[list[Line]]:
    """Split lines into records: consecutive numbers, of a size."""
    part: list[Line] = []
    size = 0
    for line in lines:
        is_next = part and line.n == part[-1].n + 1
        if part and (not is_next or size > _RECORD_BYTES or len(part) == _RECORD_LINES):
            yield part
            part, size = [], 0
        part.append(line)
        size += len(line.text)
    if part:
        yield part
