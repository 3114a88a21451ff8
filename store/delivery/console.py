"""Lines that a run printed, as records bring them."""

from __future__ import annotations

import re
from typing import Any

from mlflow_weir.store.console import writing
from mlflow_weir.store.console.lines import MAX_CHARACTERS, STREAMS, Line
from mlflow_weir.store.delivery import mlflow_tables as tables
from mlflow_weir.store.delivery.delivery import Delivery
from mlflow_weir.store.delivery.fields import Fields, Refused

_SOURCE = re.compile(r"[0-9a-f]{32}\Z")
_MAX_NODE = 255
_INT32 = range(-(2**31), 2**31)
_MAX_MS = 1 << 45
_MAX_NUMBER = 1 << 45


def add_lines(delivery: Delivery, fields: Fields) -> None:
    """Add lines to a run's console; those of a deleted run are of no use to anybody."""
    run_id = fields.text("run_id")
    source, lines, cut = _source(fields), _lines(fields), _cut(fields)
    run = delivery.find_run(run_id)
    if run is None or run.lifecycle_stage == tables.ACTIVE:
        delivery.active_run(run_id)
        writing.append(delivery.connection, run_id, source, lines, cut)


def _source(fields: Fields) -> writing.Source:
    source, rank, pid = fields.text("source"), fields.whole_or_none("rank"), fields.whole("pid")
    if not _SOURCE.match(source):
        raise Refused(f"{source!r:.100} is not 32 hexadecimal digits")
    if pid not in _INT32 or (rank is not None and rank not in _INT32):
        raise Refused("its process has a number of more than 32 bits")
    node = fields.text("node").encode("utf-8", "replace").decode()
    return writing.Source(source, node.replace("\0", "")[:_MAX_NODE], rank, pid)


def _lines(fields: Fields) -> list[Line]:
    first, at_ms = _number(fields.whole("first")), fields.whole("at_ms")
    if not 0 <= at_ms < _MAX_MS:
        raise Refused(f"{at_ms} ms is no time")
    found = fields.items("lines")
    if len(found) > writing.MAX_LINES:
        raise Refused(f"{len(found):,} lines in one record, at most {writing.MAX_LINES:,}")
    return [_line(first + i, at_ms, one) for i, one in enumerate(found)]


def _line(n: int, at_ms: int, found: Any) -> Line:
    if not isinstance(found, list) or len(found) != 3:
        raise Refused(f"not a line: {found!r:.100}")
    after_ms, stream, text = found
    is_whole = isinstance(after_ms, int) and not isinstance(after_ms, bool)
    if not is_whole or abs(after_ms) >= _MAX_MS or stream not in range(len(STREAMS)):
        raise Refused(f"not a line: {found!r:.100}")
    if not isinstance(text, str) or len(text) > MAX_CHARACTERS:
        raise Refused(f"a line that is no text of at most {MAX_CHARACTERS:,} characters")
    return Line(n, at_ms + after_ms, int(stream), text.replace("\n", " "))


def _cut(fields: Fields) -> tuple[int, int] | None:
    found = fields.items("cut")
    if not found:
        return None
    if len(found) != 2 or not all(type(one) is int for one in found) or found[0] > found[1]:
        raise Refused(f"its field 'cut' is not two numbers of lines: {found!r:.100}")
    return _number(found[0]), _number(found[1])


def _number(n: int) -> int:
    if not 0 <= n < _MAX_NUMBER:
        raise Refused(f"{n} is no number of a line")
    return n
