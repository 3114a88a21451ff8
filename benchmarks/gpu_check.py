"""Compares what Weir reads of a real GPU with what ``nvidia-smi`` says at the same moments.

    python benchmarks/gpu_check.py [--out FILE.json] [--seconds 20]

Needs an NVIDIA GPU, nvidia-ml-py and psutil; with PyTorch there is a load on it meanwhile. Neither
MLflow nor an installed Weir is needed: the sources beside this file are used. It prints a table,
says which metrics the device has and what one sample costs, writes all of it as JSON, and ends
within a minute, whatever fails.
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
LIMIT_S = 55
PACKAGE = {"plugin": "plugin", "store": "store", "ui_extensions": "ui_extensions"}

LOAD = """
import sys, time, torch
seconds, gib = float(sys.argv[1]), float(sys.argv[2])
torch.cuda.init()
kept = torch.empty(int(gib * (1 << 30)), dtype=torch.uint8, device="cuda").fill_(1)
a = torch.randn(8192, 8192, device="cuda", dtype=torch.bfloat16)
host = torch.empty(64 << 20, dtype=torch.uint8).pin_memory()
torch.cuda.synchronize()
print("ready", torch.cuda.memory_reserved(), flush=True)
end = time.time() + seconds
while time.time() < end:
    for _ in range(40):
        b = a @ a
    host.to("cuda", non_blocking=True)
    torch.cuda.synchronize()
"""

# What nvidia-smi calls it, ours, and the factor from its unit to ours.
COMPARED: tuple[tuple[str, str, float], ...] = (
    ("utilization.gpu", "utilization_percentage", 1.0),
    ("utilization.memory", "memory_busy_percentage", 1.0),
    ("memory.used", "memory_usage_megabytes", 1.048576),
    ("memory.total", "memory_total_megabytes", 1.048576),
    ("power.draw", "power_usage_watts", 1.0),
    ("enforced.power.limit", "power_limit_watts", 1.0),
    ("temperature.gpu", "temperature_celsius", 1.0),
    ("temperature.memory", "memory_temperature_celsius", 1.0),
    ("clocks.sm", "sm_clock_mhz", 1.0),
    ("clocks.mem", "memory_clock_mhz", 1.0),
    ("clocks.gr", "graphics_clock_mhz", 1.0),
    ("pstate", "performance_state", 1.0),
    ("clocks_throttle_reasons.active", "throttle_reasons", 1.0),
    ("fan.speed", "fan_speed_percentage", 1.0),
    ("ecc.errors.corrected.volatile.total", "ecc_corrected_errors", 1.0),
    ("ecc.errors.uncorrected.volatile.total", "ecc_uncorrected_errors", 1.0),
    ("utilization.encoder", "encoder_utilization_percentage", 1.0),
    ("utilization.decoder", "decoder_utilization_percentage", 1.0),
    ("pcie.link.gen.current", "pcie_link_generation", 1.0),
    ("pcie.link.width.current", "pcie_link_width", 1.0),
)

# How far apart two readings of one moment may be: absolute, and as a share. What moves from one
# instant to the next has room; what does not has none but for rounding.
TOLERANCE: dict[str, tuple[float, float]] = {
    "utilization_percentage": (10.0, 0.1),
    "memory_busy_percentage": (10.0, 0.2),
    "memory_usage_megabytes": (30.0, 0.01),
    "memory_total_megabytes": (2.0, 0.0),
    "power_usage_watts": (25.0, 0.1),
    "power_limit_watts": (0.5, 0.0),
    "temperature_celsius": (3.0, 0.0),
    "memory_temperature_celsius": (3.0, 0.0),
    "sm_clock_mhz": (60.0, 0.1),
    "memory_clock_mhz": (5.0, 0.0),
    "graphics_clock_mhz": (60.0, 0.1),
}


def sources_importable() -> None:
    """Put the folders of the repository together as the package they are."""
    try:
        import mlflow_weir.plugin.capture.gpu  # noqa: F401

        return
    except ImportError:
        pass
    folder = Path(tempfile.mkdtemp(prefix="weir-gpu-check-"))
    package = folder / "mlflow_weir"
    package.mkdir()
    for path in (ROOT / "plugin/_root").glob("*.py"):
        (package / path.name).symlink_to(path)
    for name, where in PACKAGE.items():
        (package / name).symlink_to(ROOT / where)
    sys.path.insert(0, str(folder))


class Report:
    """What was found, as JSON, and the faults of the check itself."""

    def __init__(self) -> None:
        self.said: dict[str, Any] = {"faults": []}

    @contextmanager
    def part(self, name: str) -> Iterator[None]:
        """Let a part fail alone."""
        try:
            yield
        except Exception:  # noqa: BLE001 - the rest is worth having
            self.said["faults"].append({"part": name, "error": traceback.format_exc()})
            print(f"!! {name} failed:\n{traceback.format_exc()}")


def smi(*words: str) -> str:
    """Ask nvidia-smi.

    Raises:
        RuntimeError: It is not there, or does not answer.
    """
    try:
        done = subprocess.run(
            ["nvidia-smi", *words], capture_output=True, text=True, timeout=15, check=False
        )
    except (OSError, subprocess.SubprocessError) as exc:
        raise RuntimeError(f"nvidia-smi: {exc}") from exc
    if done.returncode:
        raise RuntimeError(f"nvidia-smi {' '.join(words)}: {done.stdout}{done.stderr}")
    return done.stdout


def known_fields() -> list[str]:
    """Return the fields of ``COMPARED`` that this nvidia-smi knows."""
    fields = [field for field, _, _ in COMPARED]
    for _ in range(len(fields)):
        try:
            smi(f"--query-gpu={','.join(fields)}", "--format=csv,noheader,nounits")
            return fields
        except RuntimeError as exc:
            bad = [field for field in fields if f'"{field}"' in str(exc)]
            if not bad:
                raise
            fields = [field for field in fields if field not in bad]
    return fields


def number(text: str) -> float | None:
    """Read a number as nvidia-smi writes it; None for ``[N/A]``."""
    text = text.strip()
    try:
        return float(int(text, 16)) if text.startswith("0x") else float(text.lstrip("P"))
    except ValueError:
        return None


def smi_values(fields: list[str]) -> dict[str, dict[str, float]]:
    """Return what nvidia-smi says, by UUID and by our names, in our units."""
    ours = {field: (name, factor) for field, name, factor in COMPARED}
    found: dict[str, dict[str, float]] = {}
    query = f"--query-gpu=uuid,{','.join(fields)}"
    for row in csv.reader(smi(query, "--format=csv,noheader,nounits").splitlines()):
        values = found[row[0].strip()] = {}
        for field, text in zip(fields, row[1:], strict=True):
            value, (name, factor) = number(text), ours[field]
            if value is not None:
                values[name] = value * factor
    return found


def compute_apps() -> list[dict[str, Any]]:
    """Return the processes that nvidia-smi lists."""
    out = smi(
        "--query-compute-apps=gpu_uuid,pid,process_name,used_gpu_memory",
        "--format=csv,noheader,nounits",
    )
    rows = [row for row in csv.reader(out.splitlines()) if len(row) == 4]
    return [
        {"uuid": row[0].strip(), "pid": number(row[1]), "name": row[2], "mib": number(row[3])}
        for row in rows
    ]


def namespaces(pid: int) -> dict[str, Any]:
    """Return how the kernel numbers a process here."""
    status = Path(f"/proc/{pid}/status").read_text().splitlines()
    return {
        "pid": pid,
        "namespace": os.stat(f"/proc/{pid}/ns/pid").st_ino,
        "nspid": next((line for line in status if line.startswith("NSpid")), ""),
    }


def read_both(sampler: Any, fields: list[str], phase: str) -> list[dict[str, Any]]:
    """Read before and after nvidia-smi, and it in between, of each device."""
    before, theirs, after = sampler.sample(), smi_values(fields), sampler.sample()
    rows = []
    for one, two in zip(before, after, strict=False):
        for name, value in theirs.get(one.device.uuid, {}).items():
            if name in one.values and name in two.values:
                ours = [one.values[name], two.values[name]]
                rows.append(
                    {
                        "phase": phase,
                        "device": one.device.label,
                        "name": name,
                        "ours": ours,
                        "smi": value,
                        "ok": agrees(name, ours, value),
                    }
                )
            else:
                rows.append(
                    {"phase": phase, "device": one.device.label, "name": name, "ours": None}
                    | {"smi": value, "ok": False}
                )
    return rows


def agrees(name: str, ours: list[float], theirs: float) -> bool:
    """Say whether nvidia-smi's reading lies where ours before and after it allow."""
    absolute, share = TOLERANCE.get(name, (0.0, 0.0))
    room = max(absolute, share * abs(theirs), 1e-6 * abs(theirs))
    return min(ours) - room <= theirs <= max(ours) + room


def print_comparison(rows: list[dict[str, Any]]) -> None:
    """Print the last reading of each phase, and how many of all agree."""
    print(f"\n{'phase':6} {'gpu':4} {'metric':34} {'ours':>21} {'nvidia-smi':>12}  agree")
    last: dict[tuple[str, str, str], dict[str, Any]] = {}
    counts: dict[tuple[str, str, str], list[bool]] = {}
    for row in rows:
        key = row["phase"], row["device"], row["name"]
        last[key] = row
        counts.setdefault(key, []).append(row["ok"])
    for key, row in last.items():
        ours = "none" if row["ours"] is None else " … ".join(f"{one:.1f}" for one in row["ours"])
        good = f"{sum(counts[key])}/{len(counts[key])}"
        mark = "" if all(counts[key]) else "  <--"
        print(f"{key[0]:6} {key[1]:4} {key[2]:34} {ours:>21} {row['smi']:>12.1f}  {good}{mark}")


def cost_of(read: Callable[[], object], n: int, pause_s: float = 0.0) -> dict[str, float]:
    """Return what a call costs: milliseconds of the clock and of a processor."""
    walls, cpu_s = [], time.process_time()
    for _ in range(n):
        time.sleep(pause_s)
        began = time.perf_counter()
        read()
        walls.append(1e3 * (time.perf_counter() - began))
    cpu_ms = 1e3 * (time.process_time() - cpu_s) / n
    return {"ms": statistics.median(walls), "ms_max": max(walls), "cpu_ms": cpu_ms}


def check_processes(report: Report, sampler: Any, load_pid: int | None) -> None:
    """Compare each process's memory, and say how processes are numbered here."""
    from mlflow_weir.plugin.capture import processes

    table = processes.ProcessTable.read()
    tree = table.tree(os.getpid())
    is_machine = processes.counts_as_nvml()
    said: dict[str, Any] = {
        "me": namespaces(os.getpid()),
        "load": namespaces(load_pid) if load_pid else None,
        "tree": [one.pid for one in tree],
        "counts_as_nvml": is_machine,
        "gpu_open": [one.pid for one in tree if processes.has_gpu_open(one.pid)],
        "devices": [],
    }
    report.said["processes"] = said
    samples = sampler.sample()
    apps = compute_apps()
    said["compute_apps"] = apps
    for sample in samples:
        listed = sample.processes
        found = (
            None if listed is None else processes.on_device(tree, listed, is_machine=is_machine)
        )
        memory = None
        if found is not None and listed is not None:
            memory = sum((listed[pid].memory_bytes or 0) for pid in found) / 1e6
        said["devices"].append(
            {
                "device": sample.device.label,
                "nvml": {
                    str(pid): {"bytes": use.memory_bytes, "utilization": use.utilization}
                    for pid, use in (listed or {}).items()
                },
                "ours": None if found is None else sorted(found),
                "process_memory_megabytes": memory,
                "smi_megabytes": [
                    (app["mib"] or 0) * 1.048576
                    for app in apps
                    if app["uuid"] == sample.device.uuid
                ],
            }
        )
    print("\nprocesses:", json.dumps(said, indent=1))
    with report.part("pmon"):
        said["pmon"] = smi("pmon", "-c", "1", "-s", "um")
        print(said["pmon"])


def check_costs(report: Report, sampler: Any) -> None:
    """Measure one sample, and each call of it."""
    import pynvml

    from mlflow_weir.plugin.capture.gpu_queries import QUERIES
    from mlflow_weir.plugin.capture.host import HostSampler
    from mlflow_weir.plugin.capture.processes import ProcessTable

    host = HostSampler()
    host.prime()
    costs = {
        "gpu sample": cost_of(sampler.sample, 20, pause_s=0.12),  # the monitor's shortest
        "host sample": cost_of(host.sample, 10),
        "process table": cost_of(ProcessTable.read, 10),
    }
    report.said["costs"] = costs
    print(f"\n{'cost of':44} {'ms':>8} {'max':>8} {'CPU ms':>8}")
    handle = pynvml.nvmlDeviceGetHandleByIndex(0)
    calls: dict[str, Callable[[], object]] = {
        query.call: partial(query.read, pynvml, handle) for query in QUERIES
    }
    calls["DeviceGetPcieThroughput"] = partial(pynvml.nvmlDeviceGetPcieThroughput, handle, 0)
    calls["DeviceGetComputeRunningProcesses"] = partial(
        pynvml.nvmlDeviceGetComputeRunningProcesses, handle
    )
    calls["DeviceGetProcessUtilization"] = partial(
        pynvml.nvmlDeviceGetProcessUtilization, handle, 0
    )
    for name, call in calls.items():
        try:
            costs[name] = cost_of(call, 5)
        except pynvml.NVMLError as exc:
            report.said.setdefault("call_errors", {})[name] = str(exc)
    for name, cost in costs.items():
        print(f"{name:44} {cost['ms']:8.2f} {cost['ms_max']:8.2f} {cost['cpu_ms']:8.2f}")
    share = costs["gpu sample"]["cpu_ms"] + costs["host sample"]["cpu_ms"]
    print(f"at one sample each 10 s: {share / 100:.3f} % of a core")
    for name, error in report.said.get("call_errors", {}).items():
        print(f"not supported: {name}: {error}")


def check_load(report: Report, sampler: Any, fields: list[str], seconds: float) -> None:
    """Compare while a model's work runs, and energy with power over that time."""
    rows = report.said["comparison"]
    process = subprocess.Popen(
        [sys.executable, "-c", LOAD, str(seconds), "8"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stdout is not None
        ready = process.stdout.readline().split()
        if not ready:
            print("no load:", process.communicate(timeout=10)[1][-600:])
            return
        report.said["load_reserved_bytes"] = int(ready[1])
        time.sleep(3)
        energies, powers = [], []
        end_s = time.monotonic() + seconds - 8
        while time.monotonic() < end_s:
            rows += read_both(sampler, fields, "load")
            for sample in sampler.sample()[:1]:
                if "energy_joules" in sample.values:
                    energies.append((time.monotonic(), sample.values["energy_joules"]))
                powers.append(sample.values.get("power_usage_watts", 0.0))
            time.sleep(0.3)
        if len(energies) > 1:
            spent = (energies[-1][1] - energies[0][1]) / (energies[-1][0] - energies[0][0])
            report.said["energy"] = {"watts_by_energy": spent, "watts_read": powers}
            print(f"\nenergy: {spent:.1f} W on average; read: {statistics.mean(powers):.1f} W")
        with report.part("processes"):
            check_processes(report, sampler, process.pid)
        time.sleep(0.3)
        report.said["under_load"] = {
            sample.device.label: sample.values for sample in sampler.sample()
        }
    finally:
        process.kill()
        process.wait()


def main() -> None:
    """Check, print, write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path)
    parser.add_argument("--seconds", type=float, default=20.0)
    options = parser.parse_args()
    report = Report()

    def give_up(signum: int, frame: object) -> None:
        raise TimeoutError(f"not done within {LIMIT_S} s")

    signal.signal(signal.SIGALRM, give_up)
    signal.alarm(LIMIT_S)
    began_s = time.monotonic()
    try:
        with report.part("check"):
            check(report, options.seconds)
    finally:
        signal.alarm(0)
        report.said["seconds"] = time.monotonic() - began_s
        out = options.out or Path(os.path.expandvars("$OUT" if "OUT" in os.environ else "."))
        path = out / "gpu_check.json" if out.is_dir() else out
        path.write_text(json.dumps(report.said, indent=1, default=str))
        print(f"\n{path}, {report.said['seconds']:.0f} s, {len(report.said['faults'])} faults")


def check(report: Report, seconds: float) -> None:
    """Do all parts, each as far as it goes."""
    sources_importable()
    from mlflow_weir.plugin.capture import gpu, host
    from mlflow_weir.plugin.capture.gpu_queries import METRICS

    report.said["mlflow_imported"] = "mlflow" in sys.modules
    sampler = gpu.GpuSampler()
    with report.part("facts"):
        report.said["gpu_facts"], report.said["host_facts"] = sampler.facts(), host.facts()
        print(json.dumps(report.said["gpu_facts"], indent=1))
        print("trouble:", sampler.trouble or "none", "; signs of a GPU:", gpu.has_nvidia_gpu())
    began = time.perf_counter()
    sampler.sample()
    report.said["first_sample_ms"] = 1e3 * (time.perf_counter() - began)
    time.sleep(0.3)
    rows: list[dict[str, Any]] = []
    report.said["comparison"] = rows
    fields: list[str] = []
    with report.part("idle"):
        fields = known_fields()
        report.said["smi_fields"] = fields
        for _ in range(3):
            rows += read_both(sampler, fields, "idle")
    with report.part("load"):
        check_load(report, sampler, fields, seconds)
    print_comparison(rows)
    for sample in sampler.sample():
        values = report.said.get("under_load", {}).get(sample.device.label, sample.values)
        print(f"\nGPU {sample.device.label} has:")
        for name, value in values.items():
            print(f"  {name:44} {value:14.2f}")
        missing = [metric.name for metric in METRICS if metric.name not in values]
        report.said["missing"] = missing
        print("and has not:", ", ".join(missing))
    report.said["failures"] = {f"{a} {b}": c for (a, b), c in sampler.failures.items()}
    print("failures:", json.dumps(report.said["failures"], indent=1))
    with report.part("costs"):
        check_costs(report, sampler)
    sampler.close()


if __name__ == "__main__":
    main()
