"""The processes of a training: its own and those below it, as the kernel and as NVML number them.

On Linux one pass over ``/proc`` gives what is needed of all processes at once, however many
trainings there are; elsewhere psutil does. Weir's own process that keeps what a training prints is
left out. What is above them in a container, nobody here can see:
NVML counts the machine's processes, and a container numbers its own from 1.
"""

from __future__ import annotations

import contextlib
import os
import time
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

PROC = Path("/proc")
_PUMP = b" (weir-console"  # the console's pump is below a training and no part of it
_FIRST_NAMESPACE = 0xEFFFFFFC  # the kernel's own number of the machine's process ids
# Fields of /proc/PID/stat, after the name.
_PARENT, _USER, _SYSTEM, _THREADS, _START, _RESIDENT = 1, 11, 12, 17, 19, 21


class Process(NamedTuple):
    """One process at one moment.

    Attributes:
        start: When it began, in a unit of the system's; with ``pid`` it names the process.
        cpu_s: Seconds of processors it has used.
        resident_bytes: Memory, pages shared with others included.
    """

    pid: int
    parent: int
    start: int
    cpu_s: float
    n_threads: int
    resident_bytes: int


class ProcessTable:
    """All processes at one moment."""

    def __init__(self, processes: Mapping[int, Process], at_s: float) -> None:
        """Keep what was found.

        Args:
            processes: By process id.
            at_s: When, on the monotonic clock.
        """
        self.processes, self.at_s = processes, at_s
        self._children: dict[int, list[int]] = defaultdict(list)
        for process in processes.values():
            self._children[process.parent].append(process.pid)

    @classmethod
    def read(cls, proc: Path = PROC) -> ProcessTable:
        """Look at the machine."""
        found = _of_proc(proc) if (proc / "self/stat").exists() else _of_psutil()
        return cls({process.pid: process for process in found}, time.monotonic())

    def tree(self, pid: int) -> list[Process]:
        """Return a process and all below it; nothing where it is gone."""
        found, waiting, seen = [], [pid], set()
        while waiting:
            one = waiting.pop()
            process = self.processes.get(one)
            if process is None or one in seen:
                continue
            seen.add(one)
            found.append(process)
            waiting += self._children.get(one, ())
        return found

    def find(self, pid: int, start: int, proc: Path = PROC) -> int | None:
        """Return the number here of a process that knows itself by ``pid``; None if it is gone.

        Args:
            pid: Its number where it runs, perhaps in a container.
            start: When it began, in clock ticks since boot; 0 where unknown.
            proc: Where the kernel tells about processes.
        """
        there = self.processes.get(pid)
        if there is not None and start in (0, there.start):
            return pid
        for process in self.processes.values():
            if start and process.start == start and _innermost(process.pid, proc) == pid:
                return process.pid
        return None


def _of_proc(proc: Path) -> Iterator[Process]:
    page, tick = os.sysconf("SC_PAGE_SIZE"), os.sysconf("SC_CLK_TCK")
    for name in os.listdir(proc):
        if not name.isdigit():
            continue
        try:
            with open(f"{proc}/{name}/stat", "rb") as file:
                text = file.read()
        except OSError:  # it has ended
            continue
        named, _, others = text.rpartition(b")")
        fields = others.split()
        if fields[0] == b"Z" or named.endswith(_PUMP):
            continue
        yield Process(
            int(name),
            int(fields[_PARENT]),
            int(fields[_START]),
            (int(fields[_USER]) + int(fields[_SYSTEM])) / tick,
            int(fields[_THREADS]),
            int(fields[_RESIDENT]) * page,
        )


def _of_psutil() -> Iterator[Process]:
    import psutil

    names = ["pid", "ppid", "create_time", "cpu_times", "num_threads", "memory_info", "cmdline"]
    for process in psutil.process_iter(names):
        found = process.info
        if any(word.endswith("/capture/console/pump.py") for word in found["cmdline"] or ()):
            continue
        times, memory = found["cpu_times"], found["memory_info"]
        yield Process(
            found["pid"],
            found["ppid"] or 0,
            int(found["create_time"] or 0),
            times.user + times.system if times else 0.0,
            found["num_threads"] or 0,
            memory.rss if memory else 0,
        )


def _innermost(pid: int, proc: Path) -> int | None:
    """Return the number that a process has in the innermost container that it is in."""
    with contextlib.suppress(OSError, ValueError):
        for line in (proc / str(pid) / "status").read_text(errors="replace").splitlines():
            if line.startswith("NSpid:"):
                return int(line.split()[-1])
    return None


def n_open_files(pids: Iterable[int], proc: Path = PROC) -> int | None:
    """Return how many files these processes have open; None where that cannot be seen."""
    total, is_known = 0, False
    for pid in pids:
        with contextlib.suppress(OSError):
            total += len(os.listdir(proc / str(pid) / "fd"))
            is_known = True
    return total if is_known else None


def counts_as_nvml(proc: Path = PROC) -> bool:
    """Say whether process ids here are the machine's own, as NVML's are."""
    try:
        return os.stat(proc / "self/ns/pid").st_ino == _FIRST_NAMESPACE
    except OSError:
        return False


def has_gpu_open(pid: int, proc: Path = PROC) -> bool:
    """Say whether a process has a GPU open, NVIDIA's or AMD's."""
    folder = proc / str(pid) / "fd"
    with contextlib.suppress(OSError):
        for name in os.listdir(folder):
            with contextlib.suppress(OSError):
                if os.readlink(folder / name).startswith(("/dev/nvidia", "/dev/kfd")):
                    return True
    return False


def on_device(
    tree: Iterable[Process],
    running: Iterable[int],
    *,
    is_machine: bool,
    proc: Path = PROC,
) -> set[int] | None:
    """Return which of NVML's processes are of a tree; None where that cannot be told.

    In a container NVML's numbers are those of the machine, some drivers and runtimes translate
    them. A number that both know is taken for the same process there only if that one has a GPU
    open, and "none" is an answer only while no process of the tree has.

    Args:
        tree: The training's processes, as they are numbered here.
        running: Those that NVML lists.
        is_machine: ``counts_as_nvml()``.
        proc: Where the kernel tells about processes.
    """
    listed = set(running)
    pids = {process.pid for process in tree}
    if is_machine:
        return pids & listed
    users = {pid for pid in pids if has_gpu_open(pid, proc)}
    if found := users & listed:
        return found
    return None if users and listed else set()
