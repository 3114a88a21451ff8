"""AMD GPUs, through a module with amdsmi's names and units: its C library comes with ROCm."""

from __future__ import annotations

import sys
from enum import Enum
from types import ModuleType
from typing import Any

import pytest

from mlflow_weir.plugin.capture.__main__ import hardware
from mlflow_weir.plugin.capture.amd import AmdSampler, visible_amd_gpus
from mlflow_weir.plugin.capture.gpu_queries import METRICS
from mlflow_weir.plugin.cli.doctor_capture import check_hardware

Kind = Enum("Kind", "VRAM HOTSPOT CURRENT GFX MEM")


class Smi(ModuleType):
    """Two GPUs, one of which says hardly anything."""

    AmdSmiMemoryType = AmdSmiTemperatureType = AmdSmiTemperatureMetric = AmdSmiClkType = Kind

    def amdsmi_init(self) -> None:
        """Nothing to open."""

    def amdsmi_shut_down(self) -> None:
        """Nothing to close."""

    def amdsmi_get_processor_handles(self) -> list[int]:
        return [0, 1]

    def amdsmi_get_gpu_asic_info(self, handle: int) -> dict[str, Any]:
        return {"market_name": "MI300X"}

    def amdsmi_get_gpu_device_uuid(self, handle: int) -> str:
        return f"uuid-{handle}"

    def amdsmi_get_gpu_driver_info(self, handle: int) -> dict[str, Any]:
        return {"driver_name": "amdgpu", "driver_version": "6.12"}

    def amdsmi_get_gpu_activity(self, handle: int) -> dict[str, Any]:
        _only(handle, 0)
        return {"gfx_activity": 93, "umc_activity": 40, "mm_activity": "N/A"}

    def amdsmi_get_gpu_memory_usage(self, handle: int, kind: Kind) -> int:
        return 48_000_000_000

    def amdsmi_get_gpu_memory_total(self, handle: int, kind: Kind) -> int:
        return 192_000_000_000

    def amdsmi_get_power_info(self, handle: int) -> dict[str, Any]:
        return {"current_socket_power": "N/A" if handle else 600, "average_socket_power": "N/A"}

    def amdsmi_get_power_cap_info(self, handle: int) -> dict[str, Any]:
        return {"power_cap": 750_000_000}

    def amdsmi_get_energy_count(self, handle: int) -> dict[str, Any]:
        _only(handle, 0)
        return {"energy_accumulator": 1_000_000, "counter_resolution": 15.3}

    def amdsmi_get_temp_metric(self, handle: int, sensor: Kind, metric: Kind) -> int:
        _only(handle, 0)
        return 71 if sensor is Kind.HOTSPOT else 55

    def amdsmi_get_clock_info(self, handle: int, kind: Kind) -> dict[str, Any]:
        return {"clk": "N/A" if handle else 2_100}

    def amdsmi_get_gpu_process_list(self, handle: int) -> list[dict[str, Any]]:
        _only(handle, 0)
        return [{"pid": 42, "memory_usage": {"vram_mem": 5_000_000}}]


def _only(handle: int, wanted: int) -> None:
    if handle != wanted:
        raise RuntimeError("AMDSMI_STATUS_NOT_SUPPORTED")


def test_the_library_is_asked_in_its_units(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "amdsmi", Smi("amdsmi"))
    sampler = AmdSampler()
    first, second = sampler.sample()
    assert first.values == pytest.approx(
        {
            "utilization_percentage": 93,
            "memory_busy_percentage": 40,
            "memory_usage_megabytes": 48_000,
            "memory_total_megabytes": 192_000,
            "memory_usage_percentage": 25,
            "power_usage_watts": 600,
            "power_limit_watts": 750,
            "power_usage_percentage": 80,
            "energy_joules": 15.3,
            "temperature_celsius": 71,
            "memory_temperature_celsius": 55,
            "sm_clock_mhz": 2_100,
            "memory_clock_mhz": 2_100,
        }
    )
    assert set(first.values) <= {metric.name for metric in METRICS}
    assert first.processes is not None
    assert first.processes[42].memory_bytes == 5_000_000
    assert second.values == pytest.approx(
        {
            "memory_usage_megabytes": 48_000,
            "memory_total_megabytes": 192_000,
            "memory_usage_percentage": 25,
            "power_limit_watts": 750,
        }
    )
    assert second.processes is None
    devices = sampler.devices()
    assert [device.name for device in devices] == ["MI300X", "MI300X"]
    for name in ("HIP_VISIBLE_DEVICES", "ROCR_VISIBLE_DEVICES", "CUDA_VISIBLE_DEVICES"):
        assert visible_amd_gpus(devices, {name: "1"}).devices == (devices[1],)
    assert visible_amd_gpus(devices, {}).devices == tuple(devices)
    sampler.close()


def test_they_are_among_the_facts_and_doctor_names_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "amdsmi", Smi("amdsmi"))
    monkeypatch.delenv("WEIR_CAPTURE", raising=False)
    found, words = hardware()
    assert words == "2 × MI300X"
    assert found["amd"]["devices"][1] == {
        "index": 1,
        "label": "1",
        "name": "MI300X",
        "uuid": "uuid-1",
        "memory_bytes": 192_000_000_000,
        "power_limit_watts": 750,
        "driver": "6.12",
    }
    monkeypatch.setenv("HIP_VISIBLE_DEVICES", "1")
    assert hardware()[1] == "1 × MI300X"
    assert check_hardware().detail.startswith(
        "MI300X (1), not 1 GPU that HIP_VISIBLE_DEVICES hides"
    )


def test_without_the_library_there_are_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "amdsmi", None)
    assert AmdSampler().sample() == []
