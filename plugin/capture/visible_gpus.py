"""Which GPUs a training may see: CUDA's rules for ``CUDA_VISIBLE_DEVICES``.

Numbers and UUIDs, whole GPUs and MIG slices; the list ends where CUDA stops reading it. CUDA
numbers GPUs fastest first unless ``CUDA_DEVICE_ORDER=PCI_BUS_ID``; which of several models it
takes for the fastest is its secret. So where models differ and the order is not the bus's, numbers
mean nothing here: all devices are taken, and that is said.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from mlflow_weir.plugin.capture.gpu import Device

VARIABLES = ("CUDA_VISIBLE_DEVICES", "CUDA_DEVICE_ORDER")
"""What decides about it, of the training's environment."""


class Visible(NamedTuple):
    """The devices that a training may see.

    Attributes:
        devices: In no order.
        doubt: Why these may be too many; "" where they are right.
    """

    devices: tuple[Device, ...]
    doubt: str = ""


def visible_gpus(devices: Sequence[Device], variables: Mapping[str, str]) -> Visible:
    """Return those of the machine's devices that a training may see.

    Args:
        devices: Whole GPUs and slices, a GPU that is sliced left out.
        variables: ``VARIABLES`` of the training, as far as they are set.
    """
    wanted = variables.get("CUDA_VISIBLE_DEVICES")
    if wanted is None:
        return Visible(tuple(devices))
    found: list[Device] = []
    words = [word.strip() for word in wanted.split(",")]
    is_bus_order = variables.get("CUDA_DEVICE_ORDER") == "PCI_BUS_ID"
    models = {device.name for device in devices if not device.is_slice}
    for word in words:
        if _is_number(word):
            if len(models) > 1 and not is_bus_order:
                doubt = "several models, no CUDA_DEVICE_ORDER=PCI_BUS_ID: all are shown"
                return Visible(tuple(devices), doubt)
            chosen = [device for device in devices if device.index == int(word)]
        else:
            chosen = _by_uuid(devices, word)
        if not chosen:  # here CUDA stops reading, too
            break
        found += [device for device in chosen if device not in found]
    return Visible(tuple(found))


def _is_number(word: str) -> bool:
    return word.isascii() and word.isdigit()


def _by_uuid(devices: Sequence[Device], word: str) -> list[Device]:
    """Return what a UUID, or its beginning, names; a GPU that is sliced is its slices."""
    if word.startswith("MIG-GPU-"):  # drivers before 470: MIG-GPU-UUID/instance/instance
        uuid = word.removeprefix("MIG-").partition("/")[0]
        return [one for one in devices if one.uuid == word or one.parent_uuid == uuid]
    if word.startswith("MIG-"):
        found = [one for one in devices if one.uuid.startswith(word)]
        return found if len(found) == 1 else []
    if not word.startswith("GPU-"):
        return []
    named = {one.parent_uuid or one.uuid for one in devices}
    wholes = {uuid for uuid in named if uuid.startswith(word)}
    if len(wholes) != 1:
        return []
    return [one for one in devices if (one.parent_uuid or one.uuid) in wholes]
