"""What a run printed, in pieces, as the console's records."""

from __future__ import annotations

import re
from collections.abc import Iterator

from mlflow_weir.plugin.importing.names import run_id_of
from mlflow_weir.redaction import Redactor
from mlflow_weir.store.console.lines import MAX_CHARACTERS
from mlflow_weir.store.delivery.records import encode_operation

_GROUP = 64  # lines of a record
# What a terminal obeys: all but tabs and colours.
_CONTROL = re.compile(r"\x1b\[[0-?]*[ -/]*[@-ln-~]|\x1b[^\[]|[\x00-\x08\x0b-\x1a\x1c-\x1f\x7f]")
_Row = tuple[int, int, str]


class PrintedLines:
    """The lines of one file of a run.

    Attributes:
        n: Lines so far.
    """

    def __init__(self, run_id: str, source: str, redactor: Redactor) -> None:
        """Begin with nothing printed.

        Args:
            run_id: Of the run.
            source: What tells the file apart among those of the run.
            redactor: Takes secrets out of what was captured.
        """
        self.n = 0
        self._run_id, self._source = run_id, run_id_of(run_id, source)
        self._redactor = redactor
        self._open: dict[int, str] = {}
        self._rows: list[_Row] = []
        self._first = 0
        self._last_ms = 0

    def add(self, stream: int, at_ms: int, text: str) -> Iterator[bytes]:
        """Take what was printed; give records of whole groups of lines.

        Args:
            stream: 1 is stdout, 2 stderr.
            at_ms: When, on the wall clock.
            text: Any piece of lines.
        """
        self._last_ms = at_ms
        *whole, rest = (self._open.get(stream, "") + text).split("\n")
        self._open[stream] = rest
        for line in whole:
            self._rows.append((at_ms, stream, self._clean(line)))
            self.n += 1
            if len(self._rows) == _GROUP:
                yield self._record(self._rows)
                self._first += _GROUP
                self._rows = []

    def rest(self) -> Iterator[bytes]:
        """Give a record of the lines that are in none yet, the last ones without an end too."""
        unended = [(self._last_ms, stream, self._clean(text))
                   for stream, text in self._open.items() if text]  # fmt: skip
        rows = self._rows + unended
        if rows:
            yield self._record(rows)

    def _record(self, rows: list[_Row]) -> bytes:
        at_ms = rows[0][0]
        fields = {
            "run_id": self._run_id,
            "source": self._source,
            "node": "",
            "rank": None,
            "pid": 0,
            "first": self._first,
            "at_ms": at_ms,
            "lines": [[ms - at_ms, stream, text] for ms, stream, text in rows],
            "cut": None,
        }
        return encode_operation("console", fields)

    def _clean(self, line: str) -> str:
        # A progress bar goes back to the beginning of its line: the last state of it is kept.
        line = line.rstrip("\r").rpartition("\r")[2]
        return self._redactor.text(_CONTROL.sub("", line))[:MAX_CHARACTERS]
