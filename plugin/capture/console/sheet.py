"""The lines of one stream: bytes become text, text a screen, and its lines get numbers.

Where stdout and stderr are told apart each has a screen of its own, so that a progress bar on one
does not write over what the other says. Lines of all are numbered together, when they are first
taken, in the order in which they began.
"""

from __future__ import annotations

import codecs
from collections.abc import Iterator
from typing import NamedTuple

from mlflow_weir.plugin.capture.console.screen import Screen

_MAX_WAITING_BYTES = 64 << 10


class Taken(NamedTuple):
    """A line that is new or has changed.

    Attributes:
        began: Its place among the lines of all streams.
        n: Its number on its screen.
        at_ms: When it changed last.
    """

    began: int
    n: int
    at_ms: int
    text: str
    is_complete: bool


class Sheet:
    """What one stream printed.

    Attributes:
        stream: Its number; 0 where all share one.
        numbers: By the screen's number, that among the lines of all streams, once taken.
    """

    def __init__(self, stream: int) -> None:
        self.stream = stream
        self.numbers: dict[int, int] = {}
        self._screen = Screen()
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._waiting = b""  # the beginning of a line
        self._seen: dict[int, tuple[int, int]] = {}  # when a line began, and changed last
        self._at_ms = 0

    @property
    def n_scrolled(self) -> int:
        """How many lines have scrolled out since they were last taken."""
        return self._screen.n_scrolled

    def feed(self, at_ms: int, data: bytes, count: Iterator[int]) -> None:
        """Take what was printed; of one of several streams, whole lines only.

        Args:
            at_ms: When.
            data: Bytes.
            count: Gives lines their place.
        """
        self._at_ms = at_ms
        if self.stream:
            data = self._waiting + data
            end = max(data.rfind(b"\n"), data.rfind(b"\r")) + 1
            if len(data) - end >= _MAX_WAITING_BYTES:
                end = len(data)
            data, self._waiting = data[:end], data[end:]
        self._print(data, count)

    def print_waiting(self, count: Iterator[int]) -> None:
        """Print the beginning of a line, of which the rest does not come."""
        data, self._waiting = self._waiting, b""
        self._print(data, count)

    def _print(self, data: bytes, count: Iterator[int]) -> None:
        changed = self._screen.cursor
        self._screen.feed(self._decoder.decode(data))
        new = []
        for n in reversed(self._screen.dirty):
            if n in self._seen:
                break
            new.append(n)
        for n in reversed(new):
            self._seen[n] = next(count), self._at_ms
        for n in (changed, self._screen.cursor):
            if n in self._seen:
                self._seen[n] = self._seen[n][0], self._at_ms

    def new_page(self) -> None:
        """Let all that was printed stay as it is."""
        self._screen.new_page()

    def take(self, count: Iterator[int], *, is_last: bool) -> list[Taken]:
        """Return lines that are new or have changed; ``count`` as for ``feed``."""
        found = []
        for n, text, is_complete in self._screen.take(is_last=is_last):
            if n not in self._seen:
                self._seen[n] = next(count), self._at_ms
            found.append(Taken(self._seen[n][0], n, self._seen[n][1], text, is_complete))
        return found

    def forget(self) -> None:
        """Drop what is known of lines that cannot change any more and were taken."""
        top = self._screen.top
        for n in [n for n in self._seen if n < top]:
            del self._seen[n]
            self.numbers.pop(n, None)
