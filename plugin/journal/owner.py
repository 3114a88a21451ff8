"""The lock that says whether a journal's owner lives.

A POSIX record lock, not ``flock``: a forked child must not inherit it, and it is gone with its
process, a zombie's too. Such a lock is also lost when its process closes *any* descriptor of the
file. So the journals that this process owns are kept in a table, and the files of those are never
opened a second time.
"""

from __future__ import annotations

import fcntl
import os
import threading
import time
from pathlib import Path

from mlflow_weir.errors import LeaseLost

LOCK_NAME = "owner.lock"
_TAKE_WAIT_S = 0.5
_STDERR = 2

_table_lock = threading.Lock()
_owned: dict[tuple[int, int], int] = {}  # (device, inode) of the lock file: its descriptor


def above_standard(file: int) -> int:
    """Move a descriptor that was just opened out of the way of stdin, stdout and stderr.

    A training may have closed these, so that the next file gets their number: what C code then
    prints would be written into it, and whoever puts something in their place would close it.
    """
    if file > _STDERR:
        return file
    try:
        return fcntl.fcntl(file, fcntl.F_DUPFD_CLOEXEC, _STDERR + 1)
    finally:
        os.close(file)


def create_lock(folder: Path) -> int:
    """Make a new journal's lock file, take the lock and return its descriptor."""
    flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    with _table_lock:
        file = above_standard(os.open(folder / LOCK_NAME, flags, 0o600))
        try:
            fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            os.close(file)
            raise
        _owned[_identity(file)] = file
    return file


def take_lock(folder: Path) -> int:
    """Take the lock of a journal whose owner is gone and return its descriptor.

    Raises:
        LeaseLost: A process holds it, this one included.
    """
    give_up = time.monotonic() + _TAKE_WAIT_S
    while True:
        with _table_lock:
            file = _open(folder, os.O_RDWR | os.O_CREAT)
            if file is not None:
                try:
                    fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                except OSError:
                    os.close(file)
                else:
                    _owned[_identity(file)] = file
                    return file
        # Somebody who only looks, as is_owned does, holds it for an instant.
        if file is None or time.monotonic() > give_up:
            raise LeaseLost(f"{folder}: another process owns this journal")
        time.sleep(0.01)


def release_lock(file: int) -> None:
    """Give the lock back."""
    with _table_lock:
        for identity, owned in list(_owned.items()):
            if owned == file:
                del _owned[identity]
        os.close(file)


def is_owned(folder: Path) -> bool:
    """Say whether any process, this one included, holds the journal's lock."""
    with _table_lock:
        try:
            file = _open(folder, os.O_RDONLY)
        except FileNotFoundError:
            return False
        if file is None:
            return True
        try:
            fcntl.lockf(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except (BlockingIOError, PermissionError):
            return True
        finally:
            os.close(file)
        return False


def _open(folder: Path, flags: int) -> int | None:
    """Open the lock file; None if this process holds its lock, which closing it would lose."""
    path = folder / LOCK_NAME
    try:
        known = os.stat(path, follow_symlinks=False)
    except FileNotFoundError:
        pass
    else:
        if (known.st_dev, known.st_ino) in _owned:
            return None
    flags |= os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK
    return above_standard(os.open(path, flags, 0o600))


def _identity(file: int) -> tuple[int, int]:
    found = os.fstat(file)
    return found.st_dev, found.st_ino


def _forget_after_fork() -> None:
    # The child owns nothing: record locks stay with the parent, whatever the child closes.
    global _table_lock
    _table_lock = threading.Lock()
    _owned.clear()


os.register_at_fork(after_in_child=_forget_after_fork)
