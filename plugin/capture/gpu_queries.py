"""What is asked of each NVIDIA GPU: NVML calls, and the metrics that their answers are.

A metric is called ``system/gpu_N_NAME``, N as ``nvidia-smi`` counts, or
``system/gpu_N_mig_M_NAME`` for a slice of a GPU. Where MLflow's own monitor has a metric, it has
its name here, with its unit (megabytes are millions of bytes). docs/capture.md has the table,
which a test holds against this.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

ALL_LINKS = 0xFFFFFFFF
"""The scope of a field that is to be summed over all NVLinks."""

_POWER_REASONS = 0x4  # NVML's bits: the power cap
_THERMAL_REASONS = 0x20 | 0x40  # software and hardware thermal slowdown
_HARDWARE_REASONS = 0x8 | 0x80  # slowdown and power brake of the board


class Metric(NamedTuple):
    """One metric of a device.

    Attributes:
        name: What comes after ``gpu_N_``.
        unit: As docs/capture.md has it.
        source: The NVML call.
        is_mlflow: MLflow's own monitor logs it under the same name.
    """

    name: str
    unit: str
    source: str
    is_mlflow: bool = False


class Query(NamedTuple):
    """One call, made once a sample for each device.

    Attributes:
        call: The NVML function, without ``nvml``; what ``GpuSampler`` remembers failures by.
        metrics: What it gives, in order.
        read: Asks, given pynvml and a handle; as many numbers as there are metrics.
        has_slices: A MIG slice can be asked, too.
        is_slow: It takes long, or what it tells changes slowly: frequent samples leave it out.
    """

    call: str
    metrics: tuple[Metric, ...]
    read: Callable[[Any, Any], Sequence[float]]
    has_slices: bool = False
    is_slow: bool = False


def _query(
    call: str,
    metrics: Sequence[tuple[str, str]],
    read: Callable[[Any, Any], Sequence[float]],
    *,
    has_slices: bool = False,
    is_slow: bool = False,
) -> Query:
    return Query(
        call,
        tuple(Metric(name, unit, f"nvml{call}", name in MLFLOW_NAMES) for name, unit in metrics),
        read,
        has_slices,
        is_slow,
    )


def _memory(nvml: Any, handle: Any) -> Sequence[float]:
    try:  # without what the driver keeps for itself, as nvidia-smi counts
        found = nvml.nvmlDeviceGetMemoryInfo(handle, version=nvml.nvmlMemory_v2)
    except nvml.NVMLError:
        found = nvml.nvmlDeviceGetMemoryInfo(handle)
    share = 100.0 * found.used / found.total if found.total else math.nan
    return found.used / 1e6, share, found.total / 1e6


def _utilization(nvml: Any, handle: Any) -> Sequence[float]:
    found = nvml.nvmlDeviceGetUtilizationRates(handle)
    return found.gpu, found.memory


def _throttling(nvml: Any, handle: Any) -> Sequence[float]:
    names = ("nvmlDeviceGetCurrentClocksThrottleReasons", "nvmlDeviceGetCurrentClocksEventReasons")
    reasons = int(_either(nvml, names, handle))
    parts = (_POWER_REASONS, _THERMAL_REASONS, _HARDWARE_REASONS)
    return reasons, *(float(bool(reasons & part)) for part in parts)


def _temperature(nvml: Any, handle: Any) -> Sequence[float]:
    names = ("nvmlDeviceGetTemperature", "nvmlDeviceGetTemperatureV")
    return (_either(nvml, names, handle, nvml.NVML_TEMPERATURE_GPU),)


def _either(nvml: Any, names: tuple[str, str], *arguments: Any) -> Any:
    """Call a function by its old name, or by its new one in a library that has dropped that."""
    try:
        return getattr(nvml, names[0])(*arguments)
    except nvml.NVMLError as exc:
        if exc.value != nvml.NVML_ERROR_FUNCTION_NOT_FOUND:
            raise
        return getattr(nvml, names[1])(*arguments)


def _clock(kind: str) -> Callable[[Any, Any], Sequence[float]]:
    def read(nvml: Any, handle: Any) -> Sequence[float]:
        return (nvml.nvmlDeviceGetClockInfo(handle, getattr(nvml, f"NVML_CLOCK_{kind}")),)

    return read


def _errors(kind: str) -> Callable[[Any, Any], Sequence[float]]:
    def read(nvml: Any, handle: Any) -> Sequence[float]:
        which = getattr(nvml, f"NVML_MEMORY_ERROR_TYPE_{kind}")
        return (nvml.nvmlDeviceGetTotalEccErrors(handle, which, nvml.NVML_VOLATILE_ECC),)

    return read


def _memory_temperature(nvml: Any, handle: Any) -> Sequence[float]:
    return (field_value(nvml, handle, nvml.NVML_FI_DEV_MEMORY_TEMP),)


def field_value(nvml: Any, handle: Any, field: int | tuple[int, int]) -> float:
    """Return one of NVML's numbered fields.

    Raises:
        NVMLError: There is none.
    """
    (found,) = nvml.nvmlDeviceGetFieldValues(handle, [field])
    if found.nvmlReturn:
        raise nvml.NVMLError(found.nvmlReturn)
    kinds = {0: "dVal", 1: "uiVal", 2: "ulVal", 3: "ullVal", 4: "sllVal"}
    return float(getattr(found.value, kinds.get(found.valueType, "ullVal")))


MLFLOW_NAMES = frozenset(
    "utilization_percentage memory_usage_percentage memory_usage_megabytes power_usage_watts "
    "power_usage_percentage".split()
)
"""What MLflow's own monitor logs of a GPU."""

QUERIES: tuple[Query, ...] = (
    _query(
        "DeviceGetUtilizationRates",
        [("utilization_percentage", "%"), ("memory_busy_percentage", "%")],
        _utilization,
    ),
    _query(
        "DeviceGetMemoryInfo",
        [
            ("memory_usage_megabytes", "MB"),
            ("memory_usage_percentage", "%"),
            ("memory_total_megabytes", "MB"),
        ],
        _memory,
        has_slices=True,
    ),
    _query(
        "DeviceGetPowerUsage",
        [("power_usage_watts", "W")],
        lambda nvml, handle: (nvml.nvmlDeviceGetPowerUsage(handle) / 1000,),
    ),
    _query(
        "DeviceGetEnforcedPowerLimit",
        [("power_limit_watts", "W")],
        lambda nvml, handle: (nvml.nvmlDeviceGetEnforcedPowerLimit(handle) / 1000,),
        is_slow=True,
    ),
    _query(
        "DeviceGetTotalEnergyConsumption",
        [("energy_joules", "J")],
        lambda nvml, handle: (nvml.nvmlDeviceGetTotalEnergyConsumption(handle) / 1000,),
        is_slow=True,
    ),
    _query(
        "DeviceGetTemperature",
        [("temperature_celsius", "°C")],
        _temperature,
    ),
    _query("DeviceGetFieldValues", [("memory_temperature_celsius", "°C")], _memory_temperature),
    _query("DeviceGetClockInfo/SM", [("sm_clock_mhz", "MHz")], _clock("SM")),
    _query("DeviceGetClockInfo/MEM", [("memory_clock_mhz", "MHz")], _clock("MEM")),
    _query("DeviceGetClockInfo/GRAPHICS", [("graphics_clock_mhz", "MHz")], _clock("GRAPHICS")),
    _query(
        "DeviceGetPerformanceState",
        [("performance_state", "0 to 15, 0 the fastest")],
        lambda nvml, handle: (nvml.nvmlDeviceGetPerformanceState(handle),),
    ),
    _query(
        "DeviceGetCurrentClocksThrottleReasons",
        [
            ("throttle_reasons", "NVML's bits"),
            ("throttled_by_power", "0 or 1"),
            ("throttled_by_heat", "0 or 1"),
            ("throttled_by_hardware", "0 or 1"),
        ],
        _throttling,
    ),
    _query(
        "DeviceGetFanSpeed",
        [("fan_speed_percentage", "%")],
        lambda nvml, handle: (nvml.nvmlDeviceGetFanSpeed(handle),),
        is_slow=True,
    ),
    _query(
        "DeviceGetTotalEccErrors/CORRECTED",
        [("ecc_corrected_errors", "number")],
        _errors("CORRECTED"),
        is_slow=True,
    ),
    _query(
        "DeviceGetTotalEccErrors/UNCORRECTED",
        [("ecc_uncorrected_errors", "number")],
        _errors("UNCORRECTED"),
        is_slow=True,
    ),
    _query(
        "DeviceGetEncoderUtilization",
        [("encoder_utilization_percentage", "%")],
        lambda nvml, handle: (nvml.nvmlDeviceGetEncoderUtilization(handle)[0],),
    ),
    _query(
        "DeviceGetDecoderUtilization",
        [("decoder_utilization_percentage", "%")],
        lambda nvml, handle: (nvml.nvmlDeviceGetDecoderUtilization(handle)[0],),
    ),
    _query(
        "DeviceGetCurrPcieLinkGeneration",
        [("pcie_link_generation", "number")],
        lambda nvml, handle: (nvml.nvmlDeviceGetCurrPcieLinkGeneration(handle),),
        is_slow=True,
    ),
    _query(
        "DeviceGetCurrPcieLinkWidth",
        [("pcie_link_width", "lanes")],
        lambda nvml, handle: (nvml.nvmlDeviceGetCurrPcieLinkWidth(handle),),
        is_slow=True,
    ),
    _query(
        "DeviceGetPcieSpeed",
        [("pcie_link_speed", "MT/s a lane")],
        lambda nvml, handle: (nvml.nvmlDeviceGetPcieSpeed(handle),),
        is_slow=True,
    ),
)
"""One call each, in the order of the table."""

TRANSFERS = (
    "pcie_transmit_megabytes_per_second",
    "pcie_receive_megabytes_per_second",
    "nvlink_transmit_megabytes_per_second",
    "nvlink_receive_megabytes_per_second",
)
"""From the performance monitor where the GPU has one, by calls of their own elsewhere."""

_MIB = (1 << 20) / 1e6

MONITORED: dict[int, tuple[str, float]] = {
    2: ("sm_active_percentage", 1.0),
    3: ("sm_occupancy_percentage", 1.0),
    4: ("integer_active_percentage", 1.0),
    5: ("tensor_active_percentage", 1.0),
    6: ("tensor_dfma_active_percentage", 1.0),
    7: ("tensor_hmma_active_percentage", 1.0),
    9: ("tensor_imma_active_percentage", 1.0),
    10: ("dram_active_percentage", 1.0),
    11: ("fp64_active_percentage", 1.0),
    12: ("fp32_active_percentage", 1.0),
    13: ("fp16_active_percentage", 1.0),
    20: (TRANSFERS[0], _MIB),
    21: (TRANSFERS[1], _MIB),
    61: (TRANSFERS[2], _MIB),
    60: (TRANSFERS[3], _MIB),
}
"""Metrics of the performance monitor (GPM; Hopper and later): NVML's number, name and factor."""

OF_PROCESSES = (
    Metric("process_memory_megabytes", "MB", "nvmlDeviceGetComputeRunningProcesses"),
    Metric("process_utilization_percentage", "%", "nvmlDeviceGetProcessUtilization"),
)
"""Of the run's own processes, on this device."""

METRICS: tuple[Metric, ...] = (
    *(metric for query in QUERIES for metric in query.metrics),
    Metric("power_usage_percentage", "%", "nvmlDeviceGetPowerUsage", is_mlflow=True),
    *(
        Metric(name, "MB/s" if name in TRANSFERS else "%", "nvmlGpmMetricsGet")
        for name, _ in MONITORED.values()
    ),
    *OF_PROCESSES,
)
"""Everything of a GPU, for the table."""
