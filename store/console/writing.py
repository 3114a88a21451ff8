"""Adding lines to a run's console, in the caller's transaction.

A row holds consecutive lines as one record brought them. Lines that come again, because a progress
bar moved, are in a later row, which counts; a row that a later one covers wholly is gone. After
``_MERGE_EVERY`` rows the small ones at the end become one, so that ten hours of two lines a second
are some hundred rows and not 72,000.

What is cut from the middle of a long console (the *cut*) is taken away when a record says so: its
lines are not shown, and rows wholly within are gone.
"""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from mlflow_weir.errors import ChunkCorrupt
from mlflow_weir.store import schema
from mlflow_weir.store.console.lines import Line, decode, encode

MAX_LINES = 20_000
"""Most lines of one record."""

_MERGE_EVERY = 32
_SMALL_BYTES = 16 << 10
_MAX_MERGED_LINES = 4_000


# Made once: SQLAlchemy takes longer to build a statement than SQLite to run it.
_of_source, _of_lines = schema.console_source.c, schema.console.c
_SOURCE_IS_ITS, _LINES_ARE_ITS = (
    [columns[name] == sa.bindparam(f"its_{name}") for name in ("run_uuid", "source")]
    for columns in (_of_source, _of_lines)
)
_READ = sa.select(
    _of_source.n_lines, _of_source.cut_from, _of_source.cut_to, _of_source.last_seq
).where(*_SOURCE_IS_ITS)
_ADD = sa.insert(schema.console_source)
_CHANGE = sa.update(schema.console_source).where(*_SOURCE_IS_ITS)
_INSERT = sa.insert(schema.console)
_DELETE_COVERED = sa.delete(schema.console).where(
    *_LINES_ARE_ITS,
    _of_lines.seq < sa.bindparam("before_seq"),
    _of_lines.first_line >= sa.bindparam("first"),
    _of_lines.first_line + _of_lines.n_lines <= sa.bindparam("end"),
)


@dataclass(frozen=True)
class Source:
    """Who printed the lines.

    Attributes:
        source: 32 hex digits; one process that captures has one.
        node: Label of the machine.
        rank: Of the process in a distributed training, None where it is none.
        pid: Of the process.
    """

    source: str
    node: str
    rank: int | None
    pid: int


def append(
    connection: sa.Connection,
    run_id: str,
    source: Source,
    lines: Sequence[Line],
    cut: tuple[int, int] | None = None,
) -> None:
    """Add lines, or put them in the place of those that have their numbers.

    Args:
        connection: In a transaction; the caller commits, and has found the run to be there.
        run_id: 32 hex digits.
        source: Who printed them.
        lines: Consecutive; may be none.
        cut: Lines from the first number to before the second are taken away.
    """
    owned = {"its_run_uuid": run_id, "its_source": source.source}
    row = connection.execute(_READ, owned).one_or_none()
    seq = 0 if row is None else row.last_seq
    if lines:
        seq += 1
        _insert(connection, run_id, source.source, seq, lines)
        _delete_covered(connection, run_id, source.source, seq, lines[0].n, lines[-1].n + 1)
    if cut is not None:
        _delete_covered(connection, run_id, source.source, seq + 1, *cut)
    end = lines[-1].n + 1 if lines else 0
    said: dict[str, Any] = {"last_seq": seq}
    if cut is not None:
        said |= {"cut_from": cut[0], "cut_to": cut[1]}
    if row is None:
        began_ms = lines[0].at_ms if lines else 0
        values = {
            "run_uuid": run_id,
            "source": source.source,
            "node": source.node,
            "process_rank": source.rank,
            "pid": source.pid,
            "began_ms": began_ms,
            "n_lines": end,
            "cut_from": 0,
            "cut_to": 0,
        }
        connection.execute(_ADD, {**values, **said})
    else:
        said["n_lines"] = max(end, row.n_lines)
        connection.execute(_CHANGE, {**owned, **said})
    if lines and seq % _MERGE_EVERY == 0:
        _merge(connection, run_id, source.source)


def _insert(
    connection: sa.Connection, run_id: str, source: str, seq: int, lines: Sequence[Line]
) -> None:
    payload = encode(lines)
    row = {
        "run_uuid": run_id,
        "source": source,
        "seq": seq,
        "first_line": lines[0].n,
        "n_lines": len(lines),
        "size_bytes": len(payload),
        "crc32": zlib.crc32(payload),
        "payload": payload,
    }
    connection.execute(_INSERT, row)


def _delete_covered(
    connection: sa.Connection, run_id: str, source: str, before_seq: int, first: int, end: int
) -> None:
    owned = {"its_run_uuid": run_id, "its_source": source}
    where = {"before_seq": before_seq, "first": first, "end": end}
    connection.execute(_DELETE_COVERED, owned | where)


def _merge(connection: sa.Connection, run_id: str, source: str) -> None:
    """Make one row of the small ones at the end, which keeps the newest one's number."""
    columns = schema.console.c
    owned = (columns.run_uuid == run_id, columns.source == source)
    sizes = connection.execute(
        sa.select(columns.seq, columns.size_bytes, columns.n_lines)
        .where(*owned)
        .order_by(columns.seq.desc())
        .limit(2 * _MERGE_EVERY)
    ).all()
    chosen: list[int] = []
    n_lines = 0
    for seq, size_bytes, n in sizes:
        n_lines += n
        if size_bytes > _SMALL_BYTES or n_lines > _MAX_MERGED_LINES:
            break
        chosen.append(seq)
    if len(chosen) < 2:
        return
    rows = connection.execute(
        sa.select(columns.seq, columns.first_line, columns.crc32, columns.payload)
        .where(*owned, columns.seq >= chosen[-1])
        .order_by(columns.seq)
    ).all()
    found: dict[int, Line] = {}
    try:
        for row in rows:
            what = f"weir_console {run_id}/{source}/{row.seq}"
            if zlib.crc32(row.payload) != row.crc32:
                raise ChunkCorrupt(what, "its checksum does not hold")
            found.update((line.n, line) for line in decode(row.payload, row.first_line, what))
    except ChunkCorrupt:
        return  # it stays, for `weir db check` to name
    lines = [found[n] for n in sorted(found)]
    if lines[-1].n - lines[0].n + 1 != len(lines):
        return  # a gap, of which nobody may make consecutive lines
    connection.execute(sa.delete(schema.console).where(*owned, columns.seq >= chosen[-1]))
    _insert(connection, run_id, source, chosen[0], lines)
