"""NVIDIA GPUs through NVML (``nvidia-ml-py``): one sample of all of them, and what they are.

Every metric that a device supports is there, MIG slices are devices of their own, and whatever
fails is tried again: the next time, or after a growing pause where the device says that it has no
such thing. A GPU that is lost takes nothing with it, and is back when it is back. Nothing is
imported or opened before the first use. Belongs to one thread.
"""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from mlflow_weir.plugin.capture.gpu_queries import (
    ALL_LINKS,
    MONITORED,
    QUERIES,
    TRANSFERS,
    Query,
    field_value,
)

_log = logging.getLogger(__name__)

_LOOK_AGAIN_S = 60.0  # for devices, slices, and a library that was not there
_REOPEN_S, _LONGEST_REOPEN_S = 10.0, 120.0  # after a GPU was lost
_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 60.0, 600.0  # for what a device does not support
_SLOW_S = 9.9  # between two questions that frequent samples leave out
_MONITOR_S = 0.1  # NVML asks for so much between two samples of its performance monitor

# NVML's error numbers
_UNINITIALIZED, _NOT_SUPPORTED, _NO_PERMISSION, _NOT_FOUND = 1, 3, 4, 6
_LIBRARY_NOT_FOUND, _FUNCTION_NOT_FOUND, _LOST, _RESET_REQUIRED = 12, 13, 15, 16
_LASTING = frozenset({2, _NOT_SUPPORTED, _NO_PERMISSION, _FUNCTION_NOT_FOUND, 25})
_GONE = frozenset({_LOST, _RESET_REQUIRED})
_NVIDIA = "0x10de"
_DISPLAY_CLASS = "0x03"


@dataclass(frozen=True)
class Device:
    """A GPU, or a MIG slice of one.

    Attributes:
        label: In metric names: ``0``, or ``0_mig_1`` for a slice.
        index: As nvidia-smi counts; a slice has that of its GPU.
        parent_uuid: Of the GPU that it is a slice of; "" for a whole one.
        capability: CUDA's compute capability; (0, 0) where unknown.
    """

    label: str
    index: int
    uuid: str
    name: str
    parent_uuid: str = ""
    capability: tuple[int, int] = (0, 0)

    @property
    def is_slice(self) -> bool:
        """Say whether it is a MIG slice."""
        return bool(self.parent_uuid)


@dataclass
class ProcessUse:
    """What one process uses of a device; None where NVML does not say."""

    memory_bytes: int | None = None
    utilization: float | None = None


@dataclass
class DeviceSample:
    """One device at one moment.

    Attributes:
        values: By what comes after ``gpu_N_`` in a metric's name.
        processes: By process id, as NVML counts: the machine's, not a container's. None where
            it does not say which there are.
        has_utilization: It says how busy each of them keeps the device.
    """

    device: Device
    values: dict[str, float] = field(default_factory=dict)
    processes: dict[int, ProcessUse] | None = None
    has_utilization: bool = False


@dataclass
class _Open:
    """A device as it is open."""

    device: Device
    handle: Any
    parent: Any = None
    instance: int = 0  # the GPU instance that a slice is of
    has_slices: bool = False
    monitors: list[Any] = field(default_factory=list)  # two samples, the older one first
    monitored_s: float = -math.inf
    slow_s: float = -math.inf  # when all was asked
    power_limit: float = 0.0  # watts, as it said last
    used_us: int = 0  # NVML's time of the last sample of its processes
    counters: dict[str, tuple[float, float]] = field(default_factory=dict)  # (seconds, MB)


class GpuSampler:
    """All NVIDIA GPUs of the machine.

    Attributes:
        trouble: Why there are none although the machine seems to have some; "" otherwise.
        failures: What did not answer last time, by device and call, with NVML's words.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        """Open nothing yet.

        Args:
            clock: Seconds that never go back.
        """
        self._clock = clock
        self.trouble = ""
        self.failures: dict[tuple[str, str], str] = {}
        self._nvml: Any = None
        self._opened: list[_Open] = []
        self._look_s = -math.inf
        self._pauses: dict[tuple[str, str], tuple[float, float]] = {}  # (until, length)
        self._lost: set[str] = set()
        self._reopen_s = _REOPEN_S
        self._told: set[str] = set()

    def devices(self) -> list[Device]:
        """Return the devices there are now, GPUs that are sliced left out."""
        self._look()
        return [one.device for one in self._opened if not one.has_slices]

    def sample(self, *, is_frequent: bool = False) -> list[DeviceSample]:
        """Ask every device; one that is lost is left out, as are values that it does not have.

        Args:
            is_frequent: Ask what takes long or changes slowly each ten seconds only: of the
                6 ms that a sample of an H200 takes, its energy alone is 3.
        """
        self._look()
        found = []
        for one in self._opened:
            sample = self._sample(one, is_frequent=is_frequent)
            if sample is not None:
                found.append(sample)
        if self._lost:
            self._look_s = min(self._look_s, self._clock() + self._reopen_s - _LOOK_AGAIN_S)
        return found

    def facts(self) -> dict[str, Any]:
        """Return what does not change, for a JSON file."""
        self._look()
        if self._nvml is None or not self._opened:
            return {"trouble": self.trouble} if self.trouble else {}
        nvml = self._nvml
        version = self._try("", nvml.nvmlSystemGetCudaDriverVersion_v2)
        return {
            "driver": self._try("", nvml.nvmlSystemGetDriverVersion),
            "cuda": f"{version // 1000}.{version % 1000 // 10}" if version else None,
            "devices": [self._facts_of(one) for one in self._opened],
        }

    def close(self) -> None:
        """Give the library back; the next use opens it again."""
        nvml, opened = self._nvml, self._opened
        self._nvml, self._opened, self._look_s = None, [], -math.inf
        if nvml is None:
            return
        for one in opened:
            for sample in one.monitors:
                self._try("", partial(nvml.nvmlGpmSampleFree, sample))
        self._try("", nvml.nvmlShutdown)

    def _look(self) -> None:
        """Open the library, and find the devices, now and then again."""
        now = self._clock()
        if now - self._look_s < _LOOK_AGAIN_S:
            return
        self._look_s = now
        was_lost, self._lost = self._lost, set()
        if was_lost:  # what was lost is seen again by a library that is opened again
            self.close()
            self._look_s = now
        if self._nvml is None and not self._open():
            return
        try:
            self._find()
        except self._nvml.NVMLError as exc:
            _log.warning("GPUs cannot be listed: %s", exc)
            self.close()
            self._look_s = now
        if self._lost:
            self._reopen_s = min(2 * self._reopen_s, _LONGEST_REOPEN_S)
        elif was_lost:
            self._reopen_s = _REOPEN_S

    def _lose(self, name: str, error: Exception) -> None:
        self._lost.add(name)
        if name not in self._told:
            self._told.add(name)
            _log.warning("GPU %s: %s", name, error)

    def _open(self) -> bool:
        try:
            import pynvml
        except ImportError:
            self.trouble = "nvidia-ml-py is not installed" if has_nvidia_gpu() else ""
            return False
        try:
            pynvml.nvmlInit()
        except pynvml.NVMLError as exc:
            self.trouble = _trouble(exc) if has_nvidia_gpu() else ""
            return False
        self.trouble, self._nvml = "", pynvml
        return True

    def _find(self) -> None:
        nvml = self._nvml
        known = {one.device.uuid: one for one in self._opened}
        found = []
        for index in range(nvml.nvmlDeviceGetCount()):
            try:
                handle = nvml.nvmlDeviceGetHandleByIndex(index)
                uuid = str(nvml.nvmlDeviceGetUUID(handle))
            except nvml.NVMLError as exc:  # one that is lost must not take the others with it
                self._fail("", f"device {index}", exc)
                if exc.value in _GONE:
                    self._lose(str(index), exc)
                continue
            name = str(self._try(uuid, partial(nvml.nvmlDeviceGetName, handle)) or "")
            capability = self._try(uuid, partial(nvml.nvmlDeviceGetCudaComputeCapability, handle))
            device = Device(str(index), index, uuid, name, capability=capability or (0, 0))
            one = known.get(uuid) or _Open(device, handle)
            one.device, one.handle = device, handle
            slices = list(self._slices(one, known))
            one.has_slices = bool(slices)
            found += [one, *slices]
        self._opened = found

    def _slices(self, whole: _Open, known: dict[str, _Open]) -> Iterator[_Open]:
        nvml, gpu = self._nvml, whole.device
        mode = self._try("", lambda: nvml.nvmlDeviceGetMigMode(whole.handle))
        if not mode or not mode[0]:
            return
        n_slices = self._try("", lambda: nvml.nvmlDeviceGetMaxMigDeviceCount(whole.handle)) or 0
        for number in range(n_slices):
            try:
                handle = nvml.nvmlDeviceGetMigDeviceHandleByIndex(whole.handle, number)
                uuid = str(nvml.nvmlDeviceGetUUID(handle))
                name = str(nvml.nvmlDeviceGetName(handle))
                instance = nvml.nvmlDeviceGetGpuInstanceId(handle)
            except nvml.NVMLError:
                continue  # there may be fewer than there can be
            device = Device(
                f"{gpu.label}_mig_{number}", gpu.index, uuid, name, gpu.uuid, gpu.capability
            )
            one = known.get(uuid) or _Open(device, handle)
            one.device, one.handle = device, handle
            one.parent, one.instance = whole.handle, instance
            yield one

    def _sample(self, one: _Open, *, is_frequent: bool) -> DeviceSample | None:
        uuid = one.device.uuid
        if uuid in self._lost:
            return None
        sample = DeviceSample(one.device)
        now = self._clock()
        asks_slow = not is_frequent or now - one.slow_s >= _SLOW_S
        if asks_slow:
            one.slow_s = now
        for query in QUERIES:
            if query.is_slow and not asks_slow:
                continue
            if query.has_slices or not one.device.is_slice:
                self._ask(one, query, sample)
            if uuid in self._lost:
                return None
        values = sample.values
        if asks_slow:
            one.power_limit = values.get("power_limit_watts", 0.0)
        if one.power_limit and "power_usage_watts" in values:
            values["power_usage_percentage"] = (
                100.0 * values["power_usage_watts"] / one.power_limit
            )
        self._monitor(one, values)
        if not one.device.is_slice:
            self._transfers(one, values)
        self._processes(one, sample)
        return None if uuid in self._lost else sample

    def _ask(self, one: _Open, query: Query, sample: DeviceSample) -> None:
        found = self._careful(one, query.call, lambda: query.read(self._nvml, one.handle))
        if found is not None:
            for metric, value in zip(query.metrics, found, strict=True):
                if math.isfinite(value):
                    sample.values[metric.name] = float(value)

    def _monitor(self, one: _Open, values: dict[str, float]) -> None:
        """Read the performance monitor: averages since the sample before."""
        if one.has_slices:
            return  # its slices are asked
        now = self._clock()
        if now - one.monitored_s < _MONITOR_S:
            return
        found = self._careful(one, "GpmMetricsGet", lambda: self._monitored(one, now))
        for metric in found or ():
            if not metric.nvmlReturn and math.isfinite(metric.value):
                name, factor = MONITORED[metric.metricId]
                values[name] = metric.value * factor

    def _monitored(self, one: _Open, now: float) -> list[Any]:
        nvml = self._nvml
        if not one.monitors:
            if not nvml.nvmlGpmQueryDeviceSupport(one.parent or one.handle).isSupportedDevice:
                raise nvml.NVMLError(_NOT_SUPPORTED)
            one.monitors = [nvml.nvmlGpmSampleAlloc(), nvml.nvmlGpmSampleAlloc()]
            one.monitored_s = -math.inf
        older, newer = one.monitors
        if one.device.is_slice:
            nvml.nvmlGpmMigSampleGet(one.parent, one.instance, older)
        else:
            nvml.nvmlGpmSampleGet(one.handle, older)
        one.monitors = [newer, older]
        is_first, one.monitored_s = math.isinf(one.monitored_s), now
        if is_first:
            return []
        wanted = nvml.c_nvmlGpmMetricsGet_t()
        wanted.version = nvml.NVML_GPM_METRICS_GET_VERSION
        wanted.numMetrics = len(MONITORED)
        wanted.sample1, wanted.sample2 = one.monitors
        for place, number in enumerate(MONITORED):
            wanted.metrics[place].metricId = number
        nvml.nvmlGpmMetricsGet(wanted)
        return [wanted.metrics[place] for place in range(len(MONITORED))]

    def _transfers(self, one: _Open, values: dict[str, float]) -> None:
        """Ask for traffic by itself, where there is no performance monitor that knows it."""
        nvml = self._nvml
        if one.monitors and (one.device.uuid, "GpmMetricsGet") not in self.failures:
            return
        for name, counter in zip(TRANSFERS[:2], (0, 1), strict=True):  # NVML: transmit, receive
            found = self._careful(
                one,
                f"DeviceGetPcieThroughput/{counter}",
                partial(nvml.nvmlDeviceGetPcieThroughput, one.handle, counter),
            )
            if found is not None:
                values[name] = found * 1024 / 1e6
        for name, number in zip(TRANSFERS[2:], ("TX", "RX"), strict=True):
            which = getattr(nvml, f"NVML_FI_DEV_NVLINK_THROUGHPUT_DATA_{number}"), ALL_LINKS
            kib = self._careful(
                one,
                f"DeviceGetFieldValues/NVLINK_{number}",
                partial(field_value, nvml, one.handle, which),
            )
            if kib is None:
                continue
            now, megabytes = self._clock(), kib * 1024 / 1e6
            before = one.counters.get(name)
            one.counters[name] = now, megabytes
            if before is not None and now > before[0] and megabytes >= before[1]:
                values[name] = (megabytes - before[1]) / (now - before[0])

    def _processes(self, one: _Open, sample: DeviceSample) -> None:
        nvml = self._nvml
        running = self._careful(
            one,
            "DeviceGetComputeRunningProcesses",
            lambda: nvml.nvmlDeviceGetComputeRunningProcesses(one.handle),
        )
        if running is None:
            return
        sample.processes = {
            int(process.pid): ProcessUse(process.usedGpuMemory) for process in running
        }
        if one.device.is_slice or one.has_slices:
            return  # NVML does not tell slices' processes apart
        used = self._careful(one, "DeviceGetProcessUtilization", lambda: self._used(one))
        if used is None:
            return
        sample.has_utilization = True
        for pid, share in used.items():
            if pid in sample.processes:
                sample.processes[pid].utilization = share

    def _used(self, one: _Open) -> dict[int, float]:
        """Return how busy each process kept a device, of those that did since the last time."""
        try:
            found = self._nvml.nvmlDeviceGetProcessUtilization(one.handle, one.used_us)
        except self._nvml.NVMLError as exc:
            if exc.value == _NOT_FOUND:  # none did
                return {}
            raise
        shares: dict[int, list[int]] = {}
        for one_sample in found:
            if one_sample.smUtil <= 100:  # some drivers give what they never wrote
                shares.setdefault(int(one_sample.pid), []).append(int(one_sample.smUtil))
            one.used_us = max(one.used_us, int(one_sample.timeStamp))
        return {pid: sum(parts) / len(parts) for pid, parts in shares.items()}

    def _careful(self, one: _Open, call: str, ask: Any) -> Any:
        """Ask, unless that is put off; None where there is no answer."""
        uuid = one.device.uuid
        until_s, length_s = self._pauses.get((uuid, call), (-math.inf, 0.0))
        if uuid in self._lost or self._clock() < until_s:
            return None
        try:
            found = ask()
        except self._nvml.NVMLError as exc:
            self._fail(uuid, call, exc)
            if exc.value in _GONE or exc.value == _UNINITIALIZED:
                self._lose(uuid, exc)
            elif exc.value in _LASTING:
                length_s = min(max(2 * length_s, _FIRST_PAUSE_S), _LONGEST_PAUSE_S)
                self._pauses[uuid, call] = self._clock() + length_s, length_s
            return None
        self._pauses.pop((uuid, call), None)
        self.failures.pop((uuid, call), None)
        self._told.discard(uuid)
        return found

    def _fail(self, uuid: str, call: str, error: Exception) -> None:
        if (uuid, call) not in self.failures:
            _log.debug("GPU %s: %s: %s", uuid, call, error)
        self.failures[uuid, call] = str(error)

    def _try(self, uuid: str, ask: Any) -> Any:
        try:
            return ask()
        except self._nvml_error() as exc:
            if uuid:
                self._fail(uuid, "facts", exc)
            return None

    def _nvml_error(self) -> type[Exception]:
        import pynvml

        found: type[Exception] = pynvml.NVMLError
        return found

    def _facts_of(self, one: _Open) -> dict[str, Any]:
        nvml, device = self._nvml, one.device
        memory = self._try("", lambda: nvml.nvmlDeviceGetMemoryInfo(one.handle))
        facts: dict[str, Any] = {
            "index": device.index,
            "label": device.label,
            "name": device.name,
            "uuid": device.uuid,
            "memory_bytes": None if memory is None else memory.total,
            "compute_capability": ".".join(map(str, device.capability)),
        }
        if device.is_slice:
            return {**facts, "slice_of": device.parent_uuid}

        def ask(what: str) -> Any:
            call = getattr(nvml, f"nvmlDeviceGet{what}", None)
            return None if call is None else self._try("", partial(call, one.handle))

        limit = self._try("", lambda: nvml.nvmlDeviceGetEnforcedPowerLimit(one.handle))
        mode = self._try("", lambda: nvml.nvmlDeviceGetMigMode(one.handle))
        links = 0
        for link in range(nvml.NVML_NVLINK_MAX_LINKS):
            state = self._try("", partial(nvml.nvmlDeviceGetNvLinkState, one.handle, link))
            if state is None:
                break
            links += bool(state)
        return {
            **facts,
            "brand": _named(nvml, "NVML_BRAND_", ask("Brand")),
            "architecture": _named(nvml, "NVML_DEVICE_ARCH_", ask("Architecture")),
            "cuda_cores": ask("NumGpuCores"),
            "pcie_generation_max": ask("MaxPcieLinkGeneration"),
            "pcie_width_max": ask("MaxPcieLinkWidth"),
            "power_limit_watts": None if limit is None else limit / 1000,
            "is_mig_enabled": bool(mode and mode[0]),
            "nvlinks": links,
        }


def _named(nvml: Any, lead: str, number: int | None) -> str | None:
    """Return what pynvml calls one of NVML's numbers, in words; None for one that it has not."""
    names = (
        name
        for name, value in vars(nvml).items()
        if name.startswith(lead) and number is not None and value == number
    )
    found = next(names, None)
    return None if found is None else found.removeprefix(lead).replace("_", " ").capitalize()


def has_nvidia_gpu(root: Path = Path("/")) -> bool:
    """Say whether there are signs of an NVIDIA GPU, whatever the libraries."""
    if any((root / "dev").glob("nvidia[0-9]*")) or any(
        (root / "proc/driver/nvidia/gpus").glob("*")
    ):
        return True
    for device in (root / "sys/bus/pci/devices").glob("*"):
        try:
            is_ours = (device / "vendor").read_text(encoding="ascii").strip() == _NVIDIA
            kind = (device / "class").read_text(encoding="ascii")
        except OSError:
            continue
        if is_ours and kind.startswith(_DISPLAY_CLASS):
            return True
    return False


def _trouble(error: Any) -> str:
    """Say what is to be done about a library that cannot be opened."""
    if error.value == _LIBRARY_NOT_FOUND:
        return (
            "this machine has an NVIDIA GPU, but not its library libnvidia-ml.so.1: install the "
            "driver's libnvidia-compute package, or in a container use the NVIDIA container "
            "toolkit with the capability `utility` (NVIDIA_DRIVER_CAPABILITIES=compute,utility)"
        )
    return f"this machine has an NVIDIA GPU, but its library says: {error}"
