"""What the keeping process leaves behind when it is killed: a file in memory, shared with another.

Every run that is open and every record of its lines is noted there as soon as it is in the
journal. The process that takes over reads it and goes on: the run's text is then complete but for
what was printed around that moment, and says so. It holds nothing that is not redacted, is on no
disk and goes with the last process that has it.

A note is a length (4 bytes), a kind ("b" a run's beginning, "l" lines, "e" its end) and its bytes.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

from mlflow_weir.errors import WeirError
from mlflow_weir.store.console.lines import Line, lines_of
from mlflow_weir.store.delivery.records import Operation, RecordError, decode

_SPARE_BYTES = 4 << 20  # so much more than was there last before it is written anew
SAID = "[weir: the process that keeps this was killed; lines may be missing here]"
"""The line that tells where another took over."""


class Rescued(NamedTuple):
    """A run that was open.

    Attributes:
        said: What the training said of it.
        source: The source of its lines.
        n_lines: How many there were.
        lines: Those that were kept, in order.
    """

    said: dict[str, Any]
    source: str
    n_lines: int
    lines: list[Line]


class Rescue:
    """Notes in a file that two processes have."""

    def __init__(self, file: int) -> None:
        self._file = file
        self._size = self._anew_at = 0

    @property
    def is_long(self) -> bool:
        """Say whether it is to be written anew, for lines that came again or were dropped."""
        return self._size > self._anew_at

    def begin(self, said: dict[str, Any], source: str) -> None:
        """Note that a run has begun."""
        self._note(b"b", json.dumps([said, source]).encode())

    def lines(self, payload: bytes) -> None:
        """Note a record of lines."""
        self._note(b"l", payload)

    def end(self, run_id: str) -> None:
        """Note that a run's text is written."""
        self._note(b"e", run_id.encode())

    def write_anew(self, notes: Iterable[tuple[dict[str, Any], str, Iterable[bytes]]]) -> None:
        """Note no more than these.

        Args:
            notes: Of each open run what was said, its source and its records of lines.
        """
        found = [(said, source, list(records)) for said, source, records in notes]
        os.ftruncate(self._file, 0)
        os.lseek(self._file, 0, os.SEEK_SET)
        self._size, self._anew_at = 0, 1 << 62
        for said, source, records in found:
            self.begin(said, source)
            for payload in records:
                self.lines(payload)
        self._note(b"e", b"")  # never empty: something had begun
        self._anew_at = 2 * self._size + _SPARE_BYTES

    def _note(self, kind: bytes, data: bytes) -> None:
        if not self._anew_at:
            self._anew_at = _SPARE_BYTES
        note = len(data).to_bytes(4, "little") + kind + data
        self._size += len(note)
        os.write(self._file, note)

    def take(self) -> list[Rescued]:
        """Return the runs that are open in it."""
        runs: dict[str, tuple[dict[str, Any], str]] = {}
        lines: dict[str, dict[int, Line]] = {}
        ends: dict[str, int] = {}
        for kind, data in self._notes():
            if kind == b"b":
                said, source = json.loads(data)
                run_id = said["run_id"]
                runs[run_id] = said, source
                lines[run_id], ends[run_id] = {}, 0
            elif kind == b"e":
                runs.pop(data.decode(), None)
            elif (fields := _fields(data)) is not None and fields["run_id"] in runs:
                run_id = fields["run_id"]
                found = lines_of(fields["first"], fields["at_ms"], fields["lines"])
                lines[run_id].update((line.n, line) for line in found)
                cut = fields["cut"] or (0, 0)
                for n in [n for n in lines[run_id] if cut[0] <= n < cut[1]]:
                    del lines[run_id][n]
                last = found[-1].n + 1 if found else 0
                ends[run_id] = max(ends[run_id], last, cut[1])
        return [
            Rescued(said, source, ends[run_id], [lines[run_id][n] for n in sorted(lines[run_id])])
            for run_id, (said, source) in runs.items()
        ]

    def _notes(self) -> Iterator[tuple[bytes, bytes]]:
        size = os.fstat(self._file).st_size
        data = os.pread(self._file, size, 0)
        at = 0
        while at + 5 <= len(data):
            end = at + 5 + int.from_bytes(data[at : at + 4], "little")
            if end > len(data):
                return  # it was killed while it wrote this
            yield data[at + 4 : at + 5], data[at + 5 : end]
            at = end


def _fields(payload: bytes) -> dict[str, Any] | None:
    try:
        record = decode(payload)
    except (RecordError, WeirError):
        return None
    return dict(record.fields) if isinstance(record, Operation) else None
