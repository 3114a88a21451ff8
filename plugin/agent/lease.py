"""The lease of a spool's agent: a file lock, and a number that every delivery carries.

The lock is the kernel's and lasts as long as the process: nothing expires under a slow agent,
and nothing is left of a dead one. The fencing number, larger with each lease, goes with every
transaction, so that a database refuses one that was on its way when the next holder took over
(``LeaseLost``). Guarantees, tested by tests/host/test_agent_lease.py:

* one_holder: of several processes that try at once, one has the lease.
* numbers_rise: no two leases have one number, whatever was killed, and a later one is larger.
* a_removed_spool_ends_the_lease: ``is_held`` says when the file at the path is another.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import time
from pathlib import Path

from mlflow_weir import __version__
from mlflow_weir.plugin.agent.files import AgentFiles

_FLAGS = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
_TRY_S = 0.5  # a client that looks whether the lock is taken holds it for microseconds
_PAUSE_S = 0.01
_HOLDER_BYTES = 256


class Lease:
    """A lease that this process holds.

    Attributes:
        fencing: Its number.
    """

    def __init__(self, files: AgentFiles, lock: int, fencing: int) -> None:
        self._files, self._lock = files, lock
        self.fencing = fencing

    def is_held(self) -> bool:
        """Say whether the file that others would lock is still the one locked here."""
        try:
            there, ours = os.stat(self._files.lock), os.fstat(self._lock)
        except OSError:
            return False
        return (there.st_dev, there.st_ino) == (ours.st_dev, ours.st_ino)

    def release(self) -> None:
        """Let the next one have it."""
        _say_holder(self._lock, {})
        os.close(self._lock)


def try_take(files: AgentFiles) -> Lease | None:
    """Take the lease; None when another process holds it.

    Raises:
        OSError: The folder cannot be written.
    """
    files.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    give_up = time.monotonic() + _TRY_S
    while True:
        lock = os.open(files.lock, _FLAGS, 0o600)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(lock)
            if time.monotonic() > give_up:
                return None
            time.sleep(_PAUSE_S)
            continue
        lease = Lease(files, lock, 0)
        if lease.is_held():
            break
        os.close(lock)  # it was removed between the two calls
    _say_holder(lock, {})  # what it says is about somebody who is dead
    lease.fencing = next_fencing(files)
    holder = {
        "pid": os.getpid(),
        "fencing": lease.fencing,
        "started_ms": time.time_ns() // 1_000_000,
        "version": __version__,
    }
    _say_holder(lock, holder)
    return lease


def _say_holder(lock: int, holder: dict[str, object]) -> None:
    """Write who holds the lease, always in as many bytes: where the disk is full, in place."""
    with contextlib.suppress(OSError):  # the lock counts; this is for people
        os.pwrite(lock, json.dumps(holder).encode().ljust(_HOLDER_BYTES), 0)


def next_fencing(files: AgentFiles) -> int:
    """Hand out a number larger than every one before it.

    It starts at the clock, so that a spool that was removed and made again goes on upwards; from
    there it only counts, whatever the clock does.
    """
    files.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    file = os.open(files.fencing, _FLAGS, 0o600)
    try:
        fcntl.flock(file, fcntl.LOCK_EX)
        try:
            last = int(os.pread(file, 20, 0) or b"0")
        except ValueError:
            last = 0
        number = max(last + 1, int(time.time()))
        os.pwrite(file, b"%020d" % number, 0)  # one sector, of one length: never half of it
        os.fsync(file)
        return number
    finally:
        os.close(file)


def holder_of(files: AgentFiles) -> dict[str, object] | None:
    """Return what the holder of the lease wrote about itself; None when nobody holds it."""
    file = _try_open(files.lock)
    if file is None:
        return None
    try:
        try:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
            return None
        except BlockingIOError:
            pass
        found = json.loads(os.pread(file, 4096, 0) or b"{}")
        return found if isinstance(found, dict) else {}
    except ValueError:
        return {}
    finally:
        os.close(file)


def _try_open(path: Path) -> int | None:
    try:
        return os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
    except OSError:
        return None
