"""Whether a process has ended, and how: what the kernel says, never a guess.

A process is watched through a pidfd opened while it lives, after which the number may be used
again without harm. It is taken for the process meant only if its start, in clock ticks since
boot, is the one on record. How it ended comes from, in this order:

1. the kernel's exit record of the pidfd (Linux 6.15), once its parent has waited for it;
2. ``/proc/PID/stat`` while it is a zombie, for a parent that never waits;
3. nowhere: older kernels forget with the wait. Whoever looks at the moment of the end may be
   faster than the parent. The exit code, but no signal, is what the process has left itself
   (``journal/exit_code.py``).

An OOM kill is told from another SIGKILL by the counter of the process's memory cgroup, v1 or v2,
which counts processes that the kernel killed for want of memory, of the machine's too.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import select
import signal
import struct
import time
from pathlib import Path
from typing import NamedTuple

# _IOWR(PIDFS_IOCTL_MAGIC, 11, struct pidfd_info): the first version of the structure, 64 bytes,
# which later kernels accept.
_PIDFD_GET_INFO = 0xC040FF0B
_PIDFD_INFO_EXIT = 1 << 3
_INFO_BYTES = 64
_TOLD_S = 2.0
_CGROUPS = Path("/sys/fs/cgroup")
_STATE, _START_TICKS, _EXIT_CODE = 0, 19, 49  # fields of /proc/PID/stat, after the name


class Ended(NamedTuple):
    """How a process ended.

    Attributes:
        code: What it passed to ``exit``; None when a signal ended it.
        signal: The signal that ended it; None when it ended by itself.
    """

    code: int | None
    signal: int | None


class OomCounter(NamedTuple):
    """How many processes of a cgroup the kernel has killed for want of memory."""

    file: Path
    n_kills: int


class Watch:
    """A process that is watched; it may have ended before."""

    def __init__(self, pid: int, start_ticks: int, descriptor: int) -> None:
        self._pid, self._start_ticks, self._descriptor = pid, start_ticks, descriptor
        self._oom = oom_counter(pid)
        self._ended: Ended | None = None

    def fileno(self) -> int:
        """Return what becomes readable when it ends."""
        return self._descriptor

    def has_ended(self) -> bool:
        """Say whether all of its threads have ended; a zombie has."""
        poll = select.poll()
        poll.register(self._descriptor, select.POLLIN)
        return bool(poll.poll(0))

    def refresh(self) -> None:
        """Look at the cgroup's counter again, so that only what happens from now on is evidence.

        For the caller to do from time to time while the process lives.
        """
        self._oom = oom_counter(self._pid) or self._oom

    def how(self) -> Ended | None:
        """Return how it ended; None when the kernel does not say (or it has not ended)."""
        if self._ended is None and self.has_ended():
            self._ended = self._look()
        return self._ended

    def _look(self) -> Ended | None:
        give_up_s = time.monotonic() + _TOLD_S
        while True:
            is_released, status = _exit_record(self._descriptor)
            if status is None:
                status = _zombie_status(self._pid, self._start_ticks)
            if status is not None:
                return ended(status)
            if is_released or time.monotonic() > give_up_s:
                return None
            time.sleep(0.005)  # its parent waits for it at this moment

    def oom_evidence(self) -> str | None:
        """Return what shows that the kernel killed for want of memory meanwhile; None if nothing.

        For a process that SIGKILL ended, or nobody knows what.
        """
        if self._oom is None:
            return None
        n_kills = _read_kills(self._oom.file)
        if n_kills is None or n_kills <= self._oom.n_kills:
            return None
        return f"oom_kill rose from {self._oom.n_kills} to {n_kills} in {self._oom.file}"

    def send_signal(self, number: int) -> None:
        """Send it a signal; nothing where it has ended, and never to another process."""
        with contextlib.suppress(ProcessLookupError):
            signal.pidfd_send_signal(self._descriptor, number)

    def close(self) -> None:
        """Stop watching."""
        os.close(self._descriptor)


def try_watch(pid: int, start_ticks: int) -> Watch | None:
    """Watch a process; None when there is none with this number and start, or no pidfd."""
    if not hasattr(os, "pidfd_open"):
        return None
    try:
        descriptor = os.pidfd_open(pid)
    except OSError:
        return None
    # After the pidfd: a number used again between the two would show another start.
    if start_ticks_of(pid) != start_ticks:
        os.close(descriptor)
        return None
    return Watch(pid, start_ticks, descriptor)


def ended(status: int) -> Ended:
    """Read a wait status."""
    if os.WIFSIGNALED(status):
        return Ended(None, os.WTERMSIG(status))
    return Ended(os.WEXITSTATUS(status), None)


def start_ticks_of(pid: int) -> int | None:
    """Return when a process started, in clock ticks since boot; None when there is none."""
    fields = _stat(pid)
    return None if fields is None else int(fields[_START_TICKS])


def boot_id() -> str:
    """Return what names this boot of the machine; "" where the kernel does not say."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    except OSError:
        return ""


def oom_counter(pid: int) -> OomCounter | None:
    """Return the counter of OOM kills of a process's memory cgroup; None when there is none."""
    try:
        lines = Path(f"/proc/{pid}/cgroup").read_text(encoding="utf-8").splitlines()
    except OSError:
        return None
    for line in lines:
        _, controllers, path = line.split(":", 2)
        if controllers == "":
            file = _CGROUPS / path.lstrip("/") / "memory.events"
        elif "memory" in controllers.split(","):
            file = _CGROUPS / "memory" / path.lstrip("/") / "memory.oom_control"
        else:
            continue
        n_kills = _read_kills(file)
        if n_kills is not None:
            return OomCounter(file, n_kills)
    return None


def _read_kills(file: Path) -> int | None:
    try:
        lines = file.read_text(encoding="ascii").splitlines()
    except OSError:
        return None
    for line in lines:
        name, _, value = line.partition(" ")
        if name == "oom_kill":
            return int(value)
    return None


def _stat(pid: int) -> list[str] | None:
    try:
        text = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return None
    return text.rpartition(")")[2].split()


def _zombie_status(pid: int, start_ticks: int) -> int | None:
    fields = _stat(pid)
    if fields is None or fields[_STATE] != "Z" or int(fields[_START_TICKS]) != start_ticks:
        return None
    return int(fields[_EXIT_CODE])


def _exit_record(descriptor: int) -> tuple[bool, int | None]:
    """Return whether the kernel says no more than this, and the wait status that it tells.

    Between a parent's wait and the record a process is no zombie any more: on a busy machine that
    takes as long as the parent gets no time.
    """
    info = bytearray(_INFO_BYTES)
    struct.pack_into("=Q", info, 0, _PIDFD_INFO_EXIT)
    try:
        fcntl.ioctl(descriptor, _PIDFD_GET_INFO, info)
    except OSError:  # an older kernel
        return True, None
    (mask,) = struct.unpack_from("=Q", info, 0)
    if not mask & _PIDFD_INFO_EXIT:
        return False, None
    (status,) = struct.unpack_from("=i", info, _INFO_BYTES - 4)
    return True, int(status)
