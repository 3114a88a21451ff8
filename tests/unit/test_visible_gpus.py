"""Which GPUs a training may see, by CUDA's rules."""

from __future__ import annotations

import pytest

from mlflow_weir.plugin.capture.gpu import Device
from mlflow_weir.plugin.capture.visible_gpus import visible_gpus

WHOLE = [Device(str(n), n, f"GPU-{letter * 4}", "H100") for n, letter in enumerate("abcd")]
SLICED = [
    WHOLE[0],
    Device("1_mig_0", 1, "MIG-1111", "H100 3g", "GPU-bbbb"),
    Device("1_mig_1", 1, "MIG-1122", "H100 3g", "GPU-bbbb"),
]


@pytest.mark.parametrize(
    ("variable", "labels"),
    [
        (None, "0 1 2 3"),
        ("", ""),
        ("-1", ""),
        ("NoDevFiles", ""),
        ("2", "2"),
        (" 3 , 0 ", "3 0"),
        ("0,0,1", "0 1"),
        ("0,-1,2", "0"),  # what follows is not read
        ("1,9,2", "1"),
        ("GPU-cccc", "2"),
        ("GPU-c", "2"),  # a beginning that only one has
        ("GPU-", ""),  # all have it
        ("GPU-zzzz,1", ""),
    ],
)
def test_whole_gpus(variable: str | None, labels: str) -> None:
    variables = {} if variable is None else {"CUDA_VISIBLE_DEVICES": variable}
    found = visible_gpus(WHOLE, variables)
    assert [device.label for device in found.devices] == labels.split()
    assert found.doubt == ""


@pytest.mark.parametrize(
    ("variable", "labels"),
    [
        (None, "0 1_mig_0 1_mig_1"),
        ("MIG-1122", "1_mig_1"),
        ("MIG-1", ""),
        ("MIG-1111,MIG-1122", "1_mig_0 1_mig_1"),
        ("GPU-bbbb", "1_mig_0 1_mig_1"),
        ("MIG-GPU-bbbb/1/0", "1_mig_0 1_mig_1"),
        ("1", "1_mig_0 1_mig_1"),
        ("0", "0"),
    ],
)
def test_slices(variable: str | None, labels: str) -> None:
    variables = {} if variable is None else {"CUDA_VISIBLE_DEVICES": variable}
    assert [one.label for one in visible_gpus(SLICED, variables).devices] == labels.split()


def test_numbers_of_gpus_of_several_models_are_not_guessed_at() -> None:
    mixed = [WHOLE[0], Device("1", 1, "GPU-xxxx", "T4")]
    found = visible_gpus(mixed, {"CUDA_VISIBLE_DEVICES": "1"})
    assert found.devices == tuple(mixed)
    assert "CUDA_DEVICE_ORDER" in found.doubt
    variables = {"CUDA_VISIBLE_DEVICES": "1", "CUDA_DEVICE_ORDER": "PCI_BUS_ID"}
    assert visible_gpus(mixed, variables) == ((mixed[1],), "")
    by_uuid = visible_gpus(mixed, {"CUDA_VISIBLE_DEVICES": "GPU-xxxx"})
    assert by_uuid == ((mixed[1],), "")
