"""Reading what runs printed: by range, from the end, by text, and what came since.

Rows of a source are few (``writing.py``) and lines within them consecutive; where two hold a line,
the later row counts. A row that fails its checksum costs its lines alone.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import sqlalchemy as sa

from mlflow_weir.errors import ChunkCorrupt
from mlflow_weir.store import schema
from mlflow_weir.store.console.lines import Line, decode


class ConsoleSource(NamedTuple):
    """Who printed lines of a run, and how many.

    Attributes:
        source: 32 hex digits.
        node: Label of the machine.
        rank: Of the process in a distributed training, or None.
        pid: Of the process.
        began_ms: Wall time of the first line.
        n_lines: How many there were, those included that are not kept.
        cut_from: Lines from here on were not kept …
        cut_to: … up to before this one; equal where all were.
        seq: Grows with each change; what has a greater one is new.
    """

    source: str
    node: str
    rank: int | None
    pid: int
    began_ms: int
    n_lines: int
    cut_from: int
    cut_to: int
    seq: int

    def as_json(self) -> dict[str, Any]:
        """Return it as answers and exports have it."""
        return {
            "source": self.source,
            "node": self.node,
            "rank": self.rank,
            "pid": self.pid,
            "began_ms": self.began_ms,
            "n_lines": self.n_lines,
            "cut": [self.cut_from, self.cut_to] if self.cut_to > self.cut_from else None,
        }


def list_sources(connection: sa.Connection, run_id: str) -> list[ConsoleSource]:
    """Return the sources of a run, the first to print first."""
    columns = schema.console_source.c
    rows = connection.execute(
        sa.select(
            columns.source,
            columns.node,
            columns.process_rank,
            columns.pid,
            columns.began_ms,
            columns.n_lines,
            columns.cut_from,
            columns.cut_to,
            columns.last_seq,
        )
        .where(columns.run_uuid == run_id)
        .order_by(columns.began_ms, columns.source)
    )
    return [ConsoleSource(*row) for row in rows]


def read_lines(
    connection: sa.Connection, run_id: str, source: ConsoleSource, first: int, n: int
) -> list[Line]:
    """Return the lines from number ``first``, ``n`` at most; those that were cut are not there.

    Args:
        connection: Of the tracking database.
        run_id: 32 hex digits.
        source: One of ``list_sources``.
        first: A number; from the end where it is negative.
        n: How many numbers to look at.
    """
    if first < 0:
        first = max(source.n_lines + first, 0)
    return _resolved(connection, run_id, source, first, min(first + n, source.n_lines))


def iter_lines(
    connection: sa.Connection, run_id: str, source: ConsoleSource, at_once: int = 20_000
) -> Iterator[Line]:
    """Give all lines of a source, in order."""
    for first in range(0, source.n_lines, at_once):
        if source.cut_from <= first and first + at_once <= source.cut_to:
            continue
        yield from read_lines(connection, run_id, source, first, at_once)


def search_lines(
    connection: sa.Connection,
    run_id: str,
    source: ConsoleSource,
    text: str,
    first: int = 0,
    limit: int = 1_000,
) -> list[Line]:
    """Return lines from number ``first`` that hold a text, whatever its case and their colours."""
    wanted = text.casefold()
    found: list[Line] = []
    for line in _from(connection, run_id, source, first):
        if wanted in line.plain.casefold():
            found.append(line)
            if len(found) == limit:
                break
    return found


def _from(
    connection: sa.Connection, run_id: str, source: ConsoleSource, first: int
) -> Iterator[Line]:
    step = 20_000
    for start in range(max(first, 0), source.n_lines, step):
        yield from read_lines(connection, run_id, source, start, step)


def read_since(
    connection: sa.Connection, run_id: str, source: ConsoleSource, seq: int
) -> list[Line]:
    """Return the lines of rows newer than ``seq``: those that are new or have changed, and some.

    Lines that a merge moved are among them, so that a reader replaces what it has by number.
    """
    columns = schema.console.c
    rows = connection.execute(
        _rows(run_id, source.source).where(columns.seq > seq).order_by(columns.seq)
    ).all()
    return _within(_lines_of(rows, run_id, source), source, 0, source.n_lines)


def _resolved(
    connection: sa.Connection, run_id: str, source: ConsoleSource, first: int, end: int
) -> list[Line]:
    columns = schema.console.c
    rows = connection.execute(
        _rows(run_id, source.source)
        .where(columns.first_line < end, columns.first_line + columns.n_lines > first)
        .order_by(columns.seq)
    ).all()
    return _within(_lines_of(rows, run_id, source), source, first, end)


def _rows(run_id: str, source: str) -> sa.Select[Any]:
    columns = schema.console.c
    return sa.select(columns.seq, columns.first_line, columns.crc32, columns.payload).where(
        columns.run_uuid == run_id, columns.source == source
    )


def _lines_of(rows: Sequence[Any], run_id: str, source: ConsoleSource) -> dict[int, Line]:
    found: dict[int, Line] = {}
    for row in rows:
        try:
            if zlib.crc32(row.payload) == row.crc32:
                lines = decode(row.payload, row.first_line, f"weir_console {run_id}/{row.seq}")
                found.update((line.n, line) for line in lines)
        except ChunkCorrupt:
            continue
    return found


def _within(found: dict[int, Line], source: ConsoleSource, first: int, end: int) -> list[Line]:
    return [
        found[n]
        for n in sorted(found)
        if first <= n < end and not source.cut_from <= n < source.cut_to
    ]
