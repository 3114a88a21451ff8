"""Kills of the agent: every record of every journal is in the database exactly once."""

from __future__ import annotations

import contextlib
import os
import random
import shutil
import signal
import subprocess
import sys
import time
import uuid
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import agents
from agents import (
    TRAINING,
    Database,
    agent_pid,
    agents_of,
    kill_agents,
    wait_until,
)
from kills import needs_strace, note_counts, site_of, strace_command
from mlflow_weir.plugin.agent import client
from mlflow_weir.plugin.journal.spool import Spool
from mlflow_weir.store.maintenance.check import check
from mlflow_weir.store.maintenance.progress import Silent

pytestmark = [pytest.mark.fault, pytest.mark.slow]

# Writes 20 steps about each millisecond until it is told to end, and says how many there are.
WRITER = """
import select
step = int(sys.argv[5])
while not select.select([sys.stdin], [], [], 0.001)[0]:
    for _ in range(20):
        points = [("loss", step, step, step / 3), ("b", step, 0, 1.0)]
        journal.append(encode_points(run_id, points))
        step += 1
    if sys.argv[6] == "ensure":
        client.ensure_agent(spool.root)
end_run("FINISHED", False)
print(step, flush=True)
"""


@pytest.fixture
def spool() -> Iterator[Spool]:
    yield from agents.fresh_spool()


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return agents.make_template(tmp_path_factory.mktemp("template") / "a.db")


@pytest.fixture
def database(template: Path, tmp_path: Path) -> Database:
    return Database(template, tmp_path / "a.db")


class Trainings:
    """Processes that log to runs of their own while the agent is killed."""

    def __init__(
        self, spool: Spool, database: Database, n: int, *, ensure: str = "ensure"
    ) -> None:
        self.spool, self.database = spool, database
        self.run_ids = [uuid.uuid4().hex for _ in range(n)]
        self.processes = []
        for run_id in self.run_ids:
            words = [str(spool.root), database.uri, run_id, "fluent", "0", ensure]
            process = subprocess.Popen(
                [sys.executable, "-c", TRAINING + WRITER, *words],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
            )
            self.processes.append(process)
        for process in self.processes:
            assert process.stdout is not None
            assert process.stdout.readline() == "ready\n"

    def finish(self) -> None:
        """End them, wait for the delivery, and compare what was logged with what is stored."""
        logged = [int(process.communicate("end\n", timeout=300)[0]) for process in self.processes]

        def settled() -> bool:
            client.ensure_agent(self.spool.root)
            return self.spool.journals() == []

        wait_until(settled, "every journal is delivered", 120)
        store: Any = self.database.open()
        for run_id, n in zip(self.run_ids, logged, strict=True):
            assert n > 0
            assert self.database.steps(run_id) == list(range(n)), (
                "a step is missing or twice there"
            )
            assert len(store.get_metric_history(run_id, "b")) == n
            assert self.database.run(run_id) == ("FINISHED", None)
        assert check(store.engine, Silent()).problems == []
        store._dispose_engine()


def kill_at_random_moments(trainings: Trainings, n_kills: int, seed: int) -> None:
    rng = random.Random(seed)
    spool = trainings.spool
    killed: set[int] = set()
    while len(killed) < n_kills:
        pid = wait_until(lambda: _ensured(spool), "an agent")
        # From its start, its first connections included, to the middle of a long drain.
        time.sleep(rng.choice([rng.random() * 0.2, rng.random() * 1.2]))
        # The lock names the one before for an instant.
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
            killed.add(pid)


def _ensured(spool: Spool) -> int | None:
    client._needs.clear()  # an agent that dies time and again is started ever more rarely
    client.ensure_agent(spool.root)
    return agent_pid(spool)


@pytest.mark.parametrize(
    ("seed", "n_kills"),
    [
        (1, 4),
        pytest.param(5, 4, marks=pytest.mark.long),
        pytest.param(2, 100, marks=[pytest.mark.long, pytest.mark.timeout(1200)]),
    ],
)
def test_an_agent_killed_at_random_moments(
    spool: Spool, database: Database, seed: int, n_kills: int
) -> None:
    trainings = Trainings(spool, database, 2)
    kill_at_random_moments(trainings, n_kills, seed)
    trainings.finish()
    if n_kills >= 100:
        note_counts("agent", "at random moments", {"kills": n_kills})


def kill_inside(spool: Spool, log: Path, call: str, when: int) -> str | None:
    """Run an agent until a system call of its kills it; return the call's site, None if it lived.

    The call is not made: the process dies on its way into the kernel.
    """
    words = [*strace_command(log, call, when), *client.start_command(spool.root)]
    traced = subprocess.Popen(words, stderr=subprocess.PIPE, text=True)
    try:
        _, error = traced.communicate(timeout=300)
    except subprocess.TimeoutExpired:
        kill_agents(spool)
        traced.communicate()
        return None
    if "ptrace" in error:
        pytest.skip("strace may not trace here")
    assert agents_of(spool) == []
    return site_of(log.read_text())


CALLS = ("pwrite64", "rename", "fdatasync", "unlink", "write")


@needs_strace
@pytest.mark.parametrize(("call", "when"), [("pwrite64", 3), ("pwrite64", 9), ("rename", 2)])
def test_an_agent_killed_inside_a_write(
    spool: Spool, database: Database, tmp_path: Path, call: str, when: int
) -> None:
    trainings = Trainings(spool, database, 1, ensure="no")
    kill_agents(spool)
    site = kill_inside(spool, tmp_path / "trace", call, when)
    assert site is not None
    trainings.finish()


@needs_strace
@pytest.mark.long
@pytest.mark.timeout(3000)
def test_a_hundred_kills_inside_writes_with_the_hits_at_each_site(
    template: Path, tmp_path: Path
) -> None:
    rng = random.Random(3)
    sites: Counter[str] = Counter()
    n_kills = 0
    while n_kills < 100:
        folder = tmp_path / str(n_kills)
        folder.mkdir()
        database = Database(template, folder / "a.db")
        for spool in agents.fresh_spool():
            trainings = Trainings(spool, database, 1, ensure="no")
            for _ in range(10):
                kill_agents(spool)
                call = rng.choice(("pwrite64", *CALLS))
                when = rng.randint(1, 40 if call == "pwrite64" else 6)
                site = kill_inside(spool, folder / "trace", call, when)
                if site is not None:
                    sites[site] += 1
                    n_kills += 1
            trainings.finish()
        # A killed agent's child that compacts may be about to close the database.
        shutil.rmtree(folder, ignore_errors=True)
        note_counts("agent", "inside a call", sites)
    assert sum(n for site, n in sites.items() if " a.db" in site) >= 15
