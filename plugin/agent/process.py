"""Becoming a process that nobody's training has to wait for or put up with.

``detach`` runs first of all in an agent, before anything is imported that could start a thread.
After it the process has a parent of its own (init, or the nearest reaper), no terminal, no
descriptor of whoever started it, default signals and an empty signal mask, ``/`` as its folder
and a umask that keeps everything it makes private. A shell, a CI job, a SLURM step or
``docker run`` that waits for the training's pipes or process group does not wait for it.

Where the training is a container's process 1, the agent becomes its child and ends with the
container, as everything in there does.
"""

from __future__ import annotations

import logging
import logging.handlers
import os
import signal
import sys
from pathlib import Path

LOG_BYTES = 1 << 20
_FORMAT = "%(asctime)s %(process)d %(levelname)s %(message)s"


def detach() -> None:
    """Leave the process, session and descriptors that this process was started with.

    The original process ends here, with status 0; what returns is a child's child.
    """
    os.chdir("/")
    os.umask(0o077)
    if os.fork():
        os._exit(0)
    os.setsid()
    if os.fork():  # a session's leader could still be given a terminal
        os._exit(0)
    os.closerange(3, _max_descriptor())
    nowhere = os.open(os.devnull, os.O_RDWR)
    for descriptor in (0, 1, 2):
        os.dup2(nowhere, descriptor)
    os.close(nowhere)
    reset_signals()


def _max_descriptor() -> int:
    try:
        return max((int(name) for name in os.listdir("/proc/self/fd")), default=3) + 1
    except OSError:
        return 4096


def reset_signals() -> None:
    """Give every signal its default action and block none, whatever the starter had."""
    signal.pthread_sigmask(signal.SIG_SETMASK, ())
    for number in signal.valid_signals():
        if number in {signal.SIGKILL, signal.SIGSTOP, signal.SIGPIPE}:
            continue  # broken pipes are errors that Python raises
        try:
            signal.signal(number, signal.SIG_DFL)
        except (OSError, ValueError):  # one that the C library keeps for itself
            continue


def open_log(path: Path) -> logging.Logger:
    """Return the package's logger, writing to a private file that is rotated at 1 MiB.

    What a crash of the interpreter prints goes there too.
    """
    handler = logging.handlers.RotatingFileHandler(
        path, maxBytes=LOG_BYTES, backupCount=1, encoding="utf-8", errors="backslashreplace"
    )
    handler.setFormatter(logging.Formatter(_FORMAT))
    logger = logging.getLogger("mlflow_weir")
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    logger.propagate = False
    crash = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
    os.dup2(crash, sys.__stderr__.fileno() if sys.__stderr__ else 2, inheritable=True)
    os.close(crash)
    return logger
