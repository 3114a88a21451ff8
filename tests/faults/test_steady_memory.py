"""The memory of a server that works on and on: many runs, each delivered, read and ended.

Trainings come and go as fast as the server takes them, so that minutes hold what a team has in
hours, or with a rest between them, as a team's do. The environment tells:

    MEMORY_SECONDS   how long they come (60)
    MEMORY_REST      seconds that each sender rests after a run (0)
    MEMORY_REPORT    file that the figures are written to, anew with every sample

steady_memory.json is what the run of its ``seconds`` gave; docs/performance.md has the command.
"""

from __future__ import annotations

import contextlib
import json
import os
import threading
import time
from pathlib import Path

import psutil
import pytest

from databases import DatabaseServer
from mlflow_server import RUNS_NO_JOB, ServerProcess, ServerSpec, start_servers
from mlflow_weir.store.delivery.records import encode_points
from senders import ROUTES, Sender, call, create_run, new_id, operation

SECONDS = float(os.environ.get("MEMORY_SECONDS", "60"))
REST = float(os.environ.get("MEMORY_REST", "0"))
REPORT = os.environ.get("MEMORY_REPORT", "")
N_SENDERS = 6
N_METRICS, N_RECORDS, N_DELIVERIES = 50, 10, 10
SERIES = {"parts": [{"key": "m07"}], "x": "step", "buckets": 64, "want": ["count", "mean"]}
T0 = 1_700_000_000_000

pytestmark = [
    pytest.mark.long,
    pytest.mark.slow,
    pytest.mark.timeout(600 + 2 * SECONDS),
    pytest.mark.filterwarnings("ignore", "error:::mlflow_weir"),
]


class Team:
    """Trainings that come one after the other until they are told to stop, some at a time."""

    def __init__(self, server: ServerProcess) -> None:
        self._server = server
        self._is_over = threading.Event()
        self._lock = threading.Lock()
        self.n_runs = self.n_deliveries = self.n_points = 0
        self.faults: list[BaseException] = []
        self._threads = [threading.Thread(target=self._work) for _ in range(N_SENDERS)]

    def __enter__(self) -> Team:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._is_over.set()
        for thread in self._threads:
            thread.join()

    def _work(self) -> None:
        try:
            while not self._is_over.is_set():
                self._train()
                self._is_over.wait(REST)
        except BaseException as exc:  # noqa: BLE001  (raised by the test)
            self.faults.append(exc)

    def _train(self) -> None:
        """Deliver a run as a training of its own does, and look at it as its owner does."""
        sender, run_id = Sender(self._server), new_id()
        sender.send(create_run(run_id))
        n_points = 0
        for first in range(0, N_DELIVERIES * N_RECORDS, N_RECORDS):
            records = [
                encode_points(
                    run_id, [(f"m{i:02}", T0 + 100 * step, step, step / 7 + i)
                             for i in range(N_METRICS)]
                )
                for step in range(first, first + N_RECORDS)
            ]  # fmt: skip
            n_points += sender.send(*records)["n_points"]
        sender.send(operation("update_run", run_id=run_id, status="FINISHED", end_time=T0 + 9_999))
        query = f"run_id={run_id}&metric_key=m07&max_results=1000"
        for method, path, body in (
            ("GET", f"/api/2.0/mlflow/metrics/get-history?{query}", None),
            ("POST", "/api/2.0/mlflow/runs/search", {"experiment_ids": ["0"], "max_results": 20}),
            ("POST", f"{ROUTES}/runs", {"experiments": ["0"], "columns": ["metrics.m07"]}),
            ("POST", f"{ROUTES}/series", SERIES | {"runs": [run_id]}),
        ):
            assert call(self._server, method, path, body).status == 200
        with self._lock:
            self.n_runs += 1
            self.n_deliveries += N_DELIVERIES + 2
            self.n_points += n_points


def rss_mib(server: ServerProcess) -> float:
    """Return the memory of the server's largest process."""
    sizes = [0]
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error, ProcessLookupError):
            if os.getpgid(process.pid) == server.group:
                sizes.append(process.memory_info().rss)
    return round(max(sizes) / (1 << 20), 1)


def test_memory_does_not_grow_with_what_was_done(
    postgres_server: DatabaseServer, tmp_path: Path
) -> None:
    uri = postgres_server.new_mlflow_database().replace("postgresql:", "postgresql+weir:")
    uri = uri.replace("postgresql+psycopg:", "postgresql+weir:")
    spec = ServerSpec(["server", "--backend-store-uri", uri], tmp_path, (RUNS_NO_JOB,))
    rss: list[list[float]] = []
    with start_servers(spec) as (server,):
        began = time.monotonic()
        with Team(server) as team:
            while time.monotonic() < began + SECONDS and not team.faults:
                time.sleep(min(5.0, SECONDS / 40))
                at_s = round(time.monotonic() - began, 1)
                rss.append([at_s, rss_mib(server), team.n_deliveries])
                report = {
                    "seconds": at_s,
                    "rest": REST,
                    "load_average": os.getloadavg(),
                    "runs": team.n_runs,
                    "deliveries": team.n_deliveries,
                    "points": team.n_points,
                    "rss_mib": rss[:: max(1, len(rss) // 60)],
                }
                if REPORT:
                    Path(REPORT).write_text(json.dumps(report, indent=1))
        assert team.faults == []
    sizes = [size for _, size, _ in rss]
    half, rest = sizes[len(sizes) // 4 : len(sizes) // 2], sizes[3 * len(sizes) // 4 :]
    assert sum(rest) / len(rest) < 1.15 * sum(half) / len(half), report
