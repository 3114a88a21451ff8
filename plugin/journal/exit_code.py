"""The exit code of a journal's process, left beside the journal by the process itself.

The kernel tells it of a process that is no child only since Linux 6.15, and Python tells nobody of
a ``SystemExit`` that reached the top. But whatever it was (``raise SystemExit``, ``exit``,
``sys.exit`` under another name, the end of the script), Python ends in C's ``exit``, and glibc
hands the code to what ``on_exit`` has registered: a function of an integer and a pointer, as
``fputc`` is one. So glibc itself writes the code, as one byte, once the interpreter is gone.

Nothing is written by a process that a signal ends or that calls ``os._exit``, nor where the C
library has no ``on_exit`` (musl, macOS).
"""

from __future__ import annotations

import contextlib
import fcntl
import os
from pathlib import Path
from typing import Any

_NAME = "exit-code"
_BEFORE = b"\n"  # has the disk make room for the code, which may be full when it comes
_FLAGS = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND | os.O_CLOEXEC
# Out of reach of what a program opens after it has closed everything, as daemons do.
_HIGH = 512

_files: list[int] = []  # descriptors of this process


def note_in(folder: Path) -> None:
    """Have the exit code of this process written into a journal's folder when it ends.

    Raises:
        OSError: There is no room, or no descriptor is left.
    """
    import ctypes  # not with every import

    libc: Any = ctypes.CDLL(None)
    if not hasattr(libc, "on_exit"):
        return
    libc.fdopen.restype = ctypes.c_void_p
    with contextlib.suppress(FileNotFoundError):  # of a journal that is put back
        os.unlink(folder / _NAME)
    file = os.open(folder / _NAME, _FLAGS, 0o600)
    try:
        os.write(file, _BEFORE)
        with contextlib.suppress(OSError):  # the limit of descriptors is lower
            high = fcntl.fcntl(file, fcntl.F_DUPFD_CLOEXEC, _HIGH)
            os.close(file)
            file = high
        address = libc.fdopen(file, b"a")
        if address is None:
            raise OSError("no memory for a stream")
    except OSError:
        os.close(file)
        raise
    stream = ctypes.c_void_p(address)
    libc.setbuf(stream, None)  # so that no later handler can keep it from the disk
    _files.append(file)
    libc.on_exit(ctypes.cast(libc.fputc, ctypes.c_void_p), stream)


def read(folder: Path) -> int | None:
    """Return the exit code that a journal's process left; None where it left none."""
    try:
        file = os.open(folder / _NAME, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        found = os.read(file, 3)
    except OSError:
        return None
    finally:
        os.close(file)
    # More is of a child as well, which C code has forked without Python's knowledge.
    return found[1] if len(found) == 2 and found[:1] == _BEFORE else None


def _keep_out() -> None:
    """In a forked child, which has the handler as well: have it write into nothing."""
    with contextlib.suppress(OSError):
        nothing = os.open(os.devnull, os.O_WRONLY | os.O_CLOEXEC)
        for file in _files:
            os.dup2(nothing, file, inheritable=False)
        os.close(nothing)
        _files.clear()
    for file in _files:
        with contextlib.suppress(OSError):
            os.close(file)
    _files.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_keep_out)
