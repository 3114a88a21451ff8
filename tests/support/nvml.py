"""NVIDIA GPUs where there are none: the real pynvml over the library of ``nvml_stub.c``."""

from __future__ import annotations

import ctypes
import os
import shutil
import subprocess
from pathlib import Path

import pytest

SOURCE = Path(__file__).with_name("nvml_stub.c")
LIBRARY = "libnvidia-ml.so.1"

H100 = {
    "name": "NVIDIA H100 80GB HBM3",
    "capability": "9.0",
    "gpu": 37,
    "memory_busy": 12,
    "memory_total": 80_000_000_000,
    "memory_reserved": 600_000_000,
    "memory_used": 20_000_000_000,
    "power_mw": 215_000,
    "power_limit_mw": 700_000,
    "energy_mj": 5_000_000,
    "temperature": 41,
    "field.82": 52,
    "sm_clock": 1_980,
    "memory_clock": 2_619,
    "graphics_clock": 1_975,
    "pstate": 0,
    "throttle": 0x4,
    "ecc_corrected": 3,
    "ecc_uncorrected": 0,
    "encoder": 0,
    "decoder": 1,
    "pcie_generation": 5,
    "pcie_width": 16,
    "pcie_speed": 32_000,
    "pcie_generation_max": 5,
    "pcie_width_max": 16,
    "brand": 14,
    "architecture": 9,
    "cores": 16_896,
    "nvlinks": 18,
    "mig_mode": 0,
    "gpm": 1,
    "gpm.2": 81.5,
    "gpm.3": 40.25,
    "gpm.5": 66.5,
    "gpm.10": 33.0,
    "gpm.20": 100.0,
    "gpm.21": 200.0,
    "gpm.60": 1_000.0,
    "gpm.61": 2_000.0,
}
"""What an H100 says, but for its UUID; fans it has none."""


class Nvml:
    """The devices that the library tells of.

    Attributes:
        folder: For LD_LIBRARY_PATH.
        state: The file that says what there is; for the variable WEIR_NVML_STUB.
    """

    def __init__(self, folder: Path, state: Path) -> None:
        self.folder, self.state = folder, state
        self._said: dict[str, object] = {}

    @property
    def variables(self) -> dict[str, str]:
        """The environment of a process that is to see the devices."""
        return {"LD_LIBRARY_PATH": str(self.folder), "WEIR_NVML_STUB": str(self.state)}

    def devices(self, *said: dict[str, object]) -> None:
        """Let there be these devices, in place of those before."""
        self._said = {"count": len(said)}
        for index, one in enumerate(said):
            self._said |= {f"{index}.{key}": value for key, value in one.items()}
        self._write()

    def change(self, **said: object) -> None:
        """Let some be otherwise; ``__`` stands for a dot, None for what is gone.

        Example: ``change(_0__gpu=99)``.
        """
        for name, value in said.items():
            key = name.lstrip("_").replace("__", ".")
            if value is None:
                self._said.pop(key, None)
            else:
                self._said[key] = value
        self._write()

    def count_calls(self) -> None:
        """Begin to count."""
        Path(f"{self.state}.calls").write_text("")

    def n_calls(self, name: str) -> int:
        """Return how often a function was called since ``count_calls``."""
        return Path(f"{self.state}.calls").read_text().split().count(name)

    def _write(self) -> None:
        new = self.state.with_name("new-state")
        new.write_text("".join(f"{key} {value}\n" for key, value in self._said.items()))
        os.replace(new, self.state)


def gpu(uuid: str, **changes: object) -> dict[str, object]:
    """Return an H100, with changes; None takes something away."""
    said = {**H100, "uuid": uuid, **changes}
    return {key: value for key, value in said.items() if value is not None}


@pytest.fixture(scope="session")
def nvml_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Compile the library, once."""
    compiler = shutil.which("gcc") or shutil.which("cc")
    if compiler is None:
        pytest.skip("missing component: a C compiler, for the library of GPUs")
    folder = tmp_path_factory.mktemp("nvml")
    words = ("-shared", "-fPIC", "-O1", f"-Wl,-soname,{LIBRARY}")
    subprocess.run([compiler, *words, "-o", folder / LIBRARY, SOURCE], check=True)
    return folder


@pytest.fixture
def nvml(nvml_folder: Path, tmp_path: Path) -> Nvml:
    """Give GPUs to processes that get ``variables``."""
    return Nvml(nvml_folder, tmp_path / "gpus")


@pytest.fixture
def nvml_here(nvml: Nvml, monkeypatch: pytest.MonkeyPatch) -> Nvml:
    """Give GPUs to this process as well."""
    # The same soname is found by whoever loads it afterwards.
    ctypes.CDLL(str(nvml.folder / LIBRARY), mode=ctypes.RTLD_GLOBAL)
    monkeypatch.setenv("WEIR_NVML_STUB", str(nvml.state))
    return nvml
