"""One line of a console, and how many of them are written as bytes.

A payload is JSON in UTF-8, compressed by zlib: ``[at_ms, [[ms after it, stream, text], …]]``. The
lines of one row are consecutive. The standard library alone: the process that captures writes
records of the same shape.
"""

from __future__ import annotations

import json
import re
import zlib
from collections.abc import Sequence
from typing import Any, NamedTuple

from mlflow_weir.errors import ChunkCorrupt

STREAMS = ("both", "stdout", "stderr")
"""Names of the streams by number; ``both`` is a terminal or file that the two share."""

MAX_CHARACTERS = 1 << 16
"""Most of one line."""

_STYLES = re.compile(r"\x1b\[[0-9;:]*m")


class Line(NamedTuple):
    """One line.

    Attributes:
        n: Its number in its source and run, from 0.
        at_ms: Wall time at which it last changed.
        stream: Index of ``STREAMS``.
        text: Without its end; colours as ``ESC [ … m``, no other control character but tabs.
    """

    n: int
    at_ms: int
    stream: int
    text: str

    def as_json(self) -> dict[str, Any]:
        """Return it as answers and exports have it."""
        return {
            "n": self.n,
            "at_ms": self.at_ms,
            "stream": STREAMS[self.stream],
            "text": self.text,
        }

    @property
    def plain(self) -> str:
        """The text without its colours."""
        return without_styles(self.text)


def without_styles(text: str) -> str:
    """Return a text without its colours."""
    return _STYLES.sub("", text) if "\x1b" in text else text


def encode(lines: Sequence[Line]) -> bytes:
    """Write consecutive lines, at least one; their numbers are kept beside the bytes."""
    at_ms = lines[0].at_ms
    shape = [at_ms, [[line.at_ms - at_ms, line.stream, line.text] for line in lines]]
    text = json.dumps(shape, ensure_ascii=False, separators=(",", ":"))
    return zlib.compress(text.encode("utf-8", "replace"), 6)


def decode(payload: bytes, first: int, what: str) -> list[Line]:
    """Read lines, of which the first has the number ``first``.

    Raises:
        ChunkCorrupt: They are none; ``what`` names the row.
    """
    try:
        at_ms, found = json.loads(zlib.decompress(payload))
        return lines_of(first, at_ms, found)
    except (ValueError, TypeError, zlib.error) as exc:
        raise ChunkCorrupt(what, f"not lines of a console: {exc}") from exc


def lines_of(first: int, at_ms: int, found: Sequence[Any]) -> list[Line]:
    """Return the lines of a record, from ``[[ms after at_ms, stream, text], …]``."""
    return [
        Line(first + i, at_ms + after_ms, stream, text)
        for i, (after_ms, stream, text) in enumerate(found)
    ]
