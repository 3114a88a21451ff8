"""Starting threads from the middle of somebody's training."""

from __future__ import annotations

import _thread
import threading


def start_soon(thread: threading.Thread) -> None:
    """Start a thread without waiting until it runs.

    ``Thread.start`` waits for that, which is until both threads got a processor: on a machine with
    five times as many busy processes as processors up to 80 ms were measured.

    Raises:
        RuntimeError: There can be no more threads, or the interpreter is shutting down.
    """

    def start() -> None:
        try:
            thread.start()
        except RuntimeError:
            thread.run()

    _thread.start_new_thread(start, ())
