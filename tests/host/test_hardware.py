"""Trainings that know nothing of it have their machine's figures among their metrics."""

from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
from mlflow import MlflowClient
from mlflow.artifacts import load_text
from mlflow.entities import Metric

from agents import agent_pid, agents_of, start_agent, wait_until
from databases import DatabaseServer
from mlflow_weir.plugin.agent import client as agent
from mlflow_weir.plugin.agent.drain import end_of
from mlflow_weir.plugin.agent.sampling import PROGRAM
from mlflow_weir.plugin.journal.spool import Spool
from mlflow_weir.store.tracking_store import WeirStore
from nvml import Nvml, gpu
from trainings import Moving, Place, Training, with_weir

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("agent")]

# Waits until a file says that it may go on, which the test writes.
SCRIPT = """
import subprocess
with mlflow.start_run(run_id=os.environ.get("RUN")) as run:
    print(run.info.run_id, flush=True)
    sys.stdin.readline()
"""


class Trainings(Training):
    """Trainings on a machine with GPUs."""

    nvml: Nvml

    def begin(self, **variables: str) -> tuple[Any, str]:
        """Begin a training; return its process and its run."""
        process = self.start(SCRIPT, **variables)
        assert process.stdout is not None
        return process, process.stdout.readline().strip()

    def finish(self, *processes: Any) -> None:
        """Let them end, and wait until all is delivered."""
        for process in processes:
            _, err = process.communicate("\n", timeout=300)
            assert process.returncode == 0, err
        self.settle()

    def points(self, run_id: str, key: str) -> list[Metric]:
        """Return what is delivered of a metric."""
        return list(self.client().get_metric_history(run_id, f"system/{key}"))

    def wait_for(self, run_id: str, key: str, n: int) -> list[Metric]:
        """Wait until so many points are delivered."""

        def are_there() -> list[Metric]:
            time.sleep(0.1)  # a look costs more than a sample
            found = self.points(run_id, key)
            return found if len(found) >= n else []

        found: list[Metric] = wait_until(are_there, f"{n} points of {key}", 120)
        return found

    def names(self, run_id: str) -> set[str]:
        """Return the metrics of a run."""
        return set(self.client().get_run(run_id).data.metrics)


@pytest.fixture
def trainings(
    tmp_path: Path,
    sqlite_folder: DatabaseServer,
    nvml: Nvml,
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[Trainings]:
    monkeypatch.setenv("WEIR_CLIENT", "off")  # for the client that looks
    url = sqlite_folder.new_mlflow_database()
    store: Any = WeirStore(url, str(tmp_path / "artifacts"))
    store._dispose_engine()
    switches = {
        "WEIR_CAPTURE": "on",
        "WEIR_CAPTURE_GIT": "off",
        "WEIR_CAPTURE_ENVIRONMENT": "off",
        "WEIR_HARDWARE_INTERVAL_SECONDS": "0.5",
    }
    made = Trainings(tmp_path, Place(with_weir(url), {**nvml.variables, **switches}))
    made.nvml = nvml
    nvml.devices(gpu("GPU-aaaa"), gpu("GPU-bbbb", gpu=99, temperature=66))
    yield made
    agent.nudge(made.spool, agent.STOP)


def test_an_unchanged_training_gets_the_devices_own_figures(trainings: Trainings) -> None:
    # With samples more frequent than that, what is slow to ask is asked each ten seconds
    # (test_gpu.py).
    process, run_id = trainings.begin(WEIR_HARDWARE_INTERVAL_SECONDS="2")
    trainings.nvml.change(**{"0__processes": f"{process.pid}:123000000:31,1:5000000:50"})
    found = trainings.wait_for(run_id, "gpu_0_process_memory_megabytes", 2)
    assert found[-1].value == 123
    trainings.wait_for(run_id, "gpu_0_sm_active_percentage", 1)
    trainings.nvml.change(_0__gpu=3, _0__energy_mj=5_042_000)

    def is_seen() -> bool:
        points = trainings.points(run_id, "gpu_0_utilization_percentage")
        energy = trainings.points(run_id, "gpu_0_energy_joules")
        return bool(points) and points[-1].value == 3 and energy[-1].value == 42

    wait_until(is_seen, "a value that changes under a living agent is seen", 120)
    trainings.wait_for(run_id, "process_cpu_utilization_percentage", 2)
    before_s = time.time()
    trainings.finish(process)
    run = trainings.client().get_run(run_id)
    metrics = run.data.metrics
    wanted = {
        "gpu_0_utilization_percentage": 3,
        "gpu_0_memory_usage_megabytes": 20_000,
        "gpu_0_power_usage_watts": 215,
        "gpu_0_energy_joules": 42,
        "gpu_0_throttled_by_power": 1,
        "gpu_0_performance_state": 0,
        "gpu_0_sm_active_percentage": 81.5,
        "gpu_0_process_utilization_percentage": 31,
        "gpu_1_utilization_percentage": 99,
        "gpu_1_temperature_celsius": 66,
    }
    assert {name: metrics[f"system/{name}"] for name in wanted} == wanted
    assert metrics["system/process_count"] >= 1  # what captures is below it, too
    for name in ("cpu_utilization_percentage", "network_receive_megabytes", "process_threads"):
        assert f"system/{name}" in metrics
    points = trainings.points(run_id, "gpu_1_temperature_celsius")
    assert [point.step for point in points] == list(range(len(points)))
    assert run.info.status == "FINISHED"
    times = [point.timestamp for point in points]
    assert times == sorted(set(times))
    assert abs(times[0] - run.info.start_time) < 30_000
    assert times[-1] / 1000 < before_s + 30
    assert not Spool(trainings.spool).journals()  # nothing is left of the agent's own
    assert run.data.tags["weir.gpu"] == "2 × NVIDIA H100 80GB HBM3"
    facts = json.loads(load_text(f"{run.info.artifact_uri}/weir/hardware.json"))
    assert [one["uuid"] for one in facts["nvidia"]["devices"]] == ["GPU-aaaa", "GPU-bbbb"]
    assert facts["memory_bytes"] == psutil.virtual_memory().total


def test_two_runs_of_a_machine_share_each_sample_and_see_what_they_may(
    trainings: Trainings,
) -> None:
    one, first = trainings.begin(
        WEIR_HARDWARE_INTERVAL_SECONDS="1", CUDA_VISIBLE_DEVICES="", WEIR_HARDWARE_GPUS="all"
    )
    two, second = trainings.begin(
        WEIR_HARDWARE_INTERVAL_SECONDS="1",
        CUDA_VISIBLE_DEVICES="1",
        SLURM_NNODES="2",
        SLURM_NODEID="3",
    )
    trainings.wait_for(second, "node_3/gpu_1_utilization_percentage", 2)
    trainings.nvml.count_calls()
    n = len(trainings.points(first, "gpu_0_utilization_percentage"))
    trainings.wait_for(first, "gpu_0_utilization_percentage", n + 3)
    n_samples = trainings.nvml.n_calls("nvmlDeviceGetUtilizationRates") / 2  # two devices
    n_later = len(trainings.points(first, "gpu_0_utilization_percentage"))
    trainings.finish(one, two)
    mine = {p.timestamp for p in trainings.points(first, "gpu_1_utilization_percentage")}
    theirs = {p.timestamp for p in trainings.points(second, "node_3/gpu_1_utilization_percentage")}
    assert len(mine & theirs) >= 3
    assert n_samples <= n_later - n + 2  # one that is not delivered yet, and one in the making
    assert all(name.startswith("system/node_3/") for name in trainings.names(second))
    assert not any("gpu_0" in name for name in trainings.names(second))
    assert "system/gpu_0_utilization_percentage" in trainings.names(first)


def test_a_resumed_run_goes_on_with_its_steps(trainings: Trainings) -> None:
    process, run_id = trainings.begin()
    trainings.wait_for(run_id, "gpu_0_utilization_percentage", 2)
    trainings.finish(process)
    before = trainings.points(run_id, "gpu_0_utilization_percentage")
    process, _ = trainings.begin(RUN=run_id)
    trainings.wait_for(run_id, "gpu_0_utilization_percentage", len(before) + 2)
    trainings.finish(process)
    steps = [point.step for point in trainings.points(run_id, "gpu_0_utilization_percentage")]
    assert steps == list(range(len(steps)))


def test_an_agent_that_is_killed_is_followed_by_one_that_goes_on(trainings: Trainings) -> None:
    process, run_id = trainings.begin()
    trainings.wait_for(run_id, "gpu_0_utilization_percentage", 2)
    trainings.nvml.change(_0__energy_mj=5_010_000)
    spool = Spool(trainings.spool)
    pid = agent_pid(spool)
    assert pid is not None
    os.kill(pid, signal.SIGKILL)
    wait_until(lambda: not agents_of(spool), "the agent is gone")
    before = trainings.points(run_id, "gpu_0_utilization_percentage")
    start_agent(spool, **trainings.nvml.variables)
    trainings.wait_for(run_id, "gpu_0_utilization_percentage", len(before) + 3)
    process.kill()
    process.communicate(timeout=300)
    trainings.settle()
    points = trainings.points(run_id, "gpu_0_utilization_percentage")
    steps = [point.step for point in points]
    assert steps == sorted(set(steps))
    run = trainings.client().get_run(run_id)
    # The energy is the run's, not the second agent's.
    assert run.data.metrics["system/gpu_0_energy_joules"] == 10
    # Samples keep no run going.
    assert (run.info.status, run.data.tags["weir.exit_cause"]) == ("KILLED", "signal SIGKILL")


def test_mlflows_own_monitor_is_not_doubled(trainings: Trainings) -> None:
    script = """
with mlflow.start_run(log_system_metrics=True) as run:
    print(run.info.run_id, flush=True)
    sys.stdin.readline()
"""
    process = trainings.start(script, MLFLOW_SYSTEM_METRICS_SAMPLING_INTERVAL="1")
    assert process.stdout is not None
    run_id = process.stdout.readline().strip()
    ours = trainings.wait_for(run_id, "gpu_0_temperature_celsius", 3)
    theirs = trainings.wait_for(run_id, "gpu_0_utilization_percentage", 1)
    trainings.finish(process)
    assert not {point.timestamp for point in ours} & {point.timestamp for point in theirs}
    names = ("cpu_utilization_percentage", "gpu_0_power_usage_watts", "network_receive_megabytes")
    n_ours = len(trainings.points(run_id, "gpu_0_temperature_celsius"))
    for name in names:
        points = trainings.points(run_id, name)
        assert 1 <= len(points) < n_ours
        steps = [point.step for point in points]
        assert steps == sorted(set(steps))


def test_sampling_ends_with_the_run_and_the_journal_goes(trainings: Trainings) -> None:
    script = """
with mlflow.start_run() as run:
    print(run.info.run_id, flush=True)
    sys.stdin.readline()
print("ended", flush=True)
sys.stdin.readline()
"""
    process = trainings.start(script)
    assert process.stdin is not None
    assert process.stdout is not None
    run_id = process.stdout.readline().strip()
    trainings.wait_for(run_id, "gpu_0_utilization_percentage", 1)
    journals = json.loads(trainings.weir("status", "--json").stdout)["journals"]
    (own,) = [one for one in journals if one["program"] == PROGRAM]
    assert own["open_runs"] == {}
    shown = trainings.weir("hardware", run_id, "--uri", trainings.place.uri)
    assert shown.returncode == 0, shown.stderr
    assert "20.0/80.0 GB" in shown.stdout
    assert "(RUNNING), sampled " in shown.stdout
    process.stdin.write("\n")
    process.stdin.flush()
    assert process.stdout.readline() == "ended\n"

    def is_the_agents_gone() -> bool:  # that of what is printed stays as long as the process
        return all(one.header().program != PROGRAM for one in Spool(trainings.spool).journals())

    wait_until(is_the_agents_gone, "the agent's journal is delivered and gone", 120)
    trainings.nvml.count_calls()
    end_s = time.monotonic() + 1.5
    wait_until(lambda: time.monotonic() > end_s, "three intervals have passed")
    assert trainings.nvml.n_calls("nvmlDeviceGetUtilizationRates") == 0
    trainings.finish(process)


@pytest.mark.long  # points of a run with an id of its own are in test_stock_server.py
def test_samples_of_a_run_begun_without_its_stock_server_get_there(
    tmp_path: Path, sqlite_folder: DatabaseServer, trainings: Trainings
) -> None:
    server = Moving(tmp_path / "server", sqlite_folder.new_mlflow_database())
    server.spec.folder.mkdir()
    away = {"MLFLOW_TRACKING_URI": server.place.uri, "WEIR_CLIENT": "on"}
    process, key = trainings.begin(**away)
    own = wait_until(
        lambda: [
            one for one in Spool(trainings.spool).journals() if one.header().program == PROGRAM
        ],
        "it is sampled with the server away",
        120,
    )
    wait_until(lambda: end_of(own[0]) > 20_000, "some samples wait", 120)
    try:
        server.start()
        trainings.finish(process)
        client = MlflowClient(server.place.uri)
        (run,) = client.search_runs(["0"])
        assert run.data.tags["weir.run_key"] == key != run.info.run_id
        points = client.get_metric_history(run.info.run_id, "system/gpu_0_sm_clock_mhz")
        assert [point.step for point in points] == list(range(len(points)))
        assert len(points) >= 3
        assert {point.value for point in points} == {1_980}
    finally:
        server.close()
