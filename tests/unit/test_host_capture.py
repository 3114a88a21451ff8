"""What is read of a machine, of control groups and of a training's processes."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import psutil
import pytest
from mlflow.system_metrics.metrics.cpu_monitor import CPUMonitor
from mlflow.system_metrics.metrics.disk_monitor import DiskMonitor
from mlflow.system_metrics.metrics.network_monitor import NetworkMonitor

from agents import wait_until
from mlflow_weir.plugin.capture import cgroups, host
from mlflow_weir.plugin.capture.cgroups import CgroupState
from mlflow_weir.plugin.capture.processes import (
    Process,
    ProcessTable,
    counts_as_nvml,
    on_device,
)

FIRST_NAMESPACE = "pid:[4026531836]"


def write(root: Path, files: dict[str, str]) -> None:
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


# Control groups


def test_version_2_takes_the_smallest_limit_on_the_way_up(tmp_path: Path) -> None:
    group = "sys/fs/cgroup/a.slice/job"
    write(
        tmp_path,
        {
            "proc/7/cgroup": "0::/a.slice/job\n",
            f"{group}/memory.max": "max\n",
            f"{group}/memory.current": "3000\n",
            f"{group}/memory.stat": "anon 5\ninactive_file 500\n",
            f"{group}/cpu.max": "400000 100000\n",
            f"{group}/cpu.stat": "usage_usec 9\nnr_periods 200\nnr_throttled 50\n",
            "sys/fs/cgroup/a.slice/memory.max": "8000\n",
            "sys/fs/cgroup/a.slice/cpu.max": "150000 100000\n",
        },
    )
    assert cgroups.read(7, tmp_path) == CgroupState(2500, 8000, 1.5, 200, 50)
    # What is held against a job's limit is what all of its steps use together.
    write(tmp_path, {"sys/fs/cgroup/a.slice/memory.current": "7500\n"})
    assert cgroups.read(7, tmp_path).memory_bytes == 7000


def test_version_2_in_a_container_is_at_the_root(tmp_path: Path) -> None:
    write(
        tmp_path,
        {
            "proc/7/cgroup": "0::/../../elsewhere\n",
            "sys/fs/cgroup/memory.max": "9000\n",
            "sys/fs/cgroup/memory.current": "100\n",
            "sys/fs/cgroup/cpu.max": "max 100000\n",
        },
    )
    assert cgroups.read(7, tmp_path) == CgroupState(100, 9000, None, None, None)


def test_version_1(tmp_path: Path) -> None:
    write(
        tmp_path,
        {
            "proc/7/cgroup": "9:memory:/docker/x\n4:cpu,cpuacct:/docker/x\n1:name=systemd:/\n",
            "sys/fs/cgroup/memory/memory.limit_in_bytes": "5000\n",
            "sys/fs/cgroup/memory/memory.usage_in_bytes": "700\n",
            "sys/fs/cgroup/memory/memory.stat": "cache 1\ntotal_inactive_file 200\n"
            "hierarchical_memory_limit 4000\n",
            "sys/fs/cgroup/cpu,cpuacct/cpu.cfs_quota_us": "250000\n",
            "sys/fs/cgroup/cpu,cpuacct/cpu.cfs_period_us": "100000\n",
            "sys/fs/cgroup/cpu,cpuacct/cpu.stat": "nr_periods 10\nnr_throttled 1\n",
        },
    )
    assert cgroups.read(7, tmp_path) == CgroupState(500, 4000, 2.5, 10, 1)


def test_version_1_without_limits(tmp_path: Path) -> None:
    write(
        tmp_path,
        {
            "proc/7/cgroup": "9:memory:/\n4:cpu:/\n",
            "sys/fs/cgroup/memory/memory.limit_in_bytes": "9223372036854771712\n",
            "sys/fs/cgroup/cpu/cpu.cfs_quota_us": "-1\n",
            "sys/fs/cgroup/cpu/cpu.cfs_period_us": "100000\n",
        },
    )
    assert cgroups.read(7, tmp_path) == CgroupState()


def test_a_process_that_is_gone_has_no_limits(tmp_path: Path) -> None:
    assert cgroups.read(7, tmp_path) == CgroupState()


# The machine


def test_mlflows_names_are_those_of_its_own_monitors(tmp_path: Path) -> None:
    theirs: set[str] = set()
    monitors: list[Any] = [CPUMonitor(), DiskMonitor(), NetworkMonitor()]
    for monitor in monitors:
        monitor.collect_metrics()
        theirs |= set(monitor.aggregate_metrics())
    assert {metric.name for metric in host.METRICS if metric.is_mlflow} == theirs


def test_the_machine_is_as_psutil_has_it() -> None:
    sampler = host.HostSampler()
    sampler.prime()
    found = sampler.sample()
    memory = psutil.virtual_memory()
    assert found.values["system_memory_usage_megabytes"] == pytest.approx(
        memory.used / 1e6, rel=0.2
    )
    assert found.values["system_memory_available_megabytes"] == pytest.approx(
        memory.available / 1e6, rel=0.2
    )
    assert found.values["disk_usage_percentage"] == pytest.approx(
        psutil.disk_usage("/").percent, abs=1
    )
    assert found.counters["network_receive_megabytes"] >= 0
    known = {metric.name for metric in host.METRICS}
    named = set(found.values) | {n for n in found.counters if not n.startswith("disk_")}
    assert named <= known
    assert found.memory_bytes == memory.total


def test_only_whole_disks_are_counted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = SimpleNamespace(read_bytes=3_000_000, write_bytes=5_000_000)
    names = {"sda": found, "sda1": found, "sdb": found, "loop0": found, "dm-0": found}
    monkeypatch.setattr(psutil, "disk_io_counters", lambda **_: names)
    for name in ("sda", "sdb"):
        (tmp_path / name / "device").mkdir(parents=True)
    (tmp_path / "loop0").mkdir()
    counters = host.HostSampler(sys_block=tmp_path).sample().counters
    disks = {name: value for name, value in counters.items() if name.startswith("disk_")}
    assert disks == {
        "disk_read_megabytes": 6,
        "disk_write_megabytes": 10,
        "disk_sda_read_megabytes": 3,
        "disk_sda_write_megabytes": 5,
        "disk_sdb_read_megabytes": 3,
        "disk_sdb_write_megabytes": 5,
    }


# A training's processes

BUSY = """
import os, subprocess, sys, threading, time
kept = bytearray(80_000_000)
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
threading.Thread(target=time.sleep, args=(600,), daemon=True).start()
print(child.pid, flush=True)
while True:
    pass
"""


def test_a_tree_is_counted_whole_and_over_time() -> None:
    training = subprocess.Popen([sys.executable, "-c", BUSY], stdout=subprocess.PIPE, text=True)
    assert training.stdout is not None
    child = int(training.stdout.readline())
    try:
        sampler, use = host.HostSampler(), host.RunUse()
        sample = sampler.sample()
        tree = sample.table.tree(training.pid)
        assert {one.pid for one in tree} == {training.pid, child}
        first = sample.of_run({training.pid: tree}, use)
        assert first["process_count"] == 2
        assert first["process_threads"] == 3
        assert first["process_memory_megabytes"] > 80
        assert first["process_open_files"] >= 6
        assert "process_cpu_cores" not in first  # of a moment nobody knows
        began, spent = time.monotonic(), sum(one.cpu_s for one in tree)

        def has_worked() -> bool:
            now = ProcessTable.read().tree(training.pid)
            return sum(one.cpu_s for one in now) > spent + 0.5

        wait_until(has_worked, "the training has used half a second")
        sample = sampler.sample()
        limits = CgroupState(cpu_limit=0.5, memory_limit_bytes=800_000_000)
        second = sample.of_run(
            {training.pid: sample.table.tree(training.pid)}, use, lambda pid: limits
        )
        longest = time.monotonic() - began
        # One thread is busy; between a look at it and one at the clock the machine may be too.
        assert 0.4 / longest < second["process_cpu_cores"] < 3
        assert second["process_cpu_utilization_percentage"] == pytest.approx(
            200 * second["process_cpu_cores"]
        )
        memory = second["process_memory_megabytes"]
        assert second["process_memory_percentage"] == pytest.approx(100 * memory / 800)
        assert second["cgroup_memory_limit_megabytes"] == 800
    finally:
        for pid in (child, training.pid):
            os.kill(pid, signal.SIGKILL)
        training.communicate()
    gone = ProcessTable.read()
    assert gone.tree(training.pid) == []
    assert host.HostSample({}, {}, gone, 0).of_run({training.pid: []}, use) == {}


def test_throttling_is_a_share_of_the_periods_in_between() -> None:
    process = Process(7, 1, 1, 0.0, 1, 1000)
    use, table = host.RunUse(), ProcessTable({7: process}, 0.0)
    sample = host.HostSample({}, {}, table, 1 << 30)
    state = CgroupState(n_periods=100, n_throttled=50)
    assert "cgroup_cpu_throttled_percentage" not in sample.of_run(
        {7: [process]}, use, lambda pid: state
    )
    state = CgroupState(n_periods=140, n_throttled=60)
    values = sample.of_run({7: [process]}, use, lambda pid: state)
    assert values["cgroup_cpu_throttled_percentage"] == 25


def test_a_process_is_found_by_its_start_also_under_another_number(tmp_path: Path) -> None:
    outside = Process(4242, 1, 777, 0.0, 1, 0)
    table = ProcessTable({4242: outside, 7: Process(7, 1, 5, 0.0, 1, 0)}, 0.0)
    write(tmp_path, {"4242/status": "Name:\tpython\nNSpid:\t4242\t7\n"})
    assert table.find(4242, 777, tmp_path) == 4242
    assert table.find(7, 777, tmp_path) == 4242  # it is in a container, where it is 7
    assert table.find(7, 5, tmp_path) == 7
    assert table.find(8, 777, tmp_path) is None
    assert table.find(7, 6, tmp_path) is None


def fake_proc(root: Path, namespace: str, *with_gpu: int) -> Path:
    """Make a /proc in which some processes have a GPU open."""
    (root / "self/ns").mkdir(parents=True)
    os.symlink(namespace, root / "self/ns/pid")
    for pid in (7, 8, 9):
        (root / f"{pid}/fd").mkdir(parents=True)
        if pid in with_gpu:
            os.symlink("/dev/nvidia0", root / f"{pid}/fd/5")
    return root


def test_nvmls_numbers_are_the_machines_own(tmp_path: Path) -> None:
    assert counts_as_nvml() == (os.readlink("/proc/self/ns/pid") == FIRST_NAMESPACE)
    assert not counts_as_nvml(tmp_path)
    tree = [Process(7, 1, 1, 0.0, 1, 0), Process(8, 7, 1, 0.0, 1, 0)]
    assert on_device(tree, [7, 4242], is_machine=True) == {7}


def test_in_a_container_a_number_alone_proves_nothing(tmp_path: Path) -> None:
    tree = [Process(7, 1, 1, 0.0, 1, 0), Process(8, 7, 1, 0.0, 1, 0)]

    def told(listed: list[int], *with_gpu: int) -> set[int] | None:
        proc = fake_proc(tmp_path / str(len(list(tmp_path.iterdir()))), "pid:[5]", *with_gpu)
        return on_device(tree, listed, is_machine=False, proc=proc)

    assert told([7], 7) == {7}  # a runtime that translates
    assert told([7]) == set()  # another process of the machine that is 7 there
    assert told([4242], 8) is None  # it uses a GPU, and which of these it is nobody can say
    assert told([4242]) == set()
    assert told([], 8) == set()
