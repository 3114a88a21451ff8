"""What a process may use at most: the limits of its control groups, versions 1 and 2."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple, TypeVar

N = TypeVar("N", int, float)

_UNLIMITED = 1 << 60


class CgroupState(NamedTuple):
    """A process's limits and what its group uses; None where there is no limit or no such file.

    Attributes:
        memory_bytes: In use by the group with the smallest limit, without what the kernel could
            drop at once.
        memory_limit_bytes: The smallest of its own and its parents'.
        cpu_limit: Processors, as a quota gives them.
        n_periods: Periods in which the group ran; in ``n_throttled`` of them it was stopped for
            having used its quota.
    """

    memory_bytes: int | None = None
    memory_limit_bytes: int | None = None
    cpu_limit: float | None = None
    n_periods: int | None = None
    n_throttled: int | None = None


def read(pid: int, root: Path = Path("/")) -> CgroupState:
    """Look at a process's groups.

    Args:
        pid: The process.
        root: Of the file system.
    """
    try:
        lines = (root / f"proc/{pid}/cgroup").read_text(errors="replace").splitlines()
    except OSError:
        return CgroupState()
    base = root / "sys/fs/cgroup"
    found = CgroupState()
    for line in lines:
        _, _, rest = line.partition(":")
        controllers, _, path = rest.partition(":")
        if not controllers:
            for mount in (base, base / "unified"):
                found = _merged(found, _unified(list(_folders(mount, path))))
        for name in controllers.split(","):
            if name == "memory":
                found = _merged(found, _memory_v1(list(_folders(base / "memory", path))))
            elif name == "cpu":
                mounts = (base / "cpu", base / controllers)
                mount = next((one for one in mounts if one.is_dir()), mounts[0])
                found = _merged(found, _cpu_v1(list(_folders(mount, path))))
    return found


def _folders(mount: Path, path: str) -> Iterator[Path]:
    """Give a group's folder and its parents', the innermost first.

    In a container the path may be the machine's, and the mount its own group.
    """
    parts = [part for part in path.split("/") if part not in ("", "..")]
    while True:
        folder = mount.joinpath(*parts)
        if folder.is_dir():
            yield folder
        if not parts:
            return
        parts.pop()


def _unified(folders: list[Path]) -> CgroupState:
    limits = [_number(folder / "memory.max") for folder in folders]
    quotas = [_quota_v2(folder / "cpu.max") for folder in folders]
    users = _limited_first(folders, limits)
    used = next((n for folder in users if (n := _number(folder / "memory.current"))), None)
    cache = next((n for f in users if (n := _stat(f / "memory.stat", "inactive_file"))), 0)
    periods = _throttling(folders)
    return CgroupState(_less(used, cache), _smallest(limits), _smallest(quotas), *periods)


def _memory_v1(folders: list[Path]) -> CgroupState:
    limits = [_number(folder / "memory.limit_in_bytes") for folder in folders]
    users = _limited_first(folders, limits)
    used = next((n for f in users if (n := _number(f / "memory.usage_in_bytes"))), None)
    cache = next((n for f in users if (n := _stat(f / "memory.stat", "total_inactive_file"))), 0)
    limits += [_stat(folder / "memory.stat", "hierarchical_memory_limit") for folder in folders]
    real = [limit for limit in limits if limit is not None and limit < _UNLIMITED]
    return CgroupState(_less(used, cache), min(real, default=None))


def _limited_first(folders: list[Path], limits: list[int | None]) -> list[Path]:
    """Return the folders, that of the smallest limit first: what it holds is held against that.

    A job's limit is above the groups of its steps, which share it.
    """
    known = [(n, i) for i, n in enumerate(limits) if n is not None and n < _UNLIMITED]
    return [folders[min(known)[1]], *folders] if known else folders


def _cpu_v1(folders: list[Path]) -> CgroupState:
    quotas = []
    for folder in folders:
        quota, period = _number(folder / "cpu.cfs_quota_us"), _number(folder / "cpu.cfs_period_us")
        if quota is not None and quota > 0 and period:
            quotas.append(quota / period)
    return CgroupState(None, None, min(quotas, default=None), *_throttling(folders))


def _throttling(folders: list[Path]) -> tuple[int | None, int | None]:
    for folder in folders:
        n_periods = _stat(folder / "cpu.stat", "nr_periods")
        if n_periods is not None:
            return n_periods, _stat(folder / "cpu.stat", "nr_throttled")
    return None, None


def _quota_v2(path: Path) -> float | None:
    quota, _, period = _text(path).partition(" ")
    if not quota.isdigit() or not period.isdigit() or not int(period):
        return None
    return int(quota) / int(period)


def _less(used: int | None, cache: int | None) -> int | None:
    return None if used is None else max(used - (cache or 0), 0)


def _smallest(limits: Iterable[N | None]) -> N | None:
    return min((limit for limit in limits if limit is not None), default=None)


def _merged(one: CgroupState, other: CgroupState) -> CgroupState:
    known = {name: value for name, value in one._asdict().items() if value is not None}
    return other._replace(**known)


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="ascii", errors="replace").strip()
    except OSError:
        return ""


def _number(path: Path) -> int | None:
    text = _text(path)
    return int(text) if text.lstrip("-").isdigit() else None


def _stat(path: Path, name: str) -> int | None:
    for line in _text(path).splitlines():
        key, _, value = line.partition(" ")
        if key == name and value.strip().isdigit():
            return int(value)
    return None
