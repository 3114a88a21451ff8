"""Disks that are really full: the spool's, the store's, and the spool's quota.

Scripts know nothing of Weir; file systems are small ones of their own. What a training logged is
in the store once, or it is counted, said once, and noted on the run.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from mlflow import MlflowClient
from mlflow.entities import Run

import agents
from agents import Database, wait_until
from call_times import CALL_TIMES, LONGEST_S
from disks import mounted
from kills import note_campaign
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

# Logs so many points, waits for a word and logs as many again.
TRAINING = f"""
{CALL_TIMES}
import sys, time
import mlflow
n = int(sys.argv[1])
def log(first):
    for step in range(first, first + n):
        timed(mlflow.log_metric, "loss", step, step=step)
run = mlflow.start_run()
mlflow.log_metric("first", 1)
print(run.info.run_id, flush=True)
sys.stdin.readline()
log(0)
print("logged", flush=True)
sys.stdin.readline()
log(n)
timed(mlflow.log_param, "last", "param")
timed(mlflow.set_tag, "last", "tag")
print(longest_s)
"""


class Disk:
    """A small file system that a test can fill."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._filler = folder / "filler"
        self._stop: threading.Event | None = None
        self._thread: threading.Thread | None = None

    def fill(self) -> None:
        """Take every block that is free."""
        with contextlib.suppress(OSError), self._filler.open("ab", buffering=0) as file:
            while True:
                file.write(bytes(4096))

    def keep_full(self) -> None:
        """Take what others free, too."""
        self._stop = threading.Event()

        def go_on(stop: threading.Event) -> None:
            while not stop.wait(0.001):
                self.fill()

        self._thread = threading.Thread(target=go_on, args=(self._stop,))
        self._thread.start()

    def free(self) -> None:
        """Give everything back."""
        if self._stop is not None and self._thread is not None:
            self._stop.set()
            self._thread.join()
        self._filler.unlink(missing_ok=True)


@pytest.fixture
def disk(request: pytest.FixtureRequest) -> Iterator[Disk]:
    with mounted(getattr(request, "param", "6m")) as folder:
        made = Disk(folder)
        yield made
        made.free()


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return agents.make_template(tmp_path_factory.mktemp("template") / "a.db")


class Training:
    """The script on a database, with a spool."""

    def __init__(self, database: Database, spool: Path, n: int, **variables: str) -> None:
        self.database, self.spool, self.n = database, Spool.open(spool), n
        self._uri = database.uri.replace("sqlite:", "sqlite+weir:")
        environment = {
            **{name: value for name, value in os.environ.items() if name != "WEIR_CLIENT"},
            "MLFLOW_TRACKING_URI": self._uri,
            "WEIR_SPOOL": str(spool),
            **variables,
        }
        self._process = subprocess.Popen(
            [sys.executable, "-c", TRAINING, str(n)],
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        self.longest_s = 0.0
        self.run_id = self._read_line()
        wait_until(lambda: database.run(self.run_id), "the run is there", DEADLINE_S)

    def _read_line(self) -> str:
        assert self._process.stdout is not None
        line = self._process.stdout.readline().strip()
        assert line, self._process.communicate()
        return line

    def _say(self) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write("go on\n")
        self._process.stdin.flush()

    def log(self) -> None:
        self._say()
        assert self._read_line() == "logged"

    def end(self) -> str:
        """Log the rest and end; return what was printed about it."""
        out, err = self._process.communicate("go on\n", timeout=DEADLINE_S)
        assert self._process.returncode == 0, err
        self.longest_s = float(out.split()[0])
        assert self.longest_s <= LONGEST_S
        return "".join(line for line in err.splitlines(True) if line.startswith("weir: "))

    def settle(self) -> Run:
        """Wait until nothing of it is left on this machine; return its run."""

        def none_is_left() -> bool:
            agent.ensure_agent(self.spool.root)
            agent.nudge(self.spool.root)
            return not self.spool.journals()

        wait_until(none_is_left, "nothing is left", DEADLINE_S)
        return MlflowClient(self._uri).get_run(self.run_id)

    def steps(self) -> list[int]:
        client = MlflowClient(self._uri)
        return [point.step for point in client.get_metric_history(self.run_id, "loss")]

    def require_all(self) -> None:
        """Check that nothing is missing, and nothing said to be."""
        run = self.settle()
        assert self.steps() == list(range(2 * self.n))
        assert (run.info.status, run.data.params) == ("FINISHED", {"last": "param"})
        assert "weir.points_dropped" not in run.data.tags
        self.note(0)

    def note(self, n_dropped: int) -> None:
        """Write down what became of its points; those dropped are what it has said itself."""
        n_stored = len(set(self.steps()))
        figures = {
            "points_accepted": 2 * self.n,
            "points_stored_once": n_stored,
            "points_said_to_be_dropped": n_dropped,
            "longest_call_ms": round(1000 * self.longest_s, 1),
        }
        note_campaign("full disk or quota", figures)

    def kill(self) -> None:
        self._process.kill()
        self._process.communicate()


Begin = Callable[..., Training]


@pytest.fixture
def begin(template: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Begin]:
    monkeypatch.setenv("WEIR_CLIENT", "off")
    made: list[Training] = []

    def start(spool: Path, n: int, folder: Path = tmp_path, **variables: str) -> Training:
        made.append(Training(Database(template, folder / "a.db"), spool, n, **variables))
        return made[-1]

    yield start
    for training in made:
        training.kill()
        agents.kill_agents(training.spool)


def test_what_waits_in_memory_is_written_once_there_is_room(disk: Disk, begin: Begin) -> None:
    training = begin(disk.folder / "s", 5_000)
    os.rename(training.database.path, training.database.path.with_suffix(".away"))
    disk.fill()
    training.log()
    disk.free()
    os.rename(training.database.path.with_suffix(".away"), training.database.path)
    assert "lost" not in training.end()
    training.require_all()


def test_what_is_delivered_makes_room_on_a_full_disk(disk: Disk, begin: Begin) -> None:
    """Far more is logged than there is room for, with the store there all the time."""
    training = begin(disk.folder / "s", 8_000)
    disk.fill()
    training.log()
    assert "lost" not in training.end()
    training.require_all()


def test_what_no_disk_takes_is_delivered_from_memory(disk: Disk, begin: Begin) -> None:
    """Somebody else takes whatever the journal gives back."""
    training = begin(disk.folder / "s", 3_000)
    disk.fill()
    disk.keep_full()
    training.log()
    assert "lost" not in training.end()
    run = wait_until(lambda: training.steps() == list(range(6_000)) and training, "all points")
    disk.free()
    run.require_all()


def test_what_is_lost_is_counted_and_said_once(disk: Disk, begin: Begin) -> None:
    """The store is away, the disk is full, and there is hardly any memory: until the end."""
    variables = {"WEIR_SPOOL_MEMORY_BYTES": "64KiB", "WEIR_EXIT_WAIT_SECONDS": "1"}
    training = begin(disk.folder / "s", 5_000, **variables)
    away = training.database.path.with_suffix(".away")
    os.rename(training.database.path, away)
    disk.fill()
    training.log()
    said = training.end()
    assert said.count("waits in memory") == 1
    assert said.count("records are dropped") == 1
    (line,) = [line for line in said.splitlines() if "are lost" in line]
    n_lost = int(line.split()[1])
    disk.free()
    os.rename(away, training.database.path)
    run = training.settle()
    found = training.steps()
    assert len(found) == len(set(found))
    # Room is kept for this where there is none for points.
    assert run.data.tags["weir.points_dropped"] == str(10_000 - len(found))
    training.note(int(run.data.tags["weir.points_dropped"]))
    # The last param, the tag and the end are records as well; the exit code tells of the end.
    assert n_lost - (10_000 - len(found)) in range(4)
    assert run.info.status == "FINISHED"


def test_what_is_dropped_for_a_while_is_noted_on_the_run(disk: Disk, begin: Begin) -> None:
    training = begin(disk.folder / "s", 5_000, WEIR_SPOOL_MEMORY_BYTES="64KiB")
    away = training.database.path.with_suffix(".away")
    os.rename(training.database.path, away)
    disk.fill()
    training.log()
    disk.free()
    os.rename(away, training.database.path)
    said = training.end()
    (line,) = [line for line in said.splitlines() if "are lost" in line]
    run = training.settle()
    found = training.steps()
    assert len(found) == len(set(found))
    n_dropped = 10_000 - len(found)
    assert run.data.tags["weir.points_dropped"] == str(n_dropped)
    training.note(int(run.data.tags["weir.points_dropped"]))
    # The last param, the tag and the end are records as well, perhaps of before there was room.
    assert int(line.split()[1]) - n_dropped in range(4)


@pytest.mark.parametrize("is_away", [False, True])
def test_a_quota_is_as_good_as_a_full_disk(tmp_path: Path, begin: Begin, is_away: bool) -> None:
    variables: dict[str, Any] = {"WEIR_SPOOL_MAX_BYTES": "120KiB"}
    if is_away:
        variables |= {"WEIR_SPOOL_MEMORY_BYTES": "64KiB", "WEIR_EXIT_WAIT_SECONDS": "1"}
    training = begin(tmp_path / "s", 10_000, **variables)
    away = training.database.path.with_suffix(".away")
    if is_away:
        os.rename(training.database.path, away)
    training.log()
    said = training.end()
    if not is_away:
        assert "lost" not in said
        training.require_all()
        return
    os.rename(away, training.database.path)
    training.settle()
    found = training.steps()
    (line,) = [line for line in said.splitlines() if "are lost" in line]
    # The last param, the tag and the end are records, too, which the quota keeps out.
    assert int(line.split()[1]) - (20_000 - len(found)) in range(5)


# Room for all of it: SQLite's log grows to 4 MB before it is used again, and a database whose log
# has filled the disk stays full.
@pytest.mark.parametrize("disk", ["24m"], indirect=True)
def test_a_full_disk_under_the_store_loses_nothing(
    tmp_path: Path, disk: Disk, begin: Begin
) -> None:
    spool = tmp_path / "s"
    training = begin(spool, 20_000, folder=disk.folder)
    disk.fill()
    training.log()
    (journal,) = training.spool.journals()
    wait_until(
        lambda: "full" in agents.delivered(journal.path).get("error", ""),
        "the store's disk is full",
        DEADLINE_S,
    )
    disk.free()
    assert "lost" not in training.end()
    training.require_all()
