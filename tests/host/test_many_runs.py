"""Thousands of runs in one process, as a sweep makes them: nothing grows with their number.

The process says now and then how large it is, how many threads and descriptors it has, and how
many runs it has made; the test looks at the agent and the journal meanwhile.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from mlflow import MlflowClient

import agents
from agents import agent_pid, status_of, wait_until
from mlflow_weir.errors import JournalError
from mlflow_weir.plugin.journal.spool import JournalFolder, Spool

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("agent")]

SWEEP = """
import gc, json, os, sys, threading, time
import mlflow
n_runs, n_parts = int(sys.argv[1]), 8
mlflow.set_experiment("sweep")
began = time.monotonic()
for number in range(1, n_runs + 1):
    with mlflow.start_run(run_name=f"run {number}"):
        mlflow.log_params({"lr": number, "seed": 1})
        for step in range(5):
            mlflow.log_metrics({"loss": 1 / number, "acc": step}, step=step)
        mlflow.set_tag("kind", "sweep")
    if number % (n_runs // n_parts) == 0:
        gc.collect()
        status = open("/proc/self/status").read()
        said = {
            "n": number,
            "seconds": time.monotonic() - began,
            "kib": int(status.partition("VmRSS:")[2].split()[0]),
            "threads": threading.active_count(),
            "descriptors": len(os.listdir("/proc/self/fd")),
        }
        print(json.dumps(said), flush=True)
        began = time.monotonic()
"""


@dataclass
class Part:
    """What was seen after a part of the runs.

    Attributes:
        seconds: That this part took.
        kib: Resident memory of the process, and of its agent.
        n_segments: Files of records in the journal's folder.
    """

    n: int
    seconds: float
    kib: int
    threads: int
    descriptors: int
    agent_kib: int
    agent_threads: int
    n_segments: int
    n_journals: int


@pytest.fixture
def spool(monkeypatch: pytest.MonkeyPatch) -> Iterator[Spool]:
    for made in agents.fresh_spool():
        monkeypatch.setenv("WEIR_SPOOL", str(made.root))
        yield made


def writer_of(journal: JournalFolder) -> int | None:
    """Return whose it is: that of the agent's samples of the machine comes and goes."""
    try:
        return journal.header().pid
    except JournalError:
        return None


def sweep(spool: Spool, folder: Path, n_runs: int, *, capture: str) -> list[Part]:
    """Make the runs; return what was seen after each part."""
    process = subprocess.Popen(
        [sys.executable, "-c", SWEEP, str(n_runs)],
        env={
            **os.environ,
            "MLFLOW_TRACKING_URI": f"weir://{folder}/home",
            "WEIR_CAPTURE": capture,
            "MLFLOW_DISABLE_TELEMETRY": "true",
        },
        cwd=folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    parts = []
    assert process.stdout is not None
    for line in process.stdout:
        journals = [one for one in spool.journals() if writer_of(one) == process.pid]
        agent = status_of(wait_until(lambda: agent_pid(spool), "an agent is there", 60))
        parts.append(
            Part(
                **json.loads(line),
                agent_kib=int(agent["VmRSS"].split()[0]),
                agent_threads=int(agent["Threads"]),
                n_segments=sum(len(list(one.path.glob("*.seg"))) for one in journals),
                n_journals=len(journals),
            )
        )
        print(parts[-1])
    _, err = process.communicate(timeout=300)
    assert process.returncode == 0, err
    return parts


MANY = [pytest.mark.long, pytest.mark.timeout(3600)]


@pytest.mark.parametrize(
    ("capture", "n_runs"),
    [
        ("on", 400),
        pytest.param("off", 400, marks=pytest.mark.long),
        pytest.param("on", 10_000, marks=MANY),
        pytest.param("off", 10_000, marks=MANY),
    ],
)
def test_nothing_grows_with_the_number_of_runs(
    spool: Spool, tmp_path: Path, n_runs: int, capture: str
) -> None:
    parts = sweep(spool, tmp_path, n_runs, capture=capture)
    wait_until(lambda: not spool.journals(), "all is delivered", 300)
    client = MlflowClient(f"weir://{tmp_path}/home")
    experiment = client.get_experiment_by_name("sweep")
    assert experiment is not None
    found = client.search_runs([experiment.experiment_id], max_results=5_000)
    n_found = len(found)
    while found.token:
        found = client.search_runs([experiment.experiment_id], "", 1, 5_000, None, found.token)
        n_found += len(found)
    assert n_found == n_runs
    second, last = parts[1], parts[-1]
    # Views of runs are dropped some hundreds at a time.
    assert last.kib - second.kib < 8 << 10
    assert last.agent_kib < 160 << 10
    assert max(part.threads for part in parts) <= 8
    assert max(part.descriptors for part in parts) <= parts[0].descriptors + 8
    assert max(part.agent_threads for part in parts) <= 12
    assert all(part.n_journals == 1 for part in parts)
