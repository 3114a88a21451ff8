"""What is read of containers."""

from __future__ import annotations

from pathlib import Path

import pytest

from mlflow_weir.plugin.capture import cgroups, environment
from mlflow_weir.plugin.capture.cgroups import CgroupState
from mlflow_weir.redaction import Redactor

ID = "0123456789abcdef" * 4


@pytest.mark.parametrize(
    ("line", "wanted"),
    [
        (f"12:memory:/docker/{ID}", ID),
        (f"0::/system.slice/docker-{ID}.scope", ID),
        (f"1:name=systemd:/kubepods/besteffort/pod3f2504e0/{ID}", ID),
        (f"0::/kubepods.slice/kubepods-pod3f.slice/cri-containerd-{ID}.scope", ID),
        (f"600 580 254:1 /docker/containers/{ID}/hostname /etc/hostname rw", ID),
        (f"1 1 0:1 /containers/overlay-containers/{ID}/userdata/hostname /etc/hostname", ID),
        ("0::/", ""),
        (f"1 1 8:1 /home/me/data/{ID} /data rw", ""),
    ],
)
def test_the_container_is_known_by_its_id(line: str, wanted: str, tmp_path: Path) -> None:
    table = tmp_path / "table"
    table.write_text(f"0::/other\n{line}\n")
    assert environment.container_id([tmp_path / "none", table]) == wanted


def test_the_image_is_what_the_scheduler_says(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SLURM_CONTAINER_IMAGE", "docker://team/train:1.2")
    assert environment.container_image() == "docker://team/train:1.2"


def test_the_limit_of_memory_is_that_of_the_job(monkeypatch: pytest.MonkeyPatch) -> None:
    found = CgroupState(memory_limit_bytes=8_000)  # of a group above the step's, as SLURM has it
    monkeypatch.setattr(cgroups, "read", lambda pid: found)
    assert environment.facts(["python"], Redactor())["memory_bytes"]["limit"] == 8_000


def test_a_command_line_and_variables_of_any_length_are_cut(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("SLURM_JOB_NODELIST", "n" * 50_000)
    facts = environment.facts(["python", "train.py", *["word " * 20] * 2_000], Redactor())
    assert facts["argv"][:2] == ["python", "train.py"]
    n_kept = len(facts["argv"]) - 1
    assert facts["argv"][-1] == f"[and {2_002 - n_kept:,} more]"
    assert sum(map(len, facts["argv"])) <= environment.MAX_COMMAND_LINE_CHARACTERS
    assert len(facts["variables"]["SLURM_JOB_NODELIST"]) == environment.MAX_VARIABLE_CHARACTERS
