"""Child processes in a group of their own, and the signals that ask us to stop.

A command that runs others (``weir ui``, ``weir demo``) starts each in its own session. A Ctrl-C
then reaches the command alone, which stops its children in its own order, with every process they
started, and ends without a traceback.
"""

from __future__ import annotations

import os
import select
import signal
import subprocess
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from types import FrameType
from typing import IO, Any

STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
POLL_S = 0.05


@contextmanager
def stop_event() -> Iterator[threading.Event]:
    """Give an event that a stop signal sets; the handlers before it return afterwards.

    Main thread only, as Python demands of signal handlers.
    """
    asked = threading.Event()

    def ask(signum: int, frame: FrameType | None) -> None:
        asked.set()

    before = {signum: signal.signal(signum, ask) for signum in STOP_SIGNALS}
    try:
        yield asked
    finally:
        for signum, handler in before.items():
            signal.signal(signum, handler)


def start_group(
    argv: Sequence[str], *, env: Mapping[str, str], output: IO[str] | None = None
) -> subprocess.Popen[str]:
    """Start ``argv`` as the leader of a new session and process group.

    Args:
        argv: Program and arguments.
        env: The child's whole environment.
        output: An open file for its standard output and error; ours when None.
    """
    return subprocess.Popen(
        argv,
        env=env,
        start_new_session=True,
        stdin=subprocess.DEVNULL,
        stdout=output,
        stderr=output,
        text=True,
    )


def stop_group(process: subprocess.Popen[str], *, grace_s: float = 10.0) -> None:
    """End a process started by ``start_group`` with everything in its group.

    Args:
        process: The group's leader; it may be gone while its children are not.
        grace_s: How long they have after SIGTERM, in seconds, before SIGKILL.
    """
    for signum, deadline_s in ((signal.SIGTERM, grace_s), (signal.SIGKILL, 5.0)):
        if not _signal_group(process.pid, signum):
            break
        deadline = time.monotonic() + deadline_s
        while time.monotonic() < deadline:
            process.poll()  # a zombie leader would keep its group alive
            if not _signal_group(process.pid, 0):
                break
            time.sleep(POLL_S)
    process.wait()


def _signal_group(group: int, signum: int) -> bool:
    """Send ``signum`` to the group; False when nobody is left in it."""
    try:
        os.killpg(group, signum)
    except ProcessLookupError:
        return False
    return True


def is_readable(file: IO[Any], timeout_s: float) -> bool:
    """Wait until a pipe can be read, or has ended; False when the time is over.

    By ``poll``: ``select`` fails in a process with more than a thousand open files.
    """
    poll = select.poll()
    poll.register(file, select.POLLIN)
    return bool(poll.poll(timeout_s * 1_000))
