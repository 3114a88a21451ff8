"""Kills of a training: every call that returned is in the store exactly once, its files too.

The script knows nothing of Weir. It notes in a shared page how many of its steps have returned,
which takes no system call.
"""

from __future__ import annotations

import os
import random
import signal
import subprocess
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import NamedTuple

import pytest
from mlflow import MlflowClient
from mlflow.entities import Run

import agents
from agents import start_agent, wait_until
from databases import put_mlflow_tables
from kills import needs_strace, note_counts, site_of, strace_command
from mlflow_server import RUNS_NO_JOB, ServerSpec, start_servers
from mlflow_weir.plugin.agent import client as agent
from mlflow_weir.plugin.journal.spool import Spool
from warm_python import WarmProcess, warm_python

pytestmark = [
    pytest.mark.fault,
    pytest.mark.slow,
    pytest.mark.xdist_group("agent"),
    # MLflow's client in this process warns about itself.
    pytest.mark.filterwarnings("ignore", "error:::mlflow_weir"),
]

N_STEPS = 400

TRAINING = f"""
import mmap, os, struct, sys, time
import mlflow
with open(sys.argv[1], "r+b") as file:
    page = mmap.mmap(file.fileno(), 40)
def is_traced():
    with open("/proc/self/status") as status:
        return "TracerPid:\\t0\\n" not in status.read()
while sys.argv[2] == "traced" and not is_traced():
    time.sleep(0.001)
page[32:40] = struct.pack("<q", 1)
run = mlflow.start_run()
page[:32] = run.info.run_id.encode()
for step in range({N_STEPS}):
    mlflow.log_metric("loss", step / 3, step=step)
    mlflow.log_metrics({{"a": step, "b": -step}}, step=step)
    if step % 5 == 0:
        mlflow.log_param(f"p{{step}}", step)
        mlflow.set_tag("last", step)
    if step % 50 == 0:
        mlflow.log_text(f"text {{step}}", f"notes/{{step}}.txt")
    page[32:40] = struct.pack("<q", step + 2)
    time.sleep(0.002)
"""


class Said(NamedTuple):
    """What a training had said when it was killed.

    Attributes:
        run_id: "" where ``start_run`` had not returned.
        n_steps: Of which every call has returned; -1 before the script began to log.
    """

    run_id: str
    n_steps: int


class Trained:
    """Trainings with one spool and one store, killed one after the other."""

    def __init__(self, folder: Path, spool: Spool, uri: str) -> None:
        self.folder, self.spool, self.uri = folder, spool, uri
        self._n = 0
        self._environment = {
            **{name: value for name, value in os.environ.items() if name != "WEIR_CLIENT"},
            "MLFLOW_TRACKING_URI": uri,
            "WEIR_SPOOL": str(spool.root),
        }
        start_agent(spool)  # or the first training would start it, and strace follow it

    def start(self, how: str) -> tuple[WarmProcess, Path]:
        """Begin a training; return it and the file that it notes its steps in."""
        self._n += 1
        page = self.folder / f"page{self._n}"
        page.write_bytes(bytes(40))
        with (self.folder / f"output{self._n}").open("wb") as output:
            words = ["-c", str(page), how]
            process = warm_python().start_session(
                TRAINING, words, self._environment, self.folder, output
            )
        return process, page

    def kill_at_a_moment(self, rng: random.Random, first_step: int) -> Said:
        """Kill a training at any moment after a step, of which the 0th is its beginning."""
        process, page = self.start("free")
        wait_until(lambda: said_in(page).n_steps >= first_step, "the step", 300)
        time.sleep((0.005 if first_step else 0.5) * rng.random())  # the moment, not a wait
        os.kill(process.pid, signal.SIGKILL)
        assert process.wait() == -signal.SIGKILL
        return said_in(page)

    def kill_inside(self, call: str, when: int) -> tuple[Said, str | None]:
        """Kill a training inside its n-th such call; return where, None if it made fewer."""
        process, page = self.start("traced")
        log = self.folder / "trace"
        words = [*strace_command(log, call, when), "-p", str(process.pid)]
        traced = subprocess.Popen(words, stderr=subprocess.PIPE, text=True)
        _, error = traced.communicate(timeout=300)
        if "ptrace" in error or "attach" in error:
            os.kill(process.pid, signal.SIGKILL)
            pytest.skip(f"strace may not trace here: {error}")
        site = site_of(log.read_text())
        assert process.wait() == (0 if site is None else -signal.SIGKILL), self._output()
        return said_in(page), site

    def _output(self) -> str:
        return (self.folder / f"output{self._n}").read_text(errors="replace")

    def require_all(self, said: list[Said]) -> None:
        """Wait for the delivery; compare what was said with what is stored."""

        def none_is_left() -> bool:
            agent.ensure_agent(self.spool.root)
            agent.nudge(self.spool.root)
            return not self.spool.journals()

        wait_until(none_is_left, "every journal is delivered", 300)
        client = MlflowClient(self.uri)
        found = {run.info.run_id: run for run in client.search_runs(["0"], max_results=10_000)}
        for one in said:
            if one.run_id:
                require_run(client, found[one.run_id], one)
        assert {run.info.status for run in found.values()} <= {"KILLED", "FAILED", "FINISHED"}
        for run_id in found:
            client.delete_run(run_id)


def said_in(page: Path) -> Said:
    found = page.read_bytes()
    n_steps = int.from_bytes(found[32:40], "little") - 1
    return Said(found[:32].strip(b"\0").decode(), n_steps)


def require_run(client: MlflowClient, run: Run, said: Said) -> None:
    """Check one run; of the step that it was killed in, anything may be there."""
    n = said.n_steps
    steps = [point.step for point in client.get_metric_history(run.info.run_id, "loss")]
    assert steps == list(range(len(steps))), "a step is missing or twice there"
    assert n <= len(steps) <= n + 1
    for key, sign in (("a", 1), ("b", -1)):
        points = client.get_metric_history(run.info.run_id, key)
        assert [point.value for point in points] == [sign * i for i in range(len(points))]
        assert n <= len(points) <= len(steps)
    params = {f"p{step}": str(step) for step in range(0, n, 5)}
    later = {f"p{step}": str(step) for step in range(n, n + 1) if step % 5 == 0}
    assert params.items() <= run.data.params.items() <= {**params, **later}.items()
    if n:
        assert int(run.data.tags["last"]) in range((n - 1) // 5 * 5, n + 1)
        assert run.data.metrics["loss"] == steps[-1] / 3
    listed = {one.path for one in client.list_artifacts(run.info.run_id, "notes")}
    texts = {f"notes/{step}.txt" for step in range(0, n, 50)}
    assert texts <= listed <= texts | {f"notes/{n}.txt"}
    for path in texts:
        text = Path(client.download_artifacts(run.info.run_id, path)).read_text()
        assert text == f"text {Path(path).stem}"
    killed = ("KILLED", "signal SIGKILL")
    # Where the kernel does not tell how another process's child ended, nobody can know.
    unknown = ("FAILED", "ended without saying why")
    ends: set[tuple[str, str | None]] = {killed, unknown}
    if n == N_STEPS:  # killed on its way out, or not at all
        ends |= {("FINISHED", None), ("FINISHED", "signal SIGKILL after the end of the program")}
    assert (run.info.status, run.data.tags.get("weir.exit_cause")) in ends


@pytest.fixture
def trained(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Trained]:
    """Trainings on an embedded store."""
    monkeypatch.setenv("WEIR_CLIENT", "off")  # of this process
    put_mlflow_tables(tmp_path / "home" / "weir.db")
    for spool in agents.fresh_spool():
        yield Trained(tmp_path, spool, f"weir://{tmp_path}/home")


@needs_strace
def test_a_training_killed_at_a_moment_and_inside_calls(trained: Trained) -> None:
    said = [trained.kill_at_a_moment(random.Random(step), step) for step in (0, 9)]
    for call, when in (("write", 4), ("write", 60), ("rename", 1)):
        one, site = trained.kill_inside(call, when)
        assert site is not None
        said.append(one)
    trained.require_all(said)


# Of a training on a server, whose artifacts are copied beside the journal.
CALLS = {
    "write": 150,
    "openat": 60,
    "mkdir": 8,
    "rename": 4,
    "unlink": 3,
    "sendto": 4,
}


@pytest.fixture
def trained_on_a_server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Trained]:
    monkeypatch.setenv("WEIR_CLIENT", "off")
    home = tmp_path / "server"
    put_mlflow_tables(home / "mlflow.db")
    command = [
        *("server", "--backend-store-uri", f"sqlite+weir:///{home}/mlflow.db"),
        *("--artifacts-destination", str(home / "artifacts")),
    ]
    with ExitStack() as stack:
        spec = ServerSpec(command, home, (RUNS_NO_JOB,))
        (server,) = stack.enter_context(start_servers(spec))
        for spool in agents.fresh_spool():
            yield Trained(tmp_path, spool, server.address)


@pytest.mark.long
@pytest.mark.timeout(3000)
def test_a_hundred_kills_at_random_moments(trained_on_a_server: Trained) -> None:
    rng = random.Random(11)
    counts: Counter[str] = Counter()
    while sum(counts.values()) < 100:
        steps = [rng.choice([0, rng.randrange(1, N_STEPS - 50)]) for _ in range(10)]
        said = [trained_on_a_server.kill_at_a_moment(rng, step) for step in steps]
        trained_on_a_server.require_all(said)
        for one in said:
            begun = "in a later step" if one.n_steps else "in the first step"
            counts[begun if one.run_id else "in start_run"] += 1
        note_counts("trainer", "at random moments", counts)


@needs_strace
@pytest.mark.long
@pytest.mark.timeout(3000)
def test_a_hundred_kills_inside_calls_with_the_hits_at_each_site(
    trained_on_a_server: Trained,
) -> None:
    rng = random.Random(12)
    sites: Counter[str] = Counter()
    while sum(sites.values()) < 120:
        said = []
        for _ in range(10):
            call = rng.choice([*4 * ["write"], *CALLS])
            one, site = trained_on_a_server.kill_inside(call, rng.randint(1, CALLS[call]))
            said.append(one)
            if site is not None:
                sites[site] += 1
        trained_on_a_server.require_all(said)
        note_counts("trainer", "inside a call", sites)
    assert sum(n for site, n in sites.items() if site == "write ID.seg") >= 30
