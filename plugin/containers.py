"""Whether a container ends with this process, and with it the spool and everybody else in it."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import NamedTuple

from mlflow_weir import settings
from mlflow_weir.plugin import launchers

_ROOT = Path("/")
# Docker's; Podman's, CRI-O's and Buildah's; Kubernetes' (a pod without an account has none).
_MARKS = (".dockerenv", "run/.containerenv", "run/secrets/kubernetes.io")
_VARIABLES = ("KUBERNETES_SERVICE_HOST", "container")
_MACHINES = frozenset({"systemd", "init", "launchd"})  # as process 1: it goes on without us
_MOST_ANCESTORS = 64
# What does nothing but wait for what it has started, and ends with it or starts it again.
_SHELLS = frozenset("ash bash busybox dash ksh sh zsh".split())
_INITS = frozenset(
    "catatonit conmon docker-init dumb-init podman-init runsv runsvdir s6-supervise s6-svscan "
    "supervisord tini tini-static".split()
)
_WRAPPERS = frozenset("pixi runuser su sudo timeout uv".split())
# Of a job's ranks; torchrun and others are written in Python.
_LAUNCHERS = frozenset(
    "hydra_pmi_proxy mpiexec mpiexec.hydra mpirun orted orterun prte prted prterun".split()
)


class _Place(NamedTuple):
    """A process's place among others."""

    parent: int = 0
    group: int = 0
    session: int = 0


def is_first() -> bool:
    """Say whether this process is a container's first, or all that an init as its first runs.

    Once it ends, every other process there is killed.
    """
    return os.getpid() == 1 or (os.getppid() == 1 and _is_container())


def ends_with_us() -> bool:
    """Say whether a container is likely to end soon after this process.

    That is so of its first process, and of what it runs through nothing but shells, entry scripts,
    inits and supervisors, and launchers of a job's ranks. Not of what something else has started
    there, a job's `make` or a test among much else, nor of what was brought in (``docker exec``),
    whose first ancestor is no process of the container, nor of what somebody has typed at a
    shell's prompt, nor of a notebook's kernel.
    """
    if os.getpid() == 1:
        return True
    if "ipykernel" in sys.modules or not _is_container():
        return False
    line = [os.getpid(), *_ancestors()]
    above = line[1:]
    if above[-1] != 1 or any(map(_is_typed, line, above)):
        return False
    return above == [1] or all(map(_waits, above))


def _is_container() -> bool:
    is_marked = any((_ROOT / mark).exists() for mark in _MARKS)
    is_named = any(map(settings.foreign, _VARIABLES))
    return (is_marked or is_named) and _name(1) not in _MACHINES


def _ancestors() -> list[int]:
    found = [os.getppid()]
    while found[-1] > 1 and len(found) < _MOST_ANCESTORS:
        found.append(_place(found[-1]).parent)
    return found


def _waits(pid: int) -> bool:
    program = _program(pid)
    if launchers.rank() is not None and (program in _LAUNCHERS or program.startswith("python")):
        return True
    return program in _SHELLS | _INITS | _WRAPPERS or program.endswith(".sh")


def _is_typed(pid: int, parent: int) -> bool:
    """Say whether a shell has a process in a group of its own, as one with a prompt does."""
    if _program(parent) not in _SHELLS:
        return False
    child, shell = _place(pid), _place(parent)
    return child.group != shell.group and child.session == shell.session


def _program(pid: int) -> str:
    try:
        return (_ROOT / f"proc/{pid}/exe").readlink().name
    except OSError:  # another user's
        return _name(pid)


def _place(pid: int) -> _Place:
    """Return a process's parent, group and session; 0 where they are not to be seen."""
    try:
        text = (_ROOT / f"proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
        return _Place(*map(int, text.rpartition(")")[2].split()[1:4]))
    except (OSError, ValueError, TypeError):
        return _Place()


def _name(pid: int) -> str:
    try:
        return (_ROOT / f"proc/{pid}/comm").read_text(encoding="utf-8", errors="replace").strip()
    except OSError:
        return ""
