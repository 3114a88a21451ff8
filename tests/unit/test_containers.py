"""Which processes take their container, and the spool in it, along when they end."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from types import SimpleNamespace

import pytest

from mlflow_weir.plugin import containers

ME = 70
RANKS = ("RANK", "SLURM_PROCID", "OMPI_COMM_WORLD_RANK")
# Processes by their numbers: names and parents; groups where it is not that of process 1.
INIT = {1: ("docker-init", 0), ME: ("python", 1)}
ENTRY_SCRIPT = {
    1: ("tini", 0),
    7: ("entry (1) .sh", 1),
    30: ("s6-supervise", 7),
    ME: ("python", 30),
}
SHEBANG = {1: ("entry-script", 0), 9: ("train", 1), ME: ("python", 9)}
A_JOB = {1: ("bash", 0), 8: ("make", 1), 9: ("bash", 8), ME: ("python", 9)}
A_PLATFORM = {1: ("agent-of-it", 0), 9: ("bash", 1), ME: ("python", 9)}
BROUGHT_IN = {1: ("sleep", 0), 40: ("bash", 0), ME: ("python", 40)}
MACHINE = {1: ("systemd", 0), 40: ("bash", 1), ME: ("python", 40)}
SERVICE = {1: ("systemd", 0), ME: ("python", 1)}
ALONE = {1: ("python", 0)}
TORCHRUN = {1: ("bash", 0), 8: ("python3.11", 1), ME: ("python3.11", 8)}
MPIRUN = {1: ("tini", 0), 8: ("bash", 1), 9: ("mpirun", 8), 10: ("orted", 9), ME: ("python", 10)}
UV_RUN = {1: ("bash", 0), 8: ("uv", 1), ME: ("python", 8)}
TYPED = {1: ("bash", 0), ME: ("python", 1, ME)}
TYPED_TORCHRUN = {1: ("bash", 0), 8: ("python3", 1, 8), ME: ("python", 8, 8)}

Processes = Mapping[int, tuple[str, int] | tuple[str, int, int]]
Scene = Callable[[Processes, str], None]


@pytest.fixture
def scene(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Scene:
    def make(processes: Processes, mark: str) -> None:
        for pid, (name, parent, *group) in processes.items():
            folder = tmp_path / "proc" / str(pid)
            folder.mkdir(parents=True)
            (folder / "comm").write_text(f"{name}\n")
            if processes is SHEBANG:  # the process has the script's name, and is a shell
                (folder / "exe").symlink_to("/usr/bin/dash")
            (folder / "stat").write_text(f"{pid} ({name}) S {parent} {(group or [1])[0]} 1 0")
        if mark.isidentifier():
            monkeypatch.setenv(mark, "10.0.0.1")
        elif mark:
            (tmp_path / mark).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / mark).touch()
        me = max(processes)
        own = SimpleNamespace(getpid=lambda: me, getppid=lambda: processes[me][1])
        monkeypatch.setattr(containers, "os", own)
        monkeypatch.setattr(containers, "_ROOT", tmp_path)

    for name in ("KUBERNETES_SERVICE_HOST", "container", *RANKS):
        monkeypatch.delenv(name, raising=False)
    return make


@pytest.mark.parametrize(
    ("processes", "mark", "is_first", "ends"),
    [
        (ALONE, "", True, True),
        (INIT, ".dockerenv", True, True),
        (INIT, "run/.containerenv", True, True),
        (INIT, "run/secrets/kubernetes.io", True, True),
        (INIT, "KUBERNETES_SERVICE_HOST", True, True),
        (INIT, "", False, False),
        (ENTRY_SCRIPT, ".dockerenv", False, True),
        (ENTRY_SCRIPT, "container", False, True),
        (SHEBANG, ".dockerenv", False, True),
        (A_JOB, ".dockerenv", False, False),
        (A_PLATFORM, ".dockerenv", False, False),
        (BROUGHT_IN, ".dockerenv", False, False),
        (UV_RUN, ".dockerenv", False, True),
        (TORCHRUN, ".dockerenv", False, False),  # no rank: what a Python has started
        (TYPED, ".dockerenv", True, False),
        (MACHINE, "", False, False),
        (MACHINE, "container", False, False),
        (SERVICE, "run/.containerenv", False, False),
    ],
)
def test_who_takes_the_container_along(
    scene: Scene,
    processes: Processes,
    mark: str,
    is_first: bool,
    ends: bool,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delitem(sys.modules, "ipykernel", raising=False)
    scene(processes, mark)
    assert (containers.is_first(), containers.ends_with_us()) == (is_first, ends)


@pytest.mark.parametrize(
    ("processes", "variable", "ends"),
    [
        (TORCHRUN, "RANK", True),
        (MPIRUN, "OMPI_COMM_WORLD_RANK", True),
        (TYPED_TORCHRUN, "RANK", False),
        (A_JOB, "RANK", False),
    ],
)
def test_the_ranks_of_a_job_take_the_container_along(
    scene: Scene, processes: Processes, variable: str, ends: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delitem(sys.modules, "ipykernel", raising=False)
    monkeypatch.setenv(variable, "0")
    scene(processes, ".dockerenv")
    assert containers.ends_with_us() is ends


def test_a_notebook_goes_on_after_its_kernel(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "ipykernel", SimpleNamespace())
    scene(ENTRY_SCRIPT, ".dockerenv")
    assert not containers.ends_with_us()
