"""What is read of GPUs, through the real pynvml over a library whose devices a file tells of."""

from __future__ import annotations

from pathlib import Path

import pytest

from mlflow_weir.plugin.capture.gpu import DeviceSample, GpuSampler, has_nvidia_gpu
from mlflow_weir.plugin.capture.gpu_queries import METRICS, MLFLOW_NAMES, QUERIES
from nvml import Nvml, gpu

WANTED = {
    "utilization_percentage": 37,
    "memory_busy_percentage": 12,
    "memory_usage_megabytes": 20_000,
    "memory_usage_percentage": 25,
    "memory_total_megabytes": 80_000,
    "power_usage_watts": 215,
    "power_limit_watts": 700,
    "power_usage_percentage": 100 * 215 / 700,
    "energy_joules": 5_000,
    "temperature_celsius": 41,
    "memory_temperature_celsius": 52,
    "sm_clock_mhz": 1_980,
    "memory_clock_mhz": 2_619,
    "graphics_clock_mhz": 1_975,
    "performance_state": 0,
    "throttle_reasons": 4,
    "throttled_by_power": 1,
    "throttled_by_heat": 0,
    "throttled_by_hardware": 0,
    "ecc_corrected_errors": 3,
    "ecc_uncorrected_errors": 0,
    "encoder_utilization_percentage": 0,
    "decoder_utilization_percentage": 1,
    "pcie_link_generation": 5,
    "pcie_link_width": 16,
    "pcie_link_speed": 32_000,
}
MONITORED = {
    "sm_active_percentage": 81.5,
    "sm_occupancy_percentage": 40.25,
    "tensor_active_percentage": 66.5,
    "dram_active_percentage": 33,
    "pcie_transmit_megabytes_per_second": 104.8576,
    "pcie_receive_megabytes_per_second": 209.7152,
    "nvlink_transmit_megabytes_per_second": 2097.152,
    "nvlink_receive_megabytes_per_second": 1048.576,
}


class Clock:
    """Seconds that go on when a test says so."""

    def __init__(self) -> None:
        self.now_s = 1_000.0

    def __call__(self) -> float:
        return self.now_s

    def wait(self, seconds: float) -> None:
        self.now_s += seconds


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def sampler(nvml_here: Nvml, clock: Clock) -> GpuSampler:
    return GpuSampler(clock)


def by_label(samples: list[DeviceSample]) -> dict[str, dict[str, float]]:
    return {sample.device.label: sample.values for sample in samples}


def test_every_value_is_the_devices_own(
    nvml_here: Nvml, sampler: GpuSampler, clock: Clock
) -> None:
    nvml_here.devices(gpu("GPU-a"), gpu("GPU-b", gpu=99, temperature=70, throttle=0x40 | 0x8))
    first = by_label(sampler.sample())
    assert first["0"] == pytest.approx(WANTED)
    clock.wait(0.5)
    second = by_label(sampler.sample())
    assert second["0"] == pytest.approx(WANTED | MONITORED)
    assert second["1"]["utilization_percentage"] == 99
    assert second["1"]["throttled_by_heat"] == second["1"]["throttled_by_hardware"] == 1
    nvml_here.change(_0__gpu=5, _0__gpm__2=7.5)
    clock.wait(0.5)
    third = by_label(sampler.sample())
    assert (third["0"]["utilization_percentage"], third["0"]["sm_active_percentage"]) == (5, 7.5)
    assert set(WANTED) | set(MONITORED) <= {metric.name for metric in METRICS}


def test_frequent_samples_ask_what_is_slow_each_ten_seconds(
    nvml_here: Nvml, sampler: GpuSampler, clock: Clock
) -> None:
    nvml_here.devices(gpu("GPU-a"))
    nvml_here.count_calls()
    assert by_label(sampler.sample(is_frequent=True))["0"] == pytest.approx(WANTED)
    slow = {metric.name for query in QUERIES if query.is_slow for metric in query.metrics}
    for _ in range(19):
        clock.wait(0.5)
        values = by_label(sampler.sample(is_frequent=True))["0"]
        assert set(WANTED) - set(values) == slow & set(WANTED)
        assert values["power_usage_percentage"] == pytest.approx(100 * 215 / 700)
    assert nvml_here.n_calls("nvmlDeviceGetTotalEnergyConsumption") == 1
    clock.wait(0.5)
    assert set(WANTED) <= set(by_label(sampler.sample(is_frequent=True))["0"])
    clock.wait(0.5)
    assert set(WANTED) <= set(by_label(sampler.sample())["0"])
    assert nvml_here.n_calls("nvmlDeviceGetTotalEnergyConsumption") == 3


def test_mlflows_names_are_those_of_its_own_monitor(nvml_here: Nvml) -> None:
    from mlflow.system_metrics.metrics.gpu_monitor import GPUMonitor

    nvml_here.devices(gpu("GPU-a", memory_reserved=0))
    monitor = GPUMonitor()
    monitor.collect_metrics()
    theirs = monitor.aggregate_metrics()
    assert {f"gpu_0_{name}" for name in MLFLOW_NAMES} == set(theirs)
    ours = by_label(GpuSampler().sample())["0"]
    for name in MLFLOW_NAMES:
        assert ours[name] == pytest.approx(theirs[f"gpu_0_{name}"], abs=0.06)  # they round


def test_without_a_performance_monitor_traffic_is_asked_for_by_itself(
    nvml_here: Nvml, sampler: GpuSampler, clock: Clock
) -> None:
    nvml_here.devices(
        gpu("GPU-a", gpm=0, pcie_tx_kib=1_000, pcie_rx_kib=2_000)
        | {"field.138": 1_000_000, "field.139": 0}
    )
    sampler.sample()
    nvml_here.change(_0__field__138=1_000_000 + 9_765_625)  # 10 GB
    clock.wait(10)
    values = by_label(sampler.sample())["0"]
    assert values["pcie_transmit_megabytes_per_second"] == pytest.approx(1.024)
    assert values["pcie_receive_megabytes_per_second"] == pytest.approx(2.048)
    assert values["nvlink_transmit_megabytes_per_second"] == pytest.approx(1_000)
    assert values["nvlink_receive_megabytes_per_second"] == 0
    assert "sm_active_percentage" not in values


def test_a_performance_monitor_that_may_not_be_read_is_none(
    nvml_here: Nvml, sampler: GpuSampler, clock: Clock
) -> None:
    denied = {"err.nvmlGpmSampleGet": 4}
    nvml_here.devices(gpu("GPU-a", pcie_tx_kib=1_000, pcie_rx_kib=2_000) | denied)
    sampler.sample()
    clock.wait(1)
    values = by_label(sampler.sample())["0"]
    assert values["pcie_transmit_megabytes_per_second"] == pytest.approx(1.024)
    nvml_here.change(_0__err__nvmlGpmSampleGet=None)
    for _ in range(3):
        clock.wait(70)
        values = by_label(sampler.sample())["0"]
    assert values["sm_active_percentage"] == 81.5
    assert values["pcie_transmit_megabytes_per_second"] == pytest.approx(104.8576)


def test_a_library_without_the_old_names_is_asked_by_the_new_ones(
    nvml_here: Nvml, sampler: GpuSampler
) -> None:
    gone = {
        "err.nvmlDeviceGetTemperature": 13,
        "err.nvmlDeviceGetCurrentClocksThrottleReasons": 13,
        "err.nvmlDeviceGetMemoryInfo_v2": 13,
    }
    nvml_here.devices(gpu("GPU-a", memory_reserved=0) | gone)
    assert by_label(sampler.sample())["0"] == pytest.approx(WANTED)


def test_what_fails_is_tried_again(nvml_here: Nvml, sampler: GpuSampler, clock: Clock) -> None:
    nvml_here.devices(gpu("GPU-a") | {"err.nvmlDeviceGetPowerUsage": 999})
    values = by_label(sampler.sample())["0"]
    assert "power_usage_watts" not in values
    assert values["temperature_celsius"] == 41
    assert sampler.failures["GPU-a", "DeviceGetPowerUsage"] == "Unknown Error"
    nvml_here.change(_0__err__nvmlDeviceGetPowerUsage=None)
    clock.wait(1)
    assert by_label(sampler.sample())["0"]["power_usage_watts"] == 215
    assert ("GPU-a", "DeviceGetPowerUsage") not in sampler.failures


def test_what_is_not_supported_is_asked_for_again_after_a_while(
    nvml_here: Nvml, sampler: GpuSampler, clock: Clock
) -> None:
    nvml_here.count_calls()
    nvml_here.devices(gpu("GPU-a"))  # no fan
    for _ in range(5):
        assert "fan_speed_percentage" not in by_label(sampler.sample())["0"]
        clock.wait(10)
    assert nvml_here.n_calls("nvmlDeviceGetFanSpeed") == 1
    nvml_here.change(_0__fan=30)
    clock.wait(20)
    assert by_label(sampler.sample())["0"]["fan_speed_percentage"] == 30


def test_a_lost_gpu_takes_nothing_with_it_and_comes_back(
    nvml_here: Nvml, sampler: GpuSampler, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    nvml_here.devices(gpu("GPU-a"), gpu("GPU-b"), gpu("GPU-c"))
    assert set(by_label(sampler.sample())) == {"0", "1", "2"}
    nvml_here.change(_1__err=15)
    for _ in range(20):
        clock.wait(10)
        assert set(by_label(sampler.sample())) == {"0", "2"}
    assert len([one for one in caplog.messages if "GPU is lost" in one]) <= 2
    nvml_here.change(_1__err=None, _1__gpu=3)
    clock.wait(125)
    found = by_label(sampler.sample())
    assert found["1"]["utilization_percentage"] == 3


def test_a_driver_that_comes_late_is_found(
    nvml_here: Nvml, sampler: GpuSampler, clock: Clock
) -> None:
    assert sampler.sample() == []
    assert sampler.trouble == ""  # this machine has no GPU, so that nothing is wrong
    nvml_here.devices(gpu("GPU-a"))
    assert sampler.sample() == []
    clock.wait(61)
    assert set(by_label(sampler.sample())) == {"0"}


def test_slices_are_devices_of_their_own(
    nvml_here: Nvml, sampler: GpuSampler, clock: Clock
) -> None:
    one = {"uuid": "MIG-1", "name": "H100 MIG 3g.40gb", "instance": 1}
    one |= {"memory_total": 40e9, "memory_used": 10e9, "gpm.2": 44.0}
    two = one | {"uuid": "MIG-2", "instance": 5, "memory_used": 30e9, "gpm.2": 11.0}
    slices = {f"mig.0.{key}": value for key, value in one.items()}
    slices |= {f"mig.2.{key}": value for key, value in two.items()}
    nvml_here.devices(gpu("GPU-a"), gpu("GPU-b", mig_mode=1, mig_max=7) | slices)
    assert [device.label for device in sampler.devices()] == ["0", "1_mig_0", "1_mig_2"]
    sampler.sample()
    clock.wait(1)
    found = by_label(sampler.sample())
    assert found["1_mig_0"] == {
        "memory_usage_megabytes": 10_000,
        "memory_usage_percentage": 25,
        "memory_total_megabytes": 40_000,
        "sm_active_percentage": 44,
    }
    assert found["1_mig_2"]["sm_active_percentage"] == 11
    assert found["1"]["power_usage_watts"] == 215  # which no slice has for itself
    facts = sampler.facts()["devices"]
    assert [one["uuid"] for one in facts] == ["GPU-a", "GPU-b", "MIG-1", "MIG-2"]
    assert facts[3]["slice_of"] == "GPU-b"


def test_the_processes_of_a_device_with_what_each_uses(
    nvml_here: Nvml, sampler: GpuSampler
) -> None:
    nvml_here.devices(
        gpu("GPU-a", processes="42:1000000:30,43:0:101"), gpu("GPU-b", processes="-"), gpu("GPU-c")
    )
    first, second, third = sampler.sample()
    assert first.processes is not None
    assert first.has_utilization
    assert (first.processes[42].memory_bytes, first.processes[42].utilization) == (1_000_000, 30)
    assert first.processes[43].memory_bytes is None  # the driver does not say
    assert first.processes[43].utilization is None  # nor anything that could be true
    assert third.processes is None
    assert second.processes == {}


def test_facts_name_what_there_is(nvml_here: Nvml, sampler: GpuSampler) -> None:
    nvml_here.devices(gpu("GPU-a"))
    assert sampler.facts() == {
        "driver": "580.00-stub",
        "cuda": "13.0",
        "devices": [
            {
                "index": 0,
                "label": "0",
                "name": "NVIDIA H100 80GB HBM3",
                "uuid": "GPU-a",
                "memory_bytes": 80_000_000_000,
                "compute_capability": "9.0",
                "brand": "Nvidia",
                "architecture": "Hopper",
                "cuda_cores": 16_896,
                "pcie_generation_max": 5,
                "pcie_width_max": 16,
                "power_limit_watts": 700.0,
                "is_mig_enabled": False,
                "nvlinks": 18,
            }
        ],
    }


@pytest.mark.parametrize(
    ("path", "text"),
    [
        ("dev/nvidia0", ""),
        ("proc/driver/nvidia/gpus/0000:01:00.0/information", ""),
        ("sys/bus/pci/devices/0000:01:00.0/class", "0x030200\n"),
    ],
)
def test_signs_of_a_gpu(path: str, text: str, tmp_path: Path) -> None:
    assert not has_nvidia_gpu(tmp_path)
    file = tmp_path / path
    file.parent.mkdir(parents=True)
    file.write_text(text)
    (file.parent / "vendor").write_text("0x10de\n")
    assert has_nvidia_gpu(tmp_path)


def test_an_nvidia_device_that_is_no_gpu_is_no_sign(tmp_path: Path) -> None:
    for number, (vendor, kind) in enumerate([("0x10de", "0x020700"), ("0x1002", "0x030000")]):
        device = tmp_path / f"sys/bus/pci/devices/{number}"
        device.mkdir(parents=True)
        (device / "vendor").write_text(vendor)
        (device / "class").write_text(kind)
    (tmp_path / "dev").mkdir()
    (tmp_path / "dev/nvidiactl").touch()
    assert not has_nvidia_gpu(tmp_path)
