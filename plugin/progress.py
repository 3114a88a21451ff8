"""One line on a terminal that says how something long gets on; nothing in a log."""

from __future__ import annotations

import contextlib
import sys
import time

_SILENT_S = 1.0
_WIDTH = 100


class ProgressLine:
    """A line that is written over itself, once a second, if it takes longer than that."""

    def __init__(self) -> None:
        self._is_terminal = sys.stderr is not None and sys.stderr.isatty()
        self._next_s = time.monotonic() + _SILENT_S
        self._is_begun = False

    def show(self, text: str) -> None:
        """Write it, if it is time."""
        if self._is_terminal and time.monotonic() >= self._next_s:
            self._next_s = time.monotonic() + _SILENT_S
            self._is_begun = True
            self._write(f"\rweir: {text}"[:_WIDTH].ljust(_WIDTH))

    def end(self) -> None:
        """Leave the line to what comes next."""
        if self._is_begun:
            self._is_begun = False
            self._write("\n")

    def _write(self, text: str) -> None:
        with contextlib.suppress(OSError, ValueError, AttributeError):  # closed
            sys.stderr.write(text)
            sys.stderr.flush()
