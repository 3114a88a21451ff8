"""A store that is away for as long as ten minutes while a training logs without a pause.

The training is a script that knows nothing of Weir; it says how long its calls took. Afterwards
every point is in the store once, and the agent has not grown.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, Protocol

import pytest
from mlflow import MlflowClient

import agents
from call_times import CALL_TIMES, LONGEST_S
from databases import MissingComponent, SqliteFolder, run_crashing_postgres
from kills import note_campaign
from mlflow_server import ServerSpec, free_port, start_servers
from mlflow_weir.plugin.agent import client as agent
from mlflow_weir.plugin.journal.spool import Spool
from trainings import COUNT_QUESTIONS

pytestmark = [
    pytest.mark.fault,
    pytest.mark.slow,
    pytest.mark.xdist_group("agent"),
    # MLflow's client in this process warns about itself.
    pytest.mark.filterwarnings("ignore", "error:::mlflow_weir"),
]

OUTAGES_S = [8, pytest.param(600, marks=[pytest.mark.long, pytest.mark.timeout(1500)])]
MOST_AGENT_KIB = 120 << 10
RECOVERY_S = 240.0

# Logs until a line comes on its standard input; then says what it logged and what it cost.
TRAINING = f"""
{COUNT_QUESTIONS}
{CALL_TIMES}
import json, time
import mlflow
asked = threading.Event()
threading.Thread(target=lambda: (sys.stdin.readline(), asked.set()), daemon=True).start()
calls = []
run = mlflow.start_run()
print(run.info.run_id, flush=True)
step, before = 0, n_asked
while not asked.is_set():
    calls.append(timed(mlflow.log_metrics, {{f"m{{i}}": step + i for i in range(10)}}, step=step))
    calls.append(timed(mlflow.log_metric, "loss", 1 / (1 + step), step=step))
    if step % 100 == 0:
        calls.append(timed(mlflow.log_param, f"p{{step}}", step))
        calls.append(timed(mlflow.set_tag, "step", step))
    step += 1
    time.sleep(0.02)
n_asked_by_calls = n_asked
calls.append(timed(mlflow.end_run))
said = {{"steps": step, "calls": sorted(calls)[-1000:], "n_calls": len(calls)}}
print(json.dumps({{**said, "n_asked": n_asked_by_calls - before, "longest_s": longest_s}}))
"""


class Store(Protocol):
    """A store that can go away."""

    uri: str

    def kill(self) -> None: ...
    def start(self) -> None: ...


class Postgres:
    """PostgreSQL, killed with all its processes."""

    def __init__(self, stack: ExitStack) -> None:
        self._server = stack.enter_context(run_crashing_postgres(Path(tempfile.gettempdir())))
        url = self._server.new_mlflow_database()
        self.uri = url.replace("postgresql+psycopg://", "postgresql+weir://")

    def kill(self) -> None:
        self._server.kill()

    def start(self) -> None:
        self._server.start()


class Server:
    """``mlflow server`` on a SQLite database, killed with all its processes."""

    def __init__(self, stack: ExitStack) -> None:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="weir-outage-")))
        url = SqliteFolder(folder).new_mlflow_database().replace("sqlite:", "sqlite+weir:")
        port = free_port()
        self._spec = ServerSpec(
            ["server", "--backend-store-uri", url],
            folder,
            (("MLFLOW_SERVER_ENABLE_JOB_EXECUTION", "false"),),
            port=port,
        )
        self.uri = f"http://127.0.0.1:{port}"
        self._running = stack.enter_context(ExitStack())
        self.start()

    def kill(self) -> None:
        os.killpg(self._group, signal.SIGKILL)
        self._running.close()

    def start(self) -> None:
        (process,) = self._running.enter_context(start_servers(self._spec))
        self._group = process.group


@contextmanager
def running(kind: str) -> Iterator[Store]:
    with ExitStack() as stack:
        try:
            store: Store = Postgres(stack) if kind == "postgresql" else Server(stack)
        except MissingComponent as exc:
            if os.environ.get("WEIR_REQUIRE_COMPONENTS") == "1":
                pytest.fail(f"missing component: {exc}")
            pytest.skip(f"missing component: {exc}")
        yield store


@pytest.fixture
def spool() -> Iterator[Spool]:
    yield from agents.fresh_spool()


def agent_kib(spool: Spool) -> int:
    """Return the most memory that the agent has had so far, in KiB."""
    pid = agents.agent_pid(spool)
    assert pid is not None, "no agent runs"
    return int(agents.status_of(pid)["VmHWM"].split()[0])


def train(store: Store, spool: Spool) -> subprocess.Popen[str]:
    environment = {
        **{name: value for name, value in os.environ.items() if name != "WEIR_CLIENT"},
        "MLFLOW_TRACKING_URI": store.uri,
        "WEIR_SPOOL": str(spool.root),
    }
    return subprocess.Popen(
        [sys.executable, "-c", TRAINING],
        env=environment,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


@pytest.mark.parametrize("outage_s", OUTAGES_S)
@pytest.mark.parametrize("kind", [pytest.param("postgresql", marks=pytest.mark.long), "server"])
def test_a_training_does_not_notice_that_its_store_is_away(
    kind: str,
    outage_s: int,
    spool: Spool,
    monkeypatch: pytest.MonkeyPatch,
    record_property: Any,
) -> None:
    monkeypatch.setenv("WEIR_CLIENT", "off")
    with running(kind) as store:
        training = train(store, spool)
        assert training.stdout is not None
        run_id = training.stdout.readline().strip()
        assert run_id
        agents.wait_until(lambda: delivered(spool) > 10_000, "something is delivered")
        store.kill()
        # What it had taken just before is noted a moment later.
        wait_out(training, outage_s / 2)
        before = delivered(spool)
        wait_out(training, outage_s / 2)
        assert delivered(spool) == before
        store.start()
        out, err = training.communicate("end\n", timeout=RECOVERY_S)
        assert training.returncode == 0, err
        said = json.loads(out.splitlines()[-1])  # behind what MLflow prints
        kib = agent_kib(spool)
        agents.wait_until(lambda: settled(spool), "all is delivered", RECOVERY_S)
        kib = max(kib, agent_kib(spool))
        client = MlflowClient(store.uri)
        steps = list(range(said["steps"]))
        n_stored = 0
        for name in ("loss", *(f"m{i}" for i in range(10))):
            found = client.get_metric_history(run_id, name)
            assert [point.step for point in found] == steps, name
            n_stored += len(found)
        run = client.get_run(run_id)
        assert run.info.status == "FINISHED"
        assert {"weir.exit_cause", "weir.points_dropped"} & run.data.tags.keys() == set()
        assert len(run.data.params) == len(range(0, said["steps"], 100))
        figures = {
            "outage_s": outage_s,
            "calls": said["n_calls"],
            "points_accepted": 11 * said["steps"],
            "points_stored_once": n_stored,
            "longest_call_ms": round(1000 * said["calls"][-1], 1),
            "longest_call_without_standing_in_line_ms": round(1000 * said["longest_s"], 1),
            "tenth_longest_ms": round(1000 * said["calls"][-10], 1),
            "agent_peak_mib": round(kib / 1024, 1),
        }
        print(json.dumps({"store": kind, **figures}))
        record_property("figures", figures)
        note_campaign("outage of the store", figures)
        assert said["n_asked"] == 0, "log calls ask nothing"
        assert said["longest_s"] <= LONGEST_S
        assert kib < MOST_AGENT_KIB


def wait_out(training: subprocess.Popen[str], outage_s: float) -> None:
    """Let a part of the outage pass, during which nothing is awaited."""
    end_s = time.monotonic() + outage_s
    while time.monotonic() < end_s:
        assert training.poll() is None, training.communicate()
        time.sleep(1)


def delivered(spool: Spool) -> int:
    """Return how far the spool's journals are delivered, in bytes."""
    return sum(int(agents.delivered(one.path).get("position", 0)) for one in spool.journals())


def settled(spool: Spool) -> bool:
    agent.ensure_agent(spool.root)
    agent.nudge(spool.root)
    return not spool.journals()
