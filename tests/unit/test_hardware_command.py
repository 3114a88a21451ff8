"""``weir hardware``: the table, and what waits in journals."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest
from click.testing import CliRunner

from mlflow_weir.plugin.cli import main
from mlflow_weir.plugin.cli.hardware import Answer, Reading, table
from mlflow_weir.plugin.journal.spool import Spool, Target
from mlflow_weir.plugin.journal.writer import Journal
from mlflow_weir.store.delivery.records import encode_points


def answer(values: dict[str, float], notes: str = "") -> Answer:
    now_ms = time.time_ns() // 1_000_000
    readings = {name: Reading(value, 3, now_ms) for name, value in values.items()}
    return Answer("a run", "RUNNING", notes, readings)


def test_the_table_has_a_line_a_gpu_and_what_is_known_of_the_machine() -> None:
    text = table(
        answer(
            {
                "gpu_10_utilization_percentage": 7,
                "gpu_2_utilization_percentage": 93.4,
                "gpu_2_sm_active_percentage": 81,
                "gpu_2_memory_usage_megabytes": 20_000,
                "gpu_2_memory_total_megabytes": 80_000,
                "gpu_2_process_memory_megabytes": 12_340,
                "gpu_2_process_utilization_percentage": 90,
                "gpu_2_power_usage_watts": 215,
                "gpu_2_power_limit_watts": 700,
                "gpu_2_temperature_celsius": 41,
                "gpu_2_sm_clock_mhz": 1_980,
                "gpu_2_throttled_by_power": 1,
                "gpu_2_throttled_by_heat": 0,
                "gpu_2_mig_1_memory_usage_megabytes": 5_000,
                "cpu_utilization_percentage": 12,
                "process_cpu_cores": 3.42,
                "cgroup_cpu_limit": 8,
                "disk_usage_percentage": 40,
            },
            notes="something\x1b[2J",
        )
    )
    assert text.splitlines() == [
        "Run a run (RUNNING), sampled 0 s ago",
        "GPU  busy  SMs   memory        the run's      power      heat   clock     held by",
        "2    93 %  81 %  20.0/80.0 GB  12.3 GB, 90 %  215/700 W  41 °C  1980 MHz  power",
        "2:1              5.0 GB",
        "10   7 %",
        "CPU   12 % of the machine  the run 3.4 cores of 8.0",
        "disk  / 40 % full",
        "something\N{REPLACEMENT CHARACTER}[2J",
    ]


def test_machines_of_a_job_are_apart() -> None:
    text = table(
        answer(
            {
                "node_1/gpu_0_utilization_percentage": 1,
                "node_0/gpu_0_utilization_percentage": 2,
                "node_0/cpu_utilization_percentage": 3,
            }
        )
    )
    lines = [line for line in text.splitlines()[1:] if line]
    first = ["node_0", "GPU  busy", "0    2 %", "CPU  3 % of the machine"]
    assert lines == [*first, "node_1", "GPU  busy", "0    1 %"]


def test_a_run_without_samples_says_so() -> None:
    assert table(Answer("a run", "FINISHED", "", {})) == (
        "Run a run (FINISHED): no samples (is WEIR_CAPTURE_HARDWARE off?)"
    )


def test_samples_that_wait_are_shown_with_the_store_away(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WEIR_SPOOL", str(tmp_path / "spool"))
    run_id, uri = "a" * 32, "http://127.0.0.1:1"
    journal = Journal.create(Spool.open(), Target("http", uri), None)
    for step in range(3):
        points = [
            ("system/gpu_0_sm_clock_mhz", 1_000 + step, step, 100.0 * step),
            ("loss", 5, 1, 1.0),
        ]
        journal.append(encode_points(run_id, points))
    journal.append(encode_points("b" * 32, [("system/gpu_1_sm_clock_mhz", 1, 1, 1.0)]))
    found = CliRunner().invoke(main, ["hardware", run_id, "--uri", uri, "--json"])
    assert found.exit_code == 0, found.output
    said = json.loads(found.output)
    assert said["metrics"] == {
        "system/gpu_0_sm_clock_mhz": {"value": 200.0, "step": 2, "timestamp": 1_002}
    }
    unknown = CliRunner().invoke(main, ["hardware", "c" * 32, "--uri", uri])
    assert unknown.exit_code == 1
    assert "Traceback" not in unknown.output
    journal.close()
