"""What an agent delivers, in what order, how soon and at what cost, and what faults do to it."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import sqlite3
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import agents
from agents import (
    TRAINING,
    Database,
    agents_of,
    delivered,
    kill_agents,
    start_agent,
    status_of,
    wait_until,
)
from mlflow_weir.plugin.agent import client
from mlflow_weir.plugin.agent.files import AgentFiles
from mlflow_weir.plugin.journal.format import list_segments, segment_name
from mlflow_weir.plugin.journal.spool import Credentials, Spool, Target
from mlflow_weir.plugin.journal.writer import Journal
from mlflow_weir.store.delivery.records import encode_operation, encode_points

pytestmark = [pytest.mark.slow]


@pytest.fixture
def spool() -> Iterator[Spool]:
    yield from agents.fresh_spool()


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return agents.make_template(tmp_path_factory.mktemp("template") / "a.db")


@pytest.fixture
def database(template: Path, tmp_path: Path) -> Database:
    return Database(template, tmp_path / "a.db")


class Training:
    """A journal of this process with one run."""

    def __init__(self, spool: Spool, uri: str) -> None:
        self.journal = Journal.create(spool, Target("sql", uri), Credentials(uri))
        self.run_id = uuid.uuid4().hex
        self.step = 0
        self.do(
            "create_run",
            run_id=self.run_id,
            experiment_id="0",
            experiment_name=None,
            user_id="me",
            start_time=1,
            tags=[],
            run_name="a run",
            artifact_uri=None,
        )
        self.do("own_run", run_id=self.run_id, how="fluent")

    def do(self, name: str, **fields: object) -> None:
        self.journal.append(encode_operation(name, fields))

    def log(self, n: int = 1, key: str = "loss") -> None:
        for _ in range(n):
            self.journal.append(encode_points(self.run_id, [(key, self.step, self.step, 0.5)]))
            self.step += 1

    def end(self) -> None:
        self.do(
            "update_run",
            run_id=self.run_id,
            status="FINISHED",
            end_time=5,
            run_name=None,
            is_provisional=False,
            is_revival=False,
        )

    def wait(self, timeout_s: float = 120.0) -> bool:
        return client.wait_delivered(self.journal.folder, self.journal.end, timeout_s)

    def noted(self) -> dict[str, Any]:
        return delivered(self.journal.folder)


@pytest.fixture
def training(spool: Spool, database: Database) -> Iterator[Training]:
    made = Training(spool, database.uri)
    yield made
    made.journal.close()


def test_records_are_applied_in_their_order(training: Training, database: Database) -> None:
    for number in range(50):
        training.do("set_tags", run_id=training.run_id, tags=[["turn", str(number)]])
    training.do("delete_tag", run_id=training.run_id, key="turn")
    training.do("set_tags", run_id=training.run_id, tags=[["turn", "last"]])
    assert training.wait()
    with contextlib.closing(sqlite3.connect(database.path)) as connection:
        rows = connection.execute("SELECT value FROM tags WHERE key = 'turn'").fetchall()
    assert rows == [("last",)]
    assert training.noted()["n_rejected"] == 0


def test_what_a_database_refuses_is_named_and_the_rest_is_there(
    training: Training, database: Database
) -> None:
    training.do("log_params", run_id=training.run_id, params=[["a", "1"]])
    training.do("log_params", run_id=training.run_id, params=[["a", "2"]])
    training.log(3)
    assert training.wait()
    noted = training.noted()
    assert noted["n_rejected"] == 1
    assert "cannot be changed" in noted["rejected"][0]["reason"]
    assert database.steps(training.run_id) == [0, 1, 2]


def test_a_target_that_is_away_holds_up_nobody_else(
    spool: Spool, template: Path, tmp_path: Path
) -> None:
    near, far = Database(template, tmp_path / "near.db"), Database(template, tmp_path / "far.db")
    here, there = Training(spool, near.uri), Training(spool, far.uri)
    assert here.wait()
    assert there.wait()
    with contextlib.closing(sqlite3.connect(far.path)) as lock:
        lock.execute("BEGIN EXCLUSIVE")
        there.log(10)
        for _ in range(5):
            here.log(10)
            assert here.wait()
        wait_until(lambda: there.noted().get("error"), "the reason is noted")
        assert "locked" in there.noted()["error"]
    assert there.wait()
    assert there.noted()["error"] == ""
    assert far.steps(there.run_id) == list(range(10))
    for one in (here, there):
        one.journal.close()


def test_a_database_that_was_moved_is_not_made_again(
    training: Training, database: Database
) -> None:
    assert training.wait()
    away = database.path.with_suffix(".away")
    os.rename(database.path, away)
    training.log(10)
    wait_until(lambda: training.noted()["error"], "the reason is noted")
    assert not training.wait(0.5)
    assert not database.path.exists()
    os.rename(away, database.path)
    assert training.wait()


def left_behind(spool: Spool, database: Database, n_points: int) -> tuple[Path, str]:
    """Leave a journal, not delivered, of a process that has ended."""
    run_id = uuid.uuid4().hex
    program = TRAINING.replace("\ndelivered()\n", "\n")
    words = [str(spool.root), database.uri, run_id, "client", str(n_points)]
    before = set(spool.root.glob("journals/*"))
    subprocess.run([sys.executable, "-c", program, *words], check=True, stdout=subprocess.PIPE)
    (folder,) = set(spool.root.glob("journals/*")) - before
    return folder, run_id


def test_a_corrupt_journal_is_set_aside_and_others_go_on(spool: Spool, database: Database) -> None:
    folder, run_id = left_behind(spool, database, 100)
    segment = folder / segment_name(list_segments(folder)[-1])
    content = segment.read_bytes()
    middle = len(content) // 2
    segment.write_bytes(content[:middle] + bytes([content[middle] ^ 1]) + content[middle + 1 :])
    _, other_id = left_behind(spool, database, 100)
    pid = start_agent(spool, WEIR_AGENT_IDLE_SECONDS="1")
    wait_until(lambda: len(spool.journals()) == 1, "the other is delivered and removed")
    assert database.steps(other_id) == list(range(100))
    wait_until(lambda: delivered(folder).get("error"), "the reason is noted")
    assert delivered(folder)["error"].startswith(client.SET_ASIDE)
    assert segment.name in delivered(folder)["error"]
    assert not client.wait_delivered(folder, len(content), 3600)  # which is said at once
    wait_until(lambda: agents_of(spool) == [], "the agent does not wait for it")
    segment.write_bytes(content)
    assert start_agent(spool) != pid
    wait_until(lambda: spool.journals() == [], "it is delivered, mended")
    assert database.steps(run_id) == list(range(100))


@pytest.mark.parametrize("damage", ["header", "delivered", "credentials"])
def test_other_files_that_are_damaged_are_no_end(
    spool: Spool, database: Database, damage: str
) -> None:
    folder, run_id = left_behind(spool, database, 10)
    file = folder / f"{damage}.json"
    content = file.read_bytes() if file.exists() else b""
    file.write_bytes(b"{")
    _, other_id = left_behind(spool, database, 10)
    start_agent(spool)
    wait_until(lambda: database.run(other_id) is not None, "the other is delivered")
    if damage != "delivered":
        assert folder.exists()
        kill_agents(spool)
        file.write_bytes(content)
        start_agent(spool)
    wait_until(lambda: spool.journals() == [], "both are delivered and removed")
    assert database.steps(run_id) == list(range(10))


def test_segments_are_removed_as_they_are_delivered(
    training: Training, database: Database
) -> None:
    for _ in range(20):
        training.do("set_tags", run_id=training.run_id, tags=[["a", "x" * 5000]] * 200)
    assert training.journal.end > 16 << 20
    assert training.wait()
    wait_until(lambda: len(list_segments(training.journal.folder)) == 1, "one segment is left")
    training.log(3)
    assert training.wait()
    assert database.steps(training.run_id) == [0, 1, 2]


def test_a_log_call_is_readable_without_a_nudge(training: Training, database: Database) -> None:
    training.log()
    assert training.wait()
    with contextlib.closing(sqlite3.connect(database.path)) as connection:

        def is_there() -> bool:
            query = "SELECT step FROM latest_metrics WHERE run_uuid = ? AND key = 'loss'"
            found = connection.execute(query, (training.run_id,)).fetchone()
            return bool(found[0] == training.step - 1)

        for _ in range(5):
            training.log()
            wait_until(is_there, "the point is readable")


def test_an_agent_takes_little_memory_and_hardly_any_time(
    training: Training, database: Database, spool: Spool
) -> None:
    """Draining and compacting 400,000 points, then beside a journal that says nothing."""
    pid = start_agent(spool)
    for _ in range(10):
        training.log(40_000)
        assert training.wait(300)
    training.end()
    assert training.wait(300)

    def count(table: str) -> int:
        with contextlib.closing(sqlite3.connect(database.path, timeout=120)) as connection:
            query = f"SELECT count(*) FROM {table} WHERE run_uuid = ?"
            return int(connection.execute(query, (training.run_id,)).fetchone()[0])

    wait_until(
        lambda: count("weir_chunk") and not count("weir_batch"), "the run is compacted", 120
    )
    assert int(status_of(pid)["VmHWM"].split()[0]) <= 120 << 10
    assert len(database.steps(training.run_id)) == 400_000

    def used_s() -> float:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        return sum(map(int, fields[11:13])) / os.sysconf("SC_CLK_TCK")

    def rests() -> bool:
        before_s, began = used_s(), time.monotonic()
        wait_until(lambda: time.monotonic() - began > 3, "three seconds")
        return (used_s() - before_s) / (time.monotonic() - began) <= 0.02

    wait_until(rests, "it takes hardly any time")


def test_a_compaction_that_is_done_leaves_no_zombie(training: Training, spool: Spool) -> None:
    pid = start_agent(spool)

    def children() -> set[str]:
        found: set[str] = set()
        for thread in Path(f"/proc/{pid}/task").iterdir():
            with contextlib.suppress(OSError):
                found.update((thread / "children").read_text().split())
        return found

    training.log(40_000)
    training.end()  # of the run; the process lives, and its journal stays
    assert training.wait(300)
    wait_until(children, "a child compacts")
    wait_until(lambda: not children(), "it has ended and is gone")
    assert spool.journals()
    training.journal.close()


# Python imports a module of this name by itself at its start.
JUMPING_CLOCK = """
import random, time
now, now_ns = time.time, time.time_ns
time.time = lambda: now() + random.uniform(-1e8, 1e8)
time.time_ns = lambda: now_ns() + int(random.uniform(-1e17, 1e17))
"""


def test_a_clock_that_jumps_changes_nothing(
    training: Training, database: Database, spool: Spool, tmp_path: Path
) -> None:
    (tmp_path / "sitecustomize.py").write_text(JUMPING_CLOCK)
    start_agent(spool, PYTHONPATH=str(tmp_path), WEIR_AGENT_IDLE_SECONDS="1")
    for _ in range(5):
        training.log(10)
        assert training.wait()
    assert database.steps(training.run_id) == list(range(50))
    training.end()
    training.journal.close()
    wait_until(lambda: spool.journals() == [], "the journal is removed")
    wait_until(lambda: agents_of(spool) == [], "the idle agent ends")


def test_runs_of_living_processes_have_heartbeats(training: Training, database: Database) -> None:
    assert training.wait()

    def beats() -> Any:
        with contextlib.closing(sqlite3.connect(database.path)) as connection:
            query = "SELECT at_ms FROM weir_heartbeat WHERE run_uuid = ?"
            row = connection.execute(query, (training.run_id,)).fetchone()
            return row and row[0]

    wait_until(beats, "a heartbeat")


def test_a_stopped_agent_goes_on_where_it_was(
    training: Training, database: Database, spool: Spool
) -> None:
    first = start_agent(spool)
    training.log(10)
    assert training.wait()
    os.kill(first, signal.SIGSTOP)
    training.log(10)
    assert not training.wait(1.0)  # it holds the lease, and nobody else may deliver
    os.kill(first, signal.SIGCONT)
    assert training.wait()
    assert database.steps(training.run_id) == list(range(20))


def test_no_secret_is_in_log_status_or_command_line(spool: Spool, tmp_path: Path) -> None:
    uri = "postgresql+psycopg://somebody:sesame-open@127.0.0.1:1/db?sslpassword=sesame-too"
    training = Training(spool, uri)
    start_agent(spool)
    wait_until(lambda: training.noted().get("error"), "the reason is noted")
    log = AgentFiles(spool.root).log.read_text()
    (pid,) = agents_of(spool)
    shown = [log, json.dumps(training.noted())]
    shown += [Path(f"/proc/{pid}/{name}").read_bytes().decode() for name in ("cmdline", "environ")]
    for text in shown:
        assert "sesame" not in text
        assert "somebody" not in text
    assert "127.0.0.1" in log
    training.journal.close()
