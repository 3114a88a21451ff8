"""A run's console as a plain text, the artifact ``weir/console.log``.

As a terminal would show it, without colours; where lines were not kept, one line says how many.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from mlflow_weir.store.console.lines import Line

FOLDER, NAME = "weir", "console.log"
"""Where the text is among a run's artifacts."""


def text_of(lines: Iterable[Line], n_lines: int) -> Iterator[str]:
    """Give the text of a console, line by line with their ends.

    Args:
        lines: Those that are kept, in order.
        n_lines: How many there were.
    """
    at = 0
    for line in lines:
        if line.n > at:
            yield missing(line.n - at)
        yield f"{line.plain}\n"
        at = line.n + 1
    if at < n_lines:
        yield missing(n_lines - at)


_MISSING = re.compile(r"\[weir: ([0-9,]+) lines? not kept here\]\Z")


def n_missing(line: str) -> int:
    """Return for how many lines one stands, as ``missing`` writes it; 0 where it is none."""
    found = _MISSING.match(line)
    return int(found[1].replace(",", "")) if found else 0


def missing(n: int) -> str:
    """Return the line that stands for those that were not kept."""
    return f"[weir: {n:,} line{'' if n == 1 else 's'} not kept here]\n"
