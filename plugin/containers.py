"""Whether a container ends with this process, and with it the spool and everybody else in it."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from mlflow_weir import settings

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


def is_first() -> bool:
    """Say whether this process is a container's first, or all that an init as its first runs.

    Once it ends, every other process there is killed.
    """
    return os.getpid() == 1 or (os.getppid() == 1 and _is_container())


def ends_with_us() -> bool:
    """Say whether a container is likely to end soon after this process.

    That is so of its first process, and of what it runs through nothing but shells, entry scripts,
    inits and supervisors. Not of what something else has started there, a job's `make` or a test
    among much else, nor of what was brought in (``docker exec``), whose first ancestor is no
    process of the container, nor of a notebook's kernel.
    """
    if is_first():
        return True
    if "ipykernel" in sys.modules or not _is_container():
        return False
    above = _ancestors()
    return above[-1] == 1 and all(map(_waits, above))


def _is_container() -> bool:
    is_marked = any((_ROOT / mark).exists() for mark in _MARKS)
    is_named = any(map(settings.foreign, _VARIABLES))
    return (is_marked or is_named) and _name(1) not in _MACHINES


def _ancestors() -> list[int]:
    found = [os.getppid()]
    while found[-1] > 1 and len(found) < _MOST_ANCESTORS:
        found.append(_parent(found[-1]))
    return found


def _waits(pid: int) -> bool:
    try:
        program = (_ROOT / f"proc/{pid}/exe").readlink().name
    except OSError:  # another user's
        program = _name(pid)
    return program in _SHELLS | _INITS or program.endswith(".sh")


def _parent(pid: int) -> int:
    """Return a process's parent; 0 where that is outside or not to be seen."""
    try:
        text = (_ROOT / f"proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
        return int(text.rpartition(")")[2].split()[1])
    except (OSError, ValueError, IndexError):
        return 0


def _name(pid: int) -> str:
    try:
        return (_ROOT / f"proc/{pid}/comm").read_text(encoding="utf-8", errors="replace").strip()
    except OSError:
        return ""
