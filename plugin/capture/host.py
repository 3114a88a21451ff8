"""The machine and a training's processes on it, through psutil, ``/proc`` and control groups.

One ``HostSampler`` looks at the machine once, however many trainings run; ``HostSample.of_run``
then gives what one of them used. Counters (network, disks) are since the machine started: the
caller takes off what they were when the run began. psutil is imported when it is first used.
Belongs to one thread.
"""

from __future__ import annotations

import contextlib
import os
import platform
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from mlflow_weir.plugin.capture import cgroups
from mlflow_weir.plugin.capture.processes import Process, ProcessTable, n_open_files

_MB = 1e6


class Metric(NamedTuple):
    """One metric of the machine or a training.

    Attributes:
        name: After ``system/``.
        unit: As docs/capture.md has it.
        source: Where it comes from.
        is_mlflow: MLflow's own monitor logs it under the same name.
        is_counter: It counts from the beginning of the run.
    """

    name: str
    unit: str
    source: str
    is_mlflow: bool = False
    is_counter: bool = False


METRICS: tuple[Metric, ...] = (
    Metric("cpu_utilization_percentage", "%", "psutil", is_mlflow=True),
    Metric("system_memory_usage_megabytes", "MB", "psutil", is_mlflow=True),
    Metric("system_memory_usage_percentage", "%", "psutil", is_mlflow=True),
    Metric("system_memory_available_megabytes", "MB", "psutil"),
    Metric("disk_usage_percentage", "%", "psutil", is_mlflow=True),
    Metric("disk_usage_megabytes", "MB", "psutil", is_mlflow=True),
    Metric("disk_available_megabytes", "MB", "psutil", is_mlflow=True),
    Metric("network_receive_megabytes", "MB", "psutil", is_mlflow=True, is_counter=True),
    Metric("network_transmit_megabytes", "MB", "psutil", is_mlflow=True, is_counter=True),
    Metric("load_average", "processes", "getloadavg"),
    Metric("swap_usage_megabytes", "MB", "psutil"),
    Metric("disk_read_megabytes", "MB", "psutil", is_counter=True),
    Metric("disk_write_megabytes", "MB", "psutil", is_counter=True),
    Metric("disk_DEVICE_read_megabytes", "MB", "psutil", is_counter=True),
    Metric("disk_DEVICE_write_megabytes", "MB", "psutil", is_counter=True),
    Metric("process_cpu_utilization_percentage", "%", "/proc/PID/stat"),
    Metric("process_cpu_cores", "processors", "/proc/PID/stat"),
    Metric("process_memory_megabytes", "MB", "/proc/PID/stat"),
    Metric("process_memory_percentage", "%", "/proc/PID/stat"),
    Metric("process_threads", "number", "/proc/PID/stat"),
    Metric("process_open_files", "number", "/proc/PID/fd"),
    Metric("process_count", "number", "/proc"),
    Metric("cgroup_memory_usage_megabytes", "MB", "cgroup"),
    Metric("cgroup_memory_limit_megabytes", "MB", "cgroup"),
    Metric("cgroup_memory_usage_percentage", "%", "cgroup"),
    Metric("cgroup_cpu_limit", "processors", "cgroup"),
    Metric("cgroup_cpu_throttled_percentage", "%", "cgroup"),
)
"""Everything of a machine, for the table."""


@dataclass
class RunUse:
    """What was last known of a training's processes, for what is a difference of two moments."""

    at_s: float | None = None
    cpu_s: dict[tuple[int, int], float] = field(default_factory=dict)
    throttling: tuple[int, int] | None = None


@dataclass
class HostSample:
    """The machine at one moment.

    Attributes:
        values: By a metric's name.
        counters: Likewise, since the machine started.
        table: Its processes.
        memory_bytes: That the machine has.
    """

    values: dict[str, float]
    counters: dict[str, float]
    table: ProcessTable
    memory_bytes: int

    def of_run(
        self,
        trees: Mapping[int, list[Process]],
        use: RunUse,
        cgroup_of: Callable[[int], cgroups.CgroupState] = cgroups.read,
    ) -> dict[str, float]:
        """Return what a training uses.

        Args:
            trees: Its processes, by the process that began the run, one or more.
            use: What was known before; brought up to date.
            cgroup_of: Says what limits a process.
        """
        processes = {one.pid: one for tree in trees.values() for one in tree}
        if not processes:
            return {}
        values = {
            "process_memory_megabytes": sum(p.resident_bytes for p in processes.values()) / _MB,
            "process_threads": float(sum(p.n_threads for p in processes.values())),
            "process_count": float(len(processes)),
        }
        n_files = n_open_files(processes)
        if n_files is not None:
            values["process_open_files"] = float(n_files)
        first = next(pid for pid, tree in trees.items() if tree)
        cgroup = cgroup_of(first)
        values.update(_of_cgroup(cgroup, use))
        limit_bytes = min(cgroup.memory_limit_bytes or self.memory_bytes, self.memory_bytes)
        if limit_bytes:
            resident = values["process_memory_megabytes"] * _MB
            values["process_memory_percentage"] = 100.0 * resident / limit_bytes
        used_s = {(one.pid, one.start): one.cpu_s for one in processes.values()}
        if use.at_s is not None and self.table.at_s > use.at_s:
            # A process that is new began meanwhile: all of its time is of this interval.
            spent = sum(cpu_s - use.cpu_s.get(key, 0.0) for key, cpu_s in used_s.items())
            cores = max(spent, 0.0) / (self.table.at_s - use.at_s)
            values["process_cpu_cores"] = cores
            share = 100.0 * cores / n_processors(first, cgroup)
            values["process_cpu_utilization_percentage"] = share
        use.at_s, use.cpu_s = self.table.at_s, used_s
        return values


class HostSampler:
    """The machine that this process is on."""

    def __init__(self, path: str = "/", sys_block: Path = Path("/sys/block")) -> None:
        """Prepare; nothing is looked at yet.

        Args:
            path: Whose file system is the disk.
            sys_block: Where the kernel lists disks.
        """
        self._path, self._sys_block = path, sys_block

    def prime(self) -> None:
        """Begin the interval that the first ``sample`` is over."""
        import psutil

        psutil.cpu_percent()

    def sample(self) -> HostSample:
        """Look at the machine; what cannot be seen is left out."""
        import psutil

        memory = psutil.virtual_memory()
        values = {
            "cpu_utilization_percentage": psutil.cpu_percent(),
            "system_memory_usage_megabytes": memory.used / _MB,
            "system_memory_usage_percentage": 100.0 * memory.used / memory.total,
            "system_memory_available_megabytes": memory.available / _MB,
        }
        with contextlib.suppress(OSError):
            disk = psutil.disk_usage(self._path)
            values["disk_usage_percentage"] = disk.percent
            values["disk_usage_megabytes"] = disk.used / _MB
            values["disk_available_megabytes"] = disk.free / _MB
        with contextlib.suppress(OSError):
            values["load_average"] = os.getloadavg()[0]
        with contextlib.suppress(OSError, RuntimeError):
            values["swap_usage_megabytes"] = psutil.swap_memory().used / _MB
        return HostSample(values, self._counters(), ProcessTable.read(), memory.total)

    def _counters(self) -> dict[str, float]:
        import psutil

        counters: dict[str, float] = {}
        with contextlib.suppress(OSError, RuntimeError):
            network = psutil.net_io_counters()
            if network is not None:
                counters["network_receive_megabytes"] = network.bytes_recv / _MB
                counters["network_transmit_megabytes"] = network.bytes_sent / _MB
        with contextlib.suppress(OSError, RuntimeError, NotImplementedError):
            disks = psutil.disk_io_counters(perdisk=True) or {}
            whole = {name: found for name, found in disks.items() if self._is_disk(name)}
            for name, found in whole.items():
                counters[f"disk_{name}_read_megabytes"] = found.read_bytes / _MB
                counters[f"disk_{name}_write_megabytes"] = found.write_bytes / _MB
            if whole:
                read = sum(found.read_bytes for found in whole.values())
                written = sum(found.write_bytes for found in whole.values())
                counters["disk_read_megabytes"] = read / _MB
                counters["disk_write_megabytes"] = written / _MB
        return counters

    def _is_disk(self, name: str) -> bool:
        """Say whether it is a disk of its own: no part of one, no loop, nothing made of disks."""
        return (self._sys_block / name / "device").exists()


def _of_cgroup(cgroup: cgroups.CgroupState, use: RunUse) -> dict[str, float]:
    values: dict[str, float] = {}
    if cgroup.memory_limit_bytes:
        values["cgroup_memory_limit_megabytes"] = cgroup.memory_limit_bytes / _MB
        if cgroup.memory_bytes is not None:
            share = 100.0 * cgroup.memory_bytes / cgroup.memory_limit_bytes
            values["cgroup_memory_usage_percentage"] = share
    if cgroup.memory_bytes is not None:
        values["cgroup_memory_usage_megabytes"] = cgroup.memory_bytes / _MB
    if cgroup.cpu_limit:
        values["cgroup_cpu_limit"] = cgroup.cpu_limit
    if cgroup.n_periods is not None and cgroup.n_throttled is not None:
        before, use.throttling = use.throttling, (cgroup.n_periods, cgroup.n_throttled)
        if before is not None and cgroup.n_periods > before[0]:
            n_periods = cgroup.n_periods - before[0]
            share = 100.0 * (cgroup.n_throttled - before[1]) / n_periods
            values["cgroup_cpu_throttled_percentage"] = share
    return values


def n_processors(pid: int, cgroup: cgroups.CgroupState) -> float:
    """Return how many processors a process may use: its affinity and its quota."""
    try:
        usable = float(len(os.sched_getaffinity(pid)))
    except (AttributeError, OSError):
        usable = float(os.cpu_count() or 1)
    return min(usable, cgroup.cpu_limit or usable)


def facts() -> dict[str, Any]:
    """Return what does not change of the machine, for a JSON file."""
    import psutil

    cgroup = cgroups.read(os.getpid())
    disks = []
    for part in psutil.disk_partitions():
        with contextlib.suppress(OSError):
            total = psutil.disk_usage(part.mountpoint).total
            disks.append({"mount": part.mountpoint, "type": part.fstype, "bytes": total})
    return {
        "cpu": {
            "model": _cpu_model(),
            "sockets_cores": psutil.cpu_count(logical=False),
            "threads": psutil.cpu_count(),
            "usable": n_processors(0, cgroup),
        },
        "memory_bytes": psutil.virtual_memory().total,
        "memory_limit_bytes": cgroup.memory_limit_bytes,
        "disks": disks,
        "boot_time_s": int(psutil.boot_time()),
        "machine": platform.machine(),
        "at_ms": time.time_ns() // 1_000_000,
    }


def _cpu_model() -> str:
    with contextlib.suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text(errors="replace").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor()
