"""Machines that train one run together: each with a spool, an agent and a name of its own.

A launcher creates the run through MlflowClient; two trainings on two machines resume it by its id.
Scripts know nothing of Weir and say what they logged, each line after its call returned.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import NamedTuple

import pytest
import sqlalchemy as sa
from mlflow import MlflowClient
from mlflow.entities import Run

import agents
from agents import wait_until
from databases import DatabaseServer
from kills import note_campaign
from mlflow_server import ServerSpec, start_servers
from mlflow_weir.plugin.agent import client as agent
from mlflow_weir.plugin.journal.spool import Spool

pytestmark = [
    pytest.mark.fault,
    pytest.mark.slow,
    pytest.mark.xdist_group("agent"),
    # MLflow's client in this process warns about itself.
    pytest.mark.filterwarnings("ignore", "error:::mlflow_weir"),
]

DEADLINE_S = 120.0
SECONDS_TO_BE_LOST = 20

LAUNCHER = """
import sys
from mlflow import MlflowClient
run = MlflowClient().create_run("0")
print(run.info.run_id, flush=True)
sys.exit(int(sys.stdin.readline()))
"""

# Logs to a metric of its own and to one that both log to, at the same steps.
TRAINING = """
import os, sys, threading, time
import mlflow
name, number = sys.argv[1], int(sys.argv[2])
asked = threading.Event()
threading.Thread(target=lambda: (sys.stdin.readline(), asked.set()), daemon=True).start()
mlflow.start_run()
step = 0
while not asked.is_set():
    mlflow.log_metric(name, step, step=step)
    mlflow.log_metric("both", number, step=step)
    if not step % 50:
        mlflow.log_param(f"{name}{step}", step)
        mlflow.set_tag("last", name)
    print(step, flush=True)
    step += 1
    time.sleep(0.005)
"""


class Place(NamedTuple):
    """A store for trainings, and the database behind it."""

    uri: str
    database: sa.Engine

    def owners(self, run_id: str) -> int:
        """Return how many processes have been heard of that answer for a run."""
        query = sa.text("SELECT count(*) FROM weir_owner WHERE run_uuid = :run")
        with self.database.connect() as connection:
            return int(connection.execute(query, {"run": run_id}).scalar_one())

    def run(self, run_id: str) -> Run:
        return MlflowClient(self.uri).get_run(run_id)

    def state(self, run_id: str) -> tuple[str, str | None]:
        run = self.run(run_id)
        return run.info.status, run.data.tags.get("weir.exit_cause")

    def steps(self, run_id: str, key: str) -> list[int]:
        points = MlflowClient(self.uri).get_metric_history(run_id, key)
        return sorted(point.step for point in points)


class Script:
    """A running script, and the lines that it has printed so far."""

    def __init__(self, words: list[str], environment: dict[str, str], output: Path) -> None:
        self._output = output
        with output.open("w") as out, output.with_suffix(".err").open("w") as err:
            self.process = subprocess.Popen(
                words, env=environment, stdin=subprocess.PIPE, stdout=out, stderr=err, text=True
            )

    def lines(self) -> list[str]:
        """Return the whole lines."""
        return self._output.read_text().rpartition("\n")[0].splitlines()

    def wait_for(self, n: int) -> list[str]:
        """Wait until there are so many lines, and return all."""

        def are_there() -> bool:
            assert self.process.poll() is None, self.errors()
            return len(self.lines()) >= n

        wait_until(are_there, f"{n} lines", DEADLINE_S)
        return self.lines()

    def errors(self) -> str:
        return self._output.with_suffix(".err").read_text()

    def steps(self) -> list[int]:
        """Return the steps that it said."""
        return [int(line) for line in self.lines() if line.isdigit()]

    def end(self, line: str = "end\n", code: int = 0) -> list[int]:
        """Let it end, and return the steps that it said."""
        self.process.communicate(line, timeout=DEADLINE_S)
        assert self.process.returncode == code, self.errors()
        return self.steps()

    def kill(self) -> list[int]:
        """Kill it, and return the steps that it said."""
        self.process.kill()
        self.process.communicate(timeout=DEADLINE_S)
        return self.steps()


class Node:
    """A machine: a name, a spool and its agent."""

    def __init__(self, name: str, folder: Path, uri: str, spool: Spool) -> None:
        self.name, self.spool, self._folder = name, spool, folder
        folder.mkdir()
        # Python imports a module of this name by itself at its start; the agent's does as well.
        (folder / "sitecustomize.py").write_text(
            "import os\nsystem = os.uname()\n"
            f"os.uname = lambda: os.uname_result((system[0], {name!r}, *system[2:]))\n"
        )
        self._environment = {
            **{key: value for key, value in os.environ.items() if key != "WEIR_CLIENT"},
            "MLFLOW_TRACKING_URI": uri,
            "WEIR_SPOOL": str(spool.root),
            "PYTHONPATH": str(folder),
        }

    def start(self, script: str, *arguments: str, **variables: str) -> Script:
        words = [sys.executable, "-c", script, *arguments]
        return Script(words, {**self._environment, **variables}, self._folder / "out")

    def launch(self) -> tuple[Script, str]:
        """Start a launcher; return it with the run that it has created."""
        launcher = self.start(LAUNCHER)
        return launcher, launcher.wait_for(1)[0]

    def train(self, run_id: str, number: int) -> Script:
        """Start a training, and return once it logs."""
        training = self.start(TRAINING, self.name, str(number), MLFLOW_RUN_ID=run_id)
        training.wait_for(1)
        (journal,) = self.spool.journals()
        assert journal.header().host == self.name
        return training

    def settle(self) -> None:
        """Wait until everything of this machine is in the store, ends too."""

        def none_is_left() -> bool:
            agent.ensure_agent(self.spool.root)
            agent.nudge(self.spool.root)
            return not self.spool.journals()

        wait_until(none_is_left, f"nothing is left on {self.name}", DEADLINE_S)


@contextmanager
def place_of(kind: str, server: DatabaseServer, folder: Path, lost_s: int) -> Iterator[Place]:
    url = server.new_mlflow_database()
    engine = sa.create_engine(url)
    with ExitStack() as stack:
        stack.callback(engine.dispose)
        uri = url.replace("+psycopg:", "+weir:").replace("sqlite:", "sqlite+weir:")
        if kind == "server":
            folder.mkdir()
            variables = (
                ("MLFLOW_SERVER_ENABLE_JOB_EXECUTION", "false"),
                ("WEIR_HEARTBEAT_TIMEOUT_SECONDS", str(lost_s)),
            )
            spec = ServerSpec(["server", "--backend-store-uri", uri], folder, variables)
            (process,) = stack.enter_context(start_servers(spec))
            uri = process.address
        yield Place(uri, engine)


@pytest.fixture
def spools() -> Iterator[list[Spool]]:
    with ExitStack() as stack:
        yield [stack.enter_context(contextmanager(agents.fresh_spool)()) for _ in range(3)]


@pytest.fixture(params=["postgresql", "server"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Place]:
    name = "postgres_server" if request.param == "postgresql" else "sqlite_folder"
    server: DatabaseServer = request.getfixturevalue(name)
    with place_of(request.param, server, tmp_path / "server", 300) as found:
        yield found


@pytest.fixture(autouse=True)
def no_journal_here(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WEIR_CLIENT", "off")


@pytest.mark.parametrize(
    "ending", ["ends well", pytest.param("is killed too", marks=pytest.mark.long)]
)
def test_a_run_goes_on_when_one_of_its_machines_is_killed(
    place: Place, spools: list[Spool], tmp_path: Path, ending: str
) -> None:
    names = ("head", "left", "right")
    head, left, right = (
        Node(name, tmp_path / name, place.uri, spool)
        for name, spool in zip(names, spools, strict=True)
    )
    launcher, run_id = head.launch()
    first, second = left.train(run_id, 1), right.train(run_id, 2)
    wait_until(lambda: place.owners(run_id) == 3, "all are heard of", DEADLINE_S)

    launcher.end("1\n", code=1)
    head.settle()
    assert place.state(run_id) == ("RUNNING", None)  # others train it

    first.wait_for(len(first.lines()) + 100)
    accepted = first.kill()[-1]
    left.settle()
    assert place.state(run_id) == ("RUNNING", None)
    found = place.steps(run_id, "left")
    assert found == list(range(len(found)))
    assert len(found) in (accepted + 1, accepted + 2)  # one may have got in unsaid
    accepted_left = accepted + 1

    second.wait_for(len(second.lines()) + 100)
    if ending == "ends well":
        logged = second.end()[-1] + 1
        right.settle()
        assert place.state(run_id) == ("FINISHED", None)
        assert place.steps(run_id, "right") == list(range(logged))
        accepted_right = logged
    else:
        accepted = second.kill()[-1]
        right.settle()
        assert place.state(run_id) == ("KILLED", "signal SIGKILL")
        logged = len(place.steps(run_id, "right"))
        assert logged in (accepted + 1, accepted + 2)
        accepted_right = accepted + 1
    both = place.steps(run_id, "both")
    # The killed one may have logged the first of a step's two points and not the second.
    assert len(both) in range(len(found) + logged - 2, len(found) + logged + 1)
    assert set(both) >= set(range(max(len(found), logged) - 1))
    stored = {"left": len(found), "right": logged, "both": len(both)}
    said = {"left": accepted_left, "right": accepted_right}
    note_campaign("two nodes, one run", {"steps_acknowledged": said, "points_stored": stored})
    params = place.run(run_id).data.params
    assert {f"right{step}" for step in range(0, logged - 1, 50)} <= params.keys()
    assert {f"left{step}" for step in range(0, len(found) - 1, 50)} <= params.keys()


def test_a_launcher_that_lives_does_not_keep_the_run_of_a_killed_training(
    place: Place, spools: list[Spool], tmp_path: Path
) -> None:
    head, left = (
        Node(name, tmp_path / name, place.uri, spool)
        for name, spool in zip(("head", "left"), spools[:2], strict=True)
    )
    launcher, run_id = head.launch()
    training = left.train(run_id, 1)
    wait_until(lambda: place.owners(run_id) == 2, "both are heard of", DEADLINE_S)
    training.kill()
    left.settle()
    assert place.state(run_id) == ("KILLED", "signal SIGKILL")
    launcher.end("0\n")
    head.settle()
    assert place.state(run_id) == ("KILLED", "signal SIGKILL")


@pytest.mark.long
def test_a_run_is_lost_with_its_last_machine_alone(
    sqlite_folder: DatabaseServer, spools: list[Spool], tmp_path: Path
) -> None:
    """Trainings and agents are killed at once, as by a power cut: nobody can say a last word."""
    lost_s = SECONDS_TO_BE_LOST
    with place_of("server", sqlite_folder, tmp_path / "server", lost_s) as place:
        nodes = [
            Node(name, tmp_path / name, place.uri, spool)
            for name, spool in zip(("left", "right"), spools[:2], strict=True)
        ]
        run_id = MlflowClient(place.uri).create_run("0").info.run_id
        trainings = [node.train(run_id, number) for number, node in enumerate(nodes)]
        wait_until(lambda: place.owners(run_id) == 2, "both are heard of", DEADLINE_S)

        def cut_power(number: int) -> None:
            for pid in agents.agents_of(nodes[number].spool):
                os.kill(pid, signal.SIGKILL)
            trainings[number].kill()

        cut_power(0)

        def is_over() -> bool:
            assert place.state(run_id) == ("RUNNING", None)
            return apart_s(place, run_id) > 2 * lost_s

        wait_until(is_over, "the time of a silent machine is over", 600)
        cut_power(1)
        wait_until(lambda: place.state(run_id)[0] == "FAILED", "the run is lost", 600)
        cause = place.state(run_id)[1] or ""
        assert cause.startswith("node lost: no sign of life since")


def apart_s(place: Place, run_id: str) -> float:
    """Return the time between the last signs of life of a run's two processes."""
    query = sa.text("SELECT max(at_ms) - min(at_ms) FROM weir_owner WHERE run_uuid = :run")
    with place.database.connect() as connection:
        return int(connection.execute(query, {"run": run_id}).scalar_one()) / 1000
