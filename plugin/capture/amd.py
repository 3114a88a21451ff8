"""AMD GPUs through ``amdsmi``, the Python library that ROCm brings, where that is installed.

The same metrics as NVIDIA's by the same names, as far as the library has them. Whatever it does
not say, in words or by raising, is left out of that sample. Belongs to one thread.
"""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from mlflow_weir.plugin.capture.gpu import Device, DeviceSample, ProcessUse
from mlflow_weir.plugin.capture.visible_gpus import Visible, visible_gpus

_log = logging.getLogger(__name__)

VARIABLES = ("HIP_VISIBLE_DEVICES", "ROCR_VISIBLE_DEVICES")
"""What decides which GPUs a training may see, beside CUDA_VISIBLE_DEVICES."""

DECIDING = (*VARIABLES, "CUDA_VISIBLE_DEVICES")
"""The first of them that is set; HIP reads CUDA's too."""

_LOOK_AGAIN_S = 600.0
_MICRO = 1e-6
_NOT_WATTS = 100_000  # the library's power cap is in microwatts, once was in watts


class AmdSampler:
    """All AMD GPUs of the machine."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        """Open nothing yet.

        Args:
            clock: Seconds that never go back.
        """
        self._clock = clock
        self._smi: Any = None
        self._look_s = -math.inf
        self._opened: list[tuple[Device, Any]] = []

    def devices(self) -> list[Device]:
        """Return the devices there are."""
        self._look()
        return [device for device, _ in self._opened]

    def sample(self) -> list[DeviceSample]:
        """Ask every device."""
        self._look()
        return [self._sample(device, handle) for device, handle in self._opened]

    def facts(self) -> dict[str, Any]:
        """Return what does not change, for a JSON file."""
        self._look()
        return {"devices": [self._facts_of(device, handle) for device, handle in self._opened]}

    def close(self) -> None:
        """Give the library back."""
        if self._smi is not None:
            self._try(self._smi.amdsmi_shut_down)
        self._smi, self._opened, self._look_s = None, [], -math.inf

    def _look(self) -> None:
        now = self._clock()
        if now - self._look_s < _LOOK_AGAIN_S:
            return
        self._look_s = now
        if self._smi is None:
            try:
                import amdsmi

                amdsmi.amdsmi_init()
            except Exception as exc:  # noqa: BLE001 - absent, without its C library, or no driver
                _log.debug("no AMD GPUs: %s", exc)
                return
            self._smi = amdsmi
        handles = self._try(self._smi.amdsmi_get_processor_handles) or []
        self._opened = [
            (self._device(index, handle), handle) for index, handle in enumerate(handles)
        ]

    def _device(self, index: int, handle: Any) -> Device:
        facts = self._try(self._smi.amdsmi_get_gpu_asic_info, handle) or {}
        uuid = self._try(self._smi.amdsmi_get_gpu_device_uuid, handle) or f"AMD-{index}"
        return Device(str(index), index, str(uuid), str(facts.get("market_name", "AMD GPU")))

    def _facts_of(self, device: Device, handle: Any) -> dict[str, Any]:
        smi = self._smi
        kind = smi.AmdSmiMemoryType.VRAM
        driver = self._try(smi.amdsmi_get_gpu_driver_info, handle) or {}
        return {
            "index": device.index,
            "label": device.label,
            "name": device.name,
            "uuid": device.uuid,
            "memory_bytes": self._try(smi.amdsmi_get_gpu_memory_total, handle, kind),
            "power_limit_watts": self._power_limit_watts(handle),
            "driver": driver.get("driver_version"),
        }

    def _power_limit_watts(self, handle: Any) -> float | None:
        limit = (self._try(self._smi.amdsmi_get_power_cap_info, handle) or {}).get("power_cap")
        if not isinstance(limit, int | float) or not limit:
            return None
        return limit * (_MICRO if limit > _NOT_WATTS else 1)

    def _sample(self, device: Device, handle: Any) -> DeviceSample:
        smi, values = self._smi, {}
        activity = self._try(smi.amdsmi_get_gpu_activity, handle) or {}
        values["utilization_percentage"] = activity.get("gfx_activity")
        values["memory_busy_percentage"] = activity.get("umc_activity")
        kind = smi.AmdSmiMemoryType.VRAM
        used = self._try(smi.amdsmi_get_gpu_memory_usage, handle, kind)
        total = self._try(smi.amdsmi_get_gpu_memory_total, handle, kind)
        if used is not None and total:
            values["memory_usage_megabytes"] = used / 1e6
            values["memory_total_megabytes"] = total / 1e6
            values["memory_usage_percentage"] = 100.0 * used / total
        power = self._try(smi.amdsmi_get_power_info, handle) or {}
        found = (power.get("current_socket_power"), power.get("average_socket_power"))
        watts = next((one for one in found if isinstance(one, int | float) and one), None)
        limit = self._power_limit_watts(handle)
        values["power_usage_watts"] = watts
        if limit is not None:
            values["power_limit_watts"] = limit
            values["power_usage_percentage"] = None if watts is None else 100.0 * watts / limit
        energy = self._try(smi.amdsmi_get_energy_count, handle) or {}
        if "energy_accumulator" in energy:
            joules = energy["energy_accumulator"] * energy["counter_resolution"] * _MICRO
            values["energy_joules"] = joules
        types, now = smi.AmdSmiTemperatureType, smi.AmdSmiTemperatureMetric.CURRENT
        for name, sensor in (("temperature", "HOTSPOT"), ("memory_temperature", "VRAM")):
            heat = self._try(smi.amdsmi_get_temp_metric, handle, getattr(types, sensor), now)
            values[f"{name}_celsius"] = heat
        for name, clock in (("sm", "GFX"), ("memory", "MEM")):
            which = getattr(smi.AmdSmiClkType, clock)
            said = self._try(smi.amdsmi_get_clock_info, handle, which) or {}
            values[f"{name}_clock_mhz"] = said.get("clk")
        sample = DeviceSample(device, _numbers(values))
        running = self._try(smi.amdsmi_get_gpu_process_list, handle)
        if running is not None:
            sample.processes = {
                int(one["pid"]): ProcessUse(int(one["memory_usage"]["vram_mem"]))
                for one in running
            }
        return sample

    def _try(self, ask: Callable[..., Any], *arguments: Any) -> Any:
        try:
            return ask(*arguments)
        except Exception as exc:  # noqa: BLE001 - its errors have no base but this
            _log.debug("%s: %s", getattr(ask, "__name__", ask), exc)
            return None


def _numbers(values: Mapping[str, Any]) -> dict[str, float]:
    """Return what are numbers; the library has words for what it does not know."""
    return {
        name: float(value)
        for name, value in values.items()
        if isinstance(value, int | float) and math.isfinite(value)
    }


def seen_gpus(
    nvidia: Sequence[Device], amd: AmdSampler, variables: Mapping[str, str]
) -> tuple[list[Device], Visible]:
    """Return a machine's devices, AMD's where there are none of NVIDIA's, and those in sight.

    Args:
        nvidia: Its NVIDIA devices.
        amd: Looked at where there are none.
        variables: Of the training, those that decide about it, as far as they are set.
    """
    if nvidia or not amd.devices():
        return list(nvidia), visible_gpus(nvidia, variables)
    return amd.devices(), visible_amd_gpus(amd.devices(), variables)


def visible_amd_gpus(devices: list[Device], variables: Mapping[str, str]) -> Visible:
    """Return those of the machine's devices that a training may see, by their numbers."""
    wanted = next((variables[name] for name in DECIDING if name in variables), None)
    if wanted is None:
        return Visible(tuple(devices))
    order = {"CUDA_VISIBLE_DEVICES": wanted, "CUDA_DEVICE_ORDER": "PCI_BUS_ID"}
    return visible_gpus(devices, order)
