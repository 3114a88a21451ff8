"""What a training does with the agent: see that it runs, wake it, wait for it.

No call here raises for the world's faults, and none but ``wait_delivered`` waits. Whether an
agent runs is asked by connecting a datagram socket to its address, which the kernel refuses when
nobody holds the other end: three system calls, no lock taken, and the agent is not woken.

A process is started from a daemon thread, through the standard library's vfork path: it inherits
no descriptor, and the start-up does the rest of leaving the training alone (``process.py``).
Threads may call everything here; a forked child starts afresh. The standard library alone.
"""

from __future__ import annotations

import fcntl
import json
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

from mlflow_weir import settings
from mlflow_weir.plugin.agent.files import AgentFiles
from mlflow_weir.plugin.journal import files
from mlflow_weir.threads import start_soon

DRAIN = "drain"
"""Nudge: look at the journals now."""
STOP = "stop"
"""Nudge: finish the transaction in hand and end."""

SET_ASIDE = "set aside: "
"""How the error of a journal begins that no waiting will deliver."""

_CHECK_S = 0.25  # a found agent is believed in for so long
_START_S = 1.0  # so long a started one has to appear; doubled for each that does not
_MAX_START_S = 30.0
_PROGRESS_S = 0.1
_MAX_PAUSE_S = 0.02

# What an agent needs of the environment of whoever starts it. It serves other processes as well,
# so that nobody's credentials belong into it: those lie beside their journals.
_ENVIRONMENT = frozenset(
    "PATH HOME USER LOGNAME LANG LC_ALL LC_CTYPE TZ TMPDIR XDG_STATE_HOME VIRTUAL_ENV PYTHONPATH "
    "PYTHONHOME PYTHONUSERBASE PYTHONNOUSERSITE LD_LIBRARY_PATH SSL_CERT_FILE SSL_CERT_DIR".split()
)
_ENVIRONMENT_PREFIXES = ("WEIR_",)


class DeliveryState(NamedTuple):
    """How far the delivery of a journal is.

    Attributes:
        position: Bytes of records delivered.
        wanted: The position that is waited for.
        error: Why nothing moves, in words for a person; ``""`` while it does.
        waited_s: Seconds since the wait began.
    """

    position: int
    wanted: int
    error: str
    waited_s: float


class _Need:
    """What this process knows about one spool's agent."""

    def __init__(self) -> None:
        self.next_check_s = 0.0
        self.start_s = _START_S


_needs: dict[str, _Need] = {}
_guard = threading.Lock()


def _start_afresh() -> None:
    global _guard
    _guard = threading.Lock()
    _needs.clear()


os.register_at_fork(after_in_child=_start_afresh)


def ensure_agent(spool: Path) -> None:
    """See that an agent serves the spool; return at once, whether it does yet or not.

    Cheap enough for every call that logs: within a quarter of a second of the last look it reads
    a clock and a dictionary.
    """
    need = _needs.get(str(spool))
    now = time.monotonic()
    if need is not None and now < need.next_check_s:
        return
    if not _guard.acquire(blocking=False):
        return  # another thread is at it
    try:
        need = _needs.setdefault(str(spool), need or _Need())
        if now < need.next_check_s:
            return
        if _reach(spool) is not None:
            need.next_check_s, need.start_s = now + _CHECK_S, _START_S
            return
        need.next_check_s = now + need.start_s
        need.start_s = min(2 * need.start_s, _MAX_START_S)
    finally:
        _guard.release()
    start = threading.Thread(target=_start, args=(spool,), name="weir-agent-start", daemon=True)
    try:
        start_soon(start)
    except RuntimeError:  # the interpreter is shutting down, or the process may have no more
        _start(spool, wait=False)


def nudge(spool: Path, what: str = DRAIN) -> bool:
    """Send the agent a word; False when there is no agent to hear it."""
    return _reach(spool, what.encode()) is not None


def is_alive(spool: Path) -> bool:
    """Say whether an agent holds the spool's lease now."""
    return _reach(spool) is not None or _is_locked(AgentFiles(spool).lock)


def wait_delivered(
    folder: Path,
    position: int,
    timeout_s: float,
    progress: Callable[[DeliveryState], bool | None] | None = None,
) -> bool:
    """Wait until a journal is delivered up to a position.

    An agent is started where none runs, and told to hurry.

    Args:
        folder: The journal's, inside its spool; one that is gone was delivered and removed.
        position: As ``Journal.append`` or ``Journal.end`` gave it.
        timeout_s: Seconds after which to give up; 0 looks once.
        progress: Called about every 0.1 s of waiting; when it returns False, the wait ends.

    Returns:
        Whether everything before ``position`` is delivered. A journal that was set aside as
        corrupt never will be, which is said at once.
    """
    spool = folder.parent.parent
    began = time.monotonic()
    next_progress_s, pause_s = _PROGRESS_S, 0.001
    nudged_s = -1.0
    while True:
        delivered, error = _delivered(folder, position)
        waited_s = time.monotonic() - began
        if delivered >= position:
            return True
        if error.startswith(SET_ASIDE) or waited_s >= timeout_s:
            return False
        ensure_agent(spool)
        if waited_s - nudged_s >= _PROGRESS_S:
            nudge(spool)
            nudged_s = waited_s
        if progress is not None and waited_s >= next_progress_s:
            if progress(DeliveryState(delivered, position, error, waited_s)) is False:
                return False
            next_progress_s = waited_s + _PROGRESS_S
        time.sleep(min(pause_s, max(timeout_s - waited_s, 0.0)))
        pause_s = min(2 * pause_s, _MAX_PAUSE_S)


def wait_uploaded(
    folder: Path,
    waiting: Sequence[files.Waiting],
    timeout_s: float,
    progress: Callable[[DeliveryState], bool | None] | None = None,
) -> bool:
    """Wait until the files of some calls are uploaded.

    Args:
        folder: The journal's, inside its spool.
        waiting: The calls.
        timeout_s: Seconds after which to give up; 0 looks once.
        progress: As in ``wait_delivered``; positions are bytes of files.

    Returns:
        Whether they are.
    """
    spool = folder.parent.parent
    began = time.monotonic()
    next_progress_s = _PROGRESS_S
    left = list(waiting)
    total = sum(one.size_bytes() for one in left)
    while left := [one for one in left if one.path.is_dir()]:
        waited_s = time.monotonic() - began
        if waited_s >= timeout_s:
            return False
        ensure_agent(spool)
        if waited_s >= next_progress_s:
            nudge(spool)
            done = total - sum(one.size_bytes() for one in left)
            error = files.read_problem(folder / "files").error
            if progress and progress(DeliveryState(done, total, error, waited_s)) is False:
                return False
            next_progress_s = waited_s + _PROGRESS_S
        time.sleep(min(_MAX_PAUSE_S, max(timeout_s - waited_s, 0.0)))
    return True


def _delivered(folder: Path, wanted: int) -> tuple[int, str]:
    """Return the position delivered, the wanted one when the journal is gone, and the error."""
    try:
        found = json.loads((folder / "delivered.json").read_bytes())
        return int(found["position"]), str(found.get("error") or "")
    except OSError:
        return (0 if folder.is_dir() else wanted), ""
    except (ValueError, KeyError, TypeError):  # damaged; the next one replaces it
        return 0, ""


def _reach(spool: Path, message: bytes | None = None) -> bool | None:
    """Connect to the agent and send it something; None when nobody listens."""
    address = AgentFiles(spool).address()
    if address is None:
        return None
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
            sender.setblocking(False)
            sender.connect(address)
            if message is not None:
                sender.send(message)
    except BlockingIOError:  # its queue is full: it has been nudged enough
        return True
    except OSError:
        return None
    return True


def _is_locked(lock: Path) -> bool:
    try:
        file = os.open(lock, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
    except OSError:
        return False
    try:
        # Shared, and gone at once: an agent that starts at this moment tries again.
        fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except OSError:
        return True
    finally:
        os.close(file)
    return False


def start_command(spool: Path) -> list[str]:
    """Return the command line of an agent, which ``ps`` shows: no secret is in it."""
    return [sys.executable, "-m", "mlflow_weir.plugin.agent", "--spool", str(spool)]


def _start(spool: Path, *, wait: bool = True) -> None:
    """Start an agent; what is started ends at once, having left the agent behind."""
    if not sys.executable:  # an embedded interpreter that does not know its program
        return
    try:
        child = subprocess.Popen(
            start_command(spool),
            cwd="/",
            env=settings.pick_environment(_ENVIRONMENT, _ENVIRONMENT_PREFIXES),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            close_fds=True,
            start_new_session=True,
        )
    except OSError:  # no memory, no process to be had: tried again on the next need
        return
    if wait:
        child.wait()
    else:
        child.returncode = 0  # nobody is left to wait for it, and no warning about that either
