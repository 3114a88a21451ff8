"""What a training tells the agent of the hardware that it wants sampled."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from mlflow_weir.plugin import hardware
from mlflow_weir.plugin.capture import wishes
from mlflow_weir.plugin.capture.wishes import Wish


def test_a_wish_is_read_as_it_was_written_and_is_private(tmp_path: Path) -> None:
    wish = Wish("a" * 32, 2.5, True, {"CUDA_VISIBLE_DEVICES": ""}, "node_1", True, 7, 123)
    assert wishes.changed_ns(tmp_path) == 0
    wishes.write(tmp_path, wish)
    wishes.write_begun(tmp_path, wish.run_id, {"energy": 1.5})
    assert wishes.read_all(tmp_path) == [wish]
    assert wishes.read_begun(tmp_path, wish.run_id) == {"energy": 1.5}
    for path in (tmp_path / "hardware").iterdir():
        assert path.stat().st_mode & 0o077 == 0
    before = wishes.changed_ns(tmp_path)
    assert before
    wishes.withdraw(tmp_path, wish.run_id)
    assert wishes.read_all(tmp_path) == []
    assert wishes.read_begun(tmp_path, wish.run_id) is None


@pytest.mark.parametrize("run_id", ["../../x", "a/b", "", "x" * 65, "."])
def test_a_run_id_is_no_path(run_id: str, tmp_path: Path) -> None:
    journal = tmp_path / "deep/journal"
    journal.mkdir(parents=True)
    wishes.write(journal, Wish(run_id, 1.0))
    wishes.withdraw(journal, run_id)
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []


@pytest.mark.parametrize(
    "text",
    ["", "[]", "{}", "{", json.dumps({"run_id": "../x"}), '{"run_id": "a", "interval_s": "soon"}'],
)
def test_what_makes_no_sense_is_passed_over(text: str, tmp_path: Path) -> None:
    wishes.write(tmp_path, Wish("good", 1.0))
    (tmp_path / "hardware/bad.json").write_text(text)
    os.symlink("/etc/passwd", tmp_path / "hardware/link.json")
    assert [one.run_id for one in wishes.read_all(tmp_path)] == ["good"]


def test_an_interval_is_kept_within_limits(tmp_path: Path) -> None:
    for number, interval_s in enumerate((0.0, 1e9, 3.0)):
        wishes.write(tmp_path, Wish(str(number), interval_s))
    assert [one.interval_s for one in wishes.read_all(tmp_path)] == [0.5, 86_400, 3]


@pytest.mark.parametrize(
    ("variables", "label"),
    [
        ({}, ""),
        ({"WEIR_NODE": "gpu 7/a"}, "gpu_7_a"),
        ({"WEIR_NODE": ".."}, "__"),
        ({"MLFLOW_SYSTEM_METRICS_NODE_ID": "node_0"}, "node_0"),
        ({"WEIR_NODE": "mine", "MLFLOW_SYSTEM_METRICS_NODE_ID": "theirs"}, "mine"),
        ({"SLURM_NNODES": "1", "SLURM_NODEID": "0"}, ""),
        ({"SLURM_NNODES": "4", "SLURM_NODEID": "0"}, "node_0"),
        ({"SLURM_JOB_NUM_NODES": "2", "SLURM_NODEID": "1"}, "node_1"),
        ({"SLURM_NNODES": "2(x3)", "SLURM_NODEID": "1"}, ""),
        ({"GROUP_WORLD_SIZE": "2", "GROUP_RANK": "1"}, "node_1"),
        ({"WEIR_NODE": "x" * 300}, "x" * 60),
    ],
)
def test_the_label_of_a_machine_among_several(
    variables: dict[str, str], label: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("SLURM_NNODES", "SLURM_JOB_NUM_NODES", "SLURM_NODEID", "GROUP_WORLD_SIZE"):
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert hardware.node_label() == label
    assert wishes.prefix_of(label) == (f"system/{label}/" if label else "system/")


@pytest.mark.parametrize(
    ("variables", "is_wanted"),
    [
        ({"WEIR_CAPTURE": "on"}, True),
        ({"WEIR_CAPTURE": "off"}, False),
        ({"WEIR_CAPTURE": "on", "WEIR_CAPTURE_HARDWARE": "off"}, False),
        ({"WEIR_CAPTURE": "on", "WEIR_HARDWARE_INTERVAL_SECONDS": "0.1"}, False),
        ({"WEIR_CAPTURE": "on", "WEIR_HARDWARE_INTERVAL_SECONDS": "0.5"}, True),
        ({"WEIR_CAPTURE": "on", "WEIR_HARDWARE_GPUS": "some"}, False),
    ],
)
def test_what_the_settings_want(
    variables: dict[str, str], is_wanted: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert hardware.is_wanted() is is_wanted
