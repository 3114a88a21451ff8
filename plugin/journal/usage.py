"""How much of the disk a spool takes, measured beside the calls that need to know it.

To measure is to look at every file. A spool of many small artifacts takes longer to look through
than a log call may be held, and is looked through often when it is nearly full.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable

from mlflow_weir.guard import never_raises
from mlflow_weir.threads import start_soon

_WAIT_S = 0.03


class Usage:
    """What is known of it. Threads may share it, and signal handlers."""

    def __init__(self, measure: Callable[[], int]) -> None:
        """Take note of what measures, in bytes; nothing is measured."""
        self._measure = measure
        self._begin()

    def _begin(self) -> None:
        self._pid, self._lock = os.getpid(), threading.Lock()
        self._known: int | None = None
        self._is_over = threading.Event()
        self._is_over.set()

    def bytes(self) -> int | None:
        """Return what is found out now, or what was the last time where that takes too long.

        Returns:
            None where nothing was found out yet.
        """
        if self._pid != os.getpid():  # the thread that measures is the parent's
            self._begin()
        # A signal handler may come while its own thread has the lock.
        if self._lock.acquire(blocking=False):
            try:
                if self._is_over.is_set():
                    self._is_over = threading.Event()
                    self._start(self._is_over)
            finally:
                self._lock.release()
        self._is_over.wait(_WAIT_S)
        return self._known

    def is_settled(self) -> bool:
        """Say whether that was found out just then."""
        return self._is_over.is_set()

    def _start(self, is_over: threading.Event) -> None:
        look = threading.Thread(
            target=self._look, args=(is_over,), name="weir-spool-usage", daemon=True
        )
        try:
            start_soon(look)
        except RuntimeError:  # no more threads, or the end of the interpreter
            self._look(is_over)

    @never_raises(None)
    def _look(self, is_over: threading.Event) -> None:
        try:
            self._known = self._measure()
        finally:
            is_over.set()
